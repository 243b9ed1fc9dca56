"""What is sent over the Forward protocol: entries to another receiver, and the acknowledgement of messages."""

import gzip
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from deeplog_grpc.errors import InputError

_EVENT_TIME_CODE = 0
_EVENT_TIME = struct.Struct(">II")
_MAX_SECONDS = 2**32 - 3
"""The two above are no times: they mark groups."""
_NS = 1_000_000_000


def acknowledgement(chunk: str | bytes) -> bytes:
    """The answer to a message whose records are safe.

    Parameters
    ----------
    chunk : str or bytes
        As it came in the message.

    Examples
    --------
    >>> msgpack.unpackb(acknowledgement("c1"))
    {'ack': 'c1'}
    """
    return _pack({"ack": chunk})


def acknowledged(answer: bytes) -> str | bytes:
    """The chunk that an answer acknowledges.

    Parameters
    ----------
    answer : bytes
        One whole msgpack value.

    Raises
    ------
    InputError
        If it is no acknowledgement.

    Examples
    --------
    >>> acknowledged(acknowledgement("c1"))
    'c1'
    """
    try:
        chunk = msgpack.unpackb(answer, unicode_errors="surrogateescape")["ack"]
    except (ValueError, TypeError, LookupError, msgpack.UnpackException):
        chunk = None
    if not isinstance(chunk, str | bytes):
        raise InputError("the answer is no acknowledgement: check that the receiver speaks Forward")
    return chunk


def encode_forward(
    tag: str, entries: Sequence[tuple[int, Mapping[str, Any]]], *, chunk: str | None = None, compress: bool = False
) -> bytes:
    """One message with entries (PackedForward, or CompressedPackedForward with gzip).

    Parameters
    ----------
    entries : sequence of (int, mapping) [n]
        Time in ns since 1970-01-01 UTC, up to the year 2106 (a later one is sent as that), and record.
    chunk : str or None
        Name that the receiver is to acknowledge; None = it does not.

    Examples
    --------
    >>> from deeplog_grpc.ingest.forward import ForwardDecoder
    >>> raw = encode_forward("anomalies", [(1_714_557_600_000_000_001, {"message": "disk full"})], chunk="c1")
    >>> (message,) = ForwardDecoder(max_message_bytes=1024, max_records=10).feed(raw)
    >>> message.records.bodies, message.records.times_ns, message.chunk
    (['disk full'], [1714557600000000001], 'c1')
    """
    payload = b"".join([_pack([_event_time(time_ns), record]) for time_ns, record in entries])
    option: dict[str, Any] = {"size": len(entries)}
    if chunk is not None:
        option["chunk"] = chunk
    if compress:
        option["compressed"] = "gzip"
        payload = gzip.compress(payload, mtime=0)
    return _pack([tag, payload, option])


def _event_time(time_ns: int) -> msgpack.ExtType:
    seconds, nanoseconds = divmod(max(time_ns, 0), _NS)
    return msgpack.ExtType(_EVENT_TIME_CODE, _EVENT_TIME.pack(min(seconds, _MAX_SECONDS), nanoseconds))


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, default=str, unicode_errors="surrogateescape")
    return packed
