"""Offline training from entries, and evaluation on labelled data."""

from deeplog_grpc.training.history import History, SessionCut
from deeplog_grpc.training.sequences import SequenceReport, SequenceScorer, evaluate_sequences
from deeplog_grpc.training.trainer import Trainer, TrainingReport

__all__ = [
    "History",
    "SequenceReport",
    "SequenceScorer",
    "SessionCut",
    "Trainer",
    "TrainingReport",
    "evaluate_sequences",
]
