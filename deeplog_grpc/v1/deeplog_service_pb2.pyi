from deeplog_grpc.v1 import anomaly_pb2 as _anomaly_pb2
from deeplog_grpc.v1 import application_pb2 as _application_pb2
from deeplog_grpc.v1 import feedback_pb2 as _feedback_pb2
from deeplog_grpc.v1 import log_entry_pb2 as _log_entry_pb2
from deeplog_grpc.v1 import model_pb2 as _model_pb2
from deeplog_grpc.v1 import parameter_pb2 as _parameter_pb2
from deeplog_grpc.v1 import verdict_pb2 as _verdict_pb2
from deeplog_grpc.v1 import workflow_pb2 as _workflow_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VerdictSelection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_SELECTION_UNSPECIFIED: _ClassVar[VerdictSelection]
    VERDICT_SELECTION_ALL: _ClassVar[VerdictSelection]
    VERDICT_SELECTION_ANOMALIES: _ClassVar[VerdictSelection]

class VerdictDetail(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_DETAIL_UNSPECIFIED: _ClassVar[VerdictDetail]
    VERDICT_DETAIL_FULL: _ClassVar[VerdictDetail]
VERDICT_SELECTION_UNSPECIFIED: VerdictSelection
VERDICT_SELECTION_ALL: VerdictSelection
VERDICT_SELECTION_ANOMALIES: VerdictSelection
VERDICT_DETAIL_UNSPECIFIED: VerdictDetail
VERDICT_DETAIL_FULL: VerdictDetail

class ScoreOptions(_message.Message):
    __slots__ = ("selection", "detail", "application", "source", "raw_bodies")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RAW_BODIES_FIELD_NUMBER: _ClassVar[int]
    selection: VerdictSelection
    detail: VerdictDetail
    application: str
    source: str
    raw_bodies: bool
    def __init__(self, selection: _Optional[_Union[VerdictSelection, str]] = ..., detail: _Optional[_Union[VerdictDetail, str]] = ..., application: _Optional[str] = ..., source: _Optional[str] = ..., raw_bodies: _Optional[bool] = ...) -> None: ...

class Flush(_message.Message):
    __slots__ = ("application", "sessions")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    application: str
    sessions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, application: _Optional[str] = ..., sessions: _Optional[_Iterable[str]] = ...) -> None: ...

class EntryError(_message.Message):
    __slots__ = ("index", "entry_id", "field", "reason", "message")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    entry_id: str
    field: str
    reason: str
    message: str
    def __init__(self, index: _Optional[int] = ..., entry_id: _Optional[str] = ..., field: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ParseRequest(_message.Message):
    __slots__ = ("application", "bodies")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    BODIES_FIELD_NUMBER: _ClassVar[int]
    application: str
    bodies: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, application: _Optional[str] = ..., bodies: _Optional[_Iterable[str]] = ...) -> None: ...

class ParsedBody(_message.Message):
    __slots__ = ("key", "template", "parameters", "is_new", "typed_parameters", "is_changed")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    IS_NEW_FIELD_NUMBER: _ClassVar[int]
    TYPED_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    IS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    key: int
    template: str
    parameters: _containers.RepeatedScalarFieldContainer[str]
    is_new: bool
    typed_parameters: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    is_changed: bool
    def __init__(self, key: _Optional[int] = ..., template: _Optional[str] = ..., parameters: _Optional[_Iterable[str]] = ..., is_new: _Optional[bool] = ..., typed_parameters: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ..., is_changed: _Optional[bool] = ...) -> None: ...

class ParseResponse(_message.Message):
    __slots__ = ("bodies",)
    BODIES_FIELD_NUMBER: _ClassVar[int]
    bodies: _containers.RepeatedCompositeFieldContainer[ParsedBody]
    def __init__(self, bodies: _Optional[_Iterable[_Union[ParsedBody, _Mapping]]] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("entries", "options", "flush", "batch_id")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_log_entry_pb2.LogEntry]
    options: ScoreOptions
    flush: Flush
    batch_id: str
    def __init__(self, entries: _Optional[_Iterable[_Union[_log_entry_pb2.LogEntry, _Mapping]]] = ..., options: _Optional[_Union[ScoreOptions, _Mapping]] = ..., flush: _Optional[_Union[Flush, _Mapping]] = ..., batch_id: _Optional[str] = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("verdicts", "session_ends", "errors", "entry_count", "anomaly_count", "session_end_count", "late_end_count", "is_repeat")
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ENDS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    ENTRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    ANOMALY_COUNT_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_COUNT_FIELD_NUMBER: _ClassVar[int]
    LATE_END_COUNT_FIELD_NUMBER: _ClassVar[int]
    IS_REPEAT_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[_verdict_pb2.Verdict]
    session_ends: _containers.RepeatedCompositeFieldContainer[_verdict_pb2.Verdict]
    errors: _containers.RepeatedCompositeFieldContainer[EntryError]
    entry_count: int
    anomaly_count: int
    session_end_count: int
    late_end_count: int
    is_repeat: bool
    def __init__(self, verdicts: _Optional[_Iterable[_Union[_verdict_pb2.Verdict, _Mapping]]] = ..., session_ends: _Optional[_Iterable[_Union[_verdict_pb2.Verdict, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[EntryError, _Mapping]]] = ..., entry_count: _Optional[int] = ..., anomaly_count: _Optional[int] = ..., session_end_count: _Optional[int] = ..., late_end_count: _Optional[int] = ..., is_repeat: _Optional[bool] = ...) -> None: ...

class StreamScoreRequest(_message.Message):
    __slots__ = ("config", "batch", "flush")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    config: StreamConfig
    batch: EntryBatch
    flush: StreamFlush
    def __init__(self, config: _Optional[_Union[StreamConfig, _Mapping]] = ..., batch: _Optional[_Union[EntryBatch, _Mapping]] = ..., flush: _Optional[_Union[StreamFlush, _Mapping]] = ...) -> None: ...

class StreamConfig(_message.Message):
    __slots__ = ("options", "client_id")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    options: ScoreOptions
    client_id: str
    def __init__(self, options: _Optional[_Union[ScoreOptions, _Mapping]] = ..., client_id: _Optional[str] = ...) -> None: ...

class EntryBatch(_message.Message):
    __slots__ = ("sequence", "entries")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    entries: _containers.RepeatedCompositeFieldContainer[_log_entry_pb2.LogEntry]
    def __init__(self, sequence: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[_log_entry_pb2.LogEntry, _Mapping]]] = ...) -> None: ...

class StreamFlush(_message.Message):
    __slots__ = ("sequence", "flush")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    flush: Flush
    def __init__(self, sequence: _Optional[int] = ..., flush: _Optional[_Union[Flush, _Mapping]] = ...) -> None: ...

class StreamScoreResponse(_message.Message):
    __slots__ = ("ready", "result", "late")
    READY_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    ready: StreamReady
    result: BatchResult
    late: ScoreResponse
    def __init__(self, ready: _Optional[_Union[StreamReady, _Mapping]] = ..., result: _Optional[_Union[BatchResult, _Mapping]] = ..., late: _Optional[_Union[ScoreResponse, _Mapping]] = ...) -> None: ...

class StreamReady(_message.Message):
    __slots__ = ("max_outstanding_batches", "max_batch_entries", "max_message_bytes")
    MAX_OUTSTANDING_BATCHES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_outstanding_batches: int
    max_batch_entries: int
    max_message_bytes: int
    def __init__(self, max_outstanding_batches: _Optional[int] = ..., max_batch_entries: _Optional[int] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("sequence", "status", "response")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    status: _status_pb2.Status
    response: ScoreResponse
    def __init__(self, sequence: _Optional[int] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., response: _Optional[_Union[ScoreResponse, _Mapping]] = ...) -> None: ...
