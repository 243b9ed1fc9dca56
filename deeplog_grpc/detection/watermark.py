"""Event time: the latest time of an entry that is believed. No clock."""

import numpy as np
from numpy.typing import NDArray

NS_PER_S = 1_000_000_000

_NO_ROWS: frozenset[int] = frozenset()


class Watermark:
    """The latest believed event time.

    Rules: 1. Time 0 (unknown) and the past change nothing. 2. A step ahead within ``step_ns`` is believed.
    3. A longer one is held back; if the next timed entry is later than the watermark by more than ``step_ns`` too,
    the smaller of the two is believed. The session of the held entry was not silent meanwhile: see ``holds``.

    Examples
    --------
    >>> watermark = Watermark(step_ns=10)
    >>> [watermark.observe(time) for time in (100, 105, 900, 107, 950, 940, 0)]
    [100, 105, 105, 107, 107, 940, 940]
    """

    __slots__ = ("_held_ns", "_step_ns", "now_ns")

    def __init__(self, *, step_ns: int) -> None:
        self.now_ns = 0
        self._held_ns = 0
        self._step_ns = step_ns

    @property
    def state(self) -> tuple[int, int]:
        """The watermark, and the time that is held back; 0 = none."""
        return self.now_ns, self._held_ns

    def restore(self, state: tuple[int, int]) -> None:
        """Go on where the watermark of that :attr:`state` stood."""
        self.now_ns, self._held_ns = state

    @property
    def holds(self) -> bool:
        """Whether the last timed entry's time is held back."""
        return self._held_ns > 0

    def observe(self, time_ns: int) -> int:
        """Take an entry's time; return the watermark."""
        if not time_ns:
            return self.now_ns
        if self.now_ns and time_ns - self.now_ns > self._step_ns:
            if not self._held_ns:
                self._held_ns = time_ns
                return self.now_ns
            time_ns = min(time_ns, self._held_ns)
        self._held_ns = 0
        if time_ns > self.now_ns:
            self.now_ns = time_ns
        return self.now_ns

    def observe_all(self, times_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], frozenset[int], frozenset[int]]:
        """Take the times of entries, in their order.

        Parameters
        ----------
        times_ns : int64 array [n]
            0 = unknown.

        Returns
        -------
        int64 array [n]
            The watermark as each entry comes.
        frozenset of int
            Rows whose times are held back.
        frozenset of int
            Rows after which nothing is held back any more, where it was before.

        Examples
        --------
        >>> Watermark(step_ns=10).observe_all(np.array([100, 900, 107]))
        (array([100, 100, 107]), frozenset({1}), frozenset({2}))
        """
        reached = np.maximum.accumulate(np.concatenate([[self.now_ns], times_ns]))
        before = reached[:-1]
        if not self.holds and not ((times_ns - before > self._step_ns) & (before > 0)).any():
            self.now_ns = int(reached[-1])
            return reached[1:], _NO_ROWS, _NO_ROWS
        return self._observe_doubtful(times_ns)

    def _observe_doubtful(
        self, times_ns: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], frozenset[int], frozenset[int]]:
        reached, held, released = np.empty_like(times_ns), [], []
        for row, time_ns in enumerate(times_ns.tolist()):
            held_before = self.holds
            reached[row] = self.observe(time_ns)
            if self.holds and time_ns:
                held.append(row)
            elif held_before and not self.holds:
                released.append(row)
        return reached, frozenset(held), frozenset(released)
