from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ApplicationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APPLICATION_STATE_UNSPECIFIED: _ClassVar[ApplicationState]
    APPLICATION_STATE_LEARNING: _ClassVar[ApplicationState]
    APPLICATION_STATE_TRAINING: _ClassVar[ApplicationState]
    APPLICATION_STATE_DETECTING: _ClassVar[ApplicationState]
    APPLICATION_STATE_RETRAINING: _ClassVar[ApplicationState]
APPLICATION_STATE_UNSPECIFIED: ApplicationState
APPLICATION_STATE_LEARNING: ApplicationState
APPLICATION_STATE_TRAINING: ApplicationState
APPLICATION_STATE_DETECTING: ApplicationState
APPLICATION_STATE_RETRAINING: ApplicationState

class Application(_message.Message):
    __slots__ = ("application", "state", "model_version", "entry_count", "session_count", "log_key_count", "progress", "message", "last_trained_unix_nano", "next_training_unix_nano", "last_refusal", "is_waiting")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENTRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    SESSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOG_KEY_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_TRAINED_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    NEXT_TRAINING_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    LAST_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    IS_WAITING_FIELD_NUMBER: _ClassVar[int]
    application: str
    state: ApplicationState
    model_version: int
    entry_count: int
    session_count: int
    log_key_count: int
    progress: float
    message: str
    last_trained_unix_nano: int
    next_training_unix_nano: int
    last_refusal: str
    is_waiting: bool
    def __init__(self, application: _Optional[str] = ..., state: _Optional[_Union[ApplicationState, str]] = ..., model_version: _Optional[int] = ..., entry_count: _Optional[int] = ..., session_count: _Optional[int] = ..., log_key_count: _Optional[int] = ..., progress: _Optional[float] = ..., message: _Optional[str] = ..., last_trained_unix_nano: _Optional[int] = ..., next_training_unix_nano: _Optional[int] = ..., last_refusal: _Optional[str] = ..., is_waiting: _Optional[bool] = ...) -> None: ...

class ListApplicationsRequest(_message.Message):
    __slots__ = ("application",)
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    application: str
    def __init__(self, application: _Optional[str] = ...) -> None: ...

class ListApplicationsResponse(_message.Message):
    __slots__ = ("applications",)
    APPLICATIONS_FIELD_NUMBER: _ClassVar[int]
    applications: _containers.RepeatedCompositeFieldContainer[Application]
    def __init__(self, applications: _Optional[_Iterable[_Union[Application, _Mapping]]] = ...) -> None: ...

class TrainApplicationRequest(_message.Message):
    __slots__ = ("application",)
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    application: str
    def __init__(self, application: _Optional[str] = ...) -> None: ...

class TrainApplicationResponse(_message.Message):
    __slots__ = ("application",)
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    application: Application
    def __init__(self, application: _Optional[_Union[Application, _Mapping]] = ...) -> None: ...
