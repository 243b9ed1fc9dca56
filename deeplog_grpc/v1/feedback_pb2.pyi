from deeplog_grpc.v1 import verdict_pb2 as _verdict_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeedbackLabel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEEDBACK_LABEL_UNSPECIFIED: _ClassVar[FeedbackLabel]
    FEEDBACK_LABEL_FALSE_POSITIVE: _ClassVar[FeedbackLabel]
    FEEDBACK_LABEL_CONFIRMED: _ClassVar[FeedbackLabel]

class FeedbackOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEEDBACK_OUTCOME_UNSPECIFIED: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_LEARNED: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_NOTHING_TO_LEARN: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_RECORDED: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_REFUSED: _ClassVar[FeedbackOutcome]
FEEDBACK_LABEL_UNSPECIFIED: FeedbackLabel
FEEDBACK_LABEL_FALSE_POSITIVE: FeedbackLabel
FEEDBACK_LABEL_CONFIRMED: FeedbackLabel
FEEDBACK_OUTCOME_UNSPECIFIED: FeedbackOutcome
FEEDBACK_OUTCOME_LEARNED: FeedbackOutcome
FEEDBACK_OUTCOME_NOTHING_TO_LEARN: FeedbackOutcome
FEEDBACK_OUTCOME_RECORDED: FeedbackOutcome
FEEDBACK_OUTCOME_REFUSED: FeedbackOutcome

class LabelledStep(_message.Message):
    __slots__ = ("window", "key")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    window: _containers.RepeatedScalarFieldContainer[int]
    key: int
    def __init__(self, window: _Optional[_Iterable[int]] = ..., key: _Optional[int] = ...) -> None: ...

class FeedbackRequest(_message.Message):
    __slots__ = ("feedback_id", "application", "label", "actor", "note", "verdict_id", "session", "group_id", "step", "vector")
    FEEDBACK_ID_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    feedback_id: str
    application: str
    label: FeedbackLabel
    actor: str
    note: str
    verdict_id: str
    session: str
    group_id: str
    step: LabelledStep
    vector: _verdict_pb2.ValueVector
    def __init__(self, feedback_id: _Optional[str] = ..., application: _Optional[str] = ..., label: _Optional[_Union[FeedbackLabel, str]] = ..., actor: _Optional[str] = ..., note: _Optional[str] = ..., verdict_id: _Optional[str] = ..., session: _Optional[str] = ..., group_id: _Optional[str] = ..., step: _Optional[_Union[LabelledStep, _Mapping]] = ..., vector: _Optional[_Union[_verdict_pb2.ValueVector, _Mapping]] = ...) -> None: ...

class LearnedCase(_message.Message):
    __slots__ = ("kind", "key", "rank_before", "rank_after", "probability_before", "probability_after", "is_normal")
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    RANK_BEFORE_FIELD_NUMBER: _ClassVar[int]
    RANK_AFTER_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_AFTER_FIELD_NUMBER: _ClassVar[int]
    IS_NORMAL_FIELD_NUMBER: _ClassVar[int]
    kind: _verdict_pb2.Kind
    key: int
    rank_before: int
    rank_after: int
    probability_before: float
    probability_after: float
    is_normal: bool
    def __init__(self, kind: _Optional[_Union[_verdict_pb2.Kind, str]] = ..., key: _Optional[int] = ..., rank_before: _Optional[int] = ..., rank_after: _Optional[int] = ..., probability_before: _Optional[float] = ..., probability_after: _Optional[float] = ..., is_normal: _Optional[bool] = ...) -> None: ...

class GateCheck(_message.Message):
    __slots__ = ("sessions", "flagged_before", "flagged_after", "margin", "confirmed", "confirmed_flagged", "lessons", "lessons_kept", "flagged_first")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    FLAGGED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    FLAGGED_AFTER_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FLAGGED_FIELD_NUMBER: _ClassVar[int]
    LESSONS_FIELD_NUMBER: _ClassVar[int]
    LESSONS_KEPT_FIELD_NUMBER: _ClassVar[int]
    FLAGGED_FIRST_FIELD_NUMBER: _ClassVar[int]
    sessions: int
    flagged_before: float
    flagged_after: float
    margin: float
    confirmed: int
    confirmed_flagged: int
    lessons: int
    lessons_kept: int
    flagged_first: float
    def __init__(self, sessions: _Optional[int] = ..., flagged_before: _Optional[float] = ..., flagged_after: _Optional[float] = ..., margin: _Optional[float] = ..., confirmed: _Optional[int] = ..., confirmed_flagged: _Optional[int] = ..., lessons: _Optional[int] = ..., lessons_kept: _Optional[int] = ..., flagged_first: _Optional[float] = ...) -> None: ...

class FeedbackResponse(_message.Message):
    __slots__ = ("feedback_id", "outcome", "model_version", "cases", "case_count", "steps", "check", "explained", "explained_verdict_ids", "message", "is_repeat", "update_s")
    FEEDBACK_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    CASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_VERDICT_IDS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    IS_REPEAT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_S_FIELD_NUMBER: _ClassVar[int]
    feedback_id: str
    outcome: FeedbackOutcome
    model_version: int
    cases: _containers.RepeatedCompositeFieldContainer[LearnedCase]
    case_count: int
    steps: int
    check: GateCheck
    explained: int
    explained_verdict_ids: _containers.RepeatedScalarFieldContainer[str]
    message: str
    is_repeat: bool
    update_s: float
    def __init__(self, feedback_id: _Optional[str] = ..., outcome: _Optional[_Union[FeedbackOutcome, str]] = ..., model_version: _Optional[int] = ..., cases: _Optional[_Iterable[_Union[LearnedCase, _Mapping]]] = ..., case_count: _Optional[int] = ..., steps: _Optional[int] = ..., check: _Optional[_Union[GateCheck, _Mapping]] = ..., explained: _Optional[int] = ..., explained_verdict_ids: _Optional[_Iterable[str]] = ..., message: _Optional[str] = ..., is_repeat: _Optional[bool] = ..., update_s: _Optional[float] = ...) -> None: ...

class AdaptRequest(_message.Message):
    __slots__ = ("feedback_id", "application", "from_unix_nano", "to_unix_nano", "actor", "note")
    FEEDBACK_ID_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    FROM_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    TO_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    feedback_id: str
    application: str
    from_unix_nano: int
    to_unix_nano: int
    actor: str
    note: str
    def __init__(self, feedback_id: _Optional[str] = ..., application: _Optional[str] = ..., from_unix_nano: _Optional[int] = ..., to_unix_nano: _Optional[int] = ..., actor: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class AdaptResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: FeedbackResponse
    def __init__(self, result: _Optional[_Union[FeedbackResponse, _Mapping]] = ...) -> None: ...
