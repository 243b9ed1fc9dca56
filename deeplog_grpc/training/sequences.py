"""Evaluation on key sequences: sessions given as log keys, the form in which public data sets come.

Sessions go through the very states and verdicts that the Detector uses.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from deeplog_grpc.detection.shapes import Shape, ShapeJudge
from deeplog_grpc.detection.states import StateGraph, Transition, surprise
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.models import END, UNSEEN, Behaviour
from deeplog_grpc.training.baselines import SimpleRules
from deeplog_grpc.training.metrics import Comparison, Judged, Labelled

CACHE_BYTES = 1 << 30


class SequenceClass(StrEnum):
    """What is abnormal in a session, decided by the sequence alone; the first that fits."""

    SHORT = "short"
    """No more keys than the window has places."""
    UNSEEN_KEY = "unseen_key"
    """Holds a key that training did not have."""
    ORDER = "order"
    """Neither: only order, counts or the end can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceReport:
    """Sessions judged, and where that was wrong. An abnormal session is a positive."""

    comparison: Comparison
    """A verdict counts for the kind that it names."""
    recall_by_class: Mapping[str, float]
    """Of the abnormal sessions of each :class:`SequenceClass`; absent where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionJudgement:
    """What is said of a session."""

    score: float
    """Surprise in [0, 1], the highest of its entries and its end."""
    kinds: Mapping[Kind, float]
    """What is abnormal in it -> highest score of such a verdict."""


class SequenceScorer:
    """Says of key sequences whether they are abnormal sessions (CCS'17, section 5: at least one abnormal entry)."""

    def __init__(self, behaviour: Behaviour) -> None:
        model = behaviour.key_model
        self._graph = StateGraph(behaviour, cache_bytes=CACHE_BYTES)
        self._shapes = ShapeJudge(behaviour)
        self._unit_of = model.vocabulary.unit_table()
        self._begin_end = model.config.begin_end
        self._history = model.config.history

    def abnormal(self, sequences: Sequence[Sequence[int]]) -> list[bool]:
        """Whether each sequence is abnormal."""
        return [bool(kinds) for kinds in self.kinds(sequences)]

    def kinds(self, sequences: Sequence[Sequence[int]]) -> list[frozenset[Kind]]:
        """What is abnormal in each sequence; empty where nothing is."""
        return [frozenset(judgement.kinds) for judgement in self.judge(sequences)]

    def judge(self, sequences: Sequence[Sequence[int]]) -> list[SessionJudgement]:
        """Judge each sequence."""
        paths = [self._path(sequence) for sequence in sequences]
        self._graph.resolve(step for path in paths for step in path)
        found = [self._judged(path) for path in paths]
        self._graph.trim()
        return found

    def _judged(self, path: Sequence[Transition]) -> SessionJudgement:
        said = [(step.kind or Kind.NORMAL, step.score) for step in path]
        if (shape := self._shape(path)) is not None:
            said.append((shape.kind, surprise(shape.p_value)))
        kinds: dict[Kind, float] = {}
        for kind, score in said:
            if kind is not Kind.NORMAL:
                kinds[kind] = max(score, kinds.get(kind, 0.0))
        return SessionJudgement(score=max((score for _, score in said), default=0.0), kinds=kinds)

    def _shape(self, path: Sequence[Transition]) -> Shape | None:
        """What is said of the session as a whole."""
        return self._shapes.judge(Counter(step.unit for step in path[:-1])) if self._begin_end else None

    def class_of(self, sequence: Sequence[int]) -> SequenceClass:
        """What could be abnormal in a sequence."""
        if len(sequence) <= self._history:
            return SequenceClass.SHORT
        seen = all(key in self._unit_of for key in sequence)
        return SequenceClass.ORDER if seen else SequenceClass.UNSEEN_KEY

    def _path(self, sequence: Sequence[int]) -> list[Transition]:
        state = self._graph.beginning() if self._begin_end else self._graph.middle()
        path = []
        units = [self._unit_of.get(key, UNSEEN) for key in sequence]
        for unit in [*units, END] if self._begin_end else units:
            step = state.next.get(unit) or self._graph.step(state, unit)
            path.append(step)
            state = step.next
        return path


def evaluate_sequences(
    scorer: SequenceScorer,
    *,
    normal: Iterable[Sequence[int]],
    abnormal: Iterable[Sequence[int]],
    rules: SimpleRules | None = None,
    chunk: int = 4096,
) -> SequenceReport:
    """Judge labelled sessions. Equal sequences are judged once and counted as often as they occur.

    Parameters
    ----------
    rules : SimpleRules, optional
        Rules to judge the same sessions by.
    chunk : int
        Distinct sequences judged at once; it bounds the memory and changes nothing else.
    """
    counts = [Counter(map(tuple, sequences)) for sequences in (normal, abnormal)]
    distinct = [sequence for part in counts for sequence in part]
    labels = Labelled(
        abnormal=np.repeat([False, True], [len(part) for part in counts]),
        weights=np.array([count for part in counts for count in part.values()], np.int64),
    )
    judgements = [
        judgement
        for start in range(0, len(distinct), chunk)
        for judgement in scorer.judge(distinct[start : start + chunk])
    ]
    totals, hits = Counter[SequenceClass](), Counter[SequenceClass]()
    for sequence, judgement in zip(distinct[len(counts[0]) :], judgements[len(counts[0]) :], strict=True):
        kind = scorer.class_of(sequence)
        totals[kind] += counts[1][sequence]
        hits[kind] += counts[1][sequence] if judgement.kinds else 0
    return SequenceReport(
        comparison=Comparison.of(
            labels,
            combined=combined(judgements),
            by_detector=by_kind(judgements),
            baselines=rules.judged(distinct) if rules is not None else {},
        ),
        recall_by_class={kind.value: hits[kind] / totals[kind] for kind in SequenceClass if totals[kind]},
    )


def combined(judgements: Sequence[SessionJudgement]) -> Judged:
    """All detectors together."""
    return Judged(
        scores=np.array([judgement.score for judgement in judgements], np.float64),
        flagged=np.array([bool(judgement.kinds) for judgement in judgements], np.bool_),
    )


def by_kind(judgements: Sequence[SessionJudgement]) -> dict[str, Judged]:
    """Each kind of verdict on its own: what has no such verdict scores 0."""
    found = {}
    for kind in Kind:
        if kind is not Kind.NORMAL:
            scores = np.array([judgement.kinds.get(kind, 0.0) for judgement in judgements], np.float64)
            flagged = np.array([kind in judgement.kinds for judgement in judgements], np.bool_)
            found[kind.name.lower()] = Judged(scores=scores, flagged=flagged)
    return found
