"""A rolling sample of an application's entries on disk: what its models are trained on, and trained anew.

    000007-4096.jsonl.zst  a closed segment with its number of entries, compressed
    000008.jsonl           a segment as it is written: a JSON object a line, the newest last

Invariants: entries stand in the order in which they were appended; each append is one write, so a kill leaves at most
its last line cut, which readers skip; a segment is whole under one of its two names at any time. One thread appends;
:meth:`SampleLog.tidy` may run in another, and readers in any thread or process.

Lines have the fields ``body``, ``time_unix_nano`` and, where any entry of their append has them, ``session`` and
``source``: ``deeplog-grpc train`` reads them too, those of a closed segment once ``zstd -d`` has unpacked it.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import zstandard

from deeplog_grpc.detection import EntryBatch

SEGMENT_BYTES = 4 << 20
"""Bytes after which a segment is closed: 20,000 entries or so, read back in some tenths of a second."""
SEGMENTS_KEPT = 8
"""A segment is closed too after an eighth of the time, and at an eighth of the room, that there is for all."""
BATCH_ENTRIES = 4_096
"""Entries that are read at once."""

MAX_SEGMENT_BYTES = 1 << 30
"""Bytes of a segment that are read: far more than any append leaves behind, and not what a forged one may hold."""

_MAX_TIME_NS = 2**63 - 1
_DAMAGED = (OSError, zstandard.ZstdError)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SamplePlace:
    """A place between two appends."""

    segment: int
    """Number of the segment."""
    offset: int
    """Bytes of its content before the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    number: int
    path: Path
    entries: int | None
    """None = the name does not tell."""

    @property
    def is_closed(self) -> bool:
        return self.path.suffix == ".zst"


class SampleLog:
    """Keeps the newest entries of one application.

    Parameters
    ----------
    directory : Path
        Its folder; made at the first entry.
    keep_bytes : int
        Bytes on the disk, about; the oldest segments go.
    keep_s : float
        Seconds between the arrival of the newest entry and that of the oldest one kept, about.
    clock : callable
        Seconds since 1970 UTC.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_bytes: int,
        keep_s: float,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._keep_bytes = keep_bytes
        self._keep_s = keep_s
        self._segment_bytes = min(segment_bytes, max(1, keep_bytes // SEGMENTS_KEPT))
        self._clock = clock
        found = _segments(directory)
        self._added = sum(_entries(segment) for segment in found)
        self._dropped = 0
        self.end = SamplePlace(segment=found[-1].number + 1 if found else 1, offset=0)
        """Behind the entry that was appended last. Other threads may read it."""
        self.whole_from = SamplePlace(segment=0, offset=0)
        """Behind the last entries that could not be kept."""
        self.losses = 0
        """Times that entries could not be kept. Other threads may read it."""
        self._file = -1
        self._began_s = 0.0

    @property
    def entries(self) -> int:
        """Entries kept, in any thread."""
        return self._added - self._dropped

    def append(self, batch: EntryBatch) -> None:
        """Add entries; what was added stays through a kill of the process.

        Raises
        ------
        OSError
            If the disk is full, say: then none, or not all, of them are kept.
        """
        try:
            self._append(_lines(batch), len(batch))
        except OSError:
            self.whole_from = self.end
            self.losses += 1
            raise

    def _append(self, lines: bytes, entries: int) -> None:
        now_s = self._clock()
        is_full = self.end.offset >= self._segment_bytes or now_s - self._began_s > self._keep_s / SEGMENTS_KEPT
        if self._file >= 0 and is_full:
            self._close_segment()
        if self._file < 0:
            self._open_segment(now_s)
        if os.write(self._file, lines) < len(lines):
            self._close_segment()  # what comes next must not stand behind half a line
            raise OSError("the sample was not written as a whole")
        self.end = SamplePlace(segment=self.end.segment, offset=self.end.offset + len(lines))
        self._added += entries

    def tidy(self) -> None:
        """Compress closed segments and let the oldest go; takes some tenths of a second for each.

        Raises
        ------
        OSError
            If the disk is full, say.
        """
        open_number = self.end.segment
        try:
            for segment in _segments(self.directory):
                if not segment.is_closed and segment.number < open_number:
                    _compress(segment)
        finally:  # a disk that is full has no room to compress in
            self._let_go(open_number)

    def _let_go(self, open_number: int) -> None:
        """Remove the oldest closed segments, where there are too many."""
        segments = _segments(self.directory)
        sizes = [segment.path.stat() for segment in segments]
        total = sum(size.st_size for size in sizes)
        newest_s = max((size.st_mtime for size in sizes), default=0.0)
        for segment, size in zip(segments, sizes, strict=True):
            is_old = size.st_mtime < newest_s - self._keep_s
            if segment.number >= open_number or not (total > self._keep_bytes or is_old):
                break
            dropped = _entries(segment)
            segment.path.unlink(missing_ok=True)
            total -= size.st_size
            self._dropped += dropped

    def close(self) -> None:
        """Write no more; what is kept stays."""
        if self._file >= 0:
            self._close_segment()

    def _open_segment(self, now_s: float) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{self.end.segment:06}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._began_s = now_s

    def _close_segment(self) -> None:
        os.close(self._file)
        self._file = -1
        self.end = SamplePlace(segment=self.end.segment + 1, offset=0)


def read_sample(
    directory: Path, *, start: SamplePlace | None = None, stop: SamplePlace | None = None
) -> Iterator[EntryBatch]:
    """The entries of a sample between two places, oldest first, in batches.

    Segments that are damaged are read as far as they are sound; those that go meanwhile are left out.
    """
    for segment in _segments(directory):
        if (start is not None and segment.number < start.segment) or (
            stop is not None and segment.number > stop.segment
        ):
            continue
        first = start.offset if start is not None and segment.number == start.segment else 0
        last = stop.offset if stop is not None and segment.number == stop.segment else None
        lines = _content(segment)[first:last].split(b"\n")[:-1]  # the last one is cut, or empty
        for begin in range(0, len(lines), BATCH_ENTRIES):
            if len(batch := _batch(lines[begin : begin + BATCH_ENTRIES])):
                yield batch


def place_of_last(directory: Path, entries: int, *, stop: SamplePlace | None = None) -> SamplePlace:
    """The beginning of a segment with at least so many entries from there to a place, if there are so many."""
    behind = 0
    for segment in reversed(_segments(directory)):
        if stop is not None and segment.number >= stop.segment:
            if segment.number > stop.segment:
                continue
            behind += _content(segment)[: stop.offset].count(b"\n")
        else:
            behind += _entries(segment)
        if behind >= entries:
            return SamplePlace(segment=segment.number, offset=0)
    return SamplePlace(segment=0, offset=0)


def newest_entries(
    directory: Path, *, stop: SamplePlace, entries: int, span_ns: int, start: SamplePlace | None = None
) -> EntryBatch:
    """The newest entries before a place: at most so many, and none older by more than a span than the newest one.

    Parameters
    ----------
    span_ns : int
        Nanoseconds of event time; 0 = no bound.
    start : SamplePlace, optional
        None of those before it.
    """
    found: list[EntryBatch] = []
    newest_ns = 0
    last = place_of_last(directory, entries, stop=stop)
    for batch in read_sample(directory, start=last if start is None else max(start, last), stop=stop):
        found.append(batch)
        newest_ns = max(newest_ns, int(batch.times_ns.max()))
    whole = EntryBatch.concat(found)
    first = max(0, len(whole) - entries)
    if span_ns and len(whole):
        recent = (whole.times_ns >= newest_ns - span_ns).nonzero()[0]
        first = max(first, int(recent[0]) if len(recent) else 0)
    return whole.slice(first, len(whole))


def _lines(batch: EntryBatch) -> bytes:
    """A JSON object a line. All at once: a call of the encoder for each would take six times as long."""
    times_ns = batch.times_ns.tolist()
    if any(batch.sessions) or any(batch.sources):
        rows = [
            {"body": body, "time_unix_nano": time_ns, "session": session, "source": source}
            for body, time_ns, session, source in zip(
                batch.bodies, times_ns, batch.sessions, batch.sources, strict=True
            )
        ]
    else:
        rows = [{"body": body, "time_unix_nano": time_ns} for body, time_ns in zip(batch.bodies, times_ns, strict=True)]
    try:
        # Inside a text every quotation mark has a backslash, so this stands between two objects and nowhere else.
        return orjson.dumps(rows)[1:-1].replace(b'},{"body":', b'}\n{"body":') + b"\n"
    except TypeError:  # half a pair of surrogates, which is no text
        return _lines(
            EntryBatch(
                bodies=_as_text(batch.bodies),
                times_ns=batch.times_ns,
                sessions=_as_text(batch.sessions),
                sources=_as_text(batch.sources),
            )
        )


def _as_text(texts: Sequence[str]) -> list[str]:
    return [text.encode(errors="replace").decode() for text in texts]


def _batch(lines: Sequence[bytes]) -> EntryBatch:
    bodies, times_ns, sessions, sources = [], [], [], []
    for line in lines:
        try:
            fields = orjson.loads(line)
            body, time_ns = fields["body"], fields["time_unix_nano"]
            session, source = fields.get("session", ""), fields.get("source", "")
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue
        if type(time_ns) is not int or not 0 <= time_ns <= _MAX_TIME_NS:
            continue
        if not (type(body) is type(session) is type(source) is str):
            continue
        bodies.append(body)
        times_ns.append(time_ns)
        sessions.append(session)
        sources.append(source)
    return EntryBatch.of(bodies, times_ns=times_ns, sessions=sessions, sources=sources)


def _segments(directory: Path) -> list[_Segment]:
    """The segments, oldest first; of one that a kill left under both names, the compressed one."""
    if not directory.is_dir():
        return []
    found: dict[int, _Segment] = {}
    for path in directory.glob("*.jsonl*"):
        number, _, entries = path.name.partition(".")[0].partition("-")
        if not number.isdecimal() or path.suffix not in (".jsonl", ".zst"):
            continue
        segment = _Segment(number=int(number), path=path, entries=int(entries) if entries.isdecimal() else None)
        if segment.is_closed or segment.number not in found:
            found[segment.number] = segment
    return [found[number] for number in sorted(found)]


def _entries(segment: _Segment) -> int:
    return segment.entries if segment.entries is not None else _content(segment).count(b"\n")


def _content(segment: _Segment) -> bytes:
    """As much of a segment as is sound; it may have been compressed, or have gone, since it was found."""
    try:
        if not segment.is_closed:
            return segment.path.read_bytes()
    except FileNotFoundError:
        now = next((one for one in _segments(segment.path.parent) if one.number == segment.number), None)
        return b"" if now is None or not now.is_closed else _content(now)
    except OSError:
        return b""
    return _decompressed(segment.path)


def _decompressed(path: Path) -> bytes:
    content = bytearray()
    try:
        with path.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as file:
            while len(content) < MAX_SEGMENT_BYTES and (block := file.read(1 << 20)):
                content += block
    except _DAMAGED:
        pass  # the rest is lost; what came before it is sound
    return bytes(content)


def _compress(segment: _Segment) -> None:
    content = segment.path.read_bytes()
    content = content[: content.rfind(b"\n") + 1]
    entries = content.count(b"\n")
    closed = segment.path.with_name(f"{segment.number:06}-{entries}.jsonl.zst")
    unfinished = segment.path.with_name(f".{segment.number:06}.unfinished")
    kept = segment.path.stat()
    if content:
        try:
            with unfinished.open("wb") as file:
                file.write(zstandard.ZstdCompressor(level=1, write_checksum=True).compress(content))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        os.utime(unfinished, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        unfinished.rename(closed)
    segment.path.unlink()
