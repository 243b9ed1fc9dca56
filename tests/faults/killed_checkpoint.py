"""Runs `train --checkpoint` in children that kill themselves with SIGKILL, and once more to the end.

A process of its own, as `killed_train`, whose points it takes. Arguments: the folder for bundles and checkpoints, the
points, ``--``, and the logs. A run is killed at its point, and the one that goes on at the same call, if it gets so
far; then one may run. Prints an object with the exit codes of each point.
"""

import json
import os
import sys
from pathlib import Path

import deeplog_grpc.ingest.files as files
from deeplog_grpc.cli import main
from deeplog_grpc.models import set_threads
from tests.faults.killed_train import kill_at

files.BLOCK_BYTES = 4096


def train(logs: list[str], out: Path, folder: Path | None, point: str) -> int:
    """Exit code of a child; minus the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 0
    try:
        if point:
            place, _, call = point.partition(":")
            kill_at(place, int(call))
        options = ["--set", "key_model.epochs=1", "--set", "key_model.hidden=8", "--json"]
        progress = [] if folder is None else ["--checkpoint", str(folder), "--checkpoint-s", "0"]
        sys.argv = ["deeplog-grpc", "train", *logs, "--out", str(out), *progress, *options]
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


if __name__ == "__main__":
    set_threads(1)
    place = Path(sys.argv[1])
    split = sys.argv.index("--")
    points, logs = sys.argv[2:split], sys.argv[split + 1 :]
    codes = {"": [train(logs, place / "whole", None, "")]}
    for point in points:
        codes[point] = []
        for kill in (point, point, ""):
            if 0 not in codes[point]:
                codes[point].append(train(logs, place / point, place / f"{point}.progress", kill))
    print(json.dumps(codes))
