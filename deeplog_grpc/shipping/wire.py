"""Entries as bytes of the contract, without a message object for each: most of what a shipper does with a line is this.

A payload of the spool is an ``EntryBatch`` without its sequence. Fields of a message may come in any order, so a
sequence is put in front of a payload without reading it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct

# Tags of LogEntry: time_unix_nano = 2 (fixed64); application = 3, session = 4, body = 5, attributes = 6, source = 7.
_TIME, _APPLICATION, _SESSION, _BODY, _ATTRIBUTE, _SOURCE = b"\x11", b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x3a"
_ENTRY = b"\x12"
"""`EntryBatch.entries`."""
_SEQUENCE = b"\x08"
"""`EntryBatch.sequence`."""
_BATCH = b"\x12"
"""`StreamScoreRequest.batch`."""
_KEY, _VALUE = b"\x0a", b"\x12"
_fixed64 = Struct("<Q").pack


@lru_cache(65_536)
def varint(number: int) -> bytes:
    r"""A number as protobuf writes lengths.

    Examples
    --------
    >>> varint(5), varint(300)
    (b'\x05', b'\xac\x02')
    """
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def entry_fields(
    *, application: bytes = b"", session: bytes = b"", source: bytes = b"", attributes: Mapping[str, str] | None = None
) -> bytes:
    """The fields of an entry besides its time and its body; empty ones are left out."""
    texts = ((_APPLICATION, application), (_SESSION, session), (_SOURCE, source))
    found = b"".join(_text(tag, value) for tag, value in texts if value)
    for name, value in (attributes or {}).items():
        pair = _text(_KEY, name.encode(errors="surrogateescape")) + _text(
            _VALUE, value.encode(errors="surrogateescape")
        )
        found += _text(_ATTRIBUTE, pair)
    return found


def entries_of(bodies: Iterable[bytes], times_ns: Sequence[int], fields: Iterable[bytes]) -> list[bytes]:
    """Entries, each with its tag and length, so that a batch of them is their concatenation.

    Parameters
    ----------
    bodies : iterable of bytes [n]
    times_ns : sequence of int [n]
        Nanoseconds since 1970 UTC.
    fields : iterable of bytes [n]
        All other fields of each.
    """
    found = []
    for body, time_ns, rest in zip(bodies, times_ns, fields, strict=False):
        length = varint(len(body))
        size = varint(10 + len(length) + len(body) + len(rest))
        found.append(b"".join((_ENTRY, size, _TIME, _fixed64(time_ns), _BODY, length, body, rest)))
    return found


def batch_request(sequence: int, payload: bytes) -> bytes:
    """A payload as a ``StreamScoreRequest``.

    Examples
    --------
    >>> from deeplog_grpc.v1.deeplog_service_pb2 import StreamScoreRequest
    >>> [entry] = entries_of([b"disk full"], [7], [entry_fields(source=b"app.log")])
    >>> batch = StreamScoreRequest.FromString(batch_request(300, entry)).batch
    >>> batch.sequence, batch.entries[0].body, batch.entries[0].time_unix_nano, batch.entries[0].source
    (300, 'disk full', 7, 'app.log')
    """
    number = _SEQUENCE + varint(sequence)
    return b"".join((_BATCH, varint(len(number) + len(payload)), number, payload))


def _text(tag: bytes, value: bytes) -> bytes:
    return tag + varint(len(value)) + value
