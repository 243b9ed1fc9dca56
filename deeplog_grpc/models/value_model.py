"""The value model: are the numbers of an entry, and the time it took to come, as they usually are (CCS'17, 3.2).

A key with enough data has an LSTM that predicts its next vector from the h before, if that is better than the median;
any other key, and every transition from one log key to the next, has the median as its prediction.

A network judges a vector only when all h before it are good: neither abnormal nor far outside of training's range.
Otherwise, and at a start, the median does, with its own errors. So what is abnormal never reaches a network, and a
network that is out of step cannot go on to call all that follows abnormal.

Invariants: a verdict depends on the vectors before it, never on how they were batched; the memory of a key is h
vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplog_grpc.models.value_config import ValueModelConfig
from deeplog_grpc.models.value_errors import ErrorDistribution
from deeplog_grpc.models.value_judging import GaussianJudge, QuantileJudge, Sight, ValueFinding, placed
from deeplog_grpc.models.value_network import Weights, network_inputs, predict, weight_shapes
from deeplog_grpc.models.value_parts import GapRule, KeyRule, Outlook
from deeplog_grpc.models.value_vectors import ELAPSED, KeyVectors, Position, Scale

UNREMARKABLE = 0.02
"""p-value of a number that nobody looks at more closely: one normal number in fifty has a smaller one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueVerdicts:
    """What is said of vectors of one key."""

    p_values: NDArray[np.float64]
    """Probability that a normal vector is at least as odd, in [0, 1]; 1 where nothing is known. Shape [n]."""
    findings: Mapping[int, ValueFinding]
    """By row, of the vectors whose p-value is below the rate."""


class ValueMemory:
    """The last vectors of each key: what predictions are made from. At most h vectors a key."""

    def __init__(self) -> None:
        self._tails: dict[int, tuple[NDArray[np.float32], int]] = {}

    def __len__(self) -> int:
        return len(self._tails)

    @property
    def numbers(self) -> int:
        """Numbers held, of all keys."""
        return sum(tail.size for tail, _ in self._tails.values())

    def copy(self) -> "ValueMemory":
        """A memory of its own that stands where this one does."""
        other = ValueMemory()
        other._tails = dict(self._tails)  # the arrays are never changed, only replaced
        return other

    def path(self, key: int, inputs: NDArray[np.float32], history: int) -> tuple[NDArray[np.float32], int]:
        """The remembered vectors of a key with its new ones, and how many in a row were good before those.

        Parameters
        ----------
        inputs : float32 array [n, 2 * width]

        Returns
        -------
        float32 array [history + n, 2 * width], int
        """
        tail, run = self._tails.get(key, (np.zeros((history, inputs.shape[1]), np.float32), 0))
        return np.concatenate([tail, inputs]), run

    def remember(self, key: int, path: NDArray[np.float32], run: int, history: int) -> None:
        """Keep the end of a path; the last ``run`` vectors of it are good."""
        self._tails[key] = path[-history:].copy(), run


class ValueModel:
    """Trained value models of all keys of an application; immutable.

    Parameters
    ----------
    rules : sequence of KeyRule
        One a key.
    gaps : sequence of GapRule
        One a transition.
    weights : mapping of str to Tensor
        The networks of the keys that have one; empty if none has.
    unremarkable : float
        p-value from which on a number need not be looked at more closely, in (0, `UNREMARKABLE`].
    """

    def __init__(
        self,
        config: ValueModelConfig,
        rules: Sequence[KeyRule],
        gaps: Sequence[GapRule],
        weights: Weights,
        *,
        unremarkable: float = UNREMARKABLE,
    ) -> None:
        self.config = config
        self.unremarkable = unremarkable
        self.rules = {rule.key: rule for rule in rules}
        self.gaps = {(*gap.after, gap.key): gap for gap in gaps}
        self._weights = dict(weights)
        self._usual = {
            rule.key: self.intervals(rule.key, unremarkable) for rule in rules if not self.is_asked_always(rule.key)
        }
        networked = [(rule, rule.by_network) for rule in rules if rule.by_network is not None]
        self._reach = {rule.key: _reach(rule, outlook, unremarkable) for rule, outlook in networked}
        self._reach_of_median = {rule.key: _reach(rule, rule.by_median, unremarkable) for rule, _ in networked}
        self._medians = {rule.key: rule.medians() for rule, _ in networked}
        self._usual_gaps: dict[tuple[int, ...], tuple[float, float]] = {}

    def looking_below(self, p_value: float) -> "ValueModel":
        """The same model for whom more is unremarkable: what has at least this p-value, in (0, `UNREMARKABLE`]."""
        return ValueModel(
            self.config, list(self.rules.values()), list(self.gaps.values()), self._weights, unremarkable=p_value
        )

    def with_rules(self, rule: KeyRule | None, gap: GapRule | None) -> "ValueModel":
        """The same model with another rule of a key, and of a transition, in place of the ones it has; None = no other.

        All other rules are the same objects.
        """
        rules = self.rules if rule is None else self.rules | {rule.key: rule}
        gaps = self.gaps if gap is None else self.gaps | {(*gap.after, gap.key): gap}
        return ValueModel(
            self.config, list(rules.values()), list(gaps.values()), self._weights, unremarkable=self.unremarkable
        )

    def positions(self, key: int, pieces: tuple[str, ...]) -> tuple[Position, ...]:
        """The numbers to read from entries of a key: only the elapsed time if its template is not the one learned."""
        rule = self.rules.get(key)
        known = rule.positions if rule is not None and rule.pieces == pieces else ()
        slots = tuple(position for position in known if position.slot != ELAPSED)
        return (Position(slot=ELAPSED, unit="s"), *slots)

    def judge(
        self,
        batch: Sequence[KeyVectors],
        memory: ValueMemory,
        *,
        false_alarm_rate: float,
        timely: Sequence[NDArray[np.bool_]] | None = None,
    ) -> list[ValueVerdicts]:
        """Judge vectors, and remember them.

        Parameters
        ----------
        batch : sequence of KeyVectors
            One a key and template, with the positions that :meth:`positions` names.
        memory : ValueMemory
            The vectors before; changed.
        false_alarm_rate : float
            Share of normal vectors that may be called abnormal, in (0, `unremarkable`].
        timely : sequence of bool arrays [n]
            Which vectors' elapsed times are inside :meth:`usual_elapsed`; None = not known.

        Returns
        -------
        list of ValueVerdicts
            One a key. A p-value of 1 may stand for any of at least `unremarkable`.
        """
        timely = timely or [np.zeros(len(vectors), np.bool_) for vectors in batch]
        asked = [self._ask(vectors, memory) for vectors in batch]
        requests = [(asking.network, asking.windows) for asking in asked if asking is not None]
        answers = iter(predict(self._weights, requests) if requests else ())
        return [
            self._by_median(vectors, false_alarm_rate)
            if asking is None
            else self._by_network(vectors, asking, next(answers), memory, false_alarm_rate, in_time)
            for vectors, asking, in_time in zip(batch, asked, timely, strict=True)
        ]

    def _by_median(self, vectors: KeyVectors, rate: float) -> ValueVerdicts:
        """Judge vectors of a key without a network."""
        sight = self.sight(vectors)
        judge = self.judge_of(sight, sight.medians(), sight.rule.by_median if sight.rule else None)
        return _verdicts([judge] * len(vectors), judge.p_values, rate)

    def _by_network(
        self,
        vectors: KeyVectors,
        asking: "_Asking",
        answer: NDArray[np.float64],
        memory: ValueMemory,
        rate: float,
        timely: NDArray[np.bool_],
    ) -> ValueVerdicts:
        """Judge vectors of a key with a network; in the usual case few of them need more than two comparisons."""
        rule, history = asking.rule, self.config.history
        predicted = answer[:, : len(rule.scales)]
        by_network = self._exactly(vectors, asking, predicted, rule.by_network, self._reach[rule.key], rate, timely)
        if asking.run >= history and bool((asking.whole & (by_network.p_values >= rate)).all()):
            memory.remember(rule.key, asking.path, history, history)
            return by_network
        medians = np.broadcast_to(self._medians[rule.key], predicted.shape)
        by_median = self._exactly(
            vectors, asking, medians, rule.by_median, self._reach_of_median[rule.key], rate, timely
        )
        warm, run = _warm(asking, by_network.p_values, by_median.p_values, history, rate)
        memory.remember(rule.key, asking.path, run, history)
        p_values = np.where(warm, by_network.p_values, by_median.p_values)
        findings = {
            row: (by_network if warm[row] else by_median).findings[row]
            for row in np.flatnonzero(p_values < rate).tolist()
        }
        return ValueVerdicts(p_values=p_values, findings=findings)

    def _exactly(
        self,
        vectors: KeyVectors,
        asking: "_Asking",
        predicted: NDArray[np.float64],
        outlook: Outlook | None,
        reach: NDArray[np.float64],
        rate: float,
        timely: NDArray[np.bool_],
    ) -> ValueVerdicts:
        """Judge by one kind of prediction those rows that it may find remarkable; the others have a p-value of 1.

        Parameters
        ----------
        predicted : float64 array [n, m]
        reach : float64 array [2, m]
            Errors between which a number is unremarkable.
        """
        doubtful = np.logical_not(timely)
        if self.config.interval == "gaussian":
            doubtful[:] = True
        else:
            errors = asking.normalised - predicted
            doubtful |= ((errors < reach[0]) | (errors > reach[1])).any(axis=1)
        rows = np.flatnonzero(doubtful)
        p_values, findings = np.ones(len(vectors)), {}
        if len(rows):
            chosen = replace(vectors, values=vectors.values[rows], previous=vectors.previous[rows])
            judge = self.judge_of(self.sight(chosen), predicted[rows], outlook)
            p_values[rows] = judge.p_values
            findings = {
                int(rows[place]): judge.finding(place, rate) for place in np.flatnonzero(judge.p_values < rate).tolist()
            }
        return ValueVerdicts(p_values=p_values, findings=findings)

    def is_asked_always(self, key: int) -> bool:
        """Whether every vector of a key must be judged.

        A network has to see them all, and a Gaussian takes a vector as a whole.
        """
        rule = self.rules.get(key)
        return rule is not None and (rule.network is not None or self.config.interval == "gaussian")

    def intervals(self, key: int, rate: float) -> tuple[tuple[Position, tuple[float, float]], ...]:
        """The numbers of a key with the interval, around the median, that a share of ``rate`` is outside of."""
        rule = self.rules[key]
        return tuple(
            (position, _bounds(scale, errors, rate))
            for position, scale, errors in zip(rule.positions, rule.scales, rule.by_median.errors, strict=True)
        )

    def usual_elapsed(self, after: tuple[int, int], key: int) -> tuple[float, float]:
        """Elapsed seconds of a transition with a p-value of at least `unremarkable`, so that nobody need look closer.

        Parameters
        ----------
        after : tuple of int
            The two log keys before, oldest first.
        """
        bounds = [bound for position, bound in self._usual.get(key, ()) if position.slot == ELAPSED]
        if self.config.interval == "quantile" and (gap := self._gap(after, key)) is not None:
            bounds.append(self._usual_gap(gap))
        return max((low for low, _ in bounds), default=-np.inf), min((high for _, high in bounds), default=np.inf)

    def _usual_gap(self, gap: GapRule) -> tuple[float, float]:
        """Seconds of a transition with a p-value of at least `unremarkable`."""
        name = (*gap.after, gap.key)
        if name not in self._usual_gaps:
            self._usual_gaps[name] = _bounds(gap.scale, gap.errors, self.unremarkable)
        return self._usual_gaps[name]

    def usual_numbers(self, key: int) -> tuple[tuple[Position, tuple[float, float]], ...]:
        """The same of the numeric slots of a key."""
        return tuple((position, bound) for position, bound in self._usual.get(key, ()) if position.slot != ELAPSED)

    def sight(self, vectors: KeyVectors) -> Sight:
        """Vectors of a key beside the rules for them."""
        looks = self.config.interval == "quantile"  # a Gaussian knows no transitions
        gaps = [self._gap(after, vectors.key) if looks else None for after in vectors.previous.tolist()]
        return Sight.of(vectors, self.rules.get(vectors.key), gaps)

    def _ask(self, vectors: KeyVectors, memory: ValueMemory) -> "_Asking | None":
        rule = self.rules.get(vectors.key)
        if rule is None or rule.network is None or rule.pieces != vectors.pieces or not len(vectors):
            return None
        _, normalised = placed(rule, vectors)
        inputs, whole = network_inputs(normalised, self._weights["output"].shape[2])
        path, run = memory.path(rule.key, inputs, self.config.history)
        windows = windows_of(path, self.config.history)
        return _Asking(
            rule=rule, network=rule.network, normalised=normalised, path=path, windows=windows, whole=whole, run=run
        )

    def judge_of(self, sight: Sight, predicted: NDArray[np.float64], outlook: Outlook | None) -> "Judge":
        """Judge by one kind of prediction, normalised, shape [n, m]."""
        kind = GaussianJudge if self.config.interval == "gaussian" else QuantileJudge
        return kind(sight, predicted, outlook)

    def _gap(self, after: Sequence[int], key: int) -> GapRule | None:
        """The rule of the longest known transition."""
        return self.gaps.get((*after, key)) or self.gaps.get((after[-1], key))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle; with :meth:`weights` all there is."""
        return {
            "rules": [rule.to_json() for rule in self.rules.values()],
            "gaps": [gap.to_json() for gap in self.gaps.values()],
        }

    def weights(self) -> dict[str, Tensor]:
        """The networks' tensors by name."""
        return dict(self._weights)

    @classmethod
    def from_json(
        cls, config: ValueModelConfig, data: Mapping[str, Any], weights: Mapping[str, Tensor]
    ) -> "ValueModel":
        """Put a model together from :meth:`to_json` and :meth:`weights`.

        Raises
        ------
        ValueError
            If a tensor is missing, is too much, has another shape, or holds a number that is not finite; if a rule is
            damaged.
        KeyError
            If a part of a rule is missing.
        """
        rules = [KeyRule.from_json(rule) for rule in data["rules"]]
        _check_weights(config, rules, weights)
        return cls(config, rules, [GapRule.from_json(gap) for gap in data["gaps"]], weights)


Judge = QuantileJudge | GaussianJudge


def _reach(rule: KeyRule, outlook: Outlook, p_value: float) -> NDArray[np.float64]:
    """Errors between which a number certainly has at least this p-value. Shape [2, m].

    On a log scale the slack, which only makes errors smaller, depends on the number: it is left to the closer look.
    """
    slack = [0.0 if scale.is_log else scale.slack / scale.deviation * (1.0 - 1e-9) for scale in rule.scales]
    return (
        np.transpose([errors.interval(p_value) for errors in outlook.errors]) + np.array([-1.0, 1.0])[:, None] * slack
    )


def _bounds(scale: Scale, errors: ErrorDistribution, p_value: float) -> tuple[float, float]:
    """The numbers, in original units, that have at least this p-value with the median as prediction."""
    low, high = errors.interval(p_value)
    return (
        scale.restore(scale.median_place + low) - scale.slack,
        scale.restore(scale.median_place + high) + scale.slack,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """What a network is asked about the vectors of its key."""

    rule: KeyRule
    network: int
    normalised: NDArray[np.float64]
    """Shape [n, m]."""
    path: NDArray[np.float32]
    """Shape [h + n, 2 * width]."""
    windows: NDArray[np.float32]
    """Shape [n, h, 2 * width]."""
    whole: NDArray[np.bool_]
    """Which vectors are near enough to training's to be shown. Shape [n]."""
    run: int
    """Good vectors in a row before the first."""


def windows_of(path: NDArray[np.float32], history: int) -> NDArray[np.float32]:
    """The ``history`` vectors before each but the first ones of a path. Shape [h + n, w] -> [n, h, w]."""
    windows: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(path, history, axis=0)[:-1]
    return windows.transpose(0, 2, 1).copy()


def _warm(
    asking: _Asking, by_network: NDArray[np.float64], by_median: NDArray[np.float64], history: int, rate: float
) -> tuple[NDArray[np.bool_], int]:
    """Which vectors the network may judge, having h good ones before them; and the run of good ones at the end."""
    run, warm = asking.run, np.zeros(len(by_network), np.bool_)
    rows = zip(asking.whole.tolist(), (by_network >= rate).tolist(), (by_median >= rate).tolist(), strict=True)
    for row, (is_whole, fits_network, fits_median) in enumerate(rows):
        warm[row] = run >= history
        is_good = is_whole and (fits_network if warm[row] else fits_median)
        run = min(run + 1, history) if is_good else 0
    return warm, run


def _verdicts(judges: Sequence[Judge], p_values: NDArray[np.float64], rate: float) -> ValueVerdicts:
    rows = np.flatnonzero(p_values < rate).tolist()
    return ValueVerdicts(p_values=p_values, findings={row: judges[row].finding(row, rate) for row in rows})


def _check_weights(config: ValueModelConfig, rules: Sequence[KeyRule], weights: Weights) -> None:
    networks = sorted(rule.network for rule in rules if rule.network is not None)
    if networks != list(range(len(networks))):
        raise ValueError("the networks of a value model are not numbered one by one")
    if not networks and not weights:
        return
    width = weights["output"].shape[-1] if "output" in weights else 0
    expected = {name: (len(networks), *shape) for name, shape in weight_shapes(width, config.hidden).items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        raise ValueError(f"weights do not fit the configured networks: {found} instead of {expected}")
    if any(len(rule.positions) > width for rule in rules if rule.network is not None):
        raise ValueError("a network of the value model is narrower than its vectors")
    broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ValueError(f"weights are not finite: {', '.join(broken)}")
