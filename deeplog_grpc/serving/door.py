"""Those who wait to be admitted, by peer.

Of one peer they are admitted in the order in which they came. Peers take turns, and none is held up by another that may
not come in for a reason of its own.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Door(Generic[Item]):
    """The queues of the peers that wait.

    Examples
    --------
    >>> door = Door()
    >>> for peer, name in (("a", "a1"), ("a", "a2"), ("b", "b1")):
    ...     door.add(peer, name)
    >>> admitted = []
    >>> door.let_in(lambda name: name != "a2" and not admitted.append(name), lambda: False)
    >>> admitted, door.is_awaited_by("a"), door.is_awaited_by("b")
    (['a1', 'b1'], True, False)
    """

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[Item]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def is_awaited_by(self, peer: str) -> bool:
        """Whether something of a peer waits."""
        return peer in self._lanes

    def add(self, peer: str, item: Item) -> None:
        """Let something wait."""
        self._lanes.setdefault(peer, deque()).append(item)

    def let_in(self, try_admit: Callable[[Item], bool], is_full: Callable[[], bool]) -> None:
        """Admit one of each peer in turn, until none can be.

        Parameters
        ----------
        try_admit : callable
            Admits the first of a peer, or returns False.
        is_full : callable
            Whether, after a refusal, no other needs to be tried: who was refused then is the first the next time.
        """
        turns = deque(self._lanes)
        while turns:
            peer = turns.popleft()
            lane = self._lanes[peer]
            if not try_admit(lane[0]):
                if is_full():
                    return
                continue
            lane.popleft()
            if lane:
                self._lanes.move_to_end(peer)
                turns.append(peer)
            else:
                del self._lanes[peer]

    def clear(self) -> list[Item]:
        """Take out all that wait."""
        items = [item for lane in self._lanes.values() for item in lane]
        self._lanes.clear()
        return items
