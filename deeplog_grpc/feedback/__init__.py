"""Feedback: what an operator says of anomalies, turned into models that know it.

Pure, as the detection that it builds on: a model and cases in, a new model out. Nothing of the old model is changed.
"""

from deeplog_grpc.feedback.cases import Case, CountsCase, Lesson, NewValueCase, StepCase, ValueCase
from deeplog_grpc.feedback.drift import DriftConfig, DriftMonitor, DriftReport
from deeplog_grpc.feedback.judging import CaseJudge, Judgement
from deeplog_grpc.feedback.learning import FeedbackConfig, GateCheck, Knowledge, Learner, Update

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
