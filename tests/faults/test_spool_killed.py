"""kill -9 in the middle of the spool: payloads and their positions come together, and no number is used twice."""

import json
import subprocess
import sys
from pathlib import Path

from tests.faults import killed_spool

BOUND_S = 100.0
KILLS = 32


def test_killed_at_any_instruction_the_spool_keeps_what_it_took(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, killed_spool.__file__, tmp_path, str(KILLS), "3"],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)
    appended = acknowledged = 0
    for kill in kills:
        for what, number in (line.split() for line in kill["claimed"]):
            appended = max(appended, int(number)) if what == "appended" else appended
            acknowledged = max(acknowledged, int(number)) if what == "acknowledged" else acknowledged
        found = kill["found"]
        assert found["sound"] == "ok"
        assert found["whole"]
        positions = found["positions"]
        read, gone = positions.get("number", 0), positions.get("acknowledged", 0)
        # The number that a payload carries and its sequence go together from the first one on, over all kills.
        assert found["rows"] == [[number + 1, number] for number in range(gone, read)]
        assert found["last"] == read >= appended
        assert gone >= acknowledged
        assert found["totals"] == [read - gone, True]
    assert len({kill["found"]["name"] for kill in kills}) == 1

    # The kills met what they were meant to meet.
    assert len(kills) == KILLS
    assert appended > KILLS
