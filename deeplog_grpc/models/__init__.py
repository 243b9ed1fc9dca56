"""The neural models: what they know (vocabulary), what they learn from (windows), the network, its training.

Nothing here touches files, the network, the clock or the event loop. This is the only package that imports torch.
"""

from deeplog_grpc.models.fitting import Epoch, Fit, fit_key_model
from deeplog_grpc.models.key_model import KeyModelConfig, LogKeyModel, Prediction, Thresholds, set_threads
from deeplog_grpc.models.vocabulary import BEGIN, BEGIN_KEY, END, UNKNOWN_KEY, UNSEEN, Vocabulary
from deeplog_grpc.models.windows import TrainingSession, WindowCounts, count_windows

__all__ = [
    "BEGIN",
    "BEGIN_KEY",
    "END",
    "UNKNOWN_KEY",
    "UNSEEN",
    "Epoch",
    "Fit",
    "KeyModelConfig",
    "LogKeyModel",
    "Prediction",
    "Thresholds",
    "TrainingSession",
    "Vocabulary",
    "WindowCounts",
    "count_windows",
    "fit_key_model",
    "set_threads",
]
