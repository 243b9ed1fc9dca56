"""Value vectors out of parsed entries: what the value models see, in training and in scoring alike."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models import ELAPSED, NO_PREVIOUS, KeyVectors, Position
from deeplog_grpc.parsing import KeyColumns

_NS_PER_S = 1e9


def elapsed_s(times_ns: NDArray[np.int64], before_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds since the session's previous entry; NaN where a time is not known, 0 where time ran backwards.

    Parameters
    ----------
    times_ns, before_ns : int64 arrays [n]
        Event times in ns, 0 = not known.

    Examples
    --------
    >>> elapsed_s(np.array([5, 5, 0]) * 10**9, np.array([2, 0, 5]) * 10**9).tolist()
    [3.0, nan, nan]
    """
    seconds = np.maximum(times_ns - before_ns, 0) / _NS_PER_S
    return np.where((times_ns > 0) & (before_ns > 0), seconds, np.nan)


def key_vectors(columns: KeyColumns, positions: Sequence[Position], elapsed: NDArray[np.float64]) -> KeyVectors:
    """Vectors of one key's entries; the keys before them are still to be filled in.

    Parameters
    ----------
    columns : KeyColumns
        Their parameters.
    positions : sequence of Position
        What to read; the first one is the elapsed time.
    elapsed : float64 array [n]
        Seconds since the session's previous entry, of all entries of the batch.
    """
    values = np.empty((len(columns.rows), len(positions)))
    for place, position in enumerate(positions):
        is_elapsed = position.slot == ELAPSED
        values[:, place] = elapsed[columns.rows] if is_elapsed else columns.slots[position.slot].numbers()
    return KeyVectors(
        key=columns.key,
        pieces=columns.pieces,
        positions=tuple(positions),
        values=values,
        previous=np.full((len(values), 2), NO_PREVIOUS, np.int64),
    )
