"""The learned parts of a value model: the rule of a key, and the rule of a transition between two keys."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.value_errors import ErrorDistribution
from deeplog_grpc.models.value_vectors import MIN_VALUES, NO_PREVIOUS, KeyVectors, Position, Scale, fit_scale

_LEAST_SIGMA = 1e-9
"""Mean square error at least: vectors that are always the same would allow none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How wrong one kind of prediction is of normal vectors."""

    errors: tuple[ErrorDistribution, ...]
    """One a position."""
    sigma: float
    """Root mean square of the vectors' mean square errors, > 0: the paper's zero-mean Gaussian."""

    @classmethod
    def of(cls, errors: NDArray[np.float64], scales: Sequence[Scale]) -> "Outlook":
        """Learn from validation errors, NaN = missing. Shape [n, m]; m scales."""
        learned = [
            ErrorDistribution.of(column, least=scale.half_slack) for column, scale in zip(errors.T, scales, strict=True)
        ]
        return cls(errors=tuple(learned), sigma=root_mean_square(errors))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return {"errors": [errors.to_json() for errors in self.errors], "sigma": self.sigma}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Outlook":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If a number is not finite or out of its range.
        """
        sigma = float(data["sigma"])
        if not 0 < sigma < np.inf:
            raise ValueError("the errors of a value rule are damaged")
        return cls(errors=tuple(map(ErrorDistribution.from_json, data["errors"])), sigma=sigma)


def root_mean_square(errors: NDArray[np.float64]) -> float:
    """Root mean square of vectors' mean square errors, > 0. Shape [n, m], NaN = missing."""
    present = ~np.isnan(errors)
    squares = np.where(present, errors, 0.0) ** 2
    known = present.any(axis=1)
    means = squares[known].sum(axis=1) / present[known].sum(axis=1)
    return max(_LEAST_SIGMA, float(np.sqrt((means**2).mean()))) if len(means) else _LEAST_SIGMA


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRule:
    """What was learned of the vectors of one key."""

    key: int
    pieces: tuple[str, ...]
    """The template's constants in training; to another template the rule does not apply."""
    positions: tuple[Position, ...]
    """m positions that say something."""
    scales: tuple[Scale, ...]
    by_median: Outlook
    """Of the medians as predictions."""
    by_network: Outlook | None
    """Of the network's predictions, on validation data; None where there is no network."""
    network: int | None
    """Number of the network; None = the medians are the only prediction."""

    def __post_init__(self) -> None:
        outlooks = [outlook for outlook in (self.by_median, self.by_network) if outlook is not None]
        fits = all(len(outlook.errors) == len(self.scales) for outlook in outlooks)
        fits &= all(position.slot < len(self.pieces) - 1 for position in self.positions)
        if not fits or len(self.scales) != len(self.positions) or (self.network is None) != (self.by_network is None):
            raise ValueError(f"the value rule of key {self.key} is damaged")

    def medians(self) -> NDArray[np.float64]:
        """Normalised medians. Shape [m]."""
        return np.array([scale.median_place for scale in self.scales])

    def numbers(self, vectors: KeyVectors) -> NDArray[np.float64]:
        """The vectors' numbers at the rule's positions, in original units. Shape [n, m]."""
        if vectors.positions == self.positions:
            return vectors.values
        places = {position.slot: place for place, position in enumerate(vectors.positions)}
        return vectors.values[:, [places[position.slot] for position in self.positions]]

    def normalised(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers in standard deviations from the mean. Shape [n, m] original units -> [n, m]; NaN = missing."""
        placed = np.empty(values.shape)
        for place, scale in enumerate(self.scales):
            placed[:, place] = scale.normalise(values[:, place])
        return placed

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return {
            "key": self.key,
            "pieces": list(self.pieces),
            "positions": [[position.slot, position.unit] for position in self.positions],
            "scales": [scale.to_json() for scale in self.scales],
            "by_median": self.by_median.to_json(),
            "by_network": None if self.by_network is None else self.by_network.to_json(),
            "network": self.network,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "KeyRule":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If a number is not finite or out of its range.
        """
        return cls(
            key=int(data["key"]),
            pieces=tuple(map(str, data["pieces"])),
            positions=tuple(Position(slot=int(slot), unit=str(unit)) for slot, unit in data["positions"]),
            scales=tuple(map(Scale.from_json, data["scales"])),
            by_median=Outlook.from_json(data["by_median"]),
            by_network=None if data["by_network"] is None else Outlook.from_json(data["by_network"]),
            network=None if data["network"] is None else int(data["network"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRule:
    """The usual elapsed time of a transition between log keys: its median, and how far from it is normal."""

    after: tuple[int, ...]
    """The log key before, or the two before, oldest first."""
    key: int
    scale: Scale
    errors: ErrorDistribution

    def error_of(self, elapsed_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Errors on the scale, less the slack. Shape [n], seconds -> [n]."""
        moved = self.scale.towards(elapsed_s, np.array([self.scale.median]))
        return self.scale.normalise(moved) - self.scale.median_place

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return {
            "after": list(self.after),
            "key": self.key,
            "scale": self.scale.to_json(),
            "errors": self.errors.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "GapRule":
        """Read what :meth:`to_json` wrote; raises as :meth:`KeyRule.from_json`."""
        return cls(
            after=tuple(map(int, data["after"])),
            key=int(data["key"]),
            scale=Scale.from_json(data["scale"]),
            errors=ErrorDistribution.from_json(data["errors"]),
        )


def fit_gaps(vectors: KeyVectors, *, slack_s: float) -> list[GapRule]:
    """Learn the transitions to one key that have times enough.

    A transition is from one key, or from two in a row: the second of two steps with the same name may take seconds
    where the first takes none.

    Parameters
    ----------
    slack_s : float
        Seconds of difference that mean nothing.

    Examples
    --------
    >>> elapsed = np.random.default_rng(0).normal(5.0, 0.3, 60)[:, None]
    >>> vectors = KeyVectors(
    ...     key=2, pieces=("done",), positions=(Position(slot=-1, unit="s"),), values=elapsed,
    ...     previous=np.array([[3, 1]] * 30 + [[4, 1]] * 20 + [[3, 7]] * 10),
    ... )
    >>> [(gap.after, gap.key, round(gap.scale.median)) for gap in fit_gaps(vectors, slack_s=0.1)]
    [((1,), 2, 5), ((3, 1), 2, 5), ((4, 1), 2, 5)]
    """
    return [rule for rule, _ in _gaps(vectors, slack_s)]


def past_gaps(vectors: KeyVectors, *, slack_s: float) -> NDArray[np.float64]:
    """p-values of elapsed times of the second half of each transition, by what its first half tells. Shape [n].

    NaN for the first half, and where the transition is not known.
    """
    found = np.full(len(vectors), np.nan)
    for rule, rows in _gaps(vectors, slack_s):  # the longer ones, which come later, say more
        found[rows] = ErrorDistribution.of_the_past(rule.error_of(vectors.elapsed_s[rows]), least=rule.scale.half_slack)
    return found


def _gaps(vectors: KeyVectors, slack_s: float) -> Iterator[tuple[GapRule, NDArray[np.intp]]]:
    """Rules of the transitions to a key, and the numbers of the vectors of each, ascending."""
    times: dict[int, int] = {}
    for depth in (1, 2):
        befores, places, counts = np.unique(
            vectors.previous[:, -depth:], axis=0, return_inverse=True, return_counts=True
        )
        times = times or dict(zip(befores[:, 0].tolist(), counts.tolist(), strict=True))
        # A stream of many sources has nearly as many transitions as entries: they are told apart in one go.
        groups = np.split(np.argsort(places.ravel(), kind="stable"), counts.cumsum()[:-1])
        for after, rows in zip(befores.tolist(), groups, strict=True):
            if len(rows) < MIN_VALUES:
                continue
            if depth == 2 and len(rows) == times[after[-1]]:
                continue  # the one key before always has the same one before it
            rule = _fit_gap(tuple(after), vectors.key, vectors.elapsed_s[rows], slack_s)
            if rule is not None:
                yield rule, rows


def _fit_gap(after: tuple[int, ...], key: int, elapsed_s: NDArray[np.float64], slack_s: float) -> GapRule | None:
    scale = None if after[-1] == NO_PREVIOUS else fit_scale(elapsed_s, slack=slack_s)
    if scale is None:
        return None
    errors = scale.normalise(elapsed_s) - scale.median_place
    return GapRule(after=after, key=key, scale=scale, errors=ErrorDistribution.of(errors, least=scale.half_slack))
