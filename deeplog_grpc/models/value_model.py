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

from deeplog_grpc.models.value_asking import Asking, warm_vectors, windows_of
from deeplog_grpc.models.value_config import ValueModelConfig
from deeplog_grpc.models.value_errors import ErrorDistribution
from deeplog_grpc.models.value_judging import GaussianJudge, QuantileJudge, Sight, ValueFinding
from deeplog_grpc.models.value_memory import ValueMemory, run_before
from deeplog_grpc.models.value_network import Weights, network_inputs, predict, weight_shapes
from deeplog_grpc.models.value_parts import GapRule, KeyRule, Outlook
from deeplog_grpc.models.value_reach import Reach
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
        self._reach = {rule.key: Reach.of(rule, weights, unremarkable) for rule in rules if rule.network is not None}
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
        if known and known[0].slot == ELAPSED:
            return known
        slots = tuple(position for position in known if position.slot != ELAPSED)
        return (Position(slot=ELAPSED, unit="s"), *slots)

    def judge(
        self,
        batch: Sequence[KeyVectors],
        memory: ValueMemory,
        *,
        false_alarm_rate: float,
        timely: Sequence[NDArray[np.bool_]] | None = None,
        looked_at: Sequence[NDArray[np.intp]] | None = None,
    ) -> list[ValueVerdicts]:
        """Judge vectors, and remember them.

        Parameters
        ----------
        batch : sequence of KeyVectors
            One a key and template, with the positions that :meth:`positions` names. Of vectors that are not
            :meth:`looked_at`, nobody asks for the log keys before.
        memory : ValueMemory
            The vectors before; changed.
        false_alarm_rate : float
            Share of normal vectors that may be called abnormal, in (0, `unremarkable`].
        timely : sequence of bool arrays [n]
            Which vectors' elapsed times are inside :meth:`usual_elapsed`; None = not known.
        looked_at : sequence of int arrays
            What :meth:`looked_at` says of them; None = still to be found out.

        Returns
        -------
        list of ValueVerdicts
            One a key. A p-value of 1 may stand for any of at least `unremarkable`.
        """
        timely = timely or [np.zeros(len(vectors), np.bool_) for vectors in batch]
        looked_at = looked_at or [self.looked_at(own, in_time) for own, in_time in zip(batch, timely, strict=True)]
        verdicts: list[ValueVerdicts | None] = []
        askings: list[Asking] = []
        for vectors, in_time, unsettled in zip(batch, timely, looked_at, strict=True):
            rule = self.rules.get(vectors.key)
            if rule is None or rule.network is None or rule.pieces != vectors.pieces or not len(vectors):
                verdicts.append(self._by_median(vectors, false_alarm_rate))
            elif (asking := self._ask(vectors, rule, rule.network, memory, in_time, unsettled)) is None:
                verdicts.append(ValueVerdicts(p_values=np.ones(len(vectors)), findings={}))
            else:
                verdicts.append(None)
                askings.append(asking)
        answers = predict(self._weights, [(asking.network, asking.windows) for asking in askings]) if askings else []
        asked = iter(
            [
                self._by_network(asking, answer, memory, false_alarm_rate)
                for asking, answer in zip(askings, answers, strict=True)
            ]
        )
        return [next(asked) if verdict is None else verdict for verdict in verdicts]

    def looked_at(self, vectors: KeyVectors, timely: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Rows of the vectors that may be remarkable, whatever came before them, and all of a key without a network.

        Parameters
        ----------
        timely : bool array [n]
            As of :meth:`judge`.
        """
        rule, reach = self.rules.get(vectors.key), self._reach.get(vectors.key)
        if rule is None or reach is None or rule.pieces != vectors.pieces or self.config.interval == "gaussian":
            return np.arange(len(vectors))  # a Gaussian takes a vector as a whole
        return np.flatnonzero(reach.unsettled(rule.numbers(vectors)) | ~timely)

    def _by_median(self, vectors: KeyVectors, rate: float) -> ValueVerdicts:
        """Judge vectors of a key without a network."""
        sight = self.sight(vectors)
        judge = self.judge_of(sight, sight.medians(), sight.rule.by_median if sight.rule else None)
        return _verdicts([judge] * len(vectors), judge.p_values, rate)

    def _ask(
        self,
        vectors: KeyVectors,
        rule: KeyRule,
        network: int,
        memory: ValueMemory,
        timely: NDArray[np.bool_],
        unsettled: NDArray[np.intp],
    ) -> Asking | None:
        """What the network of a key has to say about its vectors; None if all are usual, which are remembered then."""
        history, reach = self.config.history, self._reach[rule.key]
        values = rule.numbers(vectors)
        tail = memory.tail(rule.key, rule.positions, history)
        if not len(unsettled) and not reach.unusual(values).any():
            memory.remember(rule.key, tail.then(values, ~np.logical_and.reduce(np.isnan(values.T))))
            return None
        path = rule.normalised(np.concatenate([tail.values, values]))
        inputs, shown = network_inputs(path, self._weights["output"].shape[2])
        whole = shown[history:]
        if not len(unsettled):
            memory.remember(rule.key, tail.then(values, whole))
            return None
        # Where a vector before is no good by itself, the network has nothing to say.
        asked = unsettled[run_before(~whole, tail.run)[unsettled] >= history]
        return Asking(
            vectors=vectors,
            rule=rule,
            network=network,
            tail=tail,
            values=values,
            normalised=path[history:],
            whole=whole,
            timely=timely,
            unsettled=unsettled,
            asked=asked,
            windows=windows_of(inputs, asked, history),
        )

    def _by_network(
        self, asking: Asking, answer: NDArray[np.float64], memory: ValueMemory, rate: float
    ) -> ValueVerdicts:
        """Judge vectors of a key with a network, some of which are unusual."""
        rule, reach, history = asking.rule, self._reach[asking.rule.key], self.config.history
        predicted = answer[:, : len(rule.scales)]
        by_network = self._exactly(asking, asking.asked, predicted, rule.by_network, reach.by_network, rate)
        if asking.tail.run >= history and bool((asking.whole & (by_network.p_values >= rate)).all()):
            memory.remember(rule.key, asking.tail.then(asking.values, asking.whole))
            return by_network
        medians = np.broadcast_to(reach.medians, (len(asking.unsettled), len(reach.medians)))
        by_median = self._exactly(asking, asking.unsettled, medians, rule.by_median, reach.by_median, rate)
        warm, good = warm_vectors(asking, by_network.p_values, by_median.p_values, history, rate)
        memory.remember(rule.key, asking.tail.then(asking.values, good))
        p_values = np.where(warm, by_network.p_values, by_median.p_values)
        findings = {
            row: (by_network if warm[row] else by_median).findings[row]
            for row in np.flatnonzero(p_values < rate).tolist()
        }
        return ValueVerdicts(p_values=p_values, findings=findings)

    def _exactly(
        self,
        asking: Asking,
        rows: NDArray[np.intp],
        predicted: NDArray[np.float64],
        outlook: Outlook | None,
        reach: NDArray[np.float64],
        rate: float,
    ) -> ValueVerdicts:
        """Judge by one kind of prediction those of some rows that it may find remarkable; others have a p-value of 1.

        Parameters
        ----------
        rows : int array [k]
        predicted : float64 array [k, m]
        reach : float64 array [2, m]
            Errors between which a number is unremarkable.
        """
        errors = asking.normalised[rows] - predicted
        doubtful = ((errors < reach[0]) | (errors > reach[1])).any(axis=1) | ~asking.timely[rows]
        if self.config.interval == "gaussian":
            doubtful[:] = True
        rows, vectors = rows[doubtful], asking.vectors
        p_values, findings = np.ones(len(vectors)), {}
        if len(rows):
            chosen = replace(vectors, values=vectors.values[rows], previous=vectors.previous[rows])
            judge = self.judge_of(self.sight(chosen), predicted[doubtful], outlook)
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


def _bounds(scale: Scale, errors: ErrorDistribution, p_value: float) -> tuple[float, float]:
    """The numbers, in original units, that have at least this p-value with the median as prediction."""
    low, high = errors.interval(p_value)
    return (
        scale.restore(scale.median_place + low) - scale.slack,
        scale.restore(scale.median_place + high) + scale.slack,
    )


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
