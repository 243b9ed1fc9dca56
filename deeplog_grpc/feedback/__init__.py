"""Feedback: what an operator says of anomalies, turned into models that know it.

Pure, as the detection that it builds on: a model and cases in, a new model out. Nothing of the old model is changed.
"""

from deeplog_grpc.feedback.drift import DriftConfig, DriftMonitor, DriftReport

__all__ = ["DriftConfig", "DriftMonitor", "DriftReport"]
