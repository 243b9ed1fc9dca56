"""Messages of the contract as plain data, and back from the words that people type."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from deeplog_grpc.cli.rows import iso_time
from deeplog_grpc.errors import InputError
from deeplog_grpc.v1 import anomaly_pb2

_Descriptor = Any
"""Of a field or an enum: which class it has depends on how protobuf was built."""


def plain(message: Message) -> dict[str, Any]:
    """A message as data for JSON: times in ISO 8601, names of enums in small letters, null where nothing is said.

    Examples
    --------
    >>> group = anomaly_pb2.AnomalyGroup(group_id="g-7", kind=2, last_seen_unix_nano=1_714_557_600_000_000_000)
    >>> found = plain(group)
    >>> found["group_id"], found["kind"], found["last_seen"], found["muted_until"]
    ('g-7', 'unseen_key', '2024-05-01T10:00:00.000Z', '')
    """
    return {field.name.removesuffix("_unix_nano"): _field(message, field) for field in message.DESCRIPTOR.fields}


def plain_anomaly(anomaly: anomaly_pb2.Anomaly) -> dict[str, Any]:
    """An anomaly with the fields of its verdict beside its own."""
    own = plain(anomaly)
    return {**own.pop("verdict"), **own}


def name_of(message: Message, field_name: str) -> str:
    """The value of an enum field in small letters; empty if it says nothing.

    Examples
    --------
    >>> name_of(anomaly_pb2.Anomaly(state=anomaly_pb2.ANOMALY_STATE_FALSE_POSITIVE), "state")
    'false_positive'
    """
    field = message.DESCRIPTOR.fields_by_name[field_name]
    return _enum_name(field.enum_type, getattr(message, field_name))


def numbers_of(enum: _Descriptor, names: Sequence[str], field: str) -> list[Any]:
    """The numbers of values that are named as :func:`name_of` gives them.

    Raises
    ------
    InputError
        If there is no such value.

    Examples
    --------
    >>> numbers_of(anomaly_pb2.AnomalyState.DESCRIPTOR, ["open", "false-positive"], "--state")
    [1, 2]
    """
    known = {_enum_name(enum, number): number for number in enum.values_by_number if number}
    for name in names:
        if name.replace("-", "_") not in known:
            raise InputError(f"'{name}' is none of {', '.join(known)}", field=field)
    return [known[name.replace("-", "_")] for name in names]


def _field(message: Message, field: _Descriptor) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {str(key): value[key] for key in sorted(value)}
    if field.is_repeated:
        return [_single(field, item) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(field, value)


def _single(field: _Descriptor, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        return _enum_name(field.enum_type, value)
    if field.name.endswith("_unix_nano"):
        return iso_time(value)
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return float(str(np.float32(value)))  # 0.1, not the 0.10000000149 that single precision makes of it
    return value


def _enum_name(enum: _Descriptor, number: int) -> str:
    if number not in enum.values_by_number:
        return str(number)  # of a newer server
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return enum.values_by_number[number].name.removeprefix(prefix).lower() if number else ""
