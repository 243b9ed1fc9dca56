"""kill -9 in the middle of `train --checkpoint`, twice: the third run ends, and its model is that of one run."""

import gzip
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

from deeplog_grpc.testing import simulate_log
from tests.faults import killed_checkpoint

BOUND_S = 100.0
KILLED = -signal.SIGKILL
_random = random.Random(11)
POINTS = [
    *(f"add:{call}" for call in [_random.randrange(1, 8), 8]),
    *(f"fsync:{call}" for call in _random.sample(range(2, 40), 2)),
    f"rename:{_random.randrange(1, 6)}",
    "pass:1",
]
"""Reading, writing a save, putting it in its place, and learning, when all is read."""


def test_a_training_killed_twice_gives_the_model_of_one_that_was_not(tmp_path: Path) -> None:
    text = simulate_log(30, seed=4).text().encode()
    middle = text.index(b"\n", len(text) // 2) + 1
    logs = [tmp_path / "1.log", tmp_path / "2.log.gz"]
    logs[0].write_bytes(text[:middle])
    logs[1].write_bytes(gzip.compress(text[middle:], mtime=0))
    done = subprocess.run(
        [sys.executable, killed_checkpoint.__file__, tmp_path, *POINTS, "--", *logs],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=True,
    )
    codes: dict[str, list[int]] = json.loads(done.stdout)
    assert codes.pop("") == [0]
    assert all(found in ([KILLED, KILLED, 0], [KILLED, 0]) for found in codes.values()), codes
    assert codes["add:8"] == [KILLED, 0]  # what was read was not read again: there is no eighth chunk any more
    assert codes["pass:1"] == [KILLED, KILLED, 0]
    whole = _content(tmp_path / "whole")
    for point in POINTS:
        assert _content(tmp_path / point) == whole, point
        assert not (tmp_path / f"{point}.progress").exists()


def _content(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.iterdir()}
