"""Series of value vectors that tests train on and judge."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models import ELAPSED, KeyVectors, Position

PIECES = ("took ", " ms")
POSITIONS = (Position(slot=ELAPSED, unit="s"), Position(slot=0, unit="ms"))


def vectors_of(key: int, values: Sequence[Sequence[float]] | NDArray[np.float64], *, before: int = 9) -> KeyVectors:
    """Vectors of a key after ``before``, with an elapsed time and a duration."""
    array = np.asarray(values, np.float64).reshape(-1, 2)
    previous = np.full((len(array), 2), before, np.int64)
    return KeyVectors(key=key, pieces=PIECES, positions=POSITIONS, values=array, previous=previous)


def waves(count: int, seed: int) -> NDArray[np.float64]:
    """A duration that follows a cycle of four, which a median cannot know; an elapsed time of about 5 s."""
    random = np.random.default_rng(seed)
    durations = np.tile([100.0, 200.0, 300.0, 200.0], -(-count // 4))[:count] + random.normal(0, 4, count)
    return np.column_stack([random.normal(5.0, 0.2, count), durations])


def noise(count: int, seed: int) -> NDArray[np.float64]:
    """A duration of about 50 ms that nothing foretells."""
    random = np.random.default_rng(seed)
    return np.column_stack([random.normal(2.0, 0.1, count), random.normal(50.0, 3.0, count)])
