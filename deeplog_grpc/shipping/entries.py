"""Lines of a file as entries of the contract."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat

from deeplog_grpc.ingest.lines import LineEntries, LineReader
from deeplog_grpc.parsing import HeadTimestamps
from deeplog_grpc.shipping.config import LineFormat
from deeplog_grpc.shipping.containers import READERS, ContainerRecord, Joiner, attributes_of, format_of
from deeplog_grpc.shipping.wire import entries_of, entry_fields

_DAY_NS = 86_400 * 10**9


class LineEntryReader:
    """Reads the lines of one file as entries of the contract, one after another.

    Bytes that are not UTF-8 stay as they are: they come through as surrogates. Blank lines give no entry. A line
    without a time gets the time at which it is read, since it may wait long before the server sees it.

    Parameters
    ----------
    source : str
        Source of entries that name none.
    path : str
        The file; its name may tell a container's attributes.
    form : LineFormat
        What the lines are.
    max_line_bytes : int
        Bound of records that are put together.
    partials : mapping
        Records that are not whole yet, see :class:`Joiner`.
    clock_ns : callable
        Nanoseconds since 1970 UTC.

    Examples
    --------
    >>> from deeplog_grpc.v1.deeplog_service_pb2 import EntryBatch
    >>> reader = LineEntryReader(source="h:app.log", path="app.log", form="auto", max_line_bytes=1024)
    >>> entries = reader.read([b"2024-05-01 10:00:00 started", b""], reference_ns=0)
    >>> [(entry.body, entry.time_unix_nano) for entry in EntryBatch.FromString(b"".join(entries)).entries]
    [('started', 1714557600000000000)]
    """

    def __init__(
        self,
        *,
        source: str,
        path: str,
        form: LineFormat,
        max_line_bytes: int,
        partials: Mapping[str, tuple[str, str]] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._source = source
        self._form: LineFormat = form
        self._attributes = attributes_of(path)
        self._plain = entry_fields(source=_bytes(source), attributes=self._attributes)
        self._joiner = Joiner(partials or {}, max_text=max_line_bytes)
        self._clock_ns = clock_ns

    @property
    def partials(self) -> Mapping[str, tuple[str, str]]:
        """Records that are not whole yet."""
        return self._joiner.partials

    def read(self, lines: Sequence[bytes], reference_ns: int) -> list[bytes]:
        """Entries of some lines, as :func:`entries_of` gives them.

        Parameters
        ----------
        lines : sequence of bytes
            Without line ends.
        reference_ns : int
            About when they were written, in ns since 1970 UTC, for time stamps without a year.
        """
        texts = b"\n".join(lines).decode(errors="surrogateescape").split("\n") if lines else []
        if self._form == "auto" and (first := next((text for text in texts if text and not text.isspace()), "")):
            self._form = format_of(first) or "json"
        day_ns = reference_ns - reference_ns % _DAY_NS
        if self._form in ("docker", "cri"):
            return self._read_records(texts, READERS[self._form], day_ns)
        if self._form == "raw" or not any(text.startswith("{") for text in texts):
            return self._read_raw(texts, day_ns)
        return self._entries(_line_reader(day_ns).read(texts))

    def _read_raw(self, texts: Sequence[str], day_ns: int) -> list[bytes]:
        texts = [text for text in texts if text and not text.isspace()]
        times_ns, bodies = _timestamps(day_ns).split(texts, day_ns)
        # A line that is nothing but a time stamp is an entry all the same: its text is the time stamp.
        whole = (body or text for body, text in zip(bodies, texts, strict=True))
        return entries_of(map(_bytes, whole), self._times(times_ns.tolist()), repeat(self._plain))

    def _read_records(self, texts: Sequence[str], read: Callable[[str], ContainerRecord], day_ns: int) -> list[bytes]:
        records = self._joiner.join([read(text) for text in texts if text and not text.isspace()])
        times_ns, _ = _timestamps(day_ns).split([record.time for record in records], day_ns)
        found = _line_reader(day_ns).read([record.text for record in records])
        for place, number in enumerate(found.numbers):
            found.batch.times_ns[place] = times_ns[number] or found.batch.times_ns[place]
        return self._entries(found, [records[number].stream for number in found.numbers])

    def _entries(self, found: LineEntries, streams: Sequence[str] = ()) -> list[bytes]:
        batch = found.batch
        fields = [
            self._fields(application, session, source, stream)
            for application, session, source, stream in zip(
                found.applications, batch.sessions, batch.sources, streams or repeat(""), strict=False
            )
        ]
        return entries_of(map(_bytes, batch.bodies), self._times(batch.times_ns.tolist()), fields)

    def _fields(self, application: str, session: str, source: str, stream: str) -> bytes:
        if not (application or session or source or stream):
            return self._plain
        return entry_fields(
            application=_bytes(application),
            session=_bytes(session),
            source=_bytes(source or self._source),
            attributes={**self._attributes, "stream": stream} if stream else self._attributes,
        )

    def _times(self, times_ns: list[int]) -> list[int]:
        if all(times_ns):
            return times_ns
        now_ns = self._clock_ns()
        return [time_ns or now_ns for time_ns in times_ns]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


# Shared by all files: what each remembers of seconds may grow to megabytes.
@lru_cache(8)
def _timestamps(day_ns: int) -> HeadTimestamps:
    return HeadTimestamps()


@lru_cache(8)
def _line_reader(day_ns: int) -> LineReader:
    return LineReader(source="", reference_ns=day_ns)
