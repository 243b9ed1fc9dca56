"""Log lines, raw or JSON objects, as entries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.parsing import HeadTimestamps

BODY_FIELDS = ("body", "message", "msg", "log", "MESSAGE")
"""Names under which loggers put the text, in the order in which they are tried."""
TIME_FIELDS = ("time_unix_nano", "time", "timestamp", "@timestamp", "ts", "date")
SESSION_FIELDS = ("session", "trace_id", "request_id")
SOURCE_FIELDS = ("source", "host", "hostname", "pod")

_NS_DIGITS = 19
"""Digits of a present time in nanoseconds; a number of fewer digits is in a longer unit."""

_DAY_NS = 86_400_000_000_000

_MAX_NS = (1 << 63) - 1
"""A later time (the year 2262) does not fit a column of times: the number is something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEntries:
    """The entries of some lines."""

    numbers: tuple[int, ...]
    """Place of each entry's line among the lines given, from 0; empty lines give no entry. Length n."""
    applications: tuple[str, ...]
    """"" where the line names none. Length n."""
    batch: EntryBatch
    """The n entries."""


class LineReader:
    """Reads lines as entries.

    A line that is a JSON object with a text under one of ``BODY_FIELDS`` gives its fields; any other line is raw: a
    time stamp at its head gives the time, the rest is the body.

    Parameters
    ----------
    source : str
        Source of entries that name none.
    reference_ns : int
        A time near that of the log, in ns since 1970 UTC, for time stamps without a year; 0 = none is known.

    Examples
    --------
    >>> entries = LineReader(source="app.log").read(
    ...     ["2024-05-01 10:00:00 started", '{"msg": "done", "session": "s1"}', ""]
    ... )
    >>> list(entries.batch.bodies), list(entries.batch.sessions), entries.batch.times_ns.tolist()
    (['started', 'done'], ['', 's1'], [1714557600000000000, 0])
    """

    def __init__(self, *, source: str, reference_ns: int = 0) -> None:
        self._source = source
        self._reference_ns = reference_ns
        self._timestamps = HeadTimestamps()

    def read(self, lines: Sequence[str]) -> LineEntries:
        """Read lines; see the class."""
        numbers = [number for number, line in enumerate(lines) if line and not line.isspace()]
        heads = list(lines) if len(numbers) == len(lines) else [lines[number] for number in numbers]
        objects = {
            place: found for place, line in enumerate(heads) if line[0] == "{" and (found := _object(line)) is not None
        }
        for place, fields in objects.items():
            heads[place] = _body(fields)
        times_ns, bodies = self._timestamps.split(heads, self._reference_ns)
        if not all(bodies):  # a line that is nothing but a time stamp is an entry all the same, with that as its text
            bodies = [body or head for body, head in zip(bodies, heads, strict=True)]
        sessions, sources = [""] * len(numbers), [self._source] * len(numbers)
        applications = [""] * len(numbers)
        for place, fields in objects.items():
            named_ns = next((time_ns for name in TIME_FIELDS if (time_ns := self._time_ns(fields.get(name)))), 0)
            times_ns[place] = named_ns or times_ns[place]
            sessions[place] = _text(_first(fields, SESSION_FIELDS))
            sources[place] = _text(_first(fields, SOURCE_FIELDS)) or self._source
            applications[place] = _text(fields.get("application"))
        return LineEntries(
            numbers=tuple(numbers),
            applications=tuple(applications),
            batch=EntryBatch(bodies=bodies, times_ns=times_ns, sessions=sessions, sources=sources),
        )

    def _time_ns(self, value: Any) -> int:
        """Nanoseconds since 1970 of a number (of seconds, ms, us or ns, by its size) or a text; 0 = not a time."""
        if isinstance(value, str):
            times_ns, _ = self._timestamps.split([value], self._reference_ns)
            return int(times_ns[0])
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**63:
            return 0
        digits = len(str(int(value)))
        scale = 10 ** max(0, (_NS_DIGITS - digits) // 3 * 3) if digits >= 9 else 0
        time_ns = int(value * scale)
        return time_ns if time_ns <= _MAX_NS else 0


def carried(times_ns: Sequence[int], sources: Sequence[str]) -> list[int]:
    """Times where lines without one have that of the line before them of the same source, else of the one after.

    A stack trace is of the time of its head. The time of its reading may be hours from that: clocks differ in zone.

    Parameters
    ----------
    times_ns : sequence of int [n]
        0 = the line has none.
    sources : sequence of str [n]

    Returns
    -------
    list of int [n]
        0 where no line of the source has a time.

    Examples
    --------
    >>> carried([0, 5, 0, 0, 7], ["a", "a", "a", "b", "a"])
    [5, 5, 5, 0, 7]
    """
    filled = _filled(times_ns, sources)
    return _filled(filled[::-1], sources[::-1])[::-1]


def _filled(times_ns: Sequence[int], sources: Sequence[str]) -> list[int]:
    last: dict[str, int] = {}
    filled = []
    for time_ns, source in zip(times_ns, sources, strict=True):
        if time_ns:
            last[source] = time_ns
        filled.append(time_ns or last.get(source, 0))
    return filled


class ArrivedLines:
    """Readers of lines that have just arrived: times without a year are near the arrival."""

    def __init__(self) -> None:
        self._day = 0
        self._reader = LineReader(source="")

    def near(self, arrival_ns: int) -> LineReader:
        """The reader for a time of arrival, in nanoseconds since 1970; a new one a day, for it caches what it read."""
        if (day := arrival_ns // _DAY_NS) != self._day:
            self._day = day
            self._reader = LineReader(source="", reference_ns=day * _DAY_NS)
        return self._reader


def _object(line: str) -> dict[str, Any] | None:
    """The JSON object that a line is, if it has a body."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) and _body(fields) else None


def _body(fields: Mapping[str, Any]) -> str:
    """The first text under one of the names, without its line end; "" = there is none."""
    texts = (fields.get(name) for name in BODY_FIELDS)
    return next((body for text in texts if isinstance(text, str) and (body := text.rstrip("\r\n"))), "")


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), None)


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)
