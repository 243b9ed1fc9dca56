"""How wrong predictions of normal values are, and how improbable a given error is: conformal p-values with a tail.

The p-value of an error is the share of validation errors at least as large, plus one in each count [1]_. n errors can
so tell no rate below 1 / (n + 1). Past the outermost tenth of them, on each side, a generalised Pareto tail goes on
[2]_: exponential where the data are no heavier than that, at most of shape :data:`HEAVIEST`. That extrapolation is an
assumption, and measured: at rate 1e-4 from 2,000 errors, Student's t with 3 degrees alarms 4 times too often, thinner
tails at most three times. Rates down to about 1 / n are data. Each distinct error counts once: a thousand lines that
name the same twenty seats are twenty observations, not a thousand.

Tomorrow's errors are not today's. How much worse they get is learned too: what the first half of the errors says of the
second one must be p-values, whose logarithms have a known mean; where they are larger by a factor, all are divided by
it (:attr:`ErrorDistribution.inflation`).

References
----------
.. [1] V. Vovk et al., "Algorithmic Learning in a Random World", 2005: conformal prediction.
.. [2] J. Hosking, J. Wallis, "Parameter and Quantile Estimation for the Generalized Pareto Distribution",
   Technometrics 29 (1987): probability-weighted moments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import expm1, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

TAIL_SHARE = 0.1
"""Share of the errors, on each side, that the tail is fitted to."""

HEAVIEST = 0.5
"""Largest shape of a tail: with a few dozen errors a larger estimate is chance, and a bound from it no bound."""

KEPT = 64
"""Errors kept of the middle: they only tell p-values above `TAIL_SHARE`, where nothing is decided."""

MIN_JUDGED = 20
"""Errors that are enough to see in the second half what the first one is worth."""

_LEAST_SHARE = 1e-300
"""Keeps logarithms finite."""
_LEAST_STEP = 1e-12
"""Relative step that makes up for rounding: far above that of a power, far below what matters."""
_LEAST_TAIL = 0.02
"""Mean excess of a tail at least, as a share of the errors' spread: errors that are all equal would allow none."""
_LEAST_SPREAD = 1e-6
"""Standard deviations of training; the spread of values that are constant but for rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The upper tail of errors: P(error > start + x) = share * (1 + shape * x / scale) ** (-1 / shape)."""

    start: float
    share: float
    """In (0, 1]."""
    scale: float
    """> 0."""
    shape: float
    """In [0, HEAVIEST]; 0 = exponential."""

    def beyond(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of a larger error; errors below the start count as the start. Shape [n] -> [n]."""
        excess = np.maximum(errors - self.start, 0.0) / self.scale
        if self.shape == 0.0:
            return self.share * np.exp(-excess)
        with np.errstate(over="ignore"):
            kept: NDArray[np.float64] = self.share * (1.0 + self.shape * excess) ** (-1.0 / self.shape)
        return kept

    def bound(self, rate: float) -> float:
        """The error that is exceeded with this probability, for rates up to the share."""
        ratio = max(self.share / rate, 1.0)
        if self.shape == 0.0:
            return self.start + self.scale * float(np.log(ratio))
        return self.start + self.scale / self.shape * float(ratio**self.shape - 1.0)

    def reaching(self, error: float, probability: float) -> "Tail":
        """The tail stretched just so far that an error is exceeded with at least this probability.

        Parameters
        ----------
        error : float
            Finite.
        probability : float
            In (0, `share`): no stretching lifts more than the share past the start.

        Examples
        --------
        >>> tail = Tail(start=1.0, share=0.1, scale=0.5, shape=0.0)
        >>> tail.reaching(5.0, 0.001)
        Tail(start=1.0, share=0.1, scale=0.868..., shape=0.0)
        """
        if not 0.0 < probability < self.share:
            raise ValueError(f"a tail that holds a share of {self.share} cannot reach a probability of {probability}")
        at = np.array([error])
        nats = log(self.share / probability)
        times = expm1(self.shape * nats) / self.shape if self.shape else nats
        stretched = replace(self, scale=max(self.scale, (error - self.start) / times))
        step = _LEAST_STEP
        while stretched.beyond(at)[0] < probability:  # by as much as was lost to rounding; twice or so
            stretched, step = replace(stretched, scale=stretched.scale * (1.0 + step)), 2.0 * step
        return stretched


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDistribution:
    """Errors (observed less predicted) of normal values at one position, on its scale.

    Examples
    --------
    >>> errors = ErrorDistribution.of(np.random.default_rng(0).normal(size=400))
    >>> errors.p_values(np.array([0.0, 2.0, -5.0, 30.0, np.nan])).round(3).tolist()
    [0.958, 0.047, 0.001, 0.0, 1.0]
    >>> [round(bound, 1) for bound in errors.interval(0.001)]
    [-4.7, 3.7]
    """

    count: int
    """Distinct errors it was learned from."""
    middle: tuple[float, ...]
    """At most `KEPT` of them, evenly spaced in rank, ascending."""
    upper: Tail
    lower: Tail
    """Of the errors with their signs turned."""
    inflation: float = 1.0
    """Factor, >= 1, by which surprises (in nats) of later errors came out too large; they are divided by it."""

    @classmethod
    def of(cls, errors: NDArray[np.float64], *, least: float = 0.0) -> "ErrorDistribution":
        """Learn from validation errors in the order of time, >= 2 of them; NaN is passed over. Shape [n].

        Parameters
        ----------
        least : float
            Mean excess of the tails at least: errors that were all alike do not tell how far the first other one goes.
        """
        known = errors[~np.isnan(errors)]
        if len(known) < MIN_JUDGED:
            return cls._of(known, least)
        early, late = cls._halves(known, least)
        return replace(cls._of(known, least), inflation=_inflation(early.p_values(late)))

    @classmethod
    def of_the_past(cls, errors: NDArray[np.float64], *, least: float = 0.0) -> NDArray[np.float64]:
        """p-values of the second half of the errors by what the first half tells; NaN for the first. Shape [n] -> [n].

        Where there are too few to learn from half of them, all are NaN.
        """
        found = np.full(len(errors), np.nan)
        places = np.flatnonzero(~np.isnan(errors))
        if len(places) >= MIN_JUDGED:
            early, late = cls._halves(errors[places], least)
            p_values = early.p_values(late)
            found[places[-len(late) :]] = p_values ** (1.0 / _inflation(p_values))
        return found

    @classmethod
    def _halves(cls, known: NDArray[np.float64], least: float) -> tuple["ErrorDistribution", NDArray[np.float64]]:
        middle = len(known) // 2
        return cls._of(known[:middle], least), known[middle:]

    @classmethod
    def _of(cls, errors: NDArray[np.float64], least: float) -> "ErrorDistribution":
        # A value that is logged a hundred times says no more of how far off others may be than if it came once.
        known = np.unique(errors)
        known = known if len(known) > 1 else np.sort(errors)
        ranks = np.unique(np.linspace(0, len(known) - 1, KEPT).round().astype(np.int64))
        low, high = np.quantile(known, (0.25, 0.75))
        spread = max(float(high - low), _LEAST_SPREAD)
        return cls(
            count=len(known),
            middle=tuple(known[ranks].tolist()),
            upper=_fit_tail(known, spread, least),
            lower=_fit_tail(-known[::-1], spread, least),
        )

    def p_values(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Two-sided p-value of each error, in [0, 1]; 1 for NaN. Shape [n] -> [n]."""
        kept = np.asarray(self.middle)
        below = np.searchsorted(kept, errors, side="right")
        above = len(kept) - np.searchsorted(kept, errors, side="left")
        middle = (np.minimum(below, above) + 1) / (len(kept) + 1)
        p = np.where(errors > self.upper.start, self.upper.beyond(errors), middle)
        p = np.where(-errors > self.lower.start, self.lower.beyond(-errors), p)
        return np.where(np.isnan(errors), 1.0, np.minimum(1.0, 2.0 * p) ** (1.0 / self.inflation))

    def interval(self, rate: float) -> tuple[float, float]:
        """The errors between which a p-value is at least ``rate``, for rates up to twice the tails' share."""
        share = max(rate**self.inflation / 2, _LEAST_SHARE)
        return -self.lower.bound(share), self.upper.bound(share)

    def reaching(self, error: float, p_value: float) -> "ErrorDistribution":
        """The distribution that calls an error normal: its tail is stretched just until the p-value is this one.

        No error gets a smaller p-value than it had; one further out on the same side gets a larger one too.

        Parameters
        ----------
        error : float
            Finite, or NaN, for which nothing changes.
        p_value : float
            In [0, 2 * `TAIL_SHARE`).

        Examples
        --------
        >>> errors = ErrorDistribution.of(np.random.default_rng(0).normal(size=400))
        >>> wider = errors.reaching(9.0, 0.001)
        >>> [round(bound, 1) for bound in (*errors.interval(0.001), *wider.interval(0.001))]
        [-4.7, 3.7, -4.7, 9.0]
        >>> errors.reaching(1.0, 0.001) is errors
        True
        """
        if self.p_values(np.array([error]))[0] >= p_value:
            return self
        # A hair more, for the p-value is made of the probability by a power.
        share = max(p_value**self.inflation / 2, _LEAST_SHARE) * (1.0 + _LEAST_STEP)
        if -error > self.lower.start:
            return replace(self, lower=self.lower.reaching(-error, share))
        return replace(self, upper=self.upper.reaching(error, share))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        tails = {
            name: [t.start, t.share, t.scale, t.shape] for name, t in (("upper", self.upper), ("lower", self.lower))
        }
        return {"count": self.count, "middle": list(self.middle), "inflation": self.inflation, **tails}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ErrorDistribution":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If a number is not finite or out of its range.
        """
        middle, inflation = tuple(float(error) for error in data["middle"]), float(data["inflation"])
        if not middle or not np.isfinite(middle).all() or (np.diff(middle) < 0).any() or not 1 <= inflation < np.inf:
            raise ValueError("the errors of a value model are damaged")
        return cls(
            count=int(data["count"]),
            middle=middle,
            upper=_read_tail(data["upper"]),
            lower=_read_tail(data["lower"]),
            inflation=inflation,
        )


def _inflation(p_values: NDArray[np.float64]) -> float:
    """How much too large the surprises of p-values are: their highest ones beside those of true p-values.

    -ln of a true p-value is exponential: the highest k of n are ln(n / k) + 1 on average.

    Examples
    --------
    >>> true = (np.arange(1000) + 0.5) / 1000
    >>> round(_inflation(true), 2), round(_inflation(true**2), 2)
    (1.0, 1.91)
    """
    nats = -np.log(np.maximum(np.sort(p_values), _LEAST_SHARE))
    count = max(MIN_JUDGED // 4, round(len(nats) * TAIL_SHARE))
    surplus: float = nats[:count].mean().item() - 2.0 * (2.0 / count) ** 0.5  # two standard errors may be chance
    return max(1.0, surplus / (log(len(nats) / count) + 1.0))


def _read_tail(numbers: list[float]) -> Tail:
    start, share, scale, shape = map(float, numbers)
    if not np.isfinite(start) or not 0 < share <= 1 or not 0 < scale < np.inf or not 0 <= shape <= HEAVIEST:
        raise ValueError(f"the tail of a value model is damaged: {numbers}")
    return Tail(start=start, share=share, scale=scale, shape=shape)


def _fit_tail(errors: NDArray[np.float64], spread: float, least: float) -> Tail:
    """Fit a tail to the upper end of ascending errors, by probability-weighted moments."""
    count = min(max(2, round(len(errors) * TAIL_SHARE)), len(errors) - 1)
    start = float(errors[-count - 1])
    excess = errors[-count:] - start
    mean = float(excess.mean())
    # The weights are largest for the smallest excess; an exponential tail has weighted = mean / 4.
    weighted = float((excess * (1.0 - (np.arange(1, count + 1) - 0.35) / count)).mean())
    shape = 2.0 - mean / (mean - 2.0 * weighted) if mean > 2.0 * weighted else 0.0
    # One standard error less: a tail is taken for heavier than an exponential one only where the data insist, for over
    # the three powers of ten that are extrapolated, what is chance in a shape would double the bounds.
    shape = min(HEAVIEST, max(0.0, shape - (1.0 + max(shape, 0.0)) / count**0.5))
    longer = max(mean, _LEAST_TAIL * spread, least)
    shape *= mean / longer  # what makes the tail longer than the data do is no evidence that it is heavy
    scale = longer * (1.0 - shape)
    return Tail(start=start, share=(count + 1) / (len(errors) + 1), scale=scale, shape=shape)
