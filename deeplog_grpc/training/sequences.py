"""Evaluation on key sequences: sessions given as log keys, the form in which public data sets come.

Sessions go through the very states and verdicts that the Detector uses.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from deeplog_grpc.detection.shapes import ShapeJudge
from deeplog_grpc.detection.states import StateGraph, Transition
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.models import END, UNSEEN, Behaviour
from deeplog_grpc.training.baselines import RULES, SimpleRules

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

    normal: int
    abnormal: int
    fp: int
    fn: int
    recall_by_class: dict[str, float]
    """Of the abnormal sessions of each :class:`SequenceClass`; absent where there are none."""
    by_detector: dict[str, tuple[int, int]]
    """Kind, or name of a rule -> FP and FN if it stood alone; a verdict counts for the kind that it names."""

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 1 when nothing was flagged."""
        flagged = self.abnormal - self.fn + self.fp
        return (self.abnormal - self.fn) / flagged if flagged else 1.0

    @property
    def recall(self) -> float:
        """TP / abnormal; 1 when there are none."""
        return 1 - self.fn / self.abnormal if self.abnormal else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def fpr(self) -> float:
        """FP / normal; 0 when there are none."""
        return self.fp / self.normal if self.normal else 0.0


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
        paths = [self._path(sequence) for sequence in sequences]
        self._graph.resolve(step for path in paths for step in path)
        found = [
            frozenset({step.kind or Kind.NORMAL for step in path} | {self._shape(path)}) - {Kind.NORMAL}
            for path in paths
        ]
        self._graph.trim()
        return found

    def _shape(self, path: Sequence[Transition]) -> Kind:
        """What is said of the session as a whole."""
        if not self._begin_end:
            return Kind.NORMAL
        return self._shapes.judge(Counter(step.unit for step in path[:-1])).kind

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
    chunk: int = 4096,
) -> SequenceReport:
    """Judge labelled sessions. Equal sequences are judged once and counted as often as they occur."""
    normal_counts, abnormal_counts = Counter(map(tuple, normal)), Counter(map(tuple, abnormal))
    false = dict(_flagged(scorer, list(normal_counts), chunk))
    true = dict(_flagged(scorer, list(abnormal_counts), chunk))
    found = Counter({sequence: abnormal_counts[sequence] for sequence in true})
    totals, hits = Counter[SequenceClass](), Counter[SequenceClass]()
    for sequence, count in abnormal_counts.items():
        kind = scorer.class_of(sequence)
        totals[kind] += count
        hits[kind] += found[sequence]
    return SequenceReport(
        normal=normal_counts.total(),
        abnormal=abnormal_counts.total(),
        fp=sum(normal_counts[sequence] for sequence in false),
        fn=abnormal_counts.total() - found.total(),
        recall_by_class={kind.value: hits[kind] / totals[kind] for kind in SequenceClass if totals[kind]},
        by_detector={
            kind.name.lower(): (
                sum(normal_counts[sequence] for sequence, kinds in false.items() if kind in kinds),
                abnormal_counts.total() - sum(found[sequence] for sequence, kinds in true.items() if kind in kinds),
            )
            for kind in Kind
            if kind is not Kind.NORMAL
        },
    )


def evaluate_rules(
    rules: SimpleRules, *, normal: Iterable[Sequence[int]], abnormal: Iterable[Sequence[int]]
) -> dict[str, tuple[int, int]]:
    """FP and FN of each simple rule on labelled sessions."""
    counts = [Counter(map(tuple, sequences)) for sequences in (normal, abnormal)]
    flagged = [Counter[str](), Counter[str]()]
    for part, hits in zip(counts, flagged, strict=True):
        for sequence, count in part.items():
            for name in rules.flagging(sequence):
                hits[name] += count
    return {name: (flagged[0][name], counts[1].total() - flagged[1][name]) for name in RULES}


def _flagged(
    scorer: SequenceScorer, sequences: list[tuple[int, ...]], chunk: int
) -> Iterable[tuple[tuple[int, ...], frozenset[Kind]]]:
    """The abnormal sequences with what is abnormal in them."""
    for start in range(0, len(sequences), chunk):
        part = sequences[start : start + chunk]
        yield from ((sequence, kinds) for sequence, kinds in zip(part, scorer.kinds(part), strict=True) if kinds)
