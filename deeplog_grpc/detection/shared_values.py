"""Values judged where the sessions of an application are divided over several judges.

A network predicts the numbers of a log key from those of the entries before, whatever session they belong to. So one
judge alone can ask it: the others put such vectors aside, with the rows that they stand for, and that one judges them
all, in the order of the entries. What it says is then merged with what was found of the same entries elsewhere
(:meth:`~deeplog_grpc.detection.verdict_batch.VerdictBatch.with_outcomes`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.values import AskedVectors, ValueJudge, ValueOutcome
from deeplog_grpc.models import Calibration, KeyVectors, ValueModel, ValueSets


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorsAside:
    """Vectors of one log key that its network has to see."""

    key: int
    rows: NDArray[np.int64]
    """Of the entries, ascending. Shape [n]."""
    values: NDArray[np.float64]
    """The numbers, as in :class:`~deeplog_grpc.models.KeyVectors`. Shape [n, m]."""
    previous: NDArray[np.int64]
    """Log keys of the session's two entries before. Shape [n, 2]."""
    timely: NDArray[np.bool_]
    """Whether the elapsed time is a usual one. Shape [n]."""

    @classmethod
    def joined(cls, parts: Sequence["VectorsAside"]) -> "VectorsAside":
        """Parts of one key's vectors, at least one, as one; in the order of their rows."""
        if len(parts) == 1:
            return parts[0]
        rows = np.concatenate([part.rows for part in parts])
        order = np.argsort(rows)
        return cls(
            key=parts[0].key,
            rows=rows[order],
            values=np.concatenate([part.values for part in parts])[order],
            previous=np.concatenate([part.previous for part in parts])[order],
            timely=np.concatenate([part.timely for part in parts])[order],
        )


class SharedValueJudge(ValueJudge):
    """A value judge that sees some of the sessions: see the module."""

    def __init__(self, model: ValueModel, sets: ValueSets, calibration: Calibration) -> None:
        super().__init__(model, sets, calibration)
        self._aside: list[VectorsAside] = []

    def take_aside(self) -> list[VectorsAside]:
        """The vectors put aside by the last batch, one element a key; they are gone here then."""
        aside, self._aside = self._aside, []
        return aside

    def judge_aside(self, parts: Sequence[VectorsAside]) -> dict[int, ValueOutcome]:
        """Judge vectors of whole keys, all that were put aside for them; by row, as :meth:`judge`."""
        outcomes: dict[int, ValueOutcome] = {}
        super()._ask(outcomes, list(map(self._asked, parts)))
        return outcomes

    def _asked(self, part: VectorsAside) -> AskedVectors:
        vectors = self._vectors(part)
        looked_at = self._model.looked_at(vectors, part.timely)
        return AskedVectors(rows=part.rows, vectors=vectors, timely=part.timely, looked_at=looked_at)

    def _vectors(self, part: VectorsAside) -> KeyVectors:
        pieces = self._model.rules[part.key].pieces
        return KeyVectors(
            key=part.key,
            pieces=pieces,
            positions=self._model.positions(part.key, pieces),
            values=part.values,
            previous=part.previous,
        )

    def _ask(self, outcomes: dict[int, ValueOutcome], asked: Sequence[AskedVectors]) -> None:
        own = []
        for found in asked:
            if not self._has_network(found.vectors):
                own.append(found)
                continue
            self._aside.append(
                VectorsAside(
                    key=found.vectors.key,
                    rows=found.rows.astype(np.int64),
                    values=found.vectors.values,
                    previous=found.vectors.previous,
                    timely=found.timely,
                )
            )
        if own:
            super()._ask(outcomes, own)

    def _has_network(self, vectors: KeyVectors) -> bool:
        rule = self._model.rules.get(vectors.key)
        return rule is not None and rule.network is not None and rule.pieces == vectors.pieces
