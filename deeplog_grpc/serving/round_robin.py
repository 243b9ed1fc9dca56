"""A line in which peers take turns, so that one that sends much does not hold up those that send little.

Rules:

1. What one peer sent keeps its order.
2. A turn is about ``TURN_ENTRIES``: a peer whose job has more misses turns until the others have had as much (surplus
   round robin: the size of a job is not looked at before it is taken).
3. A peer is forgotten when nothing of it waits.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

TURN_ENTRIES = 1_000
"""One message of usual size: less would not divide it, more makes others wait longer."""
_MOST_MISSED = 20
"""Turns that one job costs at most, so that finding the next peer stays cheap."""


@dataclass(slots=True)
class _Lane(Generic[Item]):
    credit: int = 0
    """Entries that may still go in this turn."""
    waiting: deque[tuple[Item, int]] = field(default_factory=deque)


class RoundRobin(Generic[Item]):
    """Jobs that wait, by peer.

    Examples
    --------
    >>> line = RoundRobin()
    >>> for peer, name in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")):
    ...     line.add(peer, name, 1_000)
    >>> [line.take() for _ in range(4)]
    ['a1', 'b1', 'a2', 'a3']
    """

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, _Lane[Item]] = OrderedDict()
        """The first one has the turn."""

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def __iter__(self) -> Iterator[Item]:
        return (item for lane in self._lanes.values() for item, _ in lane.waiting)

    def add(self, peer: str, item: Item, entries: int) -> None:
        """Let a job of a peer wait."""
        if (lane := self._lanes.get(peer)) is None:
            lane = self._lanes[peer] = _Lane(TURN_ENTRIES)
        lane.waiting.append((item, entries))

    def first_entries(self) -> int:
        """Entries of the job that goes next; one must wait."""
        return next(iter(self._lanes.values())).waiting[0][1]

    def take(self) -> Item:
        """Take out the job that goes next; one must wait."""
        peer, lane = next(iter(self._lanes.items()))
        item, entries = lane.waiting.popleft()
        lane.credit -= min(entries, _MOST_MISSED * TURN_ENTRIES)
        if not lane.waiting:
            del self._lanes[peer]
        elif lane.credit <= 0:
            self._pass_on()
        return item

    def _pass_on(self) -> None:
        """Give the turn to the next peer that may go."""
        while True:
            self._lanes.move_to_end(next(iter(self._lanes)))
            lane = next(iter(self._lanes.values()))
            lane.credit += TURN_ENTRIES if lane.credit <= 0 else 0
            if lane.credit > 0:
                return
