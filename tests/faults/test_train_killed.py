"""kill -9 in the middle of `train`: a bundle is whole or it is not there, and an older one survives."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deeplog_grpc.errors import BundleError
from deeplog_grpc.storage import load_bundle
from deeplog_grpc.testing import simulate_log
from tests.faults import killed_train
from tests.trained import fresh_detector, order

BOUND_S = 100.0
POINTS = ["add:1", "pass:2", "mkdir:1", "fsync:1", "fsync:11", "fsync:12", "rename:1", "rename:2", "fsync:13"]
"""Reading, learning, writing the first and the last file, flushing the folder, the renames (the first run has but one,
so its second is never reached), and flushing the parent, when the new bundle is in its place."""


@pytest.mark.parametrize("older", [False, True], ids=["first", "older one there"])
def test_killed_at_any_point_train_leaves_no_half_bundle(tmp_path: Path, bundle: Path, older: bool) -> None:
    log = tmp_path / "app.log"
    log.write_text(simulate_log(20, seed=4).text())
    if older:
        for point in POINTS:
            shutil.copytree(bundle, tmp_path / point)
    done = subprocess.run(
        [sys.executable, killed_train.__file__, log, tmp_path, *POINTS],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=True,
    )
    ended: dict[str, int] = json.loads(done.stdout)
    versions: dict[str, int] = {}
    for point in POINTS:
        if not older and not (tmp_path / point).exists():
            with pytest.raises(BundleError, match="is not there"):
                load_bundle(tmp_path / point)
            versions[point] = 0
            continue
        model = load_bundle(tmp_path / point)
        assert len(fresh_detector(model).score(order(1))) == len(order(1))
        versions[point] = model.version

    before, in_place = (3, {"fsync:13"}) if older else (0, {"fsync:13", "rename:2"})
    survived = {point for point in POINTS if ended[point] != -signal.SIGKILL}
    assert survived == (set() if older else {"rename:2"})
    assert versions == {point: (before + 1 if point in in_place else before) for point in POINTS}
