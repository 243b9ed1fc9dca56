"""Which of the waiting jobs run next.

Rules:

1. A job runs in line, behind those of its peer that came before it, unless it is small and says that it has no order
   with them: then it runs ahead of the line. A call that waits for its answer says so (``Score``, ``Parse``): a client
   that has two of them under way at once has no order between them. The messages of a stream do not: none overtakes
   another.
2. Small jobs of a peer keep their order among themselves, and jobs in line theirs. Between peers there is no order:
   they take turns, by the rules of :mod:`~deeplog_grpc.serving.round_robin`.
3. When both wait, a run of small jobs and a run of the line take turns: the line gets at least every other run.
4. A fence overtakes nothing, and nothing overtakes it. Such are the orders of the server's own that change what a
   detector is or knows: the first entries of an application find its detector there. A tick is none: it runs behind
   the entries that were there before it, and before those in line that come after it, but small jobs, which would only
   move time on, may overtake it.
5. A run has at most ``max_run_entries``, or one job: few large runs cost a fifth less than many short ones. What comes
   while it runs waits for its end, so while small jobs come, runs of the line have ``short_run_entries`` at most.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Generic, TypeVar

from deeplog_grpc.serving.round_robin import RoundRobin

Item = TypeVar("Item")

SHORT_RUNS = 64
"""Runs of the line after a small job that are short: half a second under full load."""


class Order(Enum):
    """The place that a job asks for."""

    IN_LINE = "behind what its peer has waiting in line"
    SMALL_FIRST = "ahead of the line, if it is small"
    BEHIND_LINE = "behind all that waits in line, and before all that comes to it"
    FENCE = "behind all that waits, and before all that comes"


@dataclass(slots=True)
class _Stretch(Generic[Item]):
    """What waits between two fences."""

    small: RoundRobin[Item] = field(default_factory=RoundRobin)
    line: deque[RoundRobin[Item]] = field(default_factory=deque)
    """None of them is empty; each goes before the next."""
    is_closed: bool = False
    """Whether what comes to the line goes behind all that is in it."""
    fences: deque[Item] = field(default_factory=deque)
    """What goes behind all this."""

    def add_to_line(self, peer: str, item: Item, entries: int, *, is_apart: bool) -> None:
        if not self.line or is_apart or self.is_closed:
            self.line.append(RoundRobin())
        self.line[-1].add(peer, item, entries)
        self.is_closed = is_apart


class WaitingLine(Generic[Item]):
    """Jobs that wait.

    Parameters
    ----------
    max_run_entries : int
        Entries of a run at most; a job with more makes a run of its own.
    short_run_entries : int
        The same while small jobs come.
    small_entries : int
        Entries up to which a job is small; 0 = none is.

    Examples
    --------
    >>> line = WaitingLine(max_run_entries=1000, short_run_entries=1000, small_entries=10)
    >>> for name, entries in (("a", 900), ("b", 100), ("c", 500)):
    ...     line.add(name, entries, Order.IN_LINE)
    >>> line.add("small", 1, Order.SMALL_FIRST)
    >>> [line.take(lambda name: True) for _ in range(4)]
    [['small'], ['a', 'b'], ['c'], []]
    """

    def __init__(self, *, max_run_entries: int, short_run_entries: int, small_entries: int) -> None:
        self._max_run_entries = max_run_entries
        self._short_run_entries = min(short_run_entries, max_run_entries)
        self._short_runs = 0
        """Runs of the line to come that are short."""
        self._small_entries = small_entries
        self._stretches: deque[_Stretch[Item]] = deque([_Stretch()])
        """At least one."""
        self._count = 0
        self._small_is_next = True

    def __len__(self) -> int:
        return self._count

    def items(self) -> list[Item]:
        """All that wait."""
        return [
            item
            for stretch in self._stretches
            for item in chain(stretch.small, chain.from_iterable(stretch.line), stretch.fences)
        ]

    def add(self, item: Item, entries: int, order: Order, peer: str = "") -> None:
        """Let a job wait; ``peer`` is who sent it."""
        self._count += 1
        last = self._stretches[-1]
        if order is Order.FENCE:
            last.fences.append(item)
            return
        if last.fences:
            last = _Stretch()
            self._stretches.append(last)
        if order is Order.SMALL_FIRST and entries <= self._small_entries:
            last.small.add(peer, item, entries)
            self._short_runs = SHORT_RUNS
        else:
            last.add_to_line(peer, item, entries, is_apart=order is Order.BEHIND_LINE)

    def take(self, is_live: Callable[[Item], bool]) -> list[Item]:
        """The jobs of the next run; empty if none waits.

        Parameters
        ----------
        is_live : callable
            Whether a job is still to be run; one that is not is dropped. It may add others.
        """
        while len(self):  # again where all that could go were dropped
            for is_small in (self._small_is_next, not self._small_is_next):
                if run := self._small_run(is_live) if is_small else self._line_run(is_live):
                    self._small_is_next = not is_small
                    self._short_runs -= bool(self._short_runs and not is_small)
                    return run
        return []

    def _small_run(self, is_live: Callable[[Item], bool]) -> list[Item]:
        run: list[Item] = []
        self._fill(run, self._stretches[0].small, self._max_run_entries, is_live)
        return run

    def _line_run(self, is_live: Callable[[Item], bool]) -> list[Item]:
        """Jobs in line, also beyond fences where no small job has to go before those."""
        run: list[Item] = []
        room = self._short_run_entries if self._short_runs else self._max_run_entries
        while True:
            stretch = self._stretches[0]
            while stretch.line:
                room = self._fill(run, stretch.line[0], room, is_live)
                if stretch.line[0]:
                    return run
                stretch.line.popleft()
            if stretch.small or (run and room < 0):
                return run
            while stretch.fences:
                self._count -= 1
                if is_live(fence := stretch.fences.popleft()):
                    run.append(fence)
            if len(self._stretches) == 1:
                return run
            self._stretches.popleft()

    def _fill(self, run: list[Item], waiting: RoundRobin[Item], room: int, is_live: Callable[[Item], bool]) -> int:
        """Move jobs to a run as far as there is room; returns the room that is left."""
        while waiting and not (run and waiting.first_entries() > room):
            entries, item = waiting.first_entries(), waiting.take()
            self._count -= 1
            if is_live(item):
                run.append(item)
                room -= entries
        return room
