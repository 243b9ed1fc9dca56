"""kill -9 in the middle of the journal: what was claimed is there, and what is there is whole."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from tests.faults import killed_journal

BOUND_S = 100.0
KILLS = 32


def test_killed_at_any_instruction_the_journal_keeps_what_it_accepted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, killed_journal.__file__, tmp_path, str(KILLS), "5"],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=True,
    )
    kills = json.loads(done.stdout)
    claimed: set[str] = set()
    for kill in kills:
        claimed |= set(kill["claimed"])
        found = kill["found"]
        assert found["sound"] == "ok"
        records = {sequence: (outcome, version) for sequence, outcome, version in found["records"]}
        assert list(records) == list(range(1, len(records) + 1))
        assert claimed <= {f"accepted {one}" for one in records} | {
            f"finished {one}" for one, (outcome, _) in records.items() if outcome
        }

        # Outcome, version and snapshot came together or not at all.
        made = {sequence: version for version, _, sequence, _ in found["versions"]}
        for sequence, (outcome, version) in records.items():
            assert outcome in (None, {"sequence": sequence})
            assert (version is not None) == (outcome is not None and sequence % 3 != 0) == (sequence in made)
            assert made.get(sequence) == version
        assert len(records) - sum(outcome is not None for outcome, _ in records.values()) <= 1
        versions = [version for version, *_ in found["versions"]]
        assert versions == list(range(len(versions), 0, -1))
        assert all(parent == version - 1 for version, parent, *_ in found["versions"])
        assert [version for version, *_, is_kept in found["versions"] if is_kept] == versions[: killed_journal.KEEP]
        for version, sha256 in found["snapshots"].items():
            assert sha256 == hashlib.sha256(killed_journal.snapshot(int(version))).hexdigest()

    # The kills met what they were meant to meet.
    assert len(kills) == KILLS
    assert len({line for kill in kills for line in kill["claimed"]}) > KILLS
    assert any(outcome is None for kill in kills for _, outcome, _ in kill["found"]["records"])
