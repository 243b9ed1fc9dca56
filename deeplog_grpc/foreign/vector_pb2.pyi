import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PushEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("log", "metric", "trace")
    LOG_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    log: LogEvent
    metric: OtherEvent
    trace: OtherEvent
    def __init__(self, log: _Optional[_Union[LogEvent, _Mapping]] = ..., metric: _Optional[_Union[OtherEvent, _Mapping]] = ..., trace: _Optional[_Union[OtherEvent, _Mapping]] = ...) -> None: ...

class OtherEvent(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogEvent(_message.Message):
    __slots__ = ("fields", "root", "legacy_metadata", "metadata")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    LEGACY_METADATA_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[Pair]
    root: Value
    legacy_metadata: Value
    metadata: Metadata
    def __init__(self, fields: _Optional[_Iterable[_Union[Pair, _Mapping]]] = ..., root: _Optional[_Union[Value, _Mapping]] = ..., legacy_metadata: _Optional[_Union[Value, _Mapping]] = ..., metadata: _Optional[_Union[Metadata, _Mapping]] = ...) -> None: ...

class Metadata(_message.Message):
    __slots__ = ("content", "source_event_id")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    content: Value
    source_event_id: bytes
    def __init__(self, content: _Optional[_Union[Value, _Mapping]] = ..., source_event_id: _Optional[bytes] = ...) -> None: ...

class Pair(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: Value
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("text", "time", "integer", "number", "boolean", "map", "array", "nothing")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    ARRAY_FIELD_NUMBER: _ClassVar[int]
    NOTHING_FIELD_NUMBER: _ClassVar[int]
    text: bytes
    time: _timestamp_pb2.Timestamp
    integer: int
    number: float
    boolean: bool
    map: Map
    array: Array
    nothing: int
    def __init__(self, text: _Optional[bytes] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., boolean: _Optional[bool] = ..., map: _Optional[_Union[Map, _Mapping]] = ..., array: _Optional[_Union[Array, _Mapping]] = ..., nothing: _Optional[int] = ...) -> None: ...

class Map(_message.Message):
    __slots__ = ("fields",)
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[Pair]
    def __init__(self, fields: _Optional[_Iterable[_Union[Pair, _Mapping]]] = ...) -> None: ...

class Array(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, items: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...
