"""Open sessions: where each one stands, and when it has ended. Event time only; no clock.

Invariants: the table never holds more than ``max_open`` sessions; sessions lie in the order of their last entries,
so that the least recent one is always in front; time, as sessions see it, never runs backwards.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from deeplog_grpc.detection.paths import new_path
from deeplog_grpc.detection.states import WindowState
from deeplog_grpc.models import UNSEEN

MAX_UNSEEN = 64
"""Log keys without a unit that a session counts apart; the rest are counted together."""

NOTHING: Mapping[int, int] = MappingProxyType({})


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
        self.open: OrderedDict[str, Session] = OrderedDict()
        """By identifier, least recently used first. Whoever notes an entry by himself moves its session to the end."""
        self._max_open = max_open
        self.timeout_ns = timeout_ns
        self.evicted = 0
        """Sessions dropped unjudged since the table was full."""

    def __len__(self) -> int:
        return len(self.open)

    def get(self, identifier: str) -> Session | None:
        """The open session of that name, or None."""
        return self.open.get(identifier)

    def add(self, session: Session) -> bool:
        """Open a session, which must not be open; whether the least recently used one was dropped for it."""
        full = len(self.open) >= self._max_open
        if full:
            self.open.popitem(last=False)
            self.evicted += 1
        self.open[session.identifier] = session
        return full

    def restore(self, sessions: Iterable[Session]) -> None:
        """Take sessions in place of those that are open, least recently used first; of too many, the last ones."""
        self.open = OrderedDict((session.identifier, session) for session in sessions)
        while len(self.open) > self._max_open:
            self.open.popitem(last=False)
            self.evicted += 1

    def touch(self, session: Session, now_ns: int) -> None:
        """Note that the session has just had an entry."""
        session.last_ns = now_ns
        self.open.move_to_end(session.identifier)

    def close(self, identifiers: Sequence[str] | None = None) -> Iterator[Session]:
        """Take sessions out: the named ones that are open, or all, least recently used first."""
        names = list(self.open) if identifiers is None else identifiers
        for name in names:
            session = self.open.pop(name, None)
            if session is not None:
                yield session

    def deadline_ns(self, last_ns: int) -> int:
        """When a session times out whose last entry came at that time; a time far ahead when it never does."""
        return last_ns + self.timeout_ns if self.timeout_ns else _NEVER_NS

    def next_deadline_ns(self) -> int:
        """The earliest time at which a session times out; a time far ahead when there is none."""
        first = next(iter(self.open.values()), None)
        return _NEVER_NS if first is None else self.deadline_ns(first.last_ns)

    def expire(self, now_ns: int) -> Iterator[Session]:
        """Take out the sessions that were silent for longer than the time-out, longest silence first."""
        while self.next_deadline_ns() < now_ns:
            session = next(iter(self.open.values()))
            if not session.last_ns:  # its entries came before any time was known: its silence counts from now
                self.touch(session, now_ns)
                continue
            del self.open[session.identifier]
            yield session

    def sessions(self) -> Iterator[Session]:
        """All open sessions, least recently used first."""
        return iter(self.open.values())


_NEVER_NS = (1 << 63) - 1
