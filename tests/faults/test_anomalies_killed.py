"""kill -9 in the middle of storing anomalies: numbers only grow, batches are whole, and the counts are right."""

import json
import subprocess
import sys
from pathlib import Path

from tests.faults import killed_anomalies

BOUND_S = 100.0
KILLS = 24


def test_killed_at_any_instruction_no_number_comes_twice(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, killed_anomalies.__file__, tmp_path, str(KILLS), "3"],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=True,
    )
    last, batches = 0, 0
    for kill in json.loads(done.stdout):
        claims = [line.split() for line in kill["claimed"]]
        reserved = [int(number) for what, number in claims if what == "reserved"]
        assert [last, *reserved] == sorted({last, *reserved})
        found = kill["found"]
        for what, number in claims:
            # Room is made from the oldest on: what was stored is there, or all that is there is newer.
            if what == "stored":
                batches += 1
                assert int(number) in found["stored"] or int(number) < found["stored"][0]
        if found["stored"]:
            assert found["stored"][-1] % 2**32 % killed_anomalies.BATCH == 0
        kept, kept_bytes, groups = found["totals"]
        assert (kept, kept_bytes) == (len(found["stored"]), 1000 * len(found["stored"]))
        assert kept_bytes <= killed_anomalies.MAX_BYTES
        assert groups == len(found["open_count"])
        assert found["open_count"] == {name: found["open"][name] for name in found["open_count"]}
        assert (found["stored"][-1] if found["stored"] else 0) < found["next"]
        last = max([last, *reserved])
        assert last < found["next"]
        last = found["next"]
    assert batches > KILLS
