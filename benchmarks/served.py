"""What the server benchmarks have in common: HDFS lines, the model that is served, and the servers themselves.

The model is trained on the first 60 % of the log's time without the lines of abnormal blocks; the rest is what is
scored, as new sessions each time.
"""

import atexit
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.harness import PROGRAM, ServerProcess, run, server_process
from benchmarks.hdfs import repeated, split_raw, write_lines

TRAIN_SHARE = 0.6
STREAM_REPEATS = 2
"""How often the rest of the log is streamed in one run, each time as new sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What there is to serve and to send."""

    bundle: Path
    rest: Path
    """File of the lines that were not trained on."""
    stream: Path
    """File of the same lines, ``STREAM_REPEATS`` times over as new sessions."""


@cache
def trained(data: Path) -> Trained:
    """Train once for all benchmarks of this process; the files go when it ends."""
    folder = tempfile.TemporaryDirectory(prefix="deeplog-grpc-served-")
    atexit.register(folder.cleanup)
    work = Path(folder.name)
    split = split_raw(data / "hdfs_raw_2pct", TRAIN_SHARE)
    run("train", str(write_lines(work / "train.log", split.train)), "--out", str(work / "model"))
    return Trained(
        bundle=work / "model",
        rest=write_lines(work / "rest.log", split.rest),
        stream=write_lines(work / "stream.log", repeated(split.rest, STREAM_REPEATS)),
    )


@contextmanager
def deeplog(bundle: Path, *options: str, core: int | None = None) -> Iterator[ServerProcess]:
    """The real server with a model, everything on, and nothing in its state."""
    with tempfile.TemporaryDirectory(prefix="deeplog-grpc-state-") as state:
        command = [PROGRAM, "serve", "--model", str(bundle), "--state", state, "--listen", "127.0.0.1:0", *options]
        with server_process(command, core=core) as server:
            yield server


@contextmanager
def echo(mode: str, *, core: int | None = None) -> Iterator[ServerProcess]:
    """A server that does nothing, see :mod:`benchmarks.echo`."""
    with server_process([sys.executable, "-m", "benchmarks.echo", mode], core=core) as server:
        yield server


@cache
def has_workers() -> bool:
    """Whether the server can score in several processes."""
    text = subprocess.run([PROGRAM, "serve", "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"--workers\b", text) is not None
