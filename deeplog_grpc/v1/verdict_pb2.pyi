from deeplog_grpc.v1 import parameter_pb2 as _parameter_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_NORMAL: _ClassVar[Kind]
    KIND_UNSEEN_KEY: _ClassVar[Kind]
    KIND_EXECUTION_PATH: _ClassVar[Kind]
    KIND_INCOMPLETE_SESSION: _ClassVar[Kind]
    KIND_SESSION_COUNTS: _ClassVar[Kind]
    KIND_SESSION_LENGTH: _ClassVar[Kind]
    KIND_UNSEEN_TRANSITION: _ClassVar[Kind]
    KIND_PARAMETER_VALUE: _ClassVar[Kind]
    KIND_ELAPSED_TIME: _ClassVar[Kind]
    KIND_NEW_VALUE: _ClassVar[Kind]

class SessionEndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_END_REASON_UNSPECIFIED: _ClassVar[SessionEndReason]
    SESSION_END_REASON_MARKER: _ClassVar[SessionEndReason]
    SESSION_END_REASON_TIMEOUT: _ClassVar[SessionEndReason]
    SESSION_END_REASON_FLUSH: _ClassVar[SessionEndReason]

class Deviation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVIATION_UNSPECIFIED: _ClassVar[Deviation]
    DEVIATION_ALLOWED: _ClassVar[Deviation]
    DEVIATION_SKIPPED: _ClassVar[Deviation]
    DEVIATION_REPEATED: _ClassVar[Deviation]
    DEVIATION_OUT_OF_ORDER: _ClassVar[Deviation]
    DEVIATION_OTHER_TASK: _ClassVar[Deviation]
    DEVIATION_UNKNOWN: _ClassVar[Deviation]
    DEVIATION_TRUNCATED: _ClassVar[Deviation]
    DEVIATION_SLOW: _ClassVar[Deviation]
    DEVIATION_FAST: _ClassVar[Deviation]
    DEVIATION_VALUE: _ClassVar[Deviation]
KIND_UNSPECIFIED: Kind
KIND_NORMAL: Kind
KIND_UNSEEN_KEY: Kind
KIND_EXECUTION_PATH: Kind
KIND_INCOMPLETE_SESSION: Kind
KIND_SESSION_COUNTS: Kind
KIND_SESSION_LENGTH: Kind
KIND_UNSEEN_TRANSITION: Kind
KIND_PARAMETER_VALUE: Kind
KIND_ELAPSED_TIME: Kind
KIND_NEW_VALUE: Kind
SESSION_END_REASON_UNSPECIFIED: SessionEndReason
SESSION_END_REASON_MARKER: SessionEndReason
SESSION_END_REASON_TIMEOUT: SessionEndReason
SESSION_END_REASON_FLUSH: SessionEndReason
DEVIATION_UNSPECIFIED: Deviation
DEVIATION_ALLOWED: Deviation
DEVIATION_SKIPPED: Deviation
DEVIATION_REPEATED: Deviation
DEVIATION_OUT_OF_ORDER: Deviation
DEVIATION_OTHER_TASK: Deviation
DEVIATION_UNKNOWN: Deviation
DEVIATION_TRUNCATED: Deviation
DEVIATION_SLOW: Deviation
DEVIATION_FAST: Deviation
DEVIATION_VALUE: Deviation

class Candidate(_message.Message):
    __slots__ = ("key", "template", "probability")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    key: int
    template: str
    probability: float
    def __init__(self, key: _Optional[int] = ..., template: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class AbnormalValue(_message.Message):
    __slots__ = ("slot", "unit", "observed", "predicted", "low", "high", "after", "text", "known", "known_count", "trained_slot")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    KNOWN_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRAINED_SLOT_FIELD_NUMBER: _ClassVar[int]
    slot: int
    unit: str
    observed: float
    predicted: float
    low: float
    high: float
    after: _containers.RepeatedScalarFieldContainer[int]
    text: str
    known: _containers.RepeatedScalarFieldContainer[str]
    known_count: int
    trained_slot: int
    def __init__(self, slot: _Optional[int] = ..., unit: _Optional[str] = ..., observed: _Optional[float] = ..., predicted: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., after: _Optional[_Iterable[int]] = ..., text: _Optional[str] = ..., known: _Optional[_Iterable[str]] = ..., known_count: _Optional[int] = ..., trained_slot: _Optional[int] = ...) -> None: ...

class ValueNumber(_message.Message):
    __slots__ = ("slot", "unit", "number")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    slot: int
    unit: str
    number: float
    def __init__(self, slot: _Optional[int] = ..., unit: _Optional[str] = ..., number: _Optional[float] = ...) -> None: ...

class ValueVector(_message.Message):
    __slots__ = ("key", "numbers", "previous")
    KEY_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    key: int
    numbers: _containers.RepeatedCompositeFieldContainer[ValueNumber]
    previous: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, key: _Optional[int] = ..., numbers: _Optional[_Iterable[_Union[ValueNumber, _Mapping]]] = ..., previous: _Optional[_Iterable[int]] = ...) -> None: ...

class ExpectedStep(_message.Message):
    __slots__ = ("state", "key", "template", "probability", "p50_s", "p99_s")
    STATE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    P50_S_FIELD_NUMBER: _ClassVar[int]
    P99_S_FIELD_NUMBER: _ClassVar[int]
    state: int
    key: int
    template: str
    probability: float
    p50_s: float
    p99_s: float
    def __init__(self, state: _Optional[int] = ..., key: _Optional[int] = ..., template: _Optional[str] = ..., probability: _Optional[float] = ..., p50_s: _Optional[float] = ..., p99_s: _Optional[float] = ...) -> None: ...

class SlowStep(_message.Message):
    __slots__ = ("state", "key", "template", "elapsed_s", "p50_s", "p99_s")
    STATE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    P50_S_FIELD_NUMBER: _ClassVar[int]
    P99_S_FIELD_NUMBER: _ClassVar[int]
    state: int
    key: int
    template: str
    elapsed_s: float
    p50_s: float
    p99_s: float
    def __init__(self, state: _Optional[int] = ..., key: _Optional[int] = ..., template: _Optional[str] = ..., elapsed_s: _Optional[float] = ..., p50_s: _Optional[float] = ..., p99_s: _Optional[float] = ...) -> None: ...

class Diagnosis(_message.Message):
    __slots__ = ("deviation", "text", "task", "state", "key", "template", "expected", "known_states", "skipped", "first_divergence", "has_returned", "slow_steps", "path")
    DEVIATION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_STATES_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    FIRST_DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    HAS_RETURNED_FIELD_NUMBER: _ClassVar[int]
    SLOW_STEPS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    deviation: Deviation
    text: str
    task: int
    state: int
    key: int
    template: str
    expected: _containers.RepeatedCompositeFieldContainer[ExpectedStep]
    known_states: _containers.RepeatedScalarFieldContainer[int]
    skipped: _containers.RepeatedScalarFieldContainer[int]
    first_divergence: int
    has_returned: bool
    slow_steps: _containers.RepeatedCompositeFieldContainer[SlowStep]
    path: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, deviation: _Optional[_Union[Deviation, str]] = ..., text: _Optional[str] = ..., task: _Optional[int] = ..., state: _Optional[int] = ..., key: _Optional[int] = ..., template: _Optional[str] = ..., expected: _Optional[_Iterable[_Union[ExpectedStep, _Mapping]]] = ..., known_states: _Optional[_Iterable[int]] = ..., skipped: _Optional[_Iterable[int]] = ..., first_divergence: _Optional[int] = ..., has_returned: _Optional[bool] = ..., slow_steps: _Optional[_Iterable[_Union[SlowStep, _Mapping]]] = ..., path: _Optional[_Iterable[int]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("entry_id", "index", "kind", "key", "template", "parameters", "score", "rank", "probability", "candidates", "window", "session", "session_end", "reason", "model_version", "application", "time_unix_nano", "typed_parameters", "abnormal_value", "stands_for", "verdict_id", "session_counts", "vector", "diagnosis")
    class SessionCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    TYPED_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ABNORMAL_VALUE_FIELD_NUMBER: _ClassVar[int]
    STANDS_FOR_FIELD_NUMBER: _ClassVar[int]
    VERDICT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_COUNTS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    index: int
    kind: Kind
    key: int
    template: str
    parameters: _containers.RepeatedScalarFieldContainer[str]
    score: float
    rank: int
    probability: float
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    window: _containers.RepeatedScalarFieldContainer[int]
    session: str
    session_end: SessionEndReason
    reason: str
    model_version: int
    application: str
    time_unix_nano: int
    typed_parameters: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    abnormal_value: AbnormalValue
    stands_for: int
    verdict_id: str
    session_counts: _containers.ScalarMap[int, int]
    vector: ValueVector
    diagnosis: Diagnosis
    def __init__(self, entry_id: _Optional[str] = ..., index: _Optional[int] = ..., kind: _Optional[_Union[Kind, str]] = ..., key: _Optional[int] = ..., template: _Optional[str] = ..., parameters: _Optional[_Iterable[str]] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., probability: _Optional[float] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., window: _Optional[_Iterable[int]] = ..., session: _Optional[str] = ..., session_end: _Optional[_Union[SessionEndReason, str]] = ..., reason: _Optional[str] = ..., model_version: _Optional[int] = ..., application: _Optional[str] = ..., time_unix_nano: _Optional[int] = ..., typed_parameters: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ..., abnormal_value: _Optional[_Union[AbnormalValue, _Mapping]] = ..., stands_for: _Optional[int] = ..., verdict_id: _Optional[str] = ..., session_counts: _Optional[_Mapping[int, int]] = ..., vector: _Optional[_Union[ValueVector, _Mapping]] = ..., diagnosis: _Optional[_Union[Diagnosis, _Mapping]] = ...) -> None: ...
