"""Open sessions: where each one stands, and when it has ended. Event time only; no clock.

Invariants: the table never holds more than ``max_open`` sessions; sessions lie in the order of their last entries,
so that the least recent one is always in front; time, as sessions see it, never runs backwards.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from deeplog_grpc.detection.paths import new_path
from deeplog_grpc.detection.states import WindowState
from deeplog_grpc.models import UNSEEN

NS_PER_S = 1_000_000_000

MAX_UNSEEN = 64
"""Log keys without a unit that a session counts apart; the rest are counted together."""

NOTHING: Mapping[int, int] = MappingProxyType({})


class Watermark:
    """The latest believed event time.

    Rules: 1. Time 0 (unknown) and the past change nothing. 2. A step ahead within ``step_ns`` is believed.
    3. A longer one is held back; if the next timed entry is later than the watermark by more than ``step_ns`` too,
    the smaller of the two is believed. The session of the held entry was not silent meanwhile: see ``holds``.

    Examples
    --------
    >>> watermark = Watermark(step_ns=10)
    >>> [watermark.observe(time) for time in (100, 105, 900, 107, 950, 940, 0)]
    [100, 105, 105, 107, 107, 940, 940]
    """

    __slots__ = ("_held_ns", "_step_ns", "now_ns")

    def __init__(self, *, step_ns: int) -> None:
        self.now_ns = 0
        self._held_ns = 0
        self._step_ns = step_ns

    @property
    def holds(self) -> bool:
        """Whether the last timed entry's time is held back."""
        return self._held_ns > 0

    def observe(self, time_ns: int) -> int:
        """Take an entry's time; return the watermark."""
        if not time_ns:
            return self.now_ns
        if self.now_ns and time_ns - self.now_ns > self._step_ns:
            if not self._held_ns:
                self._held_ns = time_ns
                return self.now_ns
            time_ns = min(time_ns, self._held_ns)
        self._held_ns = 0
        if time_ns > self.now_ns:
            self.now_ns = time_ns
        return self.now_ns


class Session:
    """An open session."""

    __slots__ = ("counts", "identifier", "last_ns", "path", "state", "time_ns", "whole")

    def __init__(self, identifier: str, state: WindowState) -> None:
        self.identifier = identifier
        self.state = state
        self.last_ns = 0
        """Event time of all that came, at its last entry: what its time-out counts from."""
        self.time_ns = 0
        """Latest time of its own entries; 0 = none had one."""
        self.whole = state.judged
        """Whether it is known from its begin."""
        self.path = new_path(whole=self.whole)
        """Its entries so far, as far as they are remembered."""
        self.counts: defaultdict[int, int] = defaultdict(int)
        """Unit, or what stands for an unseen log key (:meth:`unseen`) -> times so far: no more of them than the model
        has units and `MAX_UNSEEN`. 40 ns an entry, half of a plain dict's."""

    def unseen(self, key: int) -> int:
        """What a log key without a unit is counted under: a number below 0, as long as there is room for one."""
        code = ~key
        return code if code in self.counts or sum(own < 0 for own in self.counts) < MAX_UNSEEN else UNSEEN

    def shape(self, unit_of: Mapping[int, int]) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """Counts by unit, and those of the log keys that have none (they are among the former as :data:`UNSEEN`).

        Parameters
        ----------
        unit_of : mapping of int to int
            Log key -> unit, by now: one that was unseen may have a unit since.
        """
        if min(self.counts, default=0) >= 0:
            return self.counts, NOTHING
        counts, unseen = defaultdict[int, int](int), dict[int, int]()
        for own, times in self.counts.items():
            unit = own if own >= 0 else unit_of.get(~own, UNSEEN)
            counts[unit] += times
            if own < 0 and unit == UNSEEN:
                unseen[~own] = times
        return counts, unseen


class SessionTable:
    """The open sessions, least recently used first.

    Parameters
    ----------
    max_open : int
        Sessions at most.
    timeout_ns : int
        Silence after which a session has ended; 0 = never.
    """

    def __init__(self, *, max_open: int, timeout_ns: int) -> None:
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._max_open = max_open
        self.timeout_ns = timeout_ns
        self.evicted = 0
        """Sessions dropped unjudged since the table was full."""

    def __len__(self) -> int:
        return len(self._open)

    def get(self, identifier: str) -> Session | None:
        """The open session of that name, or None."""
        return self._open.get(identifier)

    def add(self, session: Session) -> bool:
        """Open a session, which must not be open; whether the least recently used one was dropped for it."""
        full = len(self._open) >= self._max_open
        if full:
            self._open.popitem(last=False)
            self.evicted += 1
        self._open[session.identifier] = session
        return full

    def touch(self, session: Session, now_ns: int) -> None:
        """Note that the session has just had an entry."""
        session.last_ns = now_ns
        self._open.move_to_end(session.identifier)

    def close(self, identifiers: Sequence[str] | None = None) -> Iterator[Session]:
        """Take sessions out: the named ones that are open, or all, least recently used first."""
        names = list(self._open) if identifiers is None else identifiers
        for name in names:
            session = self._open.pop(name, None)
            if session is not None:
                yield session

    def next_deadline_ns(self) -> int:
        """The earliest time at which a session times out; a time far ahead when there is none."""
        if not self.timeout_ns or not self._open:
            return _NEVER_NS
        return next(iter(self._open.values())).last_ns + self.timeout_ns

    def expire(self, now_ns: int) -> Iterator[Session]:
        """Take out the sessions that were silent for longer than the time-out, longest silence first."""
        while self.next_deadline_ns() < now_ns:
            session = next(iter(self._open.values()))
            if not session.last_ns:  # its entries came before any time was known: its silence counts from now
                self.touch(session, now_ns)
                continue
            del self._open[session.identifier]
            yield session

    def sessions(self) -> Iterator[Session]:
        """All open sessions, least recently used first."""
        return iter(self._open.values())


_NEVER_NS = (1 << 63) - 1
