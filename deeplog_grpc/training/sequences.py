"""Evaluation on key sequences: sessions given as log keys, the form in which public data sets come.

Sessions go through the very states and verdicts that the Detector uses.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from deeplog_grpc.detection.states import StateGraph, Transition
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.models import END, UNSEEN, LogKeyModel

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

    def __init__(self, model: LogKeyModel) -> None:
        self._graph = StateGraph(model, cache_bytes=CACHE_BYTES)
        self._unit_of = model.vocabulary.unit_table()
        self._begin_end = model.config.begin_end
        self._history = model.config.history

    def abnormal(self, sequences: Sequence[Sequence[int]]) -> list[bool]:
        """Whether each sequence is abnormal."""
        paths = [self._path(sequence) for sequence in sequences]
        self._graph.resolve(step for path in paths for step in path)
        verdicts = [any(step.kind is not Kind.NORMAL for step in path) for path in paths]
        self._graph.trim()
        return verdicts

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
    fp = sum(normal_counts[sequence] for sequence in _flagged(scorer, list(normal_counts), chunk))
    found = Counter(
        {sequence: abnormal_counts[sequence] for sequence in _flagged(scorer, list(abnormal_counts), chunk)}
    )
    totals, hits = Counter[SequenceClass](), Counter[SequenceClass]()
    for sequence, count in abnormal_counts.items():
        kind = scorer.class_of(sequence)
        totals[kind] += count
        hits[kind] += found[sequence]
    return SequenceReport(
        normal=normal_counts.total(),
        abnormal=abnormal_counts.total(),
        fp=fp,
        fn=abnormal_counts.total() - found.total(),
        recall_by_class={kind.value: hits[kind] / totals[kind] for kind in SequenceClass if totals[kind]},
    )


def _flagged(scorer: SequenceScorer, sequences: list[tuple[int, ...]], chunk: int) -> Iterable[tuple[int, ...]]:
    for start in range(0, len(sequences), chunk):
        part = sequences[start : start + chunk]
        yield from (sequence for sequence, bad in zip(part, scorer.abnormal(part), strict=True) if bad)
