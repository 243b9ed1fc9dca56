"""What was applied to the detectors, on disk, so that a process that was killed goes on where it stopped.

    00000012.state   what the detectors held when log 12 began
    00000012.log     what was applied to them since, run by run
    00000011.log     older ones, for the answers in them

Invariant: what can be read back is all that was applied and then answered, or nothing at all. An append that fails
takes the states away: detectors that lack some entries raise false alarms, those that know nothing raise none.

All that was appended survives a kill of the process. After a loss of power the last second may be missing.
"""

import os
import struct
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import msgpack
import numpy as np
import structlog
import zstandard

FORMAT = 1
APPLIED = 1
"""Kind of a record: what was applied in a run."""
ANSWERS = 2
"""Kind of a record: what deliveries of a run that have a name were answered."""
TAKEN_UP = "taken-up"
"""File with the number of the start that took up what was found."""
OLDER_LOGS = 2
"""Logs that are kept for the answers in them, beside the one that is written."""

_MAGIC = b"DLGR"
_HEAD = struct.Struct("<4sHxxQ36s")
"""Of a file: magic, format, start of the server, run of the machine."""
_FRAME = struct.Struct("<IIB3x")
"""Before a record: bytes, checksum, kind."""
_MAX_FRAME = 1 << 31
_LEVEL = 1
"""Ten times as small as HDFS's lines, in 0.15 us a line."""

_log = structlog.get_logger("deeplog_grpc.storage")

Record = tuple[int, bytes]
"""Kind and content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a server that ran before left behind."""

    state: Mapping[str, Any]
    """What its detectors held."""
    start: int
    """Which start of the server it was, or the last one that took this up and was ended before it saved."""
    is_same_run: bool
    """Whether the machine has been running since: then nothing that was written is missing."""
    logs: tuple[Path, ...]
    """What it applied to them since then, in order."""
    older: tuple[Path, ...]
    """What it applied before."""

    def records(self) -> Iterator[Record]:
        """All of the logs, in order, up to the first that is not whole."""
        for path in self.logs:
            if not (yield from frames(path)):
                return

    def answers(self) -> Iterator[bytes]:
        """The answers in all logs, the older ones included."""
        for path in (*self.older, *self.logs):
            yield from (content for _, content in frames(path, only=ANSWERS))


class RecoveryLog:
    """The folder of one server. One thread appends; :meth:`save` and :meth:`sync` may run in another.

    Parameters
    ----------
    directory : Path
        Made when something is written.
    machine_run : str, optional
        Names the time since the machine was started; up to 36 characters.

    Examples
    --------
    >>> import tempfile
    >>> log = RecoveryLog(Path(tempfile.mkdtemp()))
    >>> log.save(log.begin(start=7), {"sessions": 2})
    >>> log.append([(APPLIED, b"one run")])
    >>> log.close()
    >>> found = RecoveryLog(log.directory).read()
    >>> found.state, found.start, list(found.records())
    ({'sessions': 2}, 7, [(1, b'one run')])
    """

    def __init__(self, directory: Path, *, machine_run: str | None = None) -> None:
        self.directory = directory
        self._machine_run = (_machine_run() if machine_run is None else machine_run).encode()[:36].ljust(36)
        self._number = max((number for number, _ in _files(directory, "")), default=0)
        self._file = -1
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.written_bytes = 0
        """Of the log that is written."""

    def read(self) -> Found | None:
        """The newest state that is whole, and what came after it; None if there is none."""
        logs = _files(self.directory, ".log")
        for number, path in reversed(_files(self.directory, ".state")):
            head, records = _head(path), list(frames(path))
            if head is None or not records:
                _log.error("saved sessions are damaged, or of another release: an older save is tried", file=path.name)
                continue
            start, run = head
            return Found(
                state=unpacked(records[0][1]),
                start=max(start, self._taken_up_by()),
                is_same_run=run == self._machine_run,
                logs=tuple(log for own, log in logs if own >= number),
                older=tuple(log for own, log in logs if own < number),
            )
        return None

    def take_up(self, start: int) -> None:
        """Note which start of the server goes on from what was found: if it ends before it saves, the next one does.

        Raises
        ------
        OSError
            If the disk is full, say.
        """
        unfinished = self.directory / f"{TAKEN_UP}.unfinished"
        unfinished.write_text(str(start))
        unfinished.rename(self.directory / TAKEN_UP)

    def _taken_up_by(self) -> int:
        try:
            return int((self.directory / TAKEN_UP).read_text())
        except (OSError, ValueError):
            return 0

    def begin(self, *, start: int) -> int:
        """Begin a log; returns its number, by which the state that it begins with is saved.

        Raises
        ------
        OSError
            If the disk is full, say.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._number += 1
        content = _HEAD.pack(_MAGIC, FORMAT, start, self._machine_run)
        before, self._file = (
            self._file,
            os.open(
                self._path(self._number, ".log"),
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
                0o600,
            ),
        )
        if before >= 0:
            os.close(before)
        self.written_bytes = 0
        _write(self._file, content)
        self._head = content
        return self._number

    def append(self, records: Sequence[Record]) -> None:
        """Add records to the log; they are all there, or none is read back.

        Raises
        ------
        OSError
            If the disk is full, say: what is there must then be dropped.
        """
        pieces = []
        for kind, content in records:
            packed = self._compressor.compress(content)
            pieces += [_FRAME.pack(len(packed), crc32(packed), kind), packed]
        written = b"".join(pieces)
        _write(self._file, written)
        self.written_bytes += len(written)

    def save(self, number: int, state: Mapping[str, Any]) -> None:
        """Save the state that a log begins with, on the disk for good, and let go of what it replaces.

        Raises
        ------
        OSError
            If the disk is full, say: the state before is still there.
        """
        packed = zstandard.ZstdCompressor(level=_LEVEL).compress(packed_state(state))
        path = self._path(number, ".state")
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(self._head + _FRAME.pack(len(packed), crc32(packed), APPLIED) + packed)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._tidy(number)

    def sync(self) -> None:
        """Wait until the disk has what was appended."""
        if (file := self._file) >= 0:
            with suppress(OSError):  # closed meanwhile, or a disk that fails: the next write says so
                os.fdatasync(file)

    def drop(self) -> None:
        """Let go of everything: what is there lacks something. Needs no room on the disk."""
        for suffix in (".state", ".unfinished", ".log"):
            for _, path in _files(self.directory, suffix):
                path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Write no more, until :meth:`begin`."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _path(self, number: int, suffix: str) -> Path:
        return self.directory / f"{number:08}{suffix}"

    def _tidy(self, number: int) -> None:
        """Keep this state and the one before, should this one turn out to be damaged, and the logs that they need."""
        *gone, before, _ = [(0, Path()), (0, Path()), *_files(self.directory, ".state")]
        needed = min(before[0] or number, number - OLDER_LOGS)
        gone += [found for found in _files(self.directory, ".unfinished") if found[0] < number]
        gone += [found for found in _files(self.directory, ".log") if found[0] < needed]
        for own, path in gone:
            if own:
                path.unlink(missing_ok=True)


def frames(path: Path, *, only: int | None = None) -> Generator[Record, None, bool]:
    """The records of a file, up to the first that is not whole; returns whether all are.

    Parameters
    ----------
    only : int, optional
        Kind of the records that are read; others are passed over.
    """
    if _head(path) is None:
        return False
    unpack = zstandard.ZstdDecompressor().decompress
    with path.open("rb") as file:
        file.seek(_HEAD.size)
        while head := file.read(_FRAME.size):
            if len(head) < _FRAME.size:
                return False
            size, checksum, kind = _FRAME.unpack(head)
            if only is not None and kind != only:
                file.seek(size, os.SEEK_CUR)
                continue
            content = file.read(min(size, _MAX_FRAME))
            if len(content) != size or crc32(content) != checksum:
                return False
            yield kind, unpack(content)
    return True


def packed_state(state: Mapping[str, Any]) -> bytes:
    """Plain data and columns as bytes."""
    content: bytes = msgpack.packb(state, default=_plain, unicode_errors="surrogatepass")
    return content


def unpacked(content: bytes) -> Any:
    """What :func:`packed_state` made bytes of; columns come back as their bytes."""
    return msgpack.unpackb(content, strict_map_key=False, unicode_errors="surrogatepass")


def _plain(value: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else value.item()


def _files(directory: Path, suffix: str) -> list[tuple[int, Path]]:
    """Files with their numbers, ascending."""
    return sorted((int(path.stem), path) for path in directory.glob(f"*{suffix}") if path.stem.isdecimal())


def _head(path: Path) -> tuple[int, bytes] | None:
    """Start of the server and run of the machine; None if the file cannot be read."""
    try:
        with path.open("rb") as file:
            magic, form, start, run = _HEAD.unpack(file.read(_HEAD.size))
    except (OSError, struct.error):
        return None
    return (start, run) if magic == _MAGIC and form == FORMAT else None


def _write(file: int, content: bytes) -> None:
    if os.write(file, content) != len(content):
        raise OSError("the disk took only a part")


def _machine_run() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: then nothing is certain after a restart
        return os.urandom(18).hex()
