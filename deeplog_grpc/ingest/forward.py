"""The Forward protocol, version 1 -> records: Fluent Bit, Fluentd, Docker's fluentd driver and the fluent loggers.

A connection is a row of msgpack values, each a message of one of four modes; the handshake before them is in
:mod:`~deeplog_grpc.ingest.forward_handshake`, the answers and the way back in
:mod:`~deeplog_grpc.ingest.forward_messages`.

msgpack makes a list as long as its head says before it has seen the items, so a few bytes could ask for all memory.
Hence every value is passed over first, which makes nothing, and only what is whole is read.
"""

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.compression import decompress
from deeplog_grpc.ingest.native import text
from deeplog_grpc.ingest.records import Origin, Records, body_of
from deeplog_grpc.ingest.values import MAX_DEPTH, json_text, known_time, number, time_text

HEADER_PREFIX = "x-deeplog-"
"""Keys of options that begin so are headers of the origin."""

_EVENT_TIME = struct.Struct(">II")
_EVENT_TIME_CODE = 0
_GROUP_START, _GROUP_END = 0xFFFFFFFF, 0xFFFFFFFE
"""Seconds of pseudo entries around the entries of one resource and scope, as Fluent Bit writes them."""
_LOGS_SIGNAL = 0
_PLAIN = ("", "text")
_JSON_HEADS = b"{["
_BLOCK_BYTES = 1 << 20

# What reading whole, but odd msgpack raises: keys that are lists, time stamps out of range, bad ext types.
_UNPACK_ERRORS = (ValueError, TypeError, OverflowError, msgpack.UnpackException)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardMessage:
    """One message."""

    records: Records
    """None of a message that holds no logs."""
    chunk: str | bytes | None
    """What :func:`~.forward_messages.acknowledgement` is to echo once the records are safe; None = no answer."""
    is_logs: bool
    """False = metrics or traces: nothing of it is read, and it is acknowledged all the same."""


class ForwardDecoder:
    """Decodes the messages of one connection.

    Parameters
    ----------
    max_message_bytes : int
        Of one message, and of its content when it is compressed.
    max_records : int
        In one message.

    Examples
    --------
    >>> decoder = ForwardDecoder(max_message_bytes=1024, max_records=10)
    >>> (message,) = decoder.feed(msgpack.packb(["app", 1_714_557_600, {"log": "disk full"}, {"chunk": "c1"}]))
    >>> message.records.bodies, message.records.times_ns, message.chunk
    (['disk full'], [1714557600000000000], 'c1')
    """

    def __init__(self, *, max_message_bytes: int, max_records: int) -> None:
        self._max_bytes = max_message_bytes
        self._max_records = max_records
        self._pending = bytearray()
        self._read = 0  # bytes of the connection before the pending ones
        self._skipper = self._new_skipper()

    def feed(self, data: bytes) -> Iterator[ForwardMessage]:
        """Decode the messages that bytes from the connection complete, one after the other.

        Raises
        ------
        InputError
            If they are not the protocol, or beyond a limit. The messages before have been given by then; the
            connection is of no more use.
        """
        for raw in self.split(data):
            if (message := self.decode(raw)) is not None:
                yield message

    def split(self, data: bytes) -> Iterator[bytes]:
        """Divide what comes from a connection into msgpack values, without reading them: the handshake's too.

        Raises
        ------
        InputError
            If the bytes are JSON, no msgpack, or one value has more than ``max_message_bytes``.
        """
        for start in range(0, len(data), _BLOCK_BYTES):
            yield from self._split(data[start : start + _BLOCK_BYTES])

    def decode(self, raw: bytes) -> ForwardMessage | None:
        """Decode one message; None of a heartbeat.

        Parameters
        ----------
        raw : bytes
            One whole msgpack value.

        Raises
        ------
        InputError
            If it is no message, or beyond a limit.
        """
        message = _unpack_message(raw)
        if message is None or message == []:
            return None
        if not isinstance(message, list) or len(message) < 2 or not isinstance(message[0], str | bytes):
            raise InputError("a message must be a list that begins with the tag: check that the sender speaks Forward")
        content = message[1]
        is_message_mode = not isinstance(content, list | str | bytes)
        if is_message_mode and len(message) < 3:
            raise InputError("a message with a time must have a record after it")
        options = _options(message, 3 if is_message_mode else 2)
        chunk = options.get("chunk")
        chunk = chunk if isinstance(chunk, str | bytes) else None
        if options.get("fluent_signal", _LOGS_SIGNAL) != _LOGS_SIGNAL:
            return ForwardMessage(records=_Columns().records(), chunk=chunk, is_logs=False)
        columns = _Columns(tag=_text(message[0]), headers=_headers(options))
        if is_message_mode:
            columns.add([content, options.get("metadata")], message[2])
        else:
            self._add_all(content, options, columns)
        return ForwardMessage(records=columns.records(), chunk=chunk, is_logs=True)

    def _new_skipper(self) -> msgpack.Unpacker:
        return msgpack.Unpacker(max_buffer_size=self._max_bytes + _BLOCK_BYTES)

    def _split(self, data: bytes) -> Iterator[bytes]:
        self._check_head(data)
        self._pending += data
        try:
            self._skipper.feed(data)
            while self._pending:
                self._skipper.skip()
                size = self._skipper.tell() - self._read
                self._read += size
                self._check_size(size)
                yield bytes(self._pending[:size])
                del self._pending[:size]
                self._check_head(b"")
        except msgpack.OutOfData:
            self._check_size(len(self._pending))
        except _UNPACK_ERRORS as error:
            raise InputError(f"the bytes received are not msgpack: {error or type(error).__name__}") from None

    def _check_head(self, data: bytes) -> None:
        """Say it plainly where a sender speaks JSON, whose first bytes would be numbers in msgpack."""
        head = bytes((self._pending or data)[:1])
        if head and head in _JSON_HEADS:
            raise InputError("JSON is not taken here: let the sender use msgpack, the protocol's own format")

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise InputError(f"a message of {size} bytes or more is longer than {self._max_bytes}: send smaller chunks")

    def _add_all(self, content: Any, options: Mapping[str, Any], columns: "_Columns") -> None:
        if isinstance(content, list):
            entries: Iterable[Any] = content
        else:
            compression = _text(options.get("compressed") or "")
            raw = _raw(content)
            if compression not in _PLAIN:
                raw = decompress(raw, compression, max_bytes=self._max_bytes)
            entries = _unpack_entries(raw)
        for position, entry in enumerate(entries):
            if position >= self._max_records:
                raise InputError(f"more than {self._max_records} entries in one message: send smaller chunks")
            if type(entry) is not list or len(entry) < 2:
                raise InputError("must be a list of a time and a record", field=f"entries[{position}]")
            columns.add(entry[0], entry[1])


@dataclass(slots=True)
class _Columns:
    """The records of one message, while they are collected."""

    tag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: list[str] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    attributes: list[Mapping[str, Any]] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    origin: Origin = field(init=False)

    def __post_init__(self) -> None:
        self.origin = Origin(tag=self.tag, headers=self.headers)

    def add(self, time: Any, record: Any) -> None:
        """Take an entry; its time may be a list of the time and metadata."""
        metadata = None
        if type(time) is list:
            time, metadata = (*time, None, None)[:2]
        if type(time) is tuple and (seconds := _seconds(time)) >= _GROUP_END:
            self._change_group(record if seconds == _GROUP_START else None)
            return
        cleaned = _value(record, 0)
        if type(cleaned) is dict:
            body, rest = body_of(cleaned)
        else:
            body, rest = cleaned if type(cleaned) is str else json_text(cleaned), {}
        if metadata and type(metadata) is dict:
            rest = {**_value(metadata, 0), **rest}
        self.bodies.append(body)
        self.times_ns.append(_time_ns(time))
        self.attributes.append(rest)
        self.origins.append(self.origin)

    def records(self) -> Records:
        return Records(bodies=self.bodies, times_ns=self.times_ns, attributes=self.attributes, origins=self.origins)

    def _change_group(self, record: Any) -> None:
        group = _value(record, 0)
        group = group if isinstance(group, dict) else {}
        resource, scope = group.get("resource"), group.get("scope")
        attributes = resource.get("attributes") if isinstance(resource, dict) else None
        name = scope.get("name") if isinstance(scope, dict) else None
        self.origin = Origin(
            resource=attributes if isinstance(attributes, dict) else {},
            scope=name if isinstance(name, str) else "",
            tag=self.tag,
            headers=self.headers,
        )


def _unpack_message(raw: bytes) -> Any:
    """A message; text that is not UTF-8 keeps its bytes as lone surrogates, since a text may be packed entries."""
    try:
        return msgpack.unpackb(raw, ext_hook=_ext, strict_map_key=False, unicode_errors="surrogateescape")
    except _UNPACK_ERRORS as error:
        raise InputError(f"the bytes received are no message: {error or type(error).__name__}") from None


def _unpack_entries(raw: bytes) -> Iterator[Any]:
    """Packed entries, one by one; see the module for why they are passed over first."""
    skipper = msgpack.Unpacker(max_buffer_size=len(raw) or 1)
    unpacker = msgpack.Unpacker(
        ext_hook=_ext, strict_map_key=False, unicode_errors="replace", max_buffer_size=len(raw) or 1
    )
    skipper.feed(raw)
    unpacker.feed(raw)
    try:
        while skipper.tell() < len(raw):
            skipper.skip()
            yield unpacker.unpack()
    except msgpack.OutOfData:
        raise InputError("the last of the packed entries is not whole") from None
    except _UNPACK_ERRORS as error:
        raise InputError(f"the packed entries are not msgpack: {error or type(error).__name__}") from None


def _ext(code: int, data: bytes) -> tuple[int, bytes]:
    return code, data


def _options(message: list[Any], position: int) -> dict[str, Any]:
    options = message[position] if len(message) > position else None
    return {_text(key): value for key, value in options.items()} if isinstance(options, dict) else {}


def _headers(options: Mapping[str, Any]) -> dict[str, str]:
    lowered = ((name.lower(), value) for name, value in options.items())
    return {
        name: _text(value)
        for name, value in lowered
        if name.startswith(HEADER_PREFIX) and isinstance(value, str | bytes | int | float)
    }


def _raw(content: str | bytes) -> bytes:
    return content.encode(errors="surrogateescape") if isinstance(content, str) else content


def _text(value: Any) -> str:
    """Text of anything; bytes that are not UTF-8 become U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else text(value.encode(errors="surrogateescape"))
    return text(value) if isinstance(value, bytes) else str(value)


def _seconds(ext: tuple[int, bytes]) -> int:
    """Seconds of an event time, 0 of any other ext type."""
    code, data = ext
    return _EVENT_TIME.unpack(data)[0] if code == _EVENT_TIME_CODE and len(data) == _EVENT_TIME.size else 0


def _time_ns(time: Any) -> int:
    """A time in ns; 0 = unknown, also for what is no time."""
    kind = type(time)
    if kind is tuple and time[0] == _EVENT_TIME_CODE and len(time[1]) == _EVENT_TIME.size:
        seconds, nanoseconds = _EVENT_TIME.unpack(time[1])
        return seconds * 1_000_000_000 + nanoseconds
    if kind is int:
        return known_time(time * 1_000_000_000)
    if kind is float and math.isfinite(time):
        return known_time(round(time * 1_000_000_000))
    return known_time(time.to_unix_nano()) if isinstance(time, msgpack.Timestamp) else 0


def _value(value: Any, depth: int) -> Any:
    """A value of a record, inside so many others: text is made clean, and so are the keys of mappings."""
    kind = type(value)
    if kind is str and value.isascii():
        return value
    clean = _CLEANERS.get(kind)
    return clean(value, depth + 1) if clean and depth < MAX_DEPTH else None


def _mapping(mapping: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {
        key if type(key) is str and key.isascii() else _text(key): (
            value if type(value) is str and value.isascii() else _value(value, depth)
        )
        for key, value in mapping.items()
    }


def _ext_text(ext: tuple[int, bytes]) -> str | None:
    return time_text(_time_ns(ext)) if _seconds(ext) else text(ext[1])


_CLEANERS: dict[type, Callable[[Any, int], Any]] = {
    str: lambda value, _: _text(value),
    bytes: lambda value, _: text(value),
    bool: lambda value, _: value,
    int: lambda value, _: value,
    float: lambda value, _: number(value),
    dict: _mapping,
    list: lambda value, depth: [_value(item, depth) for item in value],
    tuple: lambda value, _: _ext_text(value),
    msgpack.Timestamp: lambda value, _: time_text(value.to_unix_nano()),
}
