"""How often log keys come close to each other in a stream (CCS'17, section 4.3).

The distance of two entries is the number of entries between them + 1. The paper prints the importance of j to i as
p_d(i, j) = f_d(i, j) / (d f(i)), where f_d counts the pairs within distance d. By its factor 1/d the shares of all
keys sum to 1 at every d, so that in a chain a, b, c of always the same order p_2(a, c) is .5 at best: the paper's own
examples, 1.0 at every distance, cannot come from it. They do come from the presence form

    q_d(i, j) = entries i with at least one j among the next d entries / entries i

The backward share asks for the d entries before. Entries of the end of a segment that have fewer than d entries after
them do not count, for or against: what came next was not seen. Where no entry of a key has d entries after it, because
each segment is one task, its share is that of the distance before.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_ENTRIES = 1 << 18
"""Entries looked at together: some ten arrays of 8 bytes each."""


class Form(StrEnum):
    """How a share is computed."""

    PRESENCE = "presence"
    """q_d: whether the key comes within the distance. What the paper's examples show."""
    PRINTED = "printed"
    """p_d as the paper prints it, by which no task has more than two keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooccurrence:
    """Shares of every two log keys, one matrix for each distance and direction.

    Memory: 8 D K^2 bytes for distance D and K keys: 20 MB for 500 keys and D = 10.

    Examples
    --------
    Key 1 is always followed by 2, and 2 half of the time by 3:

    >>> near = Cooccurrence.of(np.array([1, 2, 3, 1, 2, 4, 1, 2, 3, 1, 2, 4, 1]), distance=2)
    >>> near.after(1, 2), near.after(2, 3), near.before(3, 1)
    ([1.0, 1.0], [0.5, 0.5], [0.0, 1.0])
    """

    keys: NDArray[np.int64]
    """Distinct log keys, ascending. Shape [K]."""
    counts: NDArray[np.int64]
    """Entries of each. Shape [K]."""
    forward: NDArray[np.float32]
    """[d - 1, i, j]: share of i with j among the next d entries. Shape [D, K, K]."""
    backward: NDArray[np.float32]
    """[d - 1, i, j]: share of i with j among the d entries before. Shape [D, K, K]."""

    @classmethod
    def of(
        cls,
        keys: NDArray[np.integer[Any]],
        *,
        distance: int,
        form: Form = Form.PRESENCE,
        segments: NDArray[np.integer[Any]] | None = None,
    ) -> "Cooccurrence":
        """Count a stream.

        Parameters
        ----------
        keys : int array [n]
            Log keys in the order of their entries, each >= 0.
        distance : int
            D >= 1: greatest distance.
        form : Form
            How a share is computed.
        segments : int array [n], optional
            Segment of each entry: no pair reaches from one into the next. Entries of a segment are together; several
            streams come one after the other. None = one segment.

        Raises
        ------
        ValueError
            If the distance is below 1, a key is negative, or there are not as many segments as keys.
        """
        if distance < 1:
            raise ValueError(f"distance {distance}: at least 1")
        if len(keys) and int(keys.min()) < 0:
            raise ValueError(f"log key {int(keys.min())}: at least 0")
        if segments is not None and len(segments) != len(keys):
            raise ValueError(f"{len(segments)} segments for {len(keys)} keys")
        distinct, numbers, counts = np.unique(np.asarray(keys, np.int64), return_inverse=True, return_counts=True)
        numbers = numbers.ravel()
        left = remaining(len(keys), segments)
        passed = remaining(len(keys), None if segments is None else segments[::-1])
        size = len(distinct)
        return cls(
            keys=distinct,
            counts=counts,
            forward=_shares(numbers, left, size, distance, form),
            backward=_shares(numbers[::-1], passed, size, distance, form),
        )

    def after(self, key: int, other: int) -> list[float]:
        """Share of a log key with another one after it within 1, 2, ... D entries.

        Raises
        ------
        KeyError
            If a key is not in the stream.
        """
        return self._shares(self.forward, key, other)

    def before(self, key: int, other: int) -> list[float]:
        """Share of a log key with another one before it within 1, 2, ... D entries.

        Raises
        ------
        KeyError
            If a key is not in the stream.
        """
        return self._shares(self.backward, key, other)

    def number(self, key: int) -> int:
        """Row and column of a log key.

        Raises
        ------
        KeyError
            If it is not in the stream.
        """
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            raise KeyError(key)
        return place

    def _shares(self, matrices: NDArray[np.float32], key: int, other: int) -> list[float]:
        shares: list[float] = matrices[:, self.number(key), self.number(other)].tolist()
        return shares


def remaining(length: int, segments: NDArray[np.integer[Any]] | None) -> NDArray[np.int64]:
    """Entries after each entry in its segment. Shape [length].

    Examples
    --------
    >>> remaining(5, np.array([7, 7, 7, 2, 2])).tolist()
    [2, 1, 0, 1, 0]
    """
    lasts = np.array([length - 1], np.int64)
    if segments is not None and length:
        lasts = np.append(np.flatnonzero(np.diff(segments)), length - 1)
    places = np.arange(length)
    return lasts[np.searchsorted(lasts, places)] - places


def previous(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the entry before with the same number, -1 where there is none. Shape [n].

    Examples
    --------
    >>> previous(np.array([4, 6, 4, 4])).tolist()
    [-1, -1, 0, 2]
    """
    order = np.argsort(numbers, kind="stable")
    found = np.full(len(numbers), -1, np.int64)
    same = numbers[order[1:]] == numbers[order[:-1]]
    found[order[1:][same]] = order[:-1][same]
    return found


def _shares(
    numbers: NDArray[np.int64], left: NDArray[np.int64], size: int, distance: int, form: Form
) -> NDArray[np.float32]:
    """Shares of what comes after, at each distance. Shape [D, K, K]."""
    shares = np.zeros((distance, size, size), np.float32)
    earlier = previous(numbers) if form is Form.PRESENCE else None
    total = np.zeros((size, size), np.int64)
    for d in range(1, distance + 1):
        total += _pairs(numbers, left, earlier, size, d)
        if d > 1:  # These have d - 1 entries after them, no more: all that they gave is taken back.
            cut = np.flatnonzero(left == d - 1)
            for e in range(1, d):
                total -= _pairs_at(numbers, cut, earlier, size, e)
        entries = np.bincount(numbers[left >= d], minlength=size)
        divisor = np.maximum(entries, 1)[:, None] * (1 if form is Form.PRESENCE else d)
        shares[d - 1] = total / divisor
        if d > 1:
            shares[d - 1, entries == 0] = shares[d - 2, entries == 0]
    return shares


def _pairs(
    numbers: NDArray[np.int64], left: NDArray[np.int64], earlier: NDArray[np.int64] | None, size: int, d: int
) -> NDArray[np.int64]:
    """How often j comes exactly d entries after i. Shape [K, K]."""
    found = np.zeros((size, size), np.int64)
    for start in range(0, len(numbers), CHUNK_ENTRIES):
        places = start + np.flatnonzero(left[start : start + CHUNK_ENTRIES] >= d)
        found += _pairs_at(numbers, places, earlier, size, d)
    return found


def _pairs_at(
    numbers: NDArray[np.int64], places: NDArray[np.int64], earlier: NDArray[np.int64] | None, size: int, d: int
) -> NDArray[np.int64]:
    """The same of entries i at these places; with ``earlier``, only the first j after each of them."""
    if earlier is not None:
        places = places[earlier[places + d] <= places]
    pairs = numbers[places] * size + numbers[places + d]
    return np.bincount(pairs, minlength=size * size).reshape(size, size)
