"""Feedback: what an operator says of anomalies, turned into models that know it.

Pure, as the detection that it builds on: a model and cases in, a new model out. Nothing of the old model is changed.
"""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.feedback.cases import Case, CountsCase, Lesson, NewValueCase, StepCase, ValueCase
    from deeplog_grpc.feedback.config import DriftConfig, FeedbackConfig
    from deeplog_grpc.feedback.drift import DriftMonitor, DriftReport
    from deeplog_grpc.feedback.judging import CaseJudge, Judgement
    from deeplog_grpc.feedback.learning import GateCheck, Knowledge, Learner, Update

__all__ = [
    "Case",
    "CaseJudge",
    "CountsCase",
    "DriftConfig",
    "DriftMonitor",
    "DriftReport",
    "FeedbackConfig",
    "GateCheck",
    "Judgement",
    "Knowledge",
    "Learner",
    "Lesson",
    "NewValueCase",
    "StepCase",
    "Update",
    "ValueCase",
]

__getattr__ = lazy(
    __name__,
    {
        "cases": "Case CountsCase Lesson NewValueCase StepCase ValueCase",
        "config": "DriftConfig FeedbackConfig",
        "drift": "DriftMonitor DriftReport",
        "judging": "CaseJudge Judgement",
        "learning": "GateCheck Knowledge Learner Update",
    },
)
