"""Training of the value models. Pure: no files, no clock; progress goes to a callback.

Validation is by blocks of time: each vector is predicted by a network that was trained on the other blocks, so that
all vectors, not a few kept back, tell how wrong predictions of normal values are. The networks of all blocks of many
keys, and those trained on everything, which are kept, are trained together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat

from deeplog_grpc.models.value_asking import windows_of
from deeplog_grpc.models.value_config import ValueModelConfig
from deeplog_grpc.models.value_errors import ErrorDistribution
from deeplog_grpc.models.value_judging import gaussian_p_values
from deeplog_grpc.models.value_model import ValueModel
from deeplog_grpc.models.value_network import network_inputs
from deeplog_grpc.models.value_parts import GapRule, KeyRule, Outlook, fit_gaps, past_gaps, root_mean_square
from deeplog_grpc.models.value_training import Series, ValueEpoch, loss_of, train_networks
from deeplog_grpc.models.value_vectors import ELAPSED, MIN_VALUES, KeyVectors, Position, Scale, fit_scale

MAX_INFLATION = 4.0
"""Where surprises of the second half are larger by this factor, the past says nothing of the future: counters, process
ids. What happens once in 10,000 times would be taken for once in 10 ** 16."""


MAX_OUTSIDE = 0.2
"""Share of the second half that may be outside the range of the first. Of twenty numbers that do not drift, a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """What was learned of one key; for people."""

    key: int
    vectors: int
    """Vectors learned from."""
    positions: tuple[Position, ...]
    """Kept."""
    logarithmic: tuple[bool, ...]
    """Which of them are on a log scale."""
    left_out: tuple[tuple[Position, str], ...]
    """The others, each with the reason."""
    prediction: str
    """Who predicts, and why if it is not the network."""
    network_loss: float | None
    """Validation error of the LSTM (mean square, in standard deviations); None where none was trained."""
    plain_loss: float | None
    """The same of the mean or the median, whichever is better; None where the key has no rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFit:
    """Trained value models and how they came about."""

    model: ValueModel
    reports: tuple[KeyReport, ...]
    """One a key."""
    p_values: tuple[NDArray[np.float64], ...]
    """By key, of each vector in the order of :class:`KeyVectors`: how odd it was by what the vectors before the middle
    of the log tell; NaN for those. Shape [n] each."""
    epochs: int
    """Passes of the longest training."""


def fit_value_model(
    series: Sequence[KeyVectors],
    config: ValueModelConfig,
    *,
    seed: int = 0,
    on_epoch: Callable[[ValueEpoch], None] = lambda epoch: None,
) -> ValueFit:
    """Train the value models of an application on normal vectors.

    Parameters
    ----------
    series : sequence of KeyVectors
        One a key, in the order of the log.
    seed : int
        The same seed and vectors give the same weights on one machine.
    on_epoch : callable
        Called after each pass.
    """
    drafts = [_Draft.of(_latest(vectors, config.max_vectors), config) for vectors in series]
    width = max((len(draft.positions) for draft in drafts), default=0)
    large = [draft for draft in drafts if draft.is_large(config)]
    trained = train_networks([draft.series(width, config) for draft in large], config, seed=seed, on_epoch=on_epoch)
    kept: list[dict[str, Tensor]] = []
    finished = {}
    for draft, network in zip(large, trained.networks, strict=True):
        if config.min_gain is None or network.loss <= (1.0 - config.min_gain) * draft.plain_loss(config):
            done = replace(draft, network=len(kept), predicted=network.predicted[:, : len(draft.positions)])
            kept.append(network.weights)
        else:
            done = draft
        finished[draft.vectors.key] = replace(done, network_loss=network.loss)
    complete = [finished.get(draft.vectors.key, draft) for draft in drafts]
    gaps: list[GapRule] = []
    for draft in drafts:
        gaps += fit_gaps(draft.vectors, slack_s=config.slack_s)
    weights = {name: cat([one[name] for one in kept]) for name in kept[0]} if kept else {}
    model = ValueModel(config, [draft.rule(config) for draft in complete if draft.positions], gaps, weights)
    return ValueFit(
        model=model,
        reports=tuple(draft.report(config) for draft in complete),
        p_values=tuple(draft.past_p_values(config) for draft in complete),
        epochs=trained.epochs,
    )


def _latest(vectors: KeyVectors, count: int) -> KeyVectors:
    return replace(vectors, values=vectors.values[-count:], previous=vectors.previous[-count:])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A key on the way to its rule."""

    vectors: KeyVectors
    positions: tuple[Position, ...]
    scales: tuple[Scale, ...]
    left_out: tuple[tuple[Position, str], ...]
    normalised: NDArray[np.float64]
    """Shape [n, m]."""
    predicted: NDArray[np.float64] | None = None
    """Out-of-block predictions of the network for the warm vectors, if it is used. Shape [warm, m]."""
    network: int | None = None
    network_loss: float | None = None

    @classmethod
    def of(cls, vectors: KeyVectors, config: ValueModelConfig) -> "_Draft":
        positions: list[Position] = []
        scales: list[Scale] = []
        columns: list[NDArray[np.float64]] = []
        left_out: list[tuple[Position, str]] = []
        for place, position in enumerate(vectors.positions):
            column = vectors.values[:, place]
            scale = fit_scale(column, slack=config.slack_s if position.slot == ELAPSED else 0.0)
            reason = _reason_against(scale, position, column, taken=len(positions), config=config)
            if reason or scale is None:
                left_out.append((position, reason))
                continue
            positions.append(position)
            scales.append(scale)
            columns.append(scale.normalise(column))
        count = len(vectors)
        return cls(
            vectors=vectors,
            positions=tuple(positions),
            scales=tuple(scales),
            left_out=tuple(left_out),
            normalised=np.column_stack(columns) if columns else np.zeros((count, 0)),
        )

    def warm(self, config: ValueModelConfig) -> NDArray[np.bool_]:
        """Which vectors have h good ones before them. Shape [n]."""
        _, whole = network_inputs(self.normalised, len(self.positions))
        odd = np.concatenate([np.ones(config.history), ~whole]).cumsum()
        warm: NDArray[np.bool_] = odd[config.history - 1 : -1] == np.concatenate([[0], odd[: len(whole) - 1]])
        return warm

    def is_large(self, config: ValueModelConfig) -> bool:
        """Whether there are vectors enough, and numbers enough at each position, for a network."""
        warm = self.warm(config)
        numbers = (~np.isnan(self.normalised[warm])).sum(axis=0)
        return bool(self.positions) and warm.sum() >= config.min_vectors and bool((numbers >= MIN_VALUES).all())

    def series(self, width: int, config: ValueModelConfig) -> Series:
        """What its networks learn from."""
        inputs, _ = network_inputs(self.normalised, width)
        path = np.concatenate([np.zeros((config.history, 2 * width), np.float32), inputs])
        targets = np.full((len(self.vectors), width), np.nan, np.float32)
        targets[:, : len(self.positions)] = self.normalised
        warm = np.flatnonzero(self.warm(config))
        return Series(key=self.vectors.key, windows=windows_of(path, warm, config.history), targets=targets[warm])

    def plain_loss(self, config: ValueModelConfig) -> float:
        """Mean square error of the mean or the median, where the networks' loss is taken too."""
        targets = self.normalised[self.warm(config)] if self.is_large(config) else self.normalised
        # The mean is 0 on the scale. A network that has only found it has learned nothing from the vectors before.
        return min(loss_of(targets, self._medians()), loss_of(targets, np.zeros(len(self.positions))))

    def rule(self, config: ValueModelConfig) -> KeyRule:
        """What is kept of it."""
        by_network = None
        if self.predicted is not None:
            by_network = Outlook.of(self.normalised[self.warm(config)] - self.predicted, self.scales)
        return KeyRule(
            key=self.vectors.key,
            pieces=self.vectors.pieces,
            positions=self.positions,
            scales=self.scales,
            by_median=Outlook.of(self.normalised - self._medians(), self.scales),
            by_network=by_network,
            network=self.network,
        )

    def past_p_values(self, config: ValueModelConfig) -> NDArray[np.float64]:
        """p-values of the vectors of the second half, by what the first one tells; NaN for the first. Shape [n]."""
        warm = self.warm(config)
        errors = self.normalised - self._medians()
        found = _past_p_values(errors, self.scales, config)
        if self.predicted is not None:
            found[warm] = _past_p_values(self.normalised[warm] - self.predicted, self.scales, config)
        if config.interval == "quantile":
            found = np.column_stack([found, past_gaps(self.vectors, slack_s=config.slack_s)])
        tests = np.maximum((~np.isnan(found)).sum(axis=1), 1)
        smallest = np.minimum(1.0, np.nan_to_num(found, nan=1.0).min(axis=1, initial=1.0) * tests)
        return np.where(np.arange(len(found)) < len(found) // 2, np.nan, smallest)

    def _medians(self) -> NDArray[np.float64]:
        return np.array([scale.median_place for scale in self.scales])

    def report(self, config: ValueModelConfig) -> KeyReport:
        """What people are told of it."""
        count = len(self.vectors)
        if not self.positions:
            prediction = "none: no number to predict"
        elif self.network is not None:
            prediction = "LSTM"
        elif self.network_loss is not None:
            prediction = "median: the LSTM is no better"
        else:
            prediction = f"median: {count} vectors, an LSTM needs {config.min_vectors} with {config.history} before"
        return KeyReport(
            key=self.vectors.key,
            vectors=count,
            positions=self.positions,
            logarithmic=tuple(scale.is_log for scale in self.scales),
            left_out=self.left_out,
            prediction=prediction,
            network_loss=self.network_loss,
            plain_loss=self.plain_loss(config) if self.positions else None,
        )


def _past_p_values(
    errors: NDArray[np.float64], scales: Sequence[Scale], config: ValueModelConfig
) -> NDArray[np.float64]:
    """p-values of errors [n, m] by those of the first half: of each number, or of whole vectors [n, 1]."""
    if config.interval == "gaussian":
        return gaussian_p_values(errors, root_mean_square(errors[: len(errors) // 2]))[:, None]
    columns = [
        ErrorDistribution.of_the_past(column, least=scale.half_slack)
        for column, scale in zip(errors.T, scales, strict=True)
    ]
    return np.column_stack([np.zeros((len(errors), 0)), *columns])


def _leaves_its_range(known: NDArray[np.float64]) -> bool:
    """Whether many numbers of the second half are outside the range of the first, as those of a counter are.

    Examples
    --------
    >>> numbers = np.random.default_rng(0).normal(size=200)
    >>> _leaves_its_range(numbers), _leaves_its_range(numbers + np.arange(200.0))
    (False, True)
    """
    early, late = np.array_split(known, 2)
    if len(known) < 2 * MIN_VALUES:
        return False
    return bool(((late < early.min()) | (late > early.max())).mean() > MAX_OUTSIDE)


def _reason_against(
    scale: Scale | None, position: Position, column: NDArray[np.float64], *, taken: int, config: ValueModelConfig
) -> str:
    """Why a position is left out; empty if it is not."""
    known = column[~np.isnan(column)]
    if scale is None:
        return f"only {len(known)} numbers"
    if known.min() == known.max():
        return "always the same"
    distinct = len(np.unique(known))
    if distinct < MIN_VALUES and position.slot != ELAPSED:  # of a time that was always 0, it is known what is late
        return f"only {distinct} distinct numbers"
    errors = scale.normalise(column) - scale.median_place
    if _leaves_its_range(known) or ErrorDistribution.of(errors, least=scale.half_slack).inflation > MAX_INFLATION:
        return "drifts: the second half of the log is not like the first"
    return f"beyond {config.max_positions} positions" if taken >= config.max_positions else ""
