"""The last vectors of each key, and how many of them in a row were good: what value networks predict from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.value_vectors import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of the vectors of one key."""

    positions: Sequence[Position]
    """m positions."""
    values: NDArray[np.float64]
    """In original units, NaN = missing; where there were not so many vectors, all of the first ones are. Shape [h, m].
    """
    run: int
    """Good vectors in a row at the end, at most h."""

    def then(self, values: NDArray[np.float64], good: NDArray[np.bool_]) -> "Tail":
        """The tail after n more vectors. Shapes [n, m], [n]."""
        history = len(self.values)
        kept = values if len(values) >= history else np.concatenate([self.values, values])
        run = self.run + len(good) if good.all() else int(good[::-1].argmin())
        return Tail(positions=self.positions, values=kept[-history:].copy(), run=min(run, history))


class ValueMemory:
    """The last vectors of each key: what predictions are made from. At most h vectors a key."""

    def __init__(self) -> None:
        self._tails: dict[int, Tail] = {}

    def __len__(self) -> int:
        return len(self._tails)

    @property
    def numbers(self) -> int:
        """Numbers held, of all keys."""
        return sum(tail.values.size for tail in self._tails.values())

    def copy(self) -> "ValueMemory":
        """A memory of its own that stands where this one does."""
        other = ValueMemory()
        other._tails = dict(self._tails)  # tails are never changed, only replaced
        return other

    def state(self) -> list[tuple[Any, ...]]:
        """What is remembered, as plain data and columns."""
        return [
            (key, [(position.slot, position.unit) for position in tail.positions], tail.values, tail.run)
            for key, tail in self._tails.items()
        ]

    @classmethod
    def of(cls, state: Iterable[Sequence[Any]]) -> "ValueMemory":
        """A memory that stands where the one of that :meth:`state` did; a column may be there as its bytes.

        Examples
        --------
        >>> memory = ValueMemory()
        >>> memory.remember(3, Tail(positions=(Position(slot=0, unit="ms"),), values=np.array([[1.0], [2.0]]), run=2))
        >>> ValueMemory.of(memory.state()).tail(3, (Position(slot=0, unit="ms"),), 2).values.tolist()
        [[1.0], [2.0]]
        """
        memory = cls()
        for key, positions, values, run in state:
            own = tuple(Position(slot=slot, unit=unit) for slot, unit in positions)
            memory._tails[key] = Tail(
                positions=own, values=np.frombuffer(values, np.float64).reshape(-1, len(own)), run=run
            )
        return memory

    def tail(self, key: int, positions: Sequence[Position], history: int) -> Tail:
        """What is remembered of a key; nothing if its vectors had other positions."""
        tail = self._tails.get(key)
        if tail is not None and tail.positions == positions and len(tail.values) == history:
            return tail
        return Tail(positions=positions, values=np.full((history, len(positions)), np.nan), run=0)

    def remember(self, key: int, tail: Tail) -> None:
        """Keep the tail of a key in place of the one before."""
        self._tails[key] = tail


def run_before(bad: NDArray[np.bool_], run: int) -> NDArray[np.intp]:
    """How many vectors in a row are good before each one, and after the last.

    Parameters
    ----------
    bad : bool array [n]
    run : int
        Good vectors in a row before the first.

    Returns
    -------
    int array [n + 1]

    Examples
    --------
    >>> run_before(np.array([False, True, False, False]), 2).tolist()
    [2, 3, 0, 1, 2]
    """
    places = np.arange(len(bad) + 1)
    last = np.full(len(bad) + 1, -1 - run)
    last[1:][bad] = places[:-1][bad]
    return places - 1 - np.maximum.accumulate(last)
