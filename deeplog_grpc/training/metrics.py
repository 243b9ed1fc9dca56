"""How good judgements are against labels: counts of right and wrong, and the precision-recall curve. Pure numpy.

What is judged (an entry, a session) is an *item*; an abnormal one is a positive. Items that are equal may be given
once, with a weight that says how many there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one detector or rule says of n items."""

    scores: NDArray[np.float64]
    """The higher, the more abnormal; only the order counts. Shape [n]."""
    flagged: NDArray[np.bool_]
    """Which items it calls abnormal. Shape [n]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The truth about n items."""

    abnormal: NDArray[np.bool_]
    """Shape [n]."""
    weights: NDArray[np.int64]
    """How many equal items each one stands for. Shape [n]."""

    @classmethod
    def of(cls, abnormal: NDArray[np.bool_], weights: NDArray[np.int64] | None = None) -> "Labelled":
        """The truth; without weights each item stands for itself."""
        abnormal = np.asarray(abnormal, np.bool_)
        return cls(abnormal=abnormal, weights=np.ones(len(abnormal), np.int64) if weights is None else weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Items judged, and where that was wrong."""

    tp: int
    """Abnormal items that were flagged."""
    fp: int
    """Normal items that were flagged."""
    fn: int
    """Abnormal items that were missed."""
    tn: int
    """Normal items that were passed."""
    pr_auc: float
    """Area under the precision-recall curve (average precision) over the scores; 0 when nothing is abnormal."""

    @property
    def normal(self) -> int:
        """Normal items."""
        return self.fp + self.tn

    @property
    def abnormal(self) -> int:
        """Abnormal items."""
        return self.tp + self.fn

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 1 when nothing was flagged."""
        flagged = self.tp + self.fp
        return self.tp / flagged if flagged else 1.0

    @property
    def recall(self) -> float:
        """TP / abnormal; 1 when there are none."""
        return self.tp / self.abnormal if self.abnormal else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def fpr(self) -> float:
        """FP / normal; 0 when there are none."""
        return self.fp / self.normal if self.normal else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data: counts and shares."""
        counts = {"tp": self.tp, "fp": self.fp, "fn": self.fn, "tn": self.tn}
        shares = {"precision": self.precision, "recall": self.recall, "f1": self.f1, "fpr": self.fpr}
        return {**counts, **shares, "pr_auc": self.pr_auc}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Precision at each recall that some threshold gives; recall rises."""

    recall: NDArray[np.float64]
    """Shape [thresholds]."""
    precision: NDArray[np.float64]
    """Shape [thresholds]."""

    @property
    def area(self) -> float:
        """Average precision: the precision at each threshold, weighted by the recall that it adds.

        No line is drawn between two thresholds: what lies between them cannot be had.
        """
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All detectors together, each on its own, and simple rules beside them, on the same items."""

    combined: Figures
    by_detector: Mapping[str, Figures]
    """Kind of verdict -> figures if only verdicts of that kind counted."""
    baselines: Mapping[str, Figures]
    """Name of a simple rule -> its figures; empty where none was asked."""
    curves: Mapping[str, Curve]
    """``combined`` or name of a simple rule -> its curve."""

    @classmethod
    def of(
        cls,
        labels: Labelled,
        *,
        combined: Judged,
        by_detector: Mapping[str, Judged],
        baselines: Mapping[str, Judged],
    ) -> "Comparison":
        """Count."""
        return cls(
            combined=figures(combined, labels),
            by_detector={name: figures(judged, labels) for name, judged in by_detector.items()},
            baselines={name: figures(judged, labels) for name, judged in baselines.items()},
            curves={name: curve(judged.scores, labels) for name, judged in {COMBINED: combined, **baselines}.items()},
        )


COMBINED = "combined"
"""Name of all detectors together."""


def curve(scores: NDArray[np.float64], labels: Labelled) -> Curve:
    """Precision and recall at each distinct score: equal scores are flagged together or not at all.

    Examples
    --------
    >>> found = curve(np.array([3.0, 2.0, 2.0, 1.0]), Labelled.of(np.array([True, False, True, False])))
    >>> found.recall.tolist(), found.precision.round(3).tolist(), round(found.area, 3)
    ([0.5, 1.0, 1.0], [1.0, 0.667, 0.5], 0.833)
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    weights, abnormal = labels.weights[order], labels.abnormal[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else np.zeros(0, np.int64)
    found = np.cumsum(weights * abnormal)[last]
    flagged = np.cumsum(weights)[last]
    total = int((weights * abnormal).sum())
    return Curve(
        recall=found / total if total else np.zeros(len(last)),
        precision=found / np.maximum(flagged, 1),
    )


def figures(judged: Judged, labels: Labelled) -> Figures:
    """Count right and wrong."""
    abnormal, weights = labels.abnormal, labels.weights

    def total(chosen: NDArray[np.bool_]) -> int:
        return int(weights[chosen].sum())

    return Figures(
        tp=total(abnormal & judged.flagged),
        fp=total(~abnormal & judged.flagged),
        fn=total(abnormal & ~judged.flagged),
        tn=total(~abnormal & ~judged.flagged),
        pr_auc=curve(judged.scores, labels).area,
    )
