"""Judging the vectors of one key with one kind of prediction: p-values, and why an abnormal vector is abnormal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.value_parts import GapRule, KeyRule, Outlook
from deeplog_grpc.models.value_vectors import ELAPSED, KeyVectors, Position, Scale

_ELAPSED_S = Position(slot=ELAPSED, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFinding:
    """Why a vector is abnormal: the number that fits least, in its own units."""

    position: Position
    after: tuple[int, ...]
    """The log keys before, when the elapsed time of that transition is meant; else empty."""
    observed: float
    predicted: float
    low: float
    high: float
    """Normal is low <= observed <= high, at the rate asked for, as long as the other numbers are what they are."""
    p_value: float
    """Of the whole vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Vectors of one key beside the rules for them."""

    vectors: KeyVectors
    rule: KeyRule | None
    """None if the key or its template is not known."""
    gaps: Sequence[GapRule | None]
    """The transition of each vector. Length n."""
    values: NDArray[np.float64]
    """In original units, at the rule's positions. Shape [n, m]."""
    normalised: NDArray[np.float64]
    """Shape [n, m]."""

    @classmethod
    def of(cls, vectors: KeyVectors, rule: KeyRule | None, gaps: Sequence[GapRule | None]) -> "Sight":
        """Put them side by side."""
        rule = rule if rule is not None and rule.pieces == vectors.pieces else None
        values = rule.numbers(vectors) if rule else np.zeros((len(vectors), 0))
        normalised = rule.normalised(values) if rule else values
        return cls(vectors=vectors, rule=rule, gaps=gaps, values=values, normalised=normalised)

    def medians(self) -> NDArray[np.float64]:
        """The medians as predictions. Shape [n, m]."""
        return np.tile(self.rule.medians() if self.rule else np.zeros(0), (len(self.vectors), 1))


class QuantileJudge:
    """Each number has a p-value of its own; the smallest times their count is the vector's (Bonferroni).

    Parameters
    ----------
    predicted : float64 array [n, m]
        Normalised.
    outlook : Outlook, optional
        How wrong such predictions are; None where there is no rule.
    """

    def __init__(self, sight: Sight, predicted: NDArray[np.float64], outlook: Outlook | None) -> None:
        self._sight, self._predicted, self._outlook = sight, predicted, outlook
        count, width = predicted.shape
        self._errors = np.full((count, width + 1), np.nan)  # the last column is the transition's
        self._p = np.ones_like(self._errors)
        if sight.rule is not None and outlook is not None:
            for place, scale in enumerate(sight.rule.scales):
                errors = _error_of(scale, sight.values[:, place], predicted[:, place])
                self._errors[:, place], self._p[:, place] = errors, outlook.errors[place].p_values(errors)
        numbers: dict[int, int] = {}
        owners = np.array([numbers.setdefault(id(gap), len(numbers)) for gap in sight.gaps], np.int64)
        for gap in {id(gap): gap for gap in sight.gaps if gap is not None}.values():
            rows = owners == numbers[id(gap)]
            errors = gap.error_of(sight.vectors.elapsed_s[rows])
            self._errors[rows, width], self._p[rows, width] = errors, gap.errors.p_values(errors)
        self._tests = np.maximum((~np.isnan(self._errors)).sum(axis=1), 1)
        self.p_values: NDArray[np.float64] = np.minimum(1.0, self._p.min(axis=1) * self._tests)
        """Shape [n]."""

    def finding(self, row: int, rate: float) -> ValueFinding:
        """Why a row with a p-value below the rate is abnormal."""
        # Of numbers that are all impossible, the largest error is blamed.
        least = self._p[row] == self._p[row].min()
        place = int(np.where(least, np.nan_to_num(np.abs(self._errors[row]), nan=-1.0), -1.0).argmax())
        if least[-1] and self._is_elapsed(place):
            place = self._predicted.shape[1]  # both mean the same time, and a transition says after what
        share, gap, p_value = rate / int(self._tests[row]), self._sight.gaps[row], float(self.p_values[row])
        if place == self._predicted.shape[1] and gap is not None:
            low, high = gap.errors.interval(share)
            elapsed = self._sight.vectors.elapsed_s[row]
            return _finding(_ELAPSED_S, gap.after, gap.scale, elapsed, gap.scale.median_place, (low, high), p_value)
        rule, outlook = self._sight.rule, self._outlook
        if rule is None or outlook is None:
            raise AssertionError("without a rule and without a transition, no p-value is below 1")
        reach = outlook.errors[place].interval(share)
        observed, predicted = self._sight.values[row, place], float(self._predicted[row, place])
        return _finding(rule.positions[place], (), rule.scales[place], observed, predicted, reach, p_value)

    def p_value_by(self, row: int, place: int) -> float:
        """The p-value of a row, at least, if none of its other numbers is further off than this one."""
        return min(1.0, float(self._p[row, place] * self._tests[row]))

    def outlook_for(self, row: int, p_value: float, places: Iterable[int]) -> Outlook:
        """The outlook, no wider than needed, by which the numbers at some places are normal.

        Parameters
        ----------
        p_value : float
            What a row has at least, with its transition and without, if its other numbers fit, in [0, 0.2).
        """
        if self._outlook is None:
            raise AssertionError("without a rule, there is no place")
        errors = list(self._outlook.errors)
        tests = max(1, int(np.count_nonzero(~np.isnan(self._errors[row, :-1]))))
        for place in places:
            errors[place] = errors[place].reaching(float(self._errors[row, place]), p_value / tests)
        return replace(self._outlook, errors=tuple(errors))

    def _is_elapsed(self, place: int) -> bool:
        rule = self._sight.rule
        return rule is not None and place < len(rule.positions) and rule.positions[place].slot == ELAPSED


class GaussianJudge:
    """The paper's: the mean square error of a vector against a zero-mean Gaussian, two-sided; no transitions.

    Parameters
    ----------
    predicted, outlook
        As of :class:`QuantileJudge`.
    """

    def __init__(self, sight: Sight, predicted: NDArray[np.float64], outlook: Outlook | None) -> None:
        self._sight, self._predicted = sight, predicted
        self._outlook, self._sigma = outlook, outlook.sigma if outlook is not None else 1.0
        self._squares = np.nan_to_num((sight.normalised - predicted) ** 2, nan=-1.0)
        """-1 = missing."""
        self._counts = np.maximum((self._squares >= 0).sum(axis=1), 1)
        self.p_values = gaussian_p_values(sight.normalised - predicted, self._sigma)
        """Shape [n]."""

    def finding(self, row: int, rate: float) -> ValueFinding:
        """Why a row with a p-value below the rate is abnormal."""
        rule = self._sight.rule
        if rule is None:
            raise AssertionError("without a rule, the p-value is 1")
        squares = self._squares[row]
        place = int(squares.argmax())
        allowed = NormalDist().inv_cdf(1.0 - rate / 2) * self._sigma * self._counts[row]
        others = float(np.maximum(squares, 0.0).sum() - squares[place])
        reach = sqrt(max(0.0, allowed - others))
        observed, predicted = self._sight.values[row, place], float(self._predicted[row, place])
        scale, p_value = rule.scales[place], float(self.p_values[row])
        return _finding(rule.positions[place], (), scale, observed, predicted, (-reach, reach), p_value, slack=0.0)

    def p_value_by(self, row: int, place: int) -> float:
        """As of :class:`QuantileJudge`: a mean square is no larger than the largest square."""
        return erfc(max(0.0, float(self._squares[row, place])) / (self._sigma * sqrt(2.0)))

    def outlook_for(self, row: int, p_value: float, places: Iterable[int]) -> Outlook:
        """As of :class:`QuantileJudge`."""
        if self._outlook is None:
            raise AssertionError("without a rule, there is no place")
        squares = [square for square in self._squares[row, list(places)].tolist() if square >= 0]
        mean = sum(squares) / max(1, len(squares))
        return replace(self._outlook, sigma=reaching_sigma(self._sigma, mean, p_value))


def reaching_sigma(sigma: float, mean_square: float, p_value: float) -> float:
    """The smallest sigma, from the given one on, by which a mean square error has at least this p-value, in [0, 1).

    Examples
    --------
    >>> round(reaching_sigma(1.0, 10.0, 0.01), 2), reaching_sigma(5.0, 10.0, 0.01)
    (3.88, 5.0)
    """
    if erfc(mean_square / (sigma * sqrt(2.0))) >= p_value:
        return sigma
    sigma, step = max(sigma, mean_square / -NormalDist().inv_cdf(p_value / 2)), 1e-12
    while erfc(mean_square / (sigma * sqrt(2.0))) < p_value:  # by as much as was lost to rounding
        sigma, step = sigma * (1.0 + step), 2.0 * step
    return sigma


def gaussian_p_values(errors: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """p-values of vectors' mean square errors under a zero-mean Gaussian. Shape [n, m], NaN = missing -> [n]."""
    squares = np.nan_to_num(errors**2, nan=0.0)
    means = squares.sum(axis=1) / np.maximum((~np.isnan(errors)).sum(axis=1), 1)
    return np.array([erfc(mean / (sigma * sqrt(2.0))) for mean in means.tolist()], np.float64)


def _error_of(scale: Scale, values: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors on the scale, less the slack. Shapes [n] original units, [n] normalised -> [n] normalised."""
    return scale.normalise(scale.towards(values, scale.restore_all(predicted))) - predicted


def _finding(
    position: Position,
    after: tuple[int, ...],
    scale: Scale,
    observed: float,
    predicted: float,
    reach: tuple[float, float],
    p_value: float,
    *,
    slack: float | None = None,
) -> ValueFinding:
    slack = scale.slack if slack is None else slack
    return ValueFinding(
        position=position,
        after=after,
        observed=float(observed),
        predicted=scale.restore(predicted),
        low=scale.restore(predicted + reach[0]) - slack,
        high=scale.restore(predicted + reach[1]) + slack,
        p_value=p_value,
    )
