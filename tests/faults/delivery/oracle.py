"""Knows what was sent and what was acknowledged, and says what must have been judged. No network, no clock.

Every log line bears a number, its id, and all else in it follows from the id: what was judged can be looked at alone.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

STEPS = ("open order", "write header", "write item", "write item", "write total", "end order")
"""Of a session, one line each."""
IDS_OF_A_SOURCE = 1_000_000
FIRST_TIME_NS = 1_700_000_000_000_000_000
_STEP_NS = 10_000_000
_ID = re.compile(r" id=(\d+)$")


@dataclass(frozen=True, slots=True)
class Line:
    """A log line that an oracle has issued."""

    id: int

    @property
    def body(self) -> str:
        """Its text."""
        return f"{STEPS[self._place % len(STEPS)]} of shop-{self.id % 7} id={self.id}"

    @property
    def session(self) -> str:
        """Its session."""
        return f"{self.source}-{self._place // len(STEPS)}"

    @property
    def source(self) -> str:
        """Where it comes from."""
        return f"source-{self.id // IDS_OF_A_SOURCE}"

    @property
    def time_ns(self) -> int:
        """When it was written."""
        return FIRST_TIME_NS + self._place * _STEP_NS

    @property
    def _place(self) -> int:
        return self.id % IDS_OF_A_SOURCE


@dataclass(frozen=True, slots=True)
class Judged:
    """A log line as a server has judged it."""

    body: str
    session: str
    source: str

    @property
    def id(self) -> int:
        """Its id; -1 = it has none."""
        match = _ID.search(self.body)
        return int(match[1]) if match else -1


@dataclass(slots=True, kw_only=True)
class Source:
    """What is known of the lines of one source."""

    number: int
    is_ordered: bool
    """Whether its client sends in order, and so its lines are to be judged."""
    issued: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What became of the lines."""

    issued: int
    acknowledged: int
    judged: int
    """Different lines in the record."""
    rejected: int
    """Lines that answers said were not judged."""
    resent: int
    """Lines that were sent again, each time counted."""
    stops: int
    """Ends of a server, by a kill or an order."""
    lost: tuple[int, ...]
    """Acknowledged, and not judged."""
    unknown: tuple[str, ...]
    """Judged, and never sent, or rejected."""
    changed: tuple[int, ...]
    """Judged with another text, session or source than sent."""
    doubled: tuple[int, ...]
    """Judged more than once, where a stop of the server explains it: it may not know what it had judged."""
    doubled_wrongly: tuple[int, ...]
    """Judged more often than that."""
    disordered: tuple[int, ...]
    """Judged for the first time after a later line of their source, where that keeps its order."""

    @property
    def is_sound(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.unknown or self.changed or self.doubled_wrongly or self.disordered)

    def __str__(self) -> str:
        """The figures, and the first ids of each trouble."""
        counts = f"issued {self.issued}, acknowledged {self.acknowledged}, judged {self.judged}"
        counts += f", rejected {self.rejected}, resent {self.resent}, stops {self.stops}"
        troubles = ("lost", "unknown", "changed", "doubled", "doubled_wrongly", "disordered")
        return ", ".join(
            [counts, *(f"{name} {len(getattr(self, name))} {getattr(self, name)[:5]}" for name in troubles)]
        )


@dataclass(slots=True)
class Oracle:
    """Issues lines, is told what becomes of them, and compares that with the record of what was judged.

    Examples
    --------
    >>> oracle = Oracle()
    >>> lines = oracle.issue(oracle.source(), 2)
    >>> oracle.sent(lines)
    >>> oracle.acknowledged(lines)
    >>> record = [Judged(line.body, line.session, line.source) for line in lines]
    >>> oracle.findings(record).is_sound, oracle.findings(record[:1]).lost, oracle.findings(record * 2).doubled_wrongly
    (True, (1,), (0, 1))
    """

    sources: list[Source] = field(default_factory=list)
    stops: int = 0
    resent: int = 0
    rejected: int = 0
    _in_flight: set[int] = field(default_factory=set)
    _sent: set[int] = field(default_factory=set)
    _acknowledged: set[int] = field(default_factory=set)
    _rejected: set[int] = field(default_factory=set)
    _stops_met: Counter[int] = field(default_factory=Counter)
    """Id -> stops of the server at which it was in flight."""

    def source(self, *, is_ordered: bool = True) -> Source:
        """A new source of lines."""
        self.sources.append(Source(number=len(self.sources), is_ordered=is_ordered))
        return self.sources[-1]

    def issue(self, source: Source, count: int) -> list[Line]:
        """New lines of a source, in order."""
        first = source.number * IDS_OF_A_SOURCE + source.issued
        source.issued += count
        return [Line(number) for number in range(first, first + count)]

    def sent(self, lines: Sequence[Line]) -> None:
        """Lines are about to be sent, or sent again."""
        ids = {line.id for line in lines}
        self.resent += len(ids & self._sent)
        self._sent |= ids
        self._in_flight |= ids - self._acknowledged

    def acknowledged(self, lines: Sequence[Line], *, rejected: Iterable[int] = ()) -> None:
        """The server has taken lines, but for those at some places, which it never will judge."""
        ids = {line.id for line in lines}
        bad = {lines[place].id for place in rejected} - self._rejected
        self.rejected += len(bad)
        self._rejected |= bad
        self._acknowledged |= ids
        self._in_flight -= ids

    def stopped(self) -> None:
        """The server was killed, or has ended: it forgot what it had answered."""
        self.stops += 1
        self._stops_met.update(self._in_flight)

    @property
    def in_flight(self) -> int:
        """Lines sent and not acknowledged."""
        return len(self._in_flight)

    def findings(self, record: Sequence[Judged]) -> Findings:
        """What became of the lines, by the record of what was judged, in order."""
        found = Counter(judged.id for judged in record)
        more = {number for number, times in found.items() if times > 1}
        wrongly = {number for number in more if found[number] > 1 + self._stops_met[number]}
        known = self._sent - self._rejected
        return Findings(
            issued=sum(source.issued for source in self.sources),
            acknowledged=len(self._acknowledged),
            judged=len(found),
            rejected=self.rejected,
            resent=self.resent,
            stops=self.stops,
            lost=tuple(sorted(self._acknowledged - self._rejected - set(found))),
            unknown=tuple(judged.body for judged in record if judged.id not in known),
            changed=tuple(judged.id for judged in record if judged.id in known and not _is_whole(judged)),
            doubled=tuple(sorted(more - wrongly)),
            doubled_wrongly=tuple(sorted(wrongly)),
            disordered=self._disordered(record),
        )

    def _disordered(self, record: Sequence[Judged]) -> tuple[int, ...]:
        last: dict[int, int] = {}
        seen: set[int] = set()
        disordered: list[int] = []
        ordered = {source.number for source in self.sources if source.is_ordered}
        for judged in record:
            source = judged.id // IDS_OF_A_SOURCE
            if judged.id not in seen and source in ordered:
                if judged.id < last.get(source, -1):
                    disordered.append(judged.id)
                last[source] = max(judged.id, last.get(source, -1))
            seen.add(judged.id)
        return tuple(disordered)


def _is_whole(judged: Judged) -> bool:
    line = Line(judged.id)
    return judged == Judged(line.body, line.session, line.source)
