"""What goes between the server and its scoring processes: plain data as msgpack, columns as their bytes, no pickle.

Dataclasses (verdicts and what they hold) go as the tuples of their fields; who reads them knows what they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from zlib import crc32

import msgpack
import numpy as np

from deeplog_grpc.detection.saving import column
from deeplog_grpc.detection.shared_values import VectorsAside

Message = Mapping[str, Any]
Thing = TypeVar("Thing")
Element = TypeVar("Element", bound=np.generic)
_Change = Callable[[Any], Any] | None
"""Turns a field's value into plain data, or back; None = it goes as it is."""


def shard_of(identifier: str, shards: int) -> int:
    """Where the session of an identifier is, always and everywhere."""
    return crc32(identifier.encode()) % shards


def packed(message: Message) -> bytes:
    """A message as bytes: numbers, texts, bytes, columns, tuples and mappings of them."""
    content: bytes = msgpack.packb(message, default=_plain)
    return content


def unpacked(content: bytes | bytearray) -> dict[str, Any]:
    """What :func:`packed` made bytes of; sequences come back as tuples, columns as bytes."""
    message: dict[str, Any] = msgpack.unpackb(content, use_list=False, strict_map_key=False)
    return message


def plain_vectors(part: VectorsAside) -> tuple[Any, ...]:
    """Vectors as plain data."""
    return part.key, part.rows, part.values, part.values.shape[1], part.previous, part.timely


def vectors_of(content: tuple[Any, ...]) -> VectorsAside:
    """What :func:`plain_vectors` gave, after it went from one process to another."""
    key, rows, values, width, previous, timely = content
    return VectorsAside(
        key=key,
        rows=column(rows, np.int64),
        values=column(values, np.float64).reshape(-1, width),
        previous=column(previous, np.int64).reshape(-1, 2),
        timely=column(timely, np.bool_),
    )


def _plain(value: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else value.item()


def fields_of(thing: Any) -> tuple[Any, ...]:
    """A dataclass as plain data.

    Examples
    --------
    >>> from deeplog_grpc.detection import Candidate
    >>> fields_of(Candidate(key=3, template="bye", probability=0.5))
    (3, 'bye', 0.5)
    """
    cls: Any = type(thing)
    pack, _ = _codec_of(cls)
    found: tuple[Any, ...] = pack(thing)
    return found


def thing_of(cls: type[Thing], content: tuple[Any, ...], **changes: Any) -> Thing:
    """A dataclass out of what :func:`fields_of` gave, with some fields changed.

    Examples
    --------
    >>> from deeplog_grpc.detection import Candidate
    >>> thing_of(Candidate, (3, "bye", 0.5), key=4)
    Candidate(key=4, template='bye', probability=0.5)
    """
    kind: Any = cls
    _, unpack = _codec_of(kind)
    thing: Thing = unpack(content, changes)
    return thing


@cache
def _codec_of(cls: Any) -> tuple[Callable[[Any], tuple[Any, ...]], Callable[..., Any]]:
    hints, names = get_type_hints(cls), tuple(field.name for field in fields(cls))
    values = attrgetter(*names) if len(names) > 1 else lambda thing: (getattr(thing, names[0]),)
    changes = [(place, *_changes(hints[name])) for place, name in enumerate(names)]
    packs = [(place, pack) for place, pack, _ in changes if pack is not None]
    unpacks = [(place, unpack) for place, _, unpack in changes if unpack is not None]

    def pack_thing(thing: Any) -> tuple[Any, ...]:
        found = list(values(thing))
        for place, pack in packs:
            found[place] = pack(found[place])
        return tuple(found)

    def unpack_thing(content: tuple[Any, ...], others: Mapping[str, Any] = {}) -> Any:
        found = list(content)
        for place, unpack in unpacks:
            found[place] = unpack(found[place])
        return cls(**{**dict(zip(names, found, strict=True)), **others})

    return pack_thing, unpack_thing


def _changes(hint: Any) -> tuple[_Change, _Change]:
    """How a field of this type becomes plain data, and how it comes back."""
    inner = get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return None, hint
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return _codec_of(hint)
    if get_origin(hint) in (Union, UnionType):
        (own,) = (one for one in inner if one is not NoneType)
        pack, unpack = _changes(own)
        return _or_none(pack), _or_none(unpack)
    if get_origin(hint) is tuple and inner[-1] is Ellipsis:
        pack, unpack = _changes(inner[0])
        return _each(pack), _each(unpack)
    return None, None


def _or_none(change: _Change) -> _Change:
    return None if change is None else lambda value: None if value is None else change(value)


def _each(change: _Change) -> _Change:
    return None if change is None else lambda values: tuple(map(change, values))
