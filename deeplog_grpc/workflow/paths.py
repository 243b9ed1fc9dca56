"""Sessions as workflows see them: distinct paths of log keys, and how often each was taken."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

MAX_TIMES = 2_000
"""Sessions of one path whose times are kept: enough for a 99 % quantile."""

NO_TIMES: NDArray[np.float32] = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Path:
    """One path, from the begin of a session to its end."""

    keys: tuple[int, ...]
    """Log keys."""
    count: int
    """Sessions that took it."""
    elapsed_s: NDArray[np.float32] = field(default_factory=lambda: NO_TIMES)
    """Seconds of each entry since the one before, NaN where not known. Shape [<= count, entries], or [0, 0]."""


def distinct_paths(
    sessions: Iterable[Sequence[int] | NDArray[np.int32]], elapsed_s: Iterable[NDArray[np.float64]] | None = None
) -> tuple[Path, ...]:
    """Distinct paths of sessions, the most frequent first, then in the order of their log keys.

    Parameters
    ----------
    elapsed_s : iterable of float arrays, optional
        Of each session: seconds of each entry since the one before. Shape [entries] each.

    Examples
    --------
    >>> [(path.keys, path.count) for path in distinct_paths([[1, 2], [3], [1, 2]])]
    [((1, 2), 2), ((3,), 1)]
    """
    counts: defaultdict[tuple[int, ...], int] = defaultdict(int)
    times: defaultdict[tuple[int, ...], list[NDArray[np.float64]]] = defaultdict(list)
    of_session = iter(elapsed_s) if elapsed_s is not None else None
    for session in sessions:
        keys = tuple(session.tolist() if isinstance(session, np.ndarray) else session)
        counts[keys] += 1
        if of_session is not None:
            times[keys].append(next(of_session))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Path(keys=keys, count=count, elapsed_s=_stacked(times.get(keys, []))) for keys, count in ordered)


def _stacked(times: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    return np.stack(list(islice(times, MAX_TIMES))).astype(np.float32) if times else NO_TIMES
