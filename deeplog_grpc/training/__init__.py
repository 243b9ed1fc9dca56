"""Offline training from entries, and evaluation on labelled data."""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy
from deeplog_grpc.training.readiness import Readiness, Seen, readiness

if TYPE_CHECKING:
    from deeplog_grpc.training.baselines import SimpleRules
    from deeplog_grpc.training.config import LearningConfig
    from deeplog_grpc.training.history import History, SessionCut
    from deeplog_grpc.training.labelled import (
        JudgedEntries,
        LabelledEntries,
        LogReport,
        evaluate_entries,
        is_normal,
        judge_entries,
        session_names,
        session_paths,
    )
    from deeplog_grpc.training.metrics import Comparison, Curve, Figures
    from deeplog_grpc.training.recipe import Recipe
    from deeplog_grpc.training.replacement import Replacement
    from deeplog_grpc.training.sequences import SequenceReport, SequenceScorer, evaluate_sequences
    from deeplog_grpc.training.trainer import Trainer, TrainingReport

__all__ = [
    "Comparison",
    "Curve",
    "Figures",
    "History",
    "JudgedEntries",
    "LabelledEntries",
    "LearningConfig",
    "LogReport",
    "Readiness",
    "Recipe",
    "Replacement",
    "Seen",
    "SequenceReport",
    "SequenceScorer",
    "SessionCut",
    "SimpleRules",
    "Trainer",
    "TrainingReport",
    "evaluate_entries",
    "evaluate_sequences",
    "is_normal",
    "judge_entries",
    "readiness",
    "session_names",
    "session_paths",
]

__getattr__ = lazy(
    __name__,
    {
        "baselines": "SimpleRules",
        "config": "LearningConfig",
        "history": "History SessionCut",
        "labelled": (
            "JudgedEntries LabelledEntries LogReport evaluate_entries is_normal "
            "judge_entries session_names session_paths"
        ),
        "metrics": "Comparison Curve Figures",
        "recipe": "Recipe",
        "replacement": "Replacement",
        "sequences": "SequenceReport SequenceScorer evaluate_sequences",
        "trainer": "Trainer TrainingReport",
    },
)
