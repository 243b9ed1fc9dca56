"""Which of the waiting jobs run next.

Rules:

1. A job runs in line, behind those that came before it, unless it is small and says that it has no order with them:
   then it runs ahead of the line. A call that waits for its answer says so (``Score``, ``Parse``): a client that has
   two of them under way at once has no order between them. The messages of a stream do not: none overtakes another.
2. Small jobs keep their order among themselves, and jobs in line theirs.
3. When both wait, a run of small jobs and a run of the line take turns: the line gets at least every other run.
4. A fence overtakes nothing, and nothing overtakes it. Such are the orders of the server's own that change what a
   detector is or knows: the first entries of an application find its detector there. A tick is none: it runs behind
   the entries that were there before it, and small jobs, which would only move time on, may overtake it.
5. A run has at most ``max_run_entries``, or one job: few large runs cost a fifth less than many short ones. What comes
   while it runs waits for its end, so while small jobs come, runs of the line have ``short_run_entries`` at most.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")

SHORT_RUNS = 64
"""Runs of the line after a small job that are short: half a second under full load."""


class Order(Enum):
    """The place that a job asks for."""

    IN_LINE = "behind what waits in line"
    SMALL_FIRST = "ahead of the line, if it is small"
    FENCE = "behind all that waits, and before all that comes"


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item]):
    item: Item
    entries: int
    number: int
    is_fence: bool


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
        self._small: deque[_Waiting[Item]] = deque()
        self._line: deque[_Waiting[Item]] = deque()
        self._fences: deque[int] = deque()
        """Numbers of the fences in line."""
        self._numbers = count()
        self._small_is_next = True

    def __len__(self) -> int:
        return len(self._small) + len(self._line)

    def items(self) -> list[Item]:
        """All that wait."""
        return [waiting.item for waiting in (*self._small, *self._line)]

    def add(self, item: Item, entries: int, order: Order) -> None:
        """Let a job wait."""
        waiting = _Waiting(item, entries, next(self._numbers), order is Order.FENCE)
        if order is Order.SMALL_FIRST and entries <= self._small_entries:
            self._small.append(waiting)
            self._short_runs = SHORT_RUNS
            return
        self._line.append(waiting)
        if waiting.is_fence:
            self._fences.append(waiting.number)

    def take(self, is_live: Callable[[Item], bool]) -> list[Item]:
        """The jobs of the next run; empty if none waits.

        Parameters
        ----------
        is_live : callable
            Whether a job is still to be run; one that is not is dropped. It may add others.
        """
        while len(self):  # again where all that could go were dropped
            for is_small in (self._small_is_next, not self._small_is_next):
                room = self._short_run_entries if self._short_runs and not is_small else self._max_run_entries
                if run := self._run(self._small if is_small else self._line, room, is_live):
                    self._small_is_next = not is_small
                    self._short_runs -= bool(self._short_runs and not is_small)
                    return run
        return []

    def _run(self, queue: deque[_Waiting[Item]], room: int, is_live: Callable[[Item], bool]) -> list[Item]:
        run: list[Item] = []
        while queue and not self._must_wait(queue[0]):
            first = queue[0]
            if run and first.entries > room:
                break
            queue.popleft()
            if first.is_fence:
                self._fences.popleft()
            if is_live(first.item):
                run.append(first.item)
                room -= first.entries
        return run

    def _must_wait(self, first: _Waiting[Item]) -> bool:
        """Whether the first of its kind would pass a fence, or is one that small jobs came before."""
        if first.is_fence:
            return bool(self._small) and self._small[0].number < first.number
        # Those in line before a fence have smaller numbers than it.
        return bool(self._fences) and self._fences[0] < first.number
