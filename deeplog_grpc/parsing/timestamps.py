"""Time stamps at the head of raw lines: recognised, read, and taken off.

Which format a line has follows from the line alone: its first character selects a few formats, tried in a fixed order,
so the answer depends neither on other lines nor on batches. Lines that stand together mostly share one: a batch is
read in one pass by the format of its first line, and only what that pass leaves is read line by line. The text of a
second is converted once and then found in a bounded cache. Times without a zone are UTC. A date that does not exist is
no time stamp.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

_NS = 1_000_000_000
_MAX_SECONDS_CACHED = 65_536
"""About 10 MB; when full, the cache starts anew."""

_MAX_EPOCH_S = 4_102_444_800
"""The year 2100: a larger number at the head of a line is no time."""

_DAYS_CACHED = 1024
"""Days whose midnight is remembered; lines come nearly in order."""

_YEARS_BACK = 8
"""29 February without a year: the last leap year is at most that far away."""

_NAME = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_MONTHS = {name: month for month, name in enumerate(_NAME.split("|"), 1)}
_FRACTION = r"(?:[.,](\d{1,9})\d*)?"
_ZONE = r"(?:\s?(Z|UTC|GMT|[+-]\d\d:?\d\d)(?![\w:]))?"
_NO_ZONE = _NOTHING = "(\\Z.)?"
"""A group that never takes part, so that all patterns have the same groups."""
_END = r"(?![\w:])"
_GROUP = re.compile(r"(?<!\\)\((?!\?)")

_LEAST_TOGETHER = 8
"""Lines from which on it pays to read them together."""


@dataclass(frozen=True, slots=True, eq=False)
class _Format:
    """One format of time stamps."""

    pattern: re.Pattern[str]
    """Groups: 1 what stands before and is kept, 2 the text up to the second, 3 the fraction's digits, 4 the zone."""
    fields: re.Pattern[str]
    """Groups of the text up to the second: any of year, month, day, hour, minute, second, epoch."""

    @property
    def ends_with_seconds(self) -> bool:
        """Whether the last two characters of that text are the seconds."""
        return self.fields.pattern.endswith(r"(?P<second>\d{2})")


def _format(second: str, *, before: str = _NOTHING, after: str = _FRACTION + _NO_ZONE + _END) -> _Format:
    """Build a format from the pattern of its text up to the second, where ``Y`` is ``(?P<year>`` and so on."""
    names = {"Y": "year", "M": "month", "D": "day", "h": "hour", "m": "minute", "s": "second", "e": "epoch"}
    plain = re.sub(r"<\w(\d?,?\d)>", r"\\d{\1}", second).replace("<N>", f"(?:{_NAME})")
    named = re.sub(r"<(\w)(\d?,?\d)>", lambda field: rf"(?P<{names[field[1]]}>\d{{{field[2]}}})", second)
    return _Format(
        re.compile(f"{before}({plain}){after}", re.ASCII),
        re.compile(named.replace("<N>", f"(?P<month>{_NAME})"), re.ASCII),
    )


_CLOCK = "<h2>:<m2>:<s2>"
_CLF = rf"<D2>/<N>/<Y4>:{_CLOCK}"
_ISO = rf"<Y4>[-/.]<M1,2>[-/.]<D1,2>[T _]{_CLOCK}"
_WEEKDAY_FIRST = rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) <N> +<D1,2> {_CLOCK}(?: [A-Z]{{3,4}})? <Y4>"
_NO_YEAR = rf"<N> +<D1,2> {_CLOCK}"
_EPOCH = "<e10>"
_EPOCH_END = r"(?:(?=\.\d{1,9}(?!\d)|(?:\d{3}){1,3}(?!\d))\.?(\d{1,9}))?" + _NO_ZONE + r"(?![\w.:-])"
_ZONED = _FRACTION + _ZONE + _END
_ACCESS_LOG = _format(_CLF, before=r"(\S{1,64} \S{1,64} \S{1,64} )\[", after=_NOTHING + _ZONE + r"\]")

_DIGIT_FIRST = (
    _format(_ISO, after=_ZONED),  # 2015-10-18 18:01:47,978
    _format("<Y2><M2><D2> <h2><m2><s2>"),  # 081109 203615
    _format(f"<Y2>/<M2>/<D2> {_CLOCK}"),  # 17/06/09 20:10:40
    _format("<Y4><M2><D2>-<h1,2>:<m1,2>:<s1,2>", after=r"(?::(\d{1,3}))?" + _NO_ZONE + r"(?=[|\s]|\Z)"),  # HealthApp
    _format("<Y4><M2><D2>T<h2><m2><s2>", after=_ZONED),  # 20151018T180147Z
    _format(_CLF, after=_ZONED),  # 10/Oct/2000:13:55:36 -0700
    _format(f"<M2>[-.]<D2> {_CLOCK}"),  # 03-17 16:13:38.811
    _format(_EPOCH, after=_EPOCH_END),  # 1117838570, 1117838570363, 1117838570.25
    _ACCESS_LOG,  # 10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET ...
)
_BRACKET_FIRST = tuple(
    _format(second, before=_NOTHING + r"\[", after=after + r"\]")
    for second, after in (
        (_ISO, _ZONED),
        (_WEEKDAY_FIRST, _FRACTION + _NO_ZONE),
        (_CLF, _ZONED),
        (f"<M2>[-.]<D2> {_CLOCK}", _FRACTION + _NO_ZONE),
        (_NO_YEAR, _FRACTION + _NO_ZONE),
        (_EPOCH, _EPOCH_END),
    )
)
_OTHER_FIRST = (
    _format(_NO_YEAR),  # Jun 14 15:16:01
    _format(_WEEKDAY_FIRST),  # Sun Dec 04 04:47:44 2005
    _format(f"<M2><D2> {_CLOCK}", before=_NOTHING + "[IWEFD]"),  # I0614 15:16:01.000000
    # - 1117838570 2005.06.03
    _format(_EPOCH, before=_NOTHING + "(?:-|[A-Z]{2,16}) ", after=_NOTHING + _NO_ZONE + r"(?= \d{4}\.\d\d\.\d\d )"),
    # What grep and tail put before a line: app.log.1 2015-10-18 18:01:47
    _format(_ISO, before=r"([\w./:-]{0,128}\.log\S{0,64} )", after=_ZONED),
    _ACCESS_LOG,
)


class HeadTimestamps:
    """Takes the time stamps off the heads of lines.

    Examples
    --------
    >>> stamps = HeadTimestamps()
    >>> times, rest = stamps.split(["2015-10-18 18:01:47,978 INFO done", "no time here"])
    >>> times.tolist(), rest
    ([1445191307978000000, 0], ['INFO done', 'no time here'])

    Without a year, the time is the last one that is not more than a day after the reference:

    >>> at = 1_735_700_000_000_000_000  # 1 January 2025, 02:53 UTC
    >>> [str(np.datetime64(int(t), "ns"))[:16] for t in stamps.split(["Dec 31 23:59:00 a", "Jan  1 03:00:00 b"], at)[0]]
    ['2024-12-31T23:59', '2025-01-01T03:00']
    """

    def __init__(self) -> None:
        self._epochs: dict[tuple[_Format, str, str | None], int | None] = {}
        self._minutes: dict[tuple[_Format, str, str | None], int | None] = {}
        self._reference_ns = 0

    def split(self, lines: Sequence[str], reference_ns: int = 0) -> tuple[NDArray[np.int64], list[str]]:
        """Read and take off the time stamps.

        Parameters
        ----------
        lines : sequence of str [n]
            Raw lines.
        reference_ns : int
            About when the lines were written, nanoseconds since 1970 UTC; gives the year to stamps that have none.
            0 = not known: their year is 1970 (1972 for 29 February).

        Returns
        -------
        times : ndarray of int64 [n]
            Nanoseconds since 1970 UTC, 0 where no time stamp was found.
        rest : list of str [n]
            The lines without it, and without blanks at both ends. A file name or client address in front of the
            time stamp stays.
        """
        if reference_ns != self._reference_ns:
            self._epochs.clear()
            self._minutes.clear()
            self._reference_ns = reference_ns
        times, rest = np.zeros(len(lines), np.int64), [""] * len(lines)
        left: Iterable[int] = range(len(lines))
        if len(lines) >= _LEAST_TOGETHER:
            known = self._format_of(lines[0])
            if known is not None:
                left = self._read_together(known, lines, times, rest)
            else:
                rest[:] = map(str.strip, lines)
                left = [place for place, line in enumerate(lines) if _SOME.match(line)]
        for place in left:
            times[place], rest[place], _ = self._read(lines[place])
        return times, rest

    def _format_of(self, line: str) -> "_Format | None":
        return self._read(line)[2]

    def _read(self, line: str) -> "tuple[int, str, _Format | None]":
        """Give the time of a line, the rest, and the format."""
        for known in _formats_for(line[:1]):
            match = known.pattern.match(line)
            if match is None:
                continue
            before, text, fraction, zone = match.groups()
            seconds = self._seconds_of(known, text, zone)
            if seconds is not None:
                return seconds * _NS + _nanoseconds(fraction), _join(before, line[match.end() :]), known
        return 0, line.strip(), None

    def _read_together(
        self, known: _Format, lines: Sequence[str], times: NDArray[np.int64], rest: list[str]
    ) -> list[int]:
        """Read the lines of one format; gives the places of the others."""
        found = _together(known).findall("\n".join(lines))
        if len(found) != len(lines):  # Some line has several rows.
            return list(range(len(lines)))
        befores, texts, fractions, zones, rests = zip(*found, strict=True)
        starts: list[int | None] = []
        for zone, stamps in _runs(zones, texts):
            seconds = {text: self._seconds_of(known, text, zone or None) if text else None for text in set(stamps)}
            starts += map(seconds.__getitem__, stamps)
        left = [place for place, start in enumerate(starts) if start is None] if None in starts else []
        for place in left:
            starts[place] = 0
        times[:] = np.array(starts, np.int64) * _NS
        if any(fractions):
            nanoseconds = {fraction: _nanoseconds(fraction) for fraction in set(fractions)}
            times += np.fromiter(map(nanoseconds.__getitem__, fractions), np.int64, len(lines))
        rest[:] = map(_join, befores, rests) if any(befores) else map(str.strip, rests)
        return left

    def _seconds_of(self, known: _Format, text: str, zone: str | None) -> int | None:
        seconds = self._epochs.get((known, text, zone), -1)
        return self._convert(known, text, zone) if seconds == -1 else seconds

    def _convert(self, known: _Format, text: str, zone: str | None) -> int | None:
        if len(self._epochs) >= _MAX_SECONDS_CACHED:
            self._epochs.clear()
            self._minutes.clear()
        self._epochs[known, text, zone] = epoch = self._in_known_minute(known, text, zone)
        return epoch

    def _in_known_minute(self, known: _Format, text: str, zone: str | None) -> int | None:
        """Convert a text by its minute, unless the reference divides that minute between two years."""
        second = text[-2:]
        if known.ends_with_seconds and second < "60":
            stamp = known, text[:-2], zone
            if stamp not in self._minutes:
                self._minutes[stamp] = self._epoch_of(known, text[:-2] + "00", zone)
            minute = self._minutes[stamp]
            if minute is not None and (not self._reference_ns or minute + 60 < self._reference_ns // _NS):
                return minute + int(second)
        return self._epoch_of(known, text, zone)

    def _epoch_of(self, known: _Format, text: str, zone: str | None) -> int | None:
        fields = known.fields.match(text)
        return None if fields is None else _epoch(fields.groupdict(), zone, self._reference_ns)


def _some() -> re.Pattern[str]:
    """Build the pattern that a line without a time stamp does not have."""
    classes = ((r"(?=\[)", _BRACKET_FIRST), ("(?=[0-9])", _DIGIT_FIRST), (r"(?![\[0-9])", _OTHER_FIRST))
    patterns = (
        f"{first}(?:{'|'.join(_GROUP.sub('(?:', one.pattern.pattern) for one in formats)})"
        for first, formats in classes
    )
    return re.compile("|".join(patterns), re.ASCII)


_SOME = _some()


def _runs(zones: Sequence[str], texts: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Divide texts where the zone beside them changes."""
    if zones.count(zones[0]) == len(zones):
        yield zones[0], texts
        return
    for zone, run in groupby(zip(zones, texts, strict=True), itemgetter(0)):
        yield zone, [text for _, text in run]


def _formats_for(first: str) -> tuple[_Format, ...]:
    """Give the formats of lines that begin with a character, in order."""
    return _BRACKET_FIRST if first == "[" else _DIGIT_FIRST if "0" <= first <= "9" else _OTHER_FIRST


@lru_cache
def _together(known: _Format) -> re.Pattern[str]:
    """Build the pattern that reads all lines of a text; of lines of another format the last group has all.

    Groups: those of the format's pattern, and the rest of the line without the separator that ended the stamp.
    """
    formats = next(formats for formats in (_BRACKET_FIRST, _DIGIT_FIRST, _OTHER_FIRST) if known in formats)
    first = {_BRACKET_FIRST: r"(?=\[)", _DIGIT_FIRST: "(?=[0-9])", _OTHER_FIRST: r"(?![\[0-9])"}[formats]
    earlier = "".join(f"(?!{_GROUP.sub('(?:', one.pattern.pattern)})" for one in formats[: formats.index(known)])
    # A stamp does not go on in the next row.
    stamp = f"{first}{earlier}{known.pattern.pattern}".replace(r"\s?", r"[^\S\n]?").replace(_NOTHING, "()")
    return re.compile(rf"^(?:{stamp}[|,]?)?(.*)", re.ASCII | re.MULTILINE)


def _nanoseconds(fraction: str | None) -> int:
    return int(fraction.ljust(9, "0")) if fraction else 0


def _join(before: str | None, after: str) -> str:
    """Give the line without its time stamp, and without the separator that ended it."""
    if after[:1] in ("|", ","):
        after = after[1:]
    return (before + after.lstrip()).strip() if before else after.strip()


def _epoch(fields: dict[str, str], zone: str | None, reference_ns: int) -> int | None:
    """Give the seconds since 1970 UTC of the fields of a stamp, None if there is no such time."""
    if "epoch" in fields:
        epoch = int(fields["epoch"])
        return epoch if epoch <= _MAX_EPOCH_S else None
    month = _MONTHS.get(fields["month"]) or int(fields["month"])
    rest = (month, *(int(fields[name]) for name in ("day", "hour", "minute", "second")))
    if "year" in fields:
        year = fields["year"]
        local = _seconds(int(year) + (2000 if len(year) == 2 else 0), *rest)
        return None if local is None else local - _offset_s(zone)
    if reference_ns == 0:
        return _seconds(1972 if month == 2 and rest[1] == 29 else 1970, *rest)
    end = reference_ns // _NS + 86_400
    latest = datetime.fromtimestamp(end, UTC).year
    times = (_seconds(year, *rest) for year in range(latest, latest - _YEARS_BACK - 1, -1))
    return next((time for time in times if time is not None and time <= end), None)


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    midnight = _midnight(year, month, day)
    if midnight is None or hour > 23 or minute > 59 or second > 59:
        return None
    return midnight + hour * 3600 + minute * 60 + second


@lru_cache(_DAYS_CACHED)
def _midnight(year: int, month: int, day: int) -> int | None:
    if not 1970 <= year < 2200:
        return None
    try:
        return int(datetime(year, month, day, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _offset_s(zone: str | None) -> int:
    if zone is None or not zone[1:3].isdigit():
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return -seconds if zone[0] == "-" else seconds
