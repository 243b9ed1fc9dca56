"""The history of an application: which log keys which session had, when. What models are trained on.

Invariant: columns only; 16 bytes an entry and one dictionary slot a session.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.sessions import NS_PER_S
from deeplog_grpc.models import TrainingSession

MIN_TIMEOUT_S = 60.0
"""A learned time-out is not shorter: a logger may buffer its lines for some seconds."""
MAX_TIMEOUT_S = 86_400.0
"""A learned time-out is not longer: a session silent for a day is taken to have ended."""
TIMEOUT_MARGIN = 2.0
"""How much longer than a normal silence a silence must be to end a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCut:
    """Sessions cut out of a history."""

    sessions: tuple[TrainingSession, ...]
    timeout_s: float
    """Time-out in force, given or learned; 0 = never."""
    open_at_end: int
    """Sessions that were still running where the log stops: nothing is learned about their ends."""


class History:
    """Collects entries' log keys by session."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._sessions = array("i")
        self._keys = array("i")
        self._times_ns = array("q")

    def __len__(self) -> int:
        return len(self._keys)

    def extend(self, keys: NDArray[np.int32], sessions: Sequence[str], times_ns: NDArray[np.int64]) -> None:
        """Add entries in the order of their arrival."""
        numbers = self._numbers
        self._sessions.extend([numbers.setdefault(session, len(numbers)) for session in sessions])
        self._keys.frombytes(keys.astype(np.int32).tobytes())
        self._times_ns.frombytes(times_ns.tobytes())

    def cut(self, timeout_s: float | None) -> SessionCut:
        """Cut the history into sessions.

        Parameters
        ----------
        timeout_s : float or None
            Silence in seconds that ends a session; 0 = never; None = learn it.
        """
        numbers = np.frombuffer(self._sessions, np.int32)
        order = np.argsort(numbers, kind="stable")
        numbers, keys = numbers[order], np.frombuffer(self._keys, np.int32)[order]
        times_ns = _filled(np.frombuffer(self._times_ns, np.int64))[order]
        same = numbers[1:] == numbers[:-1]
        silences_ns = np.where(same, np.maximum(times_ns[1:] - times_ns[:-1], 0), 0)
        if timeout_s is None:
            timeout_s = learned_timeout_s(_longest(silences_ns, numbers))
        breaks = ~same
        if timeout_s:
            breaks |= silences_ns > timeout_s * NS_PER_S
        starts = np.concatenate([[0], np.flatnonzero(breaks) + 1]) if len(keys) else np.zeros(0, np.int64)
        stops = np.append(starts[1:], len(keys))
        usual_ns = np.quantile(silences_ns[~breaks], 0.95) if (~breaks).any() else 0.0
        latest_ns = times_ns.max(initial=0)
        ends = [not latest_ns or bool(latest_ns - times_ns[stop - 1] > usual_ns) for stop in stops]
        return SessionCut(
            sessions=tuple(
                TrainingSession(keys=keys[start:stop], ends=end)
                for start, stop, end in zip(starts, stops, ends, strict=True)
            ),
            timeout_s=timeout_s,
            open_at_end=ends.count(False),
        )


def learned_timeout_s(longest_silences_ns: NDArray[np.int64]) -> float:
    """Twice the longest silence inside nearly all (99 %) sessions, between a minute and a day; 0 without times.

    Examples
    --------
    >>> learned_timeout_s(np.array([100, 200, 300]) * NS_PER_S)
    600.0
    >>> learned_timeout_s(np.array([0, 0]))
    0.0
    """
    if not longest_silences_ns.any():
        return 0.0
    usual_s = float(np.quantile(longest_silences_ns, 0.99, method="higher")) / NS_PER_S
    return min(MAX_TIMEOUT_S, max(MIN_TIMEOUT_S, TIMEOUT_MARGIN * usual_s))


def _filled(times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Event times that never run backwards; an unknown time is that of the entry before."""
    return np.maximum.accumulate(times_ns) if len(times_ns) else times_ns


def _longest(silences_ns: NDArray[np.int64], numbers: NDArray[np.int32]) -> NDArray[np.int64]:
    """Longest silence inside each session."""
    longest = np.zeros(int(numbers.max(initial=-1)) + 1, np.int64)
    np.maximum.at(longest, numbers[1:], silences_ns)
    return longest
