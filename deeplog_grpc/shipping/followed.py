"""One file that is followed: its place, what is new in it, and whether it is still the same file."""

import os
import stat as stats
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.positions import HEAD_BYTES, LAST_BYTES, Position
from deeplog_grpc.shipping.splitting import split_lines

CHUNK_BYTES = 256 * 1024
"""Bytes read at once; longer than two lines of the greatest length, if these are longer."""


class EntryReader(Protocol):
    """Makes entries of lines; see :class:`~deeplog_grpc.shipping.entries.LineEntryReader`."""

    @property
    def partials(self) -> Mapping[str, tuple[str, str]]:
        """What is read and not whole yet."""
        ...

    def read(self, lines: Sequence[bytes], reference_ns: int) -> list[bytes]:
        """The entries of lines."""
        ...


NewReader = Callable[[Position], EntryReader]
"""Makes the reader of a file, with the partial records of its position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What was read at once."""

    entries: list[bytes]
    name: str = ""
    """Of the position; empty = what is read cannot be read again."""
    position: bytes = b""
    """Up to where it was read."""


class Change(Enum):
    """What happened to a file between two looks, judged by its size and by what stands before the place."""

    NONE = auto()
    """It may have grown."""
    TRUNCATED = auto()
    """It is shorter than what was read: what was read now was there before."""
    REWRITTEN = auto()
    """Something else stands there: what was read now is not known to begin at a line."""


def judge(position: Position, size: int, head: bytes, last: bytes) -> Change:
    r"""Say what happened to a file.

    Parameters
    ----------
    position : Position
        The place up to which it was read.
    size : int
        Bytes of the file after the read.
    head : bytes
        Its first ``position.head_bytes``, as they are now.
    last : bytes
        The ``position.last_bytes`` before the place, as they are now.

    Examples
    --------
    >>> position = Position(path="a", device=1, inode=1).advance(b"one\n", 4, is_skipping=False)
    >>> judge(position, 9, b"one\n", b"one\n"), judge(position, 9, b"six\n", b"six\n")
    (<Change.NONE: 1>, <Change.REWRITTEN: 3>)
    >>> judge(position, 3, b"one", b"one")
    <Change.TRUNCATED: 2>
    """
    if size < position.offset:
        return Change.TRUNCATED
    if zlib.crc32(head) != position.head_crc32 or zlib.crc32(last) != position.last_crc32:
        return Change.REWRITTEN
    return Change.NONE


class Followed:
    """A file that is followed.

    Parameters
    ----------
    position : Position
        Where to go on.
    new_reader : callable
        Makes the reader of its lines.
    max_line_bytes : int
    partial_line_s : float
        Quiet seconds after which a last line without end is taken for whole.
    counts : Counts
    """

    def __init__(
        self, position: Position, new_reader: NewReader, *, max_line_bytes: int, partial_line_s: float, counts: Counts
    ) -> None:
        self.position = position
        self.rotated_at: float | None = None
        """When it was no longer found under any path that is followed."""
        self.is_over = False
        """Whether its number now belongs to another file."""
        self._new_reader = new_reader
        self._reader = new_reader(position)
        self._max_line_bytes = max_line_bytes
        self._partial_line_s = partial_line_s
        self._counts = counts
        self._descriptor = -1
        self._looked: tuple[int, int] | None = None
        """Size and time of the last change when all of it was read."""
        self._seen = (-1, 0)
        self._known_size = position.offset
        self.grew_at = 0.0
        """When something of it was new."""

    @property
    def is_open(self) -> bool:
        """Whether it is held, so that it can be read after it was removed."""
        return self._descriptor >= 0

    @property
    def mtime_ns(self) -> int:
        """When it was changed last, in ns since 1970 UTC; 0 = not known."""
        return self._seen[1]

    @property
    def is_unchanged(self) -> bool:
        """Whether there is no need to open it: it is as it was when all of it was read."""
        return not self.is_open and self._seen == self._looked and not self.has_rest

    @property
    def has_rest(self) -> bool:
        """Whether something is there that is not a whole line yet."""
        return self._known_size > self.position.offset

    def open(self) -> bool:
        """Hold the file; False if it is not at its path any more."""
        if self.is_open:
            return True
        try:
            descriptor = os.open(self.position.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        found = os.fstat(descriptor)
        is_same = (found.st_dev, found.st_ino) == (self.position.device, self.position.inode)
        if not is_same or not stats.S_ISREG(found.st_mode):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def close(self) -> None:
        """Hold it no longer."""
        if self.is_open:
            os.close(self._descriptor)
            self._descriptor = -1

    def seen(self, path: str, size: int = -1, mtime_ns: int = 0) -> None:
        """It is found at a path, with a size; -1 = not known."""
        if path != self.position.path:
            self.position = replace(self.position, path=path)
        self._seen = (size, mtime_ns)

    def skip_to_end(self) -> None:
        """Go on behind the last whole line that is there; the file is open."""
        size = os.fstat(self._descriptor).st_size
        start = max(0, size - CHUNK_BYTES)
        tail = os.pread(self._descriptor, size - start, start)
        end = start + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
        head = os.pread(self._descriptor, min(end, HEAD_BYTES), 0)
        last = os.pread(self._descriptor, min(end, LAST_BYTES), max(0, end - LAST_BYTES))
        place = self.position.begin().advance(head, len(head), is_skipping=False)
        self.position = replace(place, offset=end, last_bytes=len(last), last_crc32=zlib.crc32(last))

    def read(self, now: float, *, is_final: bool = False) -> Portion | None:
        """What is new, at most a chunk; None = nothing is. The file is open.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        is_final : bool
            Whether a last line without end is taken for whole at once.
        """
        before = os.fstat(self._descriptor)
        has_grown = before.st_size != self._known_size
        is_quiet = self.has_rest and not has_grown and now - self.grew_at >= self._partial_line_s
        if (before.st_size, before.st_mtime_ns) == self._looked and not is_quiet:
            return None
        chunk_bytes = max(CHUNK_BYTES, 2 * self._max_line_bytes)
        chunk = os.pread(self._descriptor, chunk_bytes, self.position.offset)
        change = self._change()
        if change is not Change.NONE and (change is Change.REWRITTEN or not chunk):
            return self._begin_again()
        if has_grown:
            self.grew_at = now
        self._known_size = self.position.offset + len(chunk)
        # What was written since the look at its size shows as another size at the next look.
        is_whole = self._known_size == before.st_size
        self._looked = (before.st_size, before.st_mtime_ns) if is_whole else None
        return self._portion(chunk, before.st_mtime_ns, is_final=is_whole and (is_final or is_quiet))

    def _portion(self, chunk: bytes, mtime_ns: int, *, is_final: bool) -> Portion | None:
        split = split_lines(
            chunk, max_line_bytes=self._max_line_bytes, is_skipping=self.position.is_skipping, is_final=is_final
        )
        if not split.size:
            return None
        entries = self._reader.read(split.lines, mtime_ns)
        place = self.position.advance(chunk, split.size, is_skipping=split.is_skipping)
        self.position = replace(place, partials=dict(self._reader.partials))
        self._counts.lines_read += len(split.lines)
        self._counts.lines_cut += split.cut
        self._counts.bytes_read += split.size
        return Portion(entries=entries, name=self.position.name, position=self.position.pack())

    def _change(self) -> Change:
        place, descriptor = self.position, self._descriptor
        head = os.pread(descriptor, place.head_bytes, 0) if place.head_bytes else b""
        last = os.pread(descriptor, place.last_bytes, place.offset - place.last_bytes) if place.last_bytes else b""
        return judge(place, os.fstat(descriptor).st_size, head, last)

    def _begin_again(self) -> Portion | None:
        """The file was truncated, and is another one from now on."""
        if self.rotated_at is not None:
            # A file that was rotated does not begin anew: its number was given to another one.
            self.is_over = True
            return None
        self._counts.lost_bytes += max(0, self._known_size - self.position.offset)
        self.position = self.position.begin()
        self._reader = self._new_reader(self.position)
        self._looked, self._known_size = None, 0
        return Portion(entries=[], name=self.position.name, position=self.position.pack())
