"""The known-normal sessions, put together once so that each version can be judged by them quickly.

Most of what they hold repeats: each distinct place in a session, and each distinct session as a whole, is judged once.
In terms of log keys, so that it outlives all versions.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models import BEGIN_KEY, UNKNOWN_KEY, TrainingSession

NOT_JUDGED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPaths:
    """Sessions, or blocks of streams, as paths of distinct steps."""

    windows: NDArray[np.int64]
    """Log keys before each distinct step, oldest first; -1 = before the session began, -2 = not known. Shape [n, h]."""
    known: tuple[int, ...]
    """How many keys of each window are known. Length n."""
    keys: tuple[int, ...]
    """The log key of each step; -1 = the end of the session. Length n."""
    counts: tuple[tuple[tuple[int, int], ...], ...]
    """Distinct (log key, times) of sessions as a whole."""
    steps: NDArray[np.int64]
    """Numbers of the steps of all distinct sessions, one session after the other."""
    owners: NDArray[np.int64]
    """The distinct session of each of them."""
    wholes: NDArray[np.int64]
    """The number of each distinct session's counts, :data:`NOT_JUDGED` where they are not judged."""
    times: NDArray[np.int64]
    """How often each distinct session is there."""

    @classmethod
    def of(cls, sessions: Sequence[TrainingSession], *, history: int, begin_end: bool) -> "KnownPaths":
        """Put sessions together.

        Parameters
        ----------
        history : int
            h.
        begin_end : bool
            Whether begins and ends are judged.

        Examples
        --------
        >>> paths = KnownPaths.of([TrainingSession(keys=[7, 8])] * 2, history=2, begin_end=True)
        >>> paths.windows.tolist(), paths.keys, paths.counts
        ([[-1, -1], [-1, 7], [7, 8]], (7, 8, -1), (((7, 1), (8, 1)),))
        >>> paths.times.tolist(), KnownPaths.of([TrainingSession(keys=[7])], history=1, begin_end=False).known
        ([2], (0,))
        """
        distinct = Counter((tuple(map(int, s.keys)), s.begins, s.ends) for s in sessions)
        numbers: dict[tuple[tuple[int, ...], int, int], int] = {}
        wholes: dict[tuple[tuple[int, int], ...], int] = {}
        steps, owners, own_counts = [], [], []
        for owner, (keys, begins, ends) in enumerate(distinct):
            is_begun = begins and begin_end
            path = (*[BEGIN_KEY if is_begun else UNKNOWN_KEY] * history, *keys)
            for place, key in enumerate([*keys, BEGIN_KEY] if ends and begin_end else keys):
                known = history if is_begun else min(place, history)
                steps.append(numbers.setdefault((path[place : place + history], known, key), len(numbers)))
                owners.append(owner)
            counted = tuple(sorted(Counter(keys).items()))
            own_counts.append(wholes.setdefault(counted, len(wholes)) if begins and ends else NOT_JUDGED)
        return cls(
            windows=np.array([window for window, _, _ in numbers], np.int64).reshape(-1, history),
            known=tuple(known for _, known, _ in numbers),
            keys=tuple(key for _, _, key in numbers),
            counts=tuple(wholes),
            steps=np.array(steps, np.int64),
            owners=np.array(owners, np.int64),
            wholes=np.array(own_counts, np.int64),
            times=np.array(list(distinct.values()), np.int64),
        )

    def flagged(self, bad_steps: NDArray[np.bool_], bad_counts: NDArray[np.bool_]) -> int:
        """How many sessions have anything abnormal.

        Parameters
        ----------
        bad_steps : bool array [n]
            Whether each distinct step is abnormal.
        bad_counts : bool array
            Whether each of ``counts`` is.
        """
        is_flagged = np.zeros(len(self.times), np.bool_)
        is_flagged[self.owners[bad_steps[self.steps]]] = True
        # The last place is that of sessions whose counts are not judged.
        is_flagged |= np.append(bad_counts, False)[self.wholes]
        return int(self.times[is_flagged].sum())
