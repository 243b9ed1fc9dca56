"""What a network is asked about the vectors of its key, and which of them it may judge."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.value_memory import Tail, run_before
from deeplog_grpc.models.value_parts import KeyRule
from deeplog_grpc.models.value_vectors import KeyVectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a network is asked about the vectors of its key."""

    vectors: KeyVectors
    rule: KeyRule
    network: int
    tail: Tail
    """The vectors before."""
    values: NDArray[np.float64]
    """At the rule's positions, in original units. Shape [n, m]."""
    normalised: NDArray[np.float64]
    """Shape [n, m]."""
    whole: NDArray[np.bool_]
    """Which vectors are near enough to training's to be shown. Shape [n]."""
    timely: NDArray[np.bool_]
    """Shape [n]."""
    unsettled: NDArray[np.intp]
    """The rows that need a closer look; of the others nothing depends on what is predicted."""
    asked: NDArray[np.intp]
    """Those of them that the network may have to judge. Shape [k]."""
    windows: NDArray[np.float32]
    """What comes before these. Shape [k, h, 2 * width]."""


def windows_of(path: NDArray[np.float32], rows: NDArray[np.intp], history: int) -> NDArray[np.float32]:
    """The ``history`` vectors before some vectors of a path, which count from 0 after the first ones.

    Parameters
    ----------
    path : float32 array [h + n, w]
    rows : int array [k]

    Returns
    -------
    float32 array [k, h, w]

    Examples
    --------
    >>> windows_of(np.arange(5, dtype=np.float32)[:, None], np.array([0, 2]), 2)[:, :, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    windows: NDArray[np.float32] = path[rows[:, None] + np.arange(history)]
    return windows


def warm_vectors(
    asking: Asking, by_network: NDArray[np.float64], by_median: NDArray[np.float64], history: int, rate: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which vectors the network may judge, having h good ones before them; and which are good."""
    good = asking.whole.copy()
    fits = by_median >= rate, by_network >= rate
    last = -1 - asking.tail.run
    for row in np.flatnonzero(~(good & fits[0] & fits[1])).tolist():  # all others are good, whoever judges them
        good[row] &= fits[row - 1 - last >= history][row]
        last = last if good[row] else row
    return run_before(~good, asking.tail.run)[:-1] >= history, good
