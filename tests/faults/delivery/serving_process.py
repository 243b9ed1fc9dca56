"""Runs ``serve`` in children, one after the other, that are forked after all was imported: a start takes no seconds.

Arguments: the file that each child appends to what it has judged. Each line of standard input is the command line of a
child, as a JSON list; its process id is printed when it runs, and its exit code, or minus its signal, when it has
ended.

What was judged is noted below all receivers, when the verdicts are there and before anybody is told of them. A written
line survives the process, for the kernel has it. What a server goes through again at its start, to restore its
sessions, is not noted: nobody sent it.

The environment of a child may set its wall clock: see :func:`shift_clock`.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deeplog_grpc.outputs.service  # noqa: F401 - what children would import, once for all
from deeplog_grpc.cli import main
from deeplog_grpc.detection import Detector, EntryBatch
from deeplog_grpc.models import set_threads
from deeplog_grpc.serving.scoring import ScoringWorker

CLOCK = "--clock-file"
"""Before the arguments of a child: the file that holds by how many seconds its wall clock is wrong."""


def note_judged(path: Path) -> None:
    """Let all detectors of this process note what they have judged."""
    record = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    size = os.fstat(record).st_size
    if size and os.pread(record, 1, size - 1) != b"\n":
        os.write(record, b"\n")  # a kill has torn a line
    judge, work = Detector.score, ScoringWorker.__call__
    is_at_work = False

    def score(self: Detector, batch: EntryBatch) -> Any:
        verdicts = judge(self, batch)
        if is_at_work:
            rows = zip(batch.bodies, batch.sessions, batch.sources, strict=True)
            os.write(record, "".join(f"{json.dumps(row)}\n" for row in rows).encode())
        return verdicts

    def run(self: ScoringWorker, jobs: Any) -> Any:
        nonlocal is_at_work
        is_at_work = True
        try:
            return work(self, jobs)
        finally:
            is_at_work = False

    Detector.score = score  # type: ignore[method-assign]  # on purpose, in a process that does nothing else
    ScoringWorker.__call__ = run  # type: ignore[method-assign]  # as above


def shift_clock(file: Path) -> None:
    """Have the wall clock wrong by the seconds that a file holds, whatever they are at each moment.

    The monotonic clocks stay as they are, as they do when an administrator or a time server steps the wall clock.
    """
    now, now_ns = time.time, time.time_ns

    def shift_s() -> int:
        return int(file.read_text() or 0)

    def shifted() -> float:
        return now() + shift_s()

    def shifted_ns() -> int:
        return now_ns() + shift_s() * 10**9

    time.time, time.time_ns = shifted, shifted_ns
    _replace_defaults(now, shifted)
    _replace_defaults(now_ns, shifted_ns)


def _replace_defaults(old: Callable[[], Any], new: Callable[[], Any]) -> None:
    """Functions that took the clock as a default have the real one; give them the other."""
    for name, module in list(sys.modules.items()):
        if name.startswith("deeplog_grpc."):
            for owner in [module, *(one for one in vars(module).values() if isinstance(one, type))]:
                for function in list(vars(owner).values()):
                    defaults = getattr(function, "__kwdefaults__", None) or {}
                    for parameter, default in defaults.items():
                        if default is old:
                            defaults[parameter] = new


def serve(arguments: list[str], record: Path) -> None:
    """Be a server, to the end of the process."""
    code = 1
    try:
        note_judged(record)
        if arguments[0] == CLOCK:
            shift_clock(Path(arguments[1]))
            arguments = arguments[2:]
        sys.argv = ["deeplog-grpc", *arguments]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    set_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            serve(json.loads(line), Path(sys.argv[1]))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
