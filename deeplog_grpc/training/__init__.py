"""Offline training from entries, and evaluation on labelled data."""

from deeplog_grpc.training.baselines import SimpleRules
from deeplog_grpc.training.history import History, SessionCut
from deeplog_grpc.training.sequences import SequenceReport, SequenceScorer, evaluate_rules, evaluate_sequences
from deeplog_grpc.training.trainer import Trainer, TrainingReport

__all__ = [
    "History",
    "SequenceReport",
    "SequenceScorer",
    "SessionCut",
    "SimpleRules",
    "Trainer",
    "TrainingReport",
    "evaluate_rules",
    "evaluate_sequences",
]
