"""Runs ``serve`` in children, one after the other, that are forked after all was imported: a start takes no seconds.

Arguments: the file that each child appends to what it has judged. Each line of standard input is the command line of a
child, as a JSON list; its process id is printed when it runs, and its exit code, or minus its signal, when it has
ended.

What was judged is noted below all receivers, when the verdicts are there and before anybody is told of them. A written
line survives the process, for the kernel has it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import deeplog_grpc.outputs.service  # noqa: F401 - what children would import, once for all
from deeplog_grpc.cli import main
from deeplog_grpc.detection import Detector, EntryBatch
from deeplog_grpc.models import set_threads


def note_judged(path: Path) -> None:
    """Let all detectors of this process note what they have judged."""
    record = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    size = os.fstat(record).st_size
    if size and os.pread(record, 1, size - 1) != b"\n":
        os.write(record, b"\n")  # a kill has torn a line
    judge = Detector.score

    def score(self: Detector, batch: EntryBatch) -> Any:
        verdicts = judge(self, batch)
        rows = zip(batch.bodies, batch.sessions, batch.sources, strict=True)
        os.write(record, "".join(f"{json.dumps(row)}\n" for row in rows).encode())
        return verdicts

    Detector.score = score  # type: ignore[method-assign]  # on purpose, in a process that does nothing else


def serve(arguments: list[str], record: Path) -> None:
    """Be a server, to the end of the process."""
    code = 1
    try:
        note_judged(record)
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
