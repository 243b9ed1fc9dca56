"""The Forward protocol, version 1 -> records: Fluent Bit, Fluentd, Docker's fluentd driver and the fluent loggers.

A connection is a row of msgpack values, each a message of one of four modes; the handshake before them is in
:mod:`~deeplog_grpc.ingest.forward_handshake`, the answers and the way back in
:mod:`~deeplog_grpc.ingest.forward_messages`.

msgpack makes a list as long as its head says before it has seen the items, so a few bytes could ask for all memory.
Hence every value is passed over first, which makes nothing, and only what is whole is read.
"""

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
_LIST_HEADS = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])
"""First bytes of a msgpack list."""
_OTLP_IDS = ("trace_id", "span_id")
_OTLP_FIELDS = (*_OTLP_IDS, "severity_text", "severity_number")
_HEARTBEATS = (b"\xc0", b"\x90")
"""None, and the empty list."""
_BLOCK_BYTES = 1 << 20

# What reading odd msgpack raises: keys that are lists, time stamps out of range, a message that is no list, an end that
# is missing in packed entries.
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
        try:
            return self._decode(raw)
        except _UNPACK_ERRORS as error:
            raise InputError(f"the bytes received are no message: {error or type(error).__name__}") from None

    def _decode(self, raw: bytes) -> ForwardMessage | None:
        if raw in _HEARTBEATS:
            return None
        # A text may be packed entries or a chunk's name: what is not UTF-8 keeps its bytes, as lone surrogates.
        unpacker = _unpacker(raw, "surrogateescape")
        size = unpacker.read_array_header()
        tag = unpacker.unpack() if size >= 2 else None
        if not isinstance(tag, str | bytes):
            raise InputError("a message must be a list that begins with the tag: check that the sender speaks Forward")
        entries_at = unpacker.tell()
        is_entries = raw[entries_at] in _LIST_HEADS
        content = unpacker.skip() if is_entries else unpacker.unpack()
        rest = [unpacker.unpack() for _ in range(size - 2)]
        is_packed = isinstance(content, str | bytes)
        is_message_mode = not is_entries and not is_packed
        if is_message_mode and not rest:
            raise InputError("a message with a time must have a record after it")
        options = _options(rest[1 if is_message_mode else 0 :])
        chunk = options.get("chunk")
        chunk = chunk if isinstance(chunk, str | bytes) else None
        if options.get("fluent_signal", _LOGS_SIGNAL) != _LOGS_SIGNAL:
            return ForwardMessage(records=_Columns().records(), chunk=chunk, is_logs=False)
        columns = _Columns(tag=_text(tag), headers=_headers(options))
        if is_message_mode:
            columns.add([content, options.get("metadata")], rest[0])
        else:
            entries = self._packed_entries(content, options) if is_packed else _entries(raw[entries_at:])
            self._add_all(entries, columns)
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

    def _packed_entries(self, content: str | bytes, options: Mapping[str, Any]) -> Iterator[Any]:
        raw = content.encode(errors="surrogateescape") if isinstance(content, str) else content
        compression = _text(options.get("compressed") or "")
        if compression not in _PLAIN:
            raw = decompress(raw, compression, max_bytes=self._max_bytes)
        return _packed_entries(raw)

    def _add_all(self, entries: Iterable[Any], columns: "_Columns") -> None:
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
            rest = {**_metadata(metadata), **rest}
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


def _unpacker(raw: bytes, unicode_errors: str) -> msgpack.Unpacker:
    unpacker = msgpack.Unpacker(
        ext_hook=_ext, strict_map_key=False, unicode_errors=unicode_errors, max_buffer_size=len(raw) or 1
    )
    unpacker.feed(raw)
    return unpacker


def _entries(raw: bytes) -> Iterator[Any]:
    """The items of a list that bytes begin with, one by one: none is kept longer than it is needed."""
    unpacker = _unpacker(raw, "replace")
    for _ in range(unpacker.read_array_header()):
        yield unpacker.unpack()


def _packed_entries(raw: bytes) -> Iterator[Any]:
    """Entries that follow one another, one by one; see the module for why they are passed over first."""
    skipper, unpacker = _unpacker(raw, "replace"), _unpacker(raw, "replace")
    while skipper.tell() < len(raw):
        skipper.skip()
        yield unpacker.unpack()


def _ext(code: int, data: bytes) -> tuple[int, bytes]:
    return code, data


def _options(rest: Sequence[Any]) -> dict[str, Any]:
    """The first of what is left of a message, with text as keys; empty where it has none."""
    options = rest[0] if rest else None
    return {_text(key): value for key, value in options.items()} if isinstance(options, dict) else {}


def _headers(options: Mapping[str, Any]) -> dict[str, str]:
    lowered = ((name.lower(), value) for name, value in options.items())
    return {
        name: _text(value)
        for name, value in lowered
        if name.startswith(HEADER_PREFIX) and isinstance(value, str | bytes | int | float)
    }


def _text(value: Any) -> str:
    """Text of anything; bytes that are not UTF-8 become U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else text(value.encode(errors="surrogateescape"))
    return text(value) if isinstance(value, bytes) else str(value)


def _seconds(ext: tuple[int, bytes]) -> int:
    """Seconds of an event time, 0 of any other ext type."""
    code, data = ext
    return int.from_bytes(data[:4]) if code == _EVENT_TIME_CODE and len(data) == _EVENT_TIME.size else 0


def _time_ns(time: Any) -> int:
    """A time in ns; 0 = unknown, also for what is no time."""
    kind = type(time)
    if kind is tuple and time[0] == _EVENT_TIME_CODE and len(time[1]) == _EVENT_TIME.size:
        seconds, nanoseconds = _EVENT_TIME.unpack(time[1])
        time_ns: int = seconds * 1_000_000_000 + nanoseconds
        return time_ns
    if kind is int:
        return known_time(time * 1_000_000_000)
    if kind is float and math.isfinite(time_ns := time * 1_000_000_000):
        return known_time(round(time_ns))
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


def _metadata(metadata: Mapping[Any, Any]) -> dict[str, Any]:
    """Metadata of an entry as attributes.

    Fluent Bit keeps what an OTLP sender said of a record under ``otlp``; it becomes what OTLP itself gives.
    """
    otlp = metadata.get("otlp")
    if not isinstance(otlp, dict):
        return _mapping(metadata, 1)
    said = {name: otlp[name] for name in _OTLP_FIELDS if otlp.get(name)}
    for name in _OTLP_IDS:
        if isinstance(identifier := said.get(name), bytes):
            said[name] = identifier.hex()
    own = otlp.get("attributes")
    others = {key: value for key, value in metadata.items() if key != "otlp"}
    return _mapping({**said, **others, **(own if isinstance(own, dict) else {})}, 1)


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
