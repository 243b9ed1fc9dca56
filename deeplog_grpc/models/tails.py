"""How surprising a score is: its place among the scores of normal sessions that the models had not learned from.

The p-value of a score is the share of normal sessions that would score as high. Among the calibration scores it is the
conformal rank, (1 + scores at least as high) / (1 + scores), which needs no assumption but that normal sessions of
tomorrow are like those of training. Above the highest calibration score there is nothing to count: there the scores
(surprises in nats) are assumed to thin out exponentially, at the rate at which the highest ones do.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT_SCORES = 1024
"""Highest scores kept: all that can matter at a false positive rate of 1 % of 100,000 sessions."""

TAIL_SCORES = 30
"""Scores that tell how fast the tail thins out; no more than a tenth of all, for the bulk is not the tail."""

FEW_SESSIONS = 200
"""Below so many calibration sessions the usual rates cannot be measured, nor the tail well fitted."""

FEW_FACTOR = 2.0
"""How much slower the tail is taken to thin out with few sessions: rather a missed anomaly than a false alarm."""


LEAST_P_VALUE = 1e-300
"""Keeps the logarithm finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The high end of the scores of normal sessions.

    Examples
    --------
    >>> tail = Tail.of(range(1000))
    >>> tail.p_value(990.0), round(tail.p_value(999.0), 6), tail.p_value(-1.0)
    (0.010989..., 0.001998, 1.0)
    >>> tail.p_value(2000.0) < 1e-6
    True
    """

    count: int
    """Calibration sessions."""
    highest: tuple[float, ...]
    """The highest scores, ascending; at most :data:`KEPT_SCORES`."""
    scale: float
    """Nats above the highest score over which the share falls by a factor of e; >= 1, as in :meth:`p_value`."""

    @classmethod
    def of(cls, scores: Sequence[float] | NDArray[np.float64]) -> "Tail":
        """Tail of calibration scores, one a session, in nats."""
        ordered = np.sort(np.asarray(scores, np.float64))
        top = ordered[-min(TAIL_SCORES, -(-len(ordered) // 10)) :] if len(ordered) else ordered
        scale = max(1.0, float((top - top[0]).mean())) if len(top) else 1.0
        if len(ordered) < FEW_SESSIONS:
            scale *= FEW_FACTOR
        return cls(count=len(ordered), highest=tuple(ordered[-KEPT_SCORES:].tolist()), scale=scale)

    def p_value(self, score: float) -> float:
        """Share of normal sessions that score as high, in (0, 1]; 1 for a score below all kept ones.

        Never less than e ** -score: what a model gives a probability of 0.9 is not rare, though training had 0.99.
        """
        return max(LEAST_P_VALUE, exp(-max(score, 0.0)), self._rank_p_value(score))

    def _rank_p_value(self, score: float) -> float:
        above = len(self.highest) - bisect_left(self.highest, score)
        if above == len(self.highest) and self.highest:
            return 1.0
        if above:
            return (1 + above) / (1 + self.count)
        beyond = score - self.highest[-1] if self.highest else score
        return exp(-max(beyond, 0.0) / self.scale) / (1 + self.count)

    def threshold(self, p_value: float) -> float:
        """The score above which p-values lie below the given one, in (0, 1].

        Examples
        --------
        >>> tail = Tail.of(range(1000))
        >>> limit = tail.threshold(0.002)
        >>> limit, tail.p_value(limit), tail.p_value(limit + 1e-9) < 0.002
        (998.0, 0.002997..., True)
        """
        nothing_less = -log(p_value)
        return max(nothing_less, self.rank_threshold(p_value))

    def rank_threshold(self, p_value: float) -> float:
        """The same by the calibration scores alone: the highest score that is still usual."""
        rank = ceil(p_value * (1 + self.count))
        if rank > 1 and self.highest:  # a score above the one of that rank is above p_value's worth of them
            return self.highest[max(0, len(self.highest) + 1 - rank)]
        beyond = -log(p_value * (1 + self.count)) * self.scale
        return (self.highest[-1] if self.highest else 0.0) + max(0.0, beyond)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return {"count": self.count, "highest": list(self.highest), "scale": self.scale}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Tail":
        """Read what :meth:`to_json` wrote."""
        return cls(count=int(data["count"]), highest=tuple(map(float, data["highest"])), scale=float(data["scale"]))
