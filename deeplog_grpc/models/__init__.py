"""What is learned of normal sessions: the log key network, the session profile, value models, and how rare is too rare.

Nothing here touches files, the network, the clock or the event loop. This is the only package that imports torch.
"""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.models.behaviour import Behaviour, BehaviourFit, fit_behaviour
    from deeplog_grpc.models.calibration import Calibration, Check, Finding, ThresholdConfig
    from deeplog_grpc.models.fitting import Epoch, Fit, fit_key_model
    from deeplog_grpc.models.key_config import KeyModelConfig
    from deeplog_grpc.models.key_learning import MARGIN, KeyLearning, KeyLessons, learn_keys, with_new_keys
    from deeplog_grpc.models.key_model import CHUNK_ROWS, LogKeyModel, Prediction, set_threads
    from deeplog_grpc.models.known_normal import KnownNormal
    from deeplog_grpc.models.profile import CountDifference, SessionProfile
    from deeplog_grpc.models.profile_learning import is_placed, with_new_units, with_session, with_steps
    from deeplog_grpc.models.semantics import SemanticIndex, StandIn
    from deeplog_grpc.models.tails import Tail
    from deeplog_grpc.models.value_config import ValueModelConfig
    from deeplog_grpc.models.value_fitting import KeyReport, ValueFit, fit_value_model
    from deeplog_grpc.models.value_judging import ValueFinding
    from deeplog_grpc.models.value_memory import ValueMemory
    from deeplog_grpc.models.value_model import UNREMARKABLE, ValueModel, ValueVerdicts
    from deeplog_grpc.models.value_sets import SlotHistory, ValueSet, ValueSets, fit_value_sets
    from deeplog_grpc.models.value_training import ValueEpoch
    from deeplog_grpc.models.value_vectors import ELAPSED, LARGEST, NO_PREVIOUS, KeyVectors, Position
    from deeplog_grpc.models.value_widening import FlaggedValue, holds_vector, learn_vector, vector_of
    from deeplog_grpc.models.vocabulary import BEGIN, BEGIN_KEY, END, UNKNOWN_KEY, UNSEEN, Vocabulary, common_units
    from deeplog_grpc.models.windows import TrainingSession, WindowCounts, count_windows

__all__ = [
    "BEGIN",
    "BEGIN_KEY",
    "CHUNK_ROWS",
    "ELAPSED",
    "END",
    "LARGEST",
    "MARGIN",
    "NO_PREVIOUS",
    "UNKNOWN_KEY",
    "UNREMARKABLE",
    "UNSEEN",
    "Behaviour",
    "BehaviourFit",
    "Calibration",
    "Check",
    "CountDifference",
    "Epoch",
    "Finding",
    "Fit",
    "FlaggedValue",
    "KeyLearning",
    "KeyLessons",
    "KeyModelConfig",
    "KeyReport",
    "KeyVectors",
    "KnownNormal",
    "LogKeyModel",
    "Position",
    "Prediction",
    "SemanticIndex",
    "SessionProfile",
    "SlotHistory",
    "StandIn",
    "Tail",
    "ThresholdConfig",
    "TrainingSession",
    "ValueEpoch",
    "ValueFinding",
    "ValueFit",
    "ValueMemory",
    "ValueModel",
    "ValueModelConfig",
    "ValueSet",
    "ValueSets",
    "ValueVerdicts",
    "Vocabulary",
    "WindowCounts",
    "common_units",
    "count_windows",
    "fit_behaviour",
    "fit_key_model",
    "fit_value_model",
    "fit_value_sets",
    "holds_vector",
    "is_placed",
    "learn_keys",
    "learn_vector",
    "set_threads",
    "vector_of",
    "with_new_keys",
    "with_new_units",
    "with_session",
    "with_steps",
]

__getattr__ = lazy(
    __name__,
    {
        "behaviour": "Behaviour BehaviourFit fit_behaviour",
        "calibration": "Calibration Check Finding ThresholdConfig",
        "fitting": "Epoch Fit fit_key_model",
        "key_config": "KeyModelConfig",
        "key_learning": "MARGIN KeyLearning KeyLessons learn_keys with_new_keys",
        "key_model": "CHUNK_ROWS LogKeyModel Prediction set_threads",
        "known_normal": "KnownNormal",
        "profile": "CountDifference SessionProfile",
        "profile_learning": "is_placed with_new_units with_session with_steps",
        "semantics": "SemanticIndex StandIn",
        "tails": "Tail",
        "value_config": "ValueModelConfig",
        "value_fitting": "KeyReport ValueFit fit_value_model",
        "value_judging": "ValueFinding",
        "value_memory": "ValueMemory",
        "value_model": "UNREMARKABLE ValueModel ValueVerdicts",
        "value_sets": "SlotHistory ValueSet ValueSets fit_value_sets",
        "value_training": "ValueEpoch",
        "value_vectors": "ELAPSED LARGEST NO_PREVIOUS KeyVectors Position",
        "value_widening": "FlaggedValue holds_vector learn_vector vector_of",
        "vocabulary": "BEGIN BEGIN_KEY END UNKNOWN_KEY UNSEEN Vocabulary common_units",
        "windows": "TrainingSession WindowCounts count_windows",
    },
)
