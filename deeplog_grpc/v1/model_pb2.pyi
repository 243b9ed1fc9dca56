from deeplog_grpc.v1 import feedback_pb2 as _feedback_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VersionCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_CAUSE_UNSPECIFIED: _ClassVar[VersionCause]
    VERSION_CAUSE_TRAINING: _ClassVar[VersionCause]
    VERSION_CAUSE_FEEDBACK: _ClassVar[VersionCause]
    VERSION_CAUSE_ADAPT: _ClassVar[VersionCause]
    VERSION_CAUSE_ROLLBACK: _ClassVar[VersionCause]
VERSION_CAUSE_UNSPECIFIED: VersionCause
VERSION_CAUSE_TRAINING: VersionCause
VERSION_CAUSE_FEEDBACK: VersionCause
VERSION_CAUSE_ADAPT: VersionCause
VERSION_CAUSE_ROLLBACK: VersionCause

class ModelVersion(_message.Message):
    __slots__ = ("application", "version", "parent", "cause", "created_unix_nano", "feedback_id", "actor", "note", "case_count", "steps", "check", "is_current", "is_kept")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CASE_COUNT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    IS_CURRENT_FIELD_NUMBER: _ClassVar[int]
    IS_KEPT_FIELD_NUMBER: _ClassVar[int]
    application: str
    version: int
    parent: int
    cause: VersionCause
    created_unix_nano: int
    feedback_id: str
    actor: str
    note: str
    case_count: int
    steps: int
    check: _feedback_pb2.GateCheck
    is_current: bool
    is_kept: bool
    def __init__(self, application: _Optional[str] = ..., version: _Optional[int] = ..., parent: _Optional[int] = ..., cause: _Optional[_Union[VersionCause, str]] = ..., created_unix_nano: _Optional[int] = ..., feedback_id: _Optional[str] = ..., actor: _Optional[str] = ..., note: _Optional[str] = ..., case_count: _Optional[int] = ..., steps: _Optional[int] = ..., check: _Optional[_Union[_feedback_pb2.GateCheck, _Mapping]] = ..., is_current: _Optional[bool] = ..., is_kept: _Optional[bool] = ...) -> None: ...

class ListModelVersionsRequest(_message.Message):
    __slots__ = ("application",)
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    application: str
    def __init__(self, application: _Optional[str] = ...) -> None: ...

class ListModelVersionsResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...

class RollbackModelRequest(_message.Message):
    __slots__ = ("application", "version", "actor", "note", "feedback_id")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_ID_FIELD_NUMBER: _ClassVar[int]
    application: str
    version: int
    actor: str
    note: str
    feedback_id: str
    def __init__(self, application: _Optional[str] = ..., version: _Optional[int] = ..., actor: _Optional[str] = ..., note: _Optional[str] = ..., feedback_id: _Optional[str] = ...) -> None: ...

class RollbackModelResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: ModelVersion
    def __init__(self, version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class GetDriftRequest(_message.Message):
    __slots__ = ("application",)
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    application: str
    def __init__(self, application: _Optional[str] = ...) -> None: ...

class DriftPart(_message.Message):
    __slots__ = ("key", "template", "count")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    key: int
    template: str
    count: int
    def __init__(self, key: _Optional[int] = ..., template: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class DriftReport(_message.Message):
    __slots__ = ("application", "is_drifting", "since_unix_nano", "alarm_share", "usual_alarm_share", "unseen_share", "usual_unseen_share", "entries", "window_s", "parts", "message")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    IS_DRIFTING_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    ALARM_SHARE_FIELD_NUMBER: _ClassVar[int]
    USUAL_ALARM_SHARE_FIELD_NUMBER: _ClassVar[int]
    UNSEEN_SHARE_FIELD_NUMBER: _ClassVar[int]
    USUAL_UNSEEN_SHARE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    application: str
    is_drifting: bool
    since_unix_nano: int
    alarm_share: float
    usual_alarm_share: float
    unseen_share: float
    usual_unseen_share: float
    entries: int
    window_s: float
    parts: _containers.RepeatedCompositeFieldContainer[DriftPart]
    message: str
    def __init__(self, application: _Optional[str] = ..., is_drifting: _Optional[bool] = ..., since_unix_nano: _Optional[int] = ..., alarm_share: _Optional[float] = ..., usual_alarm_share: _Optional[float] = ..., unseen_share: _Optional[float] = ..., usual_unseen_share: _Optional[float] = ..., entries: _Optional[int] = ..., window_s: _Optional[float] = ..., parts: _Optional[_Iterable[_Union[DriftPart, _Mapping]]] = ..., message: _Optional[str] = ...) -> None: ...

class GetDriftResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: DriftReport
    def __init__(self, report: _Optional[_Union[DriftReport, _Mapping]] = ...) -> None: ...
