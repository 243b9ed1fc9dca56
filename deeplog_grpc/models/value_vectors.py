"""Value vectors: the numbers of a log key's entries, and the scale on which they are compared (CCS'17, section 3.2).

A vector is [elapsed seconds since the session's previous entry, numeric parameters...]; the vectors of one key, in the
order of the log, whatever session they belong to, are a series. A missing number is NaN.

Invariant: any float64 has a finite place on a scale, or none (NaN). Nothing here can overflow or fail.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ELAPSED = -1
"""Slot number of the elapsed time, which is no parameter."""

NO_PREVIOUS = -1
"""Stands for the log key before a session's first entry."""

MIN_VALUES = 20
"""Numbers of a position before anything is said of it: with fewer, a tenth of them is not two."""

LOPSIDED = 3.0
"""A position goes on a log scale when its upper tail is at least this many times as long as its lower one."""

LARGEST = 1e100
"""Numbers beyond, infinities among them, count as this: squares of them are still finite."""
_SMALLEST_SHIFT = 1e-3
"""Shift of a log scale at least, as a share of the median: what is a thousandth of it is as good as nothing."""
_MAX_LOG = 690.0
"""exp of it is below the largest float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One number of a vector."""

    slot: int
    """The template's slot, from 0; :data:`ELAPSED` for the elapsed time."""
    unit: str = ""
    """Unit of the numbers: ``s`` of the elapsed time, else what the parser says (``ms``, ``bytes``...)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVectors:
    """Vectors of one log key, in the order of the log."""

    key: int
    pieces: tuple[str, ...]
    """The template's constants; while they are the same, a slot's number means the same slot."""
    positions: tuple[Position, ...]
    """m positions; the first one is the elapsed time."""
    values: NDArray[np.float64]
    """Shape [n, m]; NaN = missing."""
    previous: NDArray[np.int64]
    """Log keys of the session's two entries before, oldest first, or :data:`NO_PREVIOUS`. Shape [n, 2]."""

    def __post_init__(self) -> None:
        count = len(self.values)
        if self.values.shape != (count, len(self.positions)) or self.previous.shape != (count, 2):
            raise ValueError(
                f"vectors of key {self.key}: shapes {self.values.shape} and {self.previous.shape} "
                f"for {len(self.positions)} positions"
            )
        if not self.positions or self.positions[0].slot != ELAPSED:
            raise ValueError(f"vectors of key {self.key}: the first position is the elapsed time")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def elapsed_s(self) -> NDArray[np.float64]:
        """Elapsed seconds since the session's previous entry. Shape [n]."""
        return self.values[:, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How the numbers of one position are made comparable: logarithm where it fits, then mean and deviation.

    Examples
    --------
    >>> scale = Scale(is_log=False, shift=1.0, mean=10.0, deviation=2.0, median=9.0, slack=0.5)
    >>> scale.normalise(np.array([10.0, 14.0, np.nan])).tolist(), scale.restore(2.0)
    ([0.0, 2.0, nan], 14.0)
    >>> scale.towards(np.array([14.0, 10.2]), np.array([10.0, 10.0])).tolist()
    [13.5, 10.0]
    """

    is_log: bool
    shift: float
    """c > 0 of log(c + x)."""
    mean: float
    """Of the training data, on the (log) scale."""
    deviation: float
    """> 0; the same."""
    median: float
    """Of the training data, in original units."""
    slack: float
    """>= 0. Differences up to this, in original units, mean nothing: the numbers' own resolution, the scheduler."""

    def normalise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers in standard deviations from the mean. Shape [n] -> [n]; finite, or NaN for NaN."""
        with np.errstate(over="ignore"):  # numbers of training may have been as small as others are large
            placed = (self._bend(np.clip(values, -LARGEST, LARGEST)) - self.mean) / self.deviation
        finite: NDArray[np.float64] = np.clip(placed, -LARGEST, LARGEST)
        return finite

    @property
    def median_place(self) -> float:
        """The median's place on the scale."""
        return float(self.normalise(np.array([self.median]))[0])

    @property
    def half_slack(self) -> float:
        """Half the slack, at the median, in standard deviations."""
        near, far = self.normalise(np.array([self.median, self.median + self.slack / 2]))
        return float(far - near)

    def restore(self, normalised: float) -> float:
        """The number that has this place on the scale."""
        bent = normalised * self.deviation + self.mean
        if not self.is_log:
            return bent
        base = float(np.log(self.shift))
        return float(np.exp(min(bent, _MAX_LOG)) - self.shift) if bent >= base else (bent - base) * self.shift

    def towards(self, values: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers moved towards what was expected by the slack, and not past it. Shapes [n], [n] -> [n]."""
        difference = np.clip(values, -LARGEST, LARGEST) - expected
        moved: NDArray[np.float64] = expected + np.sign(difference) * np.maximum(np.abs(difference) - self.slack, 0.0)
        return moved

    def restore_all(self, normalised: NDArray[np.float64]) -> NDArray[np.float64]:
        """:meth:`restore` of many. Shape [n] -> [n]."""
        bent = normalised * self.deviation + self.mean
        if not self.is_log:
            return bent
        base = float(np.log(self.shift))
        exponential = np.exp(np.minimum(bent, _MAX_LOG)) - self.shift
        return np.where(bent >= base, exponential, (bent - base) * self.shift)

    def _bend(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.is_log:
            return values
        # Below zero, where no logarithm is, the curve goes on as a straight line: training had no such number.
        bent: NDArray[np.float64] = np.log(self.shift + np.maximum(values, 0.0)) + np.minimum(values, 0.0) / self.shift
        return bent

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scale":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If a number is not finite, or a divisor not positive.
        """
        scale = cls(is_log=bool(data["is_log"]), **{n: float(data[n]) for n in _NUMBERS})
        numbers = [getattr(scale, name) for name in _NUMBERS]
        if not np.isfinite(numbers).all() or min(scale.shift, scale.deviation) <= 0 or scale.slack < 0:
            raise ValueError(f"a scale of values is damaged: {dict(data)}")
        return scale


_NUMBERS = ("shift", "mean", "deviation", "median", "slack")


def fit_scale(values: NDArray[np.float64], *, slack: float = 0.0) -> Scale | None:
    """Learn a scale from training data.

    The test for a log scale: no number is negative, the upper tail (99 % quantile less median) is at least
    :data:`LOPSIDED` times as long as the lower one (median less 1 % quantile), and the logarithms are less lopsided.

    Parameters
    ----------
    values : float64 array [n]
        Numbers of one position; NaN is passed over.
    slack : float
        Least slack, in original units.

    Returns
    -------
    Scale, or None if there are fewer than :data:`MIN_VALUES` numbers

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> fit_scale(rng.normal(20.0, 1.0, 500)).is_log, fit_scale(rng.lognormal(3.0, 1.0, 500)).is_log
    (False, True)
    >>> fit_scale(np.full(3, 1.0)) is None
    True
    """
    known = np.clip(values[~np.isnan(values)], -LARGEST, LARGEST)
    if len(known) < MIN_VALUES:
        return None
    distinct = np.unique(known)
    median = float(np.median(known))
    slack = max(slack, _step(distinct))
    # Numbers that the slack does not tell apart are no multiples of each other either.
    shift = max(_SMALLEST_SHIFT * abs(median), slack) or 1.0
    bent = np.log(shift + np.maximum(known, 0.0))
    is_log = bool(known.min() >= 0) and _lopsided(known) >= LOPSIDED and _lopsided(bent) < _lopsided(known)
    placed = bent if is_log else known
    return Scale(
        is_log=is_log,
        shift=shift,
        mean=float(placed.mean()),
        deviation=float(placed.std()) or max(abs(float(placed.mean())), 1.0) * 1e-6,
        median=median,
        slack=slack,
    )


def _step(distinct: NDArray[np.float64]) -> float:
    """Resolution of numbers: the smallest difference of two that is not only rounding; 0 of a constant."""
    steps = np.diff(distinct)
    real = steps[steps > np.abs(distinct).max() * 1e-9]
    return float(real.min(initial=np.inf)) if len(real) else 0.0


def _lopsided(values: NDArray[np.float64]) -> float:
    """Length of the upper tail as a multiple of the lower one's."""
    low, middle, high = np.quantile(values, (0.01, 0.5, 0.99)).tolist()
    return float((high - middle) / max(middle - low, 1e-12 * max(abs(middle), 1e-300)))
