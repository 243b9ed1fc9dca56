"""Sessions cut into windows: the training pairs of the log key model (CCS'17, section 3.1)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.vocabulary import BEGIN, END, UNSEEN

CHUNK_WINDOWS = 1 << 17
"""Windows held at once, beside the distinct ones: 88 bytes each, and as much again some times over to sort them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSession:
    """The log keys of one session in the order of their entries; or a block of a stream, without begin and end."""

    keys: Sequence[int] | NDArray[np.integer[Any]]
    begins: bool = True
    """False when the session was seen from its middle: nothing is learned about its beginning."""
    ends: bool = True
    """False when the session was still open where the log stops: nothing is learned about its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """Distinct (window, next unit) pairs and how often each occurs."""

    windows: NDArray[np.int64]
    """Units before, oldest first. Shape [n, h]."""
    targets: NDArray[np.int64]
    """The unit that follows. Shape [n]."""
    counts: NDArray[np.int64]
    """Occurrences, >= 1. Shape [n]."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def total(self) -> int:
        """Occurrences in all."""
        return int(self.counts.sum())


def count_windows(
    sessions: Iterable[NDArray[np.int64]], *, begins: Iterable[bool], ends: Iterable[bool], history: int
) -> WindowCounts:
    """Distinct windows of the sessions with their next units, counted.

    :data:`UNSEEN` is never a target: nothing can be learned about what is not known.
    A session that begins is preceded by ``history`` :data:`BEGIN` units, so that every entry of a session of any
    length is a target. A session that ends is followed by :data:`END`.

    Memory: the distinct windows some times over, and a bounded number of others.

    Parameters
    ----------
    sessions : iterable of int64 arrays [length]
        Units.
    begins, ends : iterable of bool
        One a session: whether its beginning and its end were really seen.
    history : int
        h >= 1.

    Examples
    --------
    >>> pairs = count_windows([np.array([3, 4]), np.array([3, 4])], begins=[True] * 2, ends=[True, False], history=2)
    >>> pairs.windows.tolist(), pairs.targets.tolist(), pairs.counts.tolist()
    ([[0, 0], [0, 3], [3, 4]], [3, 4, 1], [2, 2, 1])
    """
    distinct, counts = np.zeros((0, history + 1), np.int64), np.zeros(0, np.int64)
    waiting: list[NDArray[np.int64]] = []
    size = 0
    for units, does_begin, does_end in zip(sessions, begins, ends, strict=True):
        waiting.append(session_windows(units, begins=does_begin, ends=does_end, history=history))
        size += len(waiting[-1])
        if size >= max(CHUNK_WINDOWS, len(distinct)):
            distinct, counts = _merged(distinct, counts, waiting)
            waiting, size = [], 0
    distinct, counts = _merged(distinct, counts, waiting)
    return WindowCounts(windows=distinct[:, :-1].copy(), targets=distinct[:, -1].copy(), counts=counts)


def _merged(
    distinct: NDArray[np.int64], counts: NDArray[np.int64], rows: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counted distinct rows with more rows counted in, those without a target left out."""
    pairs = np.concatenate([distinct, *rows])
    times = np.ones(len(pairs), np.int64)
    times[: len(counts)] = counts
    known = pairs[:, -1] != UNSEEN
    distinct, places = distinct_windows(pairs[known])
    counts = np.zeros(len(distinct), np.int64)
    np.add.at(counts, places, times[known])
    return distinct, counts


def distinct_windows(windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The distinct rows in ascending order, and the place of each row among them. Shape [n, m] -> [d, m], [n].

    As :func:`numpy.unique` of rows, in a fraction of its time: as many units as fit are one number to sort by.

    Parameters
    ----------
    windows : int64 array [n, m]
        Units, >= 0.

    Examples
    --------
    >>> distinct, places = distinct_windows(np.array([[7, 2], [0, 9], [7, 2]]))
    >>> distinct.tolist(), places.tolist()
    ([[0, 9], [7, 2]], [1, 0, 1])
    """
    if not len(windows):
        return windows, np.zeros(0, np.intp)
    bits = max(1, int(windows.max()).bit_length())
    packed = 63 // bits
    numbers = [
        windows[:, start : start + packed] @ (1 << (bits * np.arange(len(windows[0, start : start + packed]))[::-1]))
        for start in range(0, windows.shape[1], packed)
    ]
    order = np.lexsort(numbers[::-1])
    is_new = np.zeros(len(windows), np.bool_)
    is_new[0] = True
    for column in numbers:
        is_new[1:] |= np.diff(column[order]) != 0
    places = np.empty(len(windows), np.intp)
    places[order] = np.cumsum(is_new) - 1
    return windows[order[is_new]], places


def session_windows(units: NDArray[np.int64], *, begins: bool, ends: bool, history: int) -> NDArray[np.int64]:
    """Every window of one session with its next unit in the last column. Shape [n] -> [m, history + 1].

    Examples
    --------
    >>> session_windows(np.array([3, 4]), begins=True, ends=False, history=2).tolist()
    [[0, 0, 3], [0, 3, 4]]
    """
    path = np.full(begins * history + len(units) + ends, BEGIN, np.int64)
    path[begins * history : len(path) - ends] = units
    if ends:
        path[-1] = END
    windows: NDArray[np.int64] = path[np.arange(max(0, len(path) - history))[:, None] + np.arange(history + 1)]
    return windows
