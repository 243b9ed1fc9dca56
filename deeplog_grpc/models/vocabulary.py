"""Log keys as the units of a neural network.

Invariant: a unit, once given to a log key, keeps it. Units past the assigned ones are the reserve: a new normal key
takes the next of them, so that the network's shape never has to change.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BEGIN = 0
"""Unit that fills a window before the session's first entry (input only)."""
END = 1
"""Unit of the end of a session (predicted, never an input)."""
UNSEEN = 2
"""Unit that stands in a window for a key without a unit (input only)."""
FIRST_KEY_UNIT = 3

AT_ONCE = 1024
"""Sequences of log keys that are looked up together: bounds the memory."""

BEGIN_KEY = -1
"""How :data:`BEGIN` (in a window) and :data:`END` (as a candidate) are written among log keys."""
UNKNOWN_KEY = -2
"""How a key without a unit is written in a window of log keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The log keys that a model knows, in the order of their units.

    Examples
    --------
    >>> vocabulary = Vocabulary.of([7, 4, 7], reserve=2)
    >>> vocabulary.keys, vocabulary.size, vocabulary.assigned
    ((4, 7), 7, 5)
    >>> vocabulary.units([4, 7, 99]).tolist()
    [3, 4, 2]
    """

    keys: tuple[int, ...]
    """``keys[i]`` is the log key of unit ``FIRST_KEY_UNIT + i``."""
    size: int
    """Units in all, the reserve included."""

    def __post_init__(self) -> None:
        if len(set(self.keys)) != len(self.keys) or self.assigned > self.size:
            raise ValueError(f"vocabulary of {len(self.keys)} keys does not fit {self.size} units, or repeats a key")

    @classmethod
    def of(cls, keys: Iterable[int], *, reserve: int) -> "Vocabulary":
        """Give units to the distinct keys, in ascending order, and keep ``reserve`` units free."""
        distinct = tuple(sorted(set(keys)))
        return cls(keys=distinct, size=FIRST_KEY_UNIT + len(distinct) + reserve)

    @property
    def assigned(self) -> int:
        """Units in use: the special ones and one a key."""
        return FIRST_KEY_UNIT + len(self.keys)

    def unit_table(self) -> dict[int, int]:
        """Log key -> unit."""
        return {key: FIRST_KEY_UNIT + position for position, key in enumerate(self.keys)}

    def units(self, keys: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Units of log keys, :data:`UNSEEN` for a key without one. Shape [n] -> [n]."""
        table = self.unit_table()
        return np.fromiter((table.get(int(key), UNSEEN) for key in keys), np.int64, count=len(keys))

    def units_of_all(self, sessions: Sequence[Sequence[int] | NDArray[np.integer[Any]]]) -> Iterator[NDArray[np.int64]]:
        """:meth:`units` of many sequences of log keys, in a fraction of the time.

        Examples
        --------
        >>> [units.tolist() for units in Vocabulary.of([7, 4], reserve=0).units_of_all([[4, 7], [], [99]])]
        [[3, 4], [], [2]]
        """
        for start in range(0, len(sessions), AT_ONCE):
            some = [np.asarray(keys, np.int64) for keys in sessions[start : start + AT_ONCE]]
            distinct, places = np.unique(np.concatenate(some), return_inverse=True)
            yield from np.split(self.units(distinct)[places], np.cumsum(list(map(len, some)))[:-1])

    def key_of(self, unit: int) -> int:
        """Log key of a unit; :data:`BEGIN_KEY` for begin and end, :data:`UNKNOWN_KEY` for an unseen key."""
        if unit >= FIRST_KEY_UNIT:
            return self.keys[unit - FIRST_KEY_UNIT]
        return UNKNOWN_KEY if unit == UNSEEN else BEGIN_KEY

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return {"keys": list(self.keys), "size": self.size}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Vocabulary":
        """Read what :meth:`to_json` wrote."""
        return cls(keys=tuple(int(key) for key in data["keys"]), size=int(data["size"]))


def common_units(first: Vocabulary, second: Vocabulary) -> int:
    """The first so many units mean the same in both.

    Examples
    --------
    >>> common_units(Vocabulary.of([4, 7], reserve=1), Vocabulary.of([4, 7, 9], reserve=0))
    5
    """
    pairs = zip(first.keys, second.keys, strict=False)
    return FIRST_KEY_UNIT + next(
        (place for place, (one, other) in enumerate(pairs) if one != other), min(len(first.keys), len(second.keys))
    )
