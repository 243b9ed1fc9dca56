"""Log records as JSON lines, in a file or on standard output."""

import asyncio
import os
import select
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from deeplog_grpc.outputs.config import FileOutput
from deeplog_grpc.outputs.encoding import json_line
from deeplog_grpc.outputs.failures import TryAgainError
from deeplog_grpc.outputs.shapes import OutRecord

STANDARD_OUTPUT = "-"
_PIPE_BYTES = 512
"""A pipe that is ready takes so many without blocking (POSIX)."""


class FileSender:
    """Appends records to a file; each is a whole line, also after a full disk or a kill.

    Parameters
    ----------
    config : FileOutput
    thread : Executor
        Where the disk is waited for.
    """

    def __init__(self, config: FileOutput, thread: Executor) -> None:
        self.batch = config.batch
        self._path = Path(config.path)
        self._sync = config.sync
        self._timeout_s = config.timeout_s
        self._thread = thread
        self._file: int | None = None
        self._torn = b""
        """The rest of a line that standard output did not take."""

    async def send(self, items: Sequence[OutRecord]) -> None:
        """See :class:`~deeplog_grpc.outputs.senders.Sender`."""
        write = self._write_out if str(self._path) == STANDARD_OUTPUT else self._write_file
        lines = [json_line(record) for record in items]
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, write, lines)
        except OSError as error:
            self._close()
            raise TryAgainError(f"cannot be written: {error.strerror}") from error

    async def close(self) -> None:
        """See :class:`~deeplog_grpc.outputs.senders.Sender`."""
        self._close()

    def _write_file(self, lines: Sequence[bytes]) -> None:
        file = self._open()
        left = memoryview(b"".join(lines))
        while left:
            left = left[os.write(file, left) :]
        if self._sync:
            os.fsync(file)

    def _open(self) -> int:
        """The file at the path: the one that is open, unless it was moved or removed."""
        if self._file is not None:
            try:
                if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                    return self._file
            except FileNotFoundError:
                pass
            self._close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # a line was torn: what comes next must not be a part of it
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write_out(self, lines: Sequence[bytes]) -> None:
        """Write to standard output without blocking for ever when nobody reads it."""
        out = sys.stdout.fileno()
        for line in (self._torn, *lines):
            left = line
            while left:
                if not select.select([], [out], [], self._timeout_s)[1]:
                    self._torn = b"" if left is line else left
                    raise TryAgainError("standard output is not read")
                left = left[os.write(out, left[:_PIPE_BYTES]) :]
            self._torn = b""
