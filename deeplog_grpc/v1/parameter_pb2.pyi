from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ValueKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VALUE_KIND_UNSPECIFIED: _ClassVar[ValueKind]
    VALUE_KIND_EMPTY: _ClassVar[ValueKind]
    VALUE_KIND_INTEGER: _ClassVar[ValueKind]
    VALUE_KIND_DECIMAL: _ClassVar[ValueKind]
    VALUE_KIND_DURATION: _ClassVar[ValueKind]
    VALUE_KIND_SIZE: _ClassVar[ValueKind]
    VALUE_KIND_QUANTITY: _ClassVar[ValueKind]
    VALUE_KIND_TIME: _ClassVar[ValueKind]
    VALUE_KIND_IP: _ClassVar[ValueKind]
    VALUE_KIND_PORT: _ClassVar[ValueKind]
    VALUE_KIND_MAC: _ClassVar[ValueKind]
    VALUE_KIND_HOST: _ClassVar[ValueKind]
    VALUE_KIND_PATH: _ClassVar[ValueKind]
    VALUE_KIND_URL: _ClassVar[ValueKind]
    VALUE_KIND_EMAIL: _ClassVar[ValueKind]
    VALUE_KIND_UUID: _ClassVar[ValueKind]
    VALUE_KIND_HEX: _ClassVar[ValueKind]
    VALUE_KIND_LITERAL: _ClassVar[ValueKind]
    VALUE_KIND_LIST: _ClassVar[ValueKind]
    VALUE_KIND_WORD: _ClassVar[ValueKind]
    VALUE_KIND_IDENTIFIER: _ClassVar[ValueKind]
    VALUE_KIND_TEXT: _ClassVar[ValueKind]
VALUE_KIND_UNSPECIFIED: ValueKind
VALUE_KIND_EMPTY: ValueKind
VALUE_KIND_INTEGER: ValueKind
VALUE_KIND_DECIMAL: ValueKind
VALUE_KIND_DURATION: ValueKind
VALUE_KIND_SIZE: ValueKind
VALUE_KIND_QUANTITY: ValueKind
VALUE_KIND_TIME: ValueKind
VALUE_KIND_IP: ValueKind
VALUE_KIND_PORT: ValueKind
VALUE_KIND_MAC: ValueKind
VALUE_KIND_HOST: ValueKind
VALUE_KIND_PATH: ValueKind
VALUE_KIND_URL: ValueKind
VALUE_KIND_EMAIL: ValueKind
VALUE_KIND_UUID: ValueKind
VALUE_KIND_HEX: ValueKind
VALUE_KIND_LITERAL: ValueKind
VALUE_KIND_LIST: ValueKind
VALUE_KIND_WORD: ValueKind
VALUE_KIND_IDENTIFIER: ValueKind
VALUE_KIND_TEXT: ValueKind

class Parameter(_message.Message):
    __slots__ = ("text", "kind", "start", "end", "number", "unit")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    text: str
    kind: ValueKind
    start: int
    end: int
    number: float
    unit: str
    def __init__(self, text: _Optional[str] = ..., kind: _Optional[_Union[ValueKind, str]] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., number: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...
