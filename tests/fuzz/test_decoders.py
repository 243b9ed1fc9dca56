"""What others send, read by itself: good or an ``InputError`` that tells nothing, in bounded memory."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from deeplog_grpc.errors import InputError
from deeplog_grpc.foreign.vector_pb2 import PushEventsRequest
from deeplog_grpc.ingest import IngestConfig, RecordIngest, Records, RoutingConfig
from deeplog_grpc.ingest.applications import FixedApplications
from deeplog_grpc.ingest.compression import decompress
from deeplog_grpc.ingest.forward import ForwardDecoder
from deeplog_grpc.ingest.forward_handshake import check_ping, check_pong, read_hello
from deeplog_grpc.ingest.forward_messages import acknowledged
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.ingest.otlp import decode_logs
from deeplog_grpc.ingest.otlp_json import decode_logs_json
from deeplog_grpc.ingest.vector import decode_events
from tests.fuzz.bounds import MIB, memory_within, tries
from tests.fuzz.hostile import CANARY, TEXTS, Hostile, nested, seeds

MAX_BYTES = MIB
BOMB_BYTES = 64 * MIB
"""What a bomb of some kilobytes holds."""
_INGEST = RecordIngest(
    FixedApplications(["app", "other"]),
    IngestConfig(),
    RoutingConfig(),
)
_SECRETS = {"shared_key": "k3y", "hostname": "server"}


def taken(decode: Callable[[bytes], Any], raw: bytes) -> Any:
    """What is decoded; None where it is refused, which tells nothing of what was sent."""
    said = ""
    try:
        return decode(raw)
    except InputError as error:
        said = str(error)
    assert CANARY not in said
    assert "k3y" not in said
    return None


def divided(records: Records) -> None:
    """Divide records as the server does: every record is in one place at most."""
    ingested = _INGEST.ingest(records, arrival_ns=1_714_557_600_000_000_000)
    places = [place for part in ingested.parts for place in part.positions]
    assert len(set(places)) == len(places) <= len(records)
    for part in ingested.parts:
        assert all(part.batch.times_ns > 0)
        for text in (*part.batch.bodies, *part.batch.sessions, *part.batch.sources):
            text.encode()  # what is no text would fail later: in a database, in an answer


def decoded_forward(raw: bytes) -> list[Records]:
    decoder = ForwardDecoder(max_message_bytes=MAX_BYTES, max_records=1_000)
    return [message.records for message in decoder.feed(raw)]


def otlp(raw: bytes) -> list[Records]:
    return [decode_logs(raw, {})]


def otlp_json(raw: bytes) -> list[Records]:
    return [decode_logs_json(raw, {})]


def vector(raw: bytes) -> list[Records]:
    return [decode_events(raw, {}).records]


DECODERS = {"otlp": otlp, "otlp_json": otlp_json, "vector": vector, "forward": decoded_forward}


@pytest.mark.parametrize("protocol", DECODERS)
@tries(60)
@given(raw=st.binary(max_size=300))
def test_random_bytes(protocol: str, raw: bytes) -> None:
    for records in taken(DECODERS[protocol], raw) or ():
        divided(records)


@pytest.mark.parametrize(("protocol", "kind"), [("otlp", ExportLogsServiceRequest), ("vector", PushEventsRequest)])
@tries(60)
@given(seed=seeds)
def test_hostile_messages(protocol: str, kind: type, seed: int) -> None:
    hostile = Hostile(seed, {"key": ["service.name", "session", "message", "timestamp", "deeplog", "application"]})
    raw = hostile.message(kind)
    for sent in (raw, hostile.bytes(raw)):
        for records in taken(DECODERS[protocol], sent) or ():
            divided(records)


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.sampled_from(TEXTS), st.text(max_size=8)
)
_NAMES = (
    "resourceLogs scopeLogs logRecords resource scope attributes body stringValue kvlistValue arrayValue values "
    "bytesValue intValue doubleValue boolValue key value timeUnixNano observedTimeUnixNano traceId severityNumber name "
    "message log time session application"
)
_names = st.sampled_from(_NAMES.split())
_trees = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=5), max_leaves=20
)


@tries(120)
@given(record=st.dictionaries(_names, _trees, max_size=6), odd=_trees, place=st.integers(0, 4))
def test_odd_json(record: dict[str, Any], odd: Any, place: int) -> None:
    request: Any = {"resourceLogs": [{"resource": record, "scopeLogs": [{"logRecords": [record, {"body": odd}]}]}]}
    request = [request, odd, {"resourceLogs": odd}, {"resourceLogs": [{"scopeLogs": odd}]}, request][place]
    raw = json.dumps(request).encode()  # with NaN, Infinity, and half surrogate pairs as escapes
    for records in taken(otlp_json, raw) or ():
        divided(records)


_msgpack_scalars = st.one_of(
    _scalars,
    st.binary(max_size=20),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=12)),
    st.builds(msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999)),
)
_msgpack_trees = st.recursive(
    _msgpack_scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(-9, 99), inner, max_size=4)
    ),
    max_leaves=15,
)
_options = st.fixed_dictionaries(
    {},
    optional={
        "chunk": _msgpack_trees,
        "size": _msgpack_trees,
        "compressed": st.sampled_from(["gzip", "zstd", "text", "lz4", ""]) | _msgpack_trees,
        "fluent_signal": _msgpack_trees,
        "metadata": _msgpack_trees,
        "x-deeplog-application": _msgpack_trees,
    },
)


def _packed(value: Any) -> bytes:
    raw: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
    return raw


@tries(120)
@given(
    tag=st.sampled_from(["app", "", "\ud800"]) | _msgpack_trees,
    entries=st.lists(st.lists(_msgpack_trees, max_size=3) | _msgpack_trees, max_size=4) | _msgpack_trees,
    options=_options,
    form=st.integers(0, 4),
    seed=seeds,
)
def test_odd_forward_messages(tag: Any, entries: Any, options: Any, form: int, seed: int) -> None:
    packed = b"".join(map(_packed, entries)) if isinstance(entries, list) else _packed(entries)
    message = [
        [tag, entries, options],
        [tag, packed, options],
        [tag, gzip.compress(packed), {**options, "compressed": "gzip"}],
        [tag, 1_714_557_600, entries, options],
        [tag, packed[:-1], options],
    ][form]
    raw = _packed(message)
    for sent in (raw, raw + raw, raw[:-1], Hostile(seed).bytes(raw)):
        for records in taken(decoded_forward, sent) or ():
            divided(records)


@pytest.mark.parametrize("depth", [33, 511, 1_000, 100_000])
def test_values_deep_inside_others(depth: int) -> None:
    for wrapped in (b"\x91" * depth + b"\xc0", b"\x81\xa1a" * depth + b"\xc0"):
        for message in (
            b"\x93\xa1t\x00\x81\xa3log" + wrapped,
            b"\x92\xa1t\x91\x92\x00\x81\xa3log" + wrapped,
            b"\x93\xa1t\x91\x92\x00\x80" + wrapped,
            _packed(["t", b"\x92\x00\x81\xa3log" + wrapped]),
            wrapped,
        ):
            for records in taken(decoded_forward, message) or ():
                divided(records)
        taken(lambda raw: check_ping(raw, nonce=b"n", auth_salt=b"", users={}, **_SECRETS), b"\x96\xa4PING" + wrapped)
        taken(read_hello, b"\x92\xa4HELO" + wrapped)
        taken(acknowledged, b"\x81\xa3ack" + wrapped)
    value = '{"arrayValue": {"values": [' * depth + "]}}" * depth
    raw = b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": %b}]}]}]}' % value.encode()
    for records in taken(otlp_json, raw) or ():
        divided(records)
    if depth < 100:  # protobuf's own bound is 100 messages in one another
        return
    any_value = nested(min(depth, 1_000), b"", lambda inner: b"\x2a" + _length(b"\x0a" + _length(inner)))
    record = b"\x2a" + _length(any_value)
    for owner in (b"\x12", b"\x12", b"\x0a"):
        record = owner + _length(record)
    for records in taken(otlp, record) or ():
        divided(records)


def _length(content: bytes) -> bytes:
    """Protobuf's length-delimited form."""
    size, head = len(content), bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes([*head, size]) + content


@pytest.mark.parametrize(
    "head", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
)
def test_heads_that_promise_four_billion_items(head: bytes) -> None:
    with memory_within(8 * MIB):
        for message in (head, b"\x92\xa1t" + head, b"\x92\xa1t\x91\x92\x00" + head, _packed(["t", head])):
            taken(decoded_forward, message)
            taken(lambda raw: check_ping(raw, nonce=b"n", auth_salt=b"", users={}, **_SECRETS), message)
            taken(read_hello, message)
            taken(acknowledged, message)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_bombs(compression: str) -> None:
    content = bytes(BOMB_BYTES)
    bomb = gzip.compress(content) if compression == "gzip" else zstandard.compress(content)
    del content
    assert len(bomb) < BOMB_BYTES / 500
    # A block of compressed zstd may give 8 MiB before anybody can look.
    with memory_within(MAX_BYTES + 24 * MIB), pytest.raises(InputError):
        decompress(bomb, compression, max_bytes=MAX_BYTES)
    with memory_within(MAX_BYTES + 24 * MIB), pytest.raises(InputError):
        decoded_forward(_packed(["t", bomb, {"compressed": compression}]))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@tries(60)
@given(content=st.binary(max_size=200), raw=st.binary(max_size=60), seed=seeds)
def test_broken_compression(compression: str, content: bytes, raw: bytes, seed: int) -> None:
    packed = gzip.compress(content) if compression == "gzip" else zstandard.compress(content)
    for sent in (raw, packed + raw, Hostile(seed).bytes(packed), packed * 3, zlib.compress(content)):
        taken(lambda raw: decompress(raw, compression, max_bytes=MAX_BYTES), sent)


@tries(120)
@given(values=st.lists(_msgpack_trees, max_size=8), name=st.sampled_from(["PING", "PONG", "HELO"]), seed=seeds)
def test_odd_handshakes(values: list[Any], name: str, seed: int) -> None:
    raw = _packed([name, *values])
    for sent in (raw, Hostile(seed).bytes(raw), _packed(values)):
        ping = taken(
            lambda raw: check_ping(raw, nonce=b"n", auth_salt=b"s", users={"u": "p"}, **_SECRETS),
            sent,
        )
        assert ping is None or not ping.ok
        taken(read_hello, sent)
        with pytest.raises(InputError) as refused:  # with what the other side says, in bounds
            check_pong(sent, nonce=b"n", salt=b"s", shared_key="k3y")
        assert len(str(refused.value)) < 300
        taken(acknowledged, sent)


@tries(150)
@given(lines=st.lists(st.sampled_from(TEXTS) | st.text(max_size=60) | _trees.map(json.dumps), max_size=6))
def test_odd_lines(lines: list[str]) -> None:
    found = LineReader(source="test", reference_ns=1_714_557_600_000_000_000).read(lines)
    assert len(found.batch) <= len(lines)
