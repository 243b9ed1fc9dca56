"""kill -9 of the shipper and of the server while a log is written and rotated: each line is annotated exactly once."""

import json
import subprocess
import sys
from pathlib import Path

from tests.faults import killed_ship

BOUND_S = 100.0
KILLS = 16


def test_every_line_is_annotated_exactly_once_and_in_order(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, killed_ship.__file__, tmp_path, str(KILLS), "7"],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["stopped"], found["finished"]) == (0, 0)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    bodies = [row["body"] for row in rows if "session_end" not in row]
    assert bodies == [killed_ship.line_of(number) for number in range(found["lines"])]
    assert not (tmp_path / "ship.spool.dead.jsonl").exists()

    # The kills met what they were meant to meet.
    assert min(found["killed"].values()) > 2
    assert found["lines"] > 10 * killed_ship.ROTATED_AT
    said = [json.loads(line) for line in (tmp_path / "ship.err").read_text().splitlines() if line.startswith("{")]
    assert any(one["event"] == "connected" and one["resent"] for one in said) or any(
        one["event"] == "stream broken" for one in said
    )
