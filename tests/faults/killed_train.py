"""Runs `train` in children that kill themselves with SIGKILL at a given call, and says how each one ended.

A process of its own: it imports torch once, and forks before any thread is there. Arguments: the log, the folder for
the bundles, and points as NAME:CALL, for example ``fsync:3`` for the third call of ``os.fsync``. Prints an object with
the signal or exit code of each point.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deeplog_grpc.models.fitting as fitting
import deeplog_grpc.training.trainer as trainer
from deeplog_grpc.cli import main
from deeplog_grpc.models import set_threads

PLACES: dict[str, tuple[Any, str]] = {
    "add": (trainer.Trainer, "add"),
    "pass": (fitting, "_validate"),
    "mkdir": (Path, "mkdir"),
    "fsync": (os, "fsync"),
    "rename": (Path, "rename"),
}


def kill_at(place: str, call: int) -> None:
    owner, name = PLACES[place]
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(owner, name, counted)


def train(log: str, out: Path, point: str) -> int:
    """Exit code of a child; minus the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    place, _, call = point.partition(":")
    kill_at(place, int(call))
    options = ["--set", "key_model.epochs=3", "--set", "key_model.hidden=8", "--json"]
    sys.argv = ["deeplog-grpc", "train", log, "--out", str(out), *options]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        main()
    finally:
        os._exit(0)  # only reached when the point was not


if __name__ == "__main__":
    set_threads(1)
    log, folder, *points = sys.argv[1:]
    print(json.dumps({point: train(log, Path(folder) / point, point) for point in points}))
