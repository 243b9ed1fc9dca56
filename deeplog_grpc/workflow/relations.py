"""How the log keys of a set of paths stand to each other: the figures that cuts are made by.

Columns are log keys, rows distinct paths with weights; all in one pass over the paths.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Log = Sequence[tuple[tuple[int, ...], float]]
"""Distinct paths of log keys with their weights."""

CHUNK = 1 << 22
"""Cells of a comparison of all pairs at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """Figures of k log keys over a log; all weighted."""

    keys: tuple[int, ...]
    """Log keys, ascending: the columns. Length k."""
    total: float
    """Weight of all paths."""
    having: NDArray[np.float64]
    """Of the paths with the key. Shape [k]."""
    repeating: NDArray[np.float64]
    """Of the paths with the key more than once. Shape [k]."""
    together: NDArray[np.float64]
    """Of the paths with both. Shape [k, k]."""
    before: NDArray[np.float64]
    """Of the paths with both in which the last of the one comes before the first of the other. Shape [k, k]."""
    in_step: NDArray[np.float64]
    """Of the paths with both, as often the one as the other. Shape [k, k]."""
    adjacent: NDArray[np.float64]
    """Of the places where the one is right followed by the other. Shape [k, k]."""
    occurrences: NDArray[np.float64]
    """Of all places with the key. Shape [k]."""
    begins: NDArray[np.float64]
    """Of the paths that begin with the key. Shape [k]."""
    ends: NDArray[np.float64]
    """Of the paths that end with the key. Shape [k]."""

    @classmethod
    def of(cls, log: Log) -> "Relations":
        """Count.

        Examples
        --------
        >>> found = Relations.of([((1, 2), 3.0), ((2, 1), 1.0)])
        >>> found.keys, found.before.tolist(), found.adjacent.tolist()
        ((1, 2), [[0.0, 3.0], [1.0, 0.0]], [[0.0, 3.0], [1.0, 0.0]])
        """
        keys = tuple(sorted({key for path, _ in log for key in path}))
        column_of = {key: column for column, key in enumerate(keys)}
        weights = np.array([weight for path, weight in log if path])
        lengths = np.array([len(path) for path, _ in log if path], np.int64)
        columns = np.array([column_of[key] for path, _ in log for key in path], np.int64)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.cumsum(lengths) - lengths
        places = np.arange(len(columns)) - starts[rows] if len(rows) else np.zeros(0, np.int64)
        shape = (len(lengths), len(keys))
        first, last, counts = np.full(shape, _FAR), np.full(shape, -1), np.zeros(shape, np.int64)
        np.minimum.at(first, (rows, columns), places)
        np.maximum.at(last, (rows, columns), places)
        np.add.at(counts, (rows, columns), 1)
        has = counts > 0
        together, before, in_step = (np.zeros((len(keys), len(keys))) for _ in range(3))
        for part in _parts(len(lengths), len(keys)):
            both = has[part, :, None] & has[part, None, :]
            own = weights[part]
            together += np.tensordot(own, both, 1)
            before += np.tensordot(own, both & (last[part, :, None] < first[part, None, :]), 1)
            in_step += np.tensordot(own, both & (counts[part, :, None] == counts[part, None, :]), 1)
        adjacent = np.zeros((len(keys), len(keys)))
        inside = rows[1:] == rows[:-1]
        np.add.at(adjacent, (columns[:-1][inside], columns[1:][inside]), weights[rows[:-1][inside]])
        return cls(
            keys=keys,
            total=float(sum(weight for _, weight in log)),
            having=weights @ has,
            repeating=weights @ (counts > 1),
            together=together,
            before=before,
            in_step=in_step,
            adjacent=adjacent,
            occurrences=weights @ counts,
            begins=_sums(columns[starts], weights, len(keys)),
            ends=_sums(columns[starts + lengths - 1], weights, len(keys)),
        )


_FAR = np.int64(1) << 40


def _sums(columns: NDArray[np.int64], weights: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Sum of the weights of each column."""
    sums = np.zeros(size)
    np.add.at(sums, columns, weights)
    return sums


def _parts(rows: int, keys: int) -> Iterable[slice]:
    """Rows divided so that all pairs of keys of a part are a bounded number of cells."""
    size = max(1, CHUNK // max(1, keys * keys))
    return (slice(start, start + size) for start in range(0, rows, size))


def groups(linked: NDArray[np.bool_]) -> list[list[int]]:
    """Connected components of an undirected graph given as a matrix, each ascending, in the order of their firsts.

    Examples
    --------
    >>> groups(np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]], np.bool_))
    [[0, 2], [1]]
    """
    either = linked | linked.T
    unseen = set(range(len(either)))
    found = []
    for start in range(len(either)):
        if start not in unseen:
            continue
        unseen.discard(start)
        group, waiting = [start], [start]
        while waiting:
            for other in np.flatnonzero(either[waiting.pop()]).tolist():
                if other in unseen:
                    unseen.discard(other)
                    group.append(other)
                    waiting.append(other)
        found.append(sorted(group))
    return found


def closure(ordered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Transitive closure of a relation.

    Examples
    --------
    >>> closure(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], np.bool_)).astype(int).tolist()
    [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    """
    reached = ordered.copy()
    for middle in range(len(reached)):
        reached |= reached[:, middle, None] & reached[None, middle]
    return reached
