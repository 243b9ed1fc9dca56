import gzip
import itertools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.forward import ForwardDecoder, ForwardMessage
from deeplog_grpc.ingest.forward_messages import acknowledgement, encode_forward
from deeplog_grpc.ingest.values import MAX_DEPTH
from tests import captures

LIMITS = {"max_message_bytes": 1 << 20, "max_records": 10_000}


def event_time(seconds: int, nanoseconds: int = 0) -> msgpack.ExtType:
    return msgpack.ExtType(0, struct.pack(">II", seconds, nanoseconds))


def decode(*messages: Any, **limits: int) -> list[ForwardMessage]:
    decoder = ForwardDecoder(**{**LIMITS, **limits})
    return list(decoder.feed(b"".join(msgpack.packb(message) for message in messages)))


def recorded(path: Path) -> tuple[list[bytes], list[ForwardMessage]]:
    """The handshake's values of a recorded connection, and its messages."""
    decoder = ForwardDecoder(**LIMITS)
    values = list(decoder.split(path.read_bytes()))
    pings = [value for value in values if value[1:6] == b"\xa4PING"]
    messages = [decoder.decode(value) for value in values[len(pings) :]]
    return pings, [message for message in messages if message]


@pytest.mark.parametrize(
    "case", captures.cases("forward", "conn001.rx.bin") + captures.cases("other", "conn001.rx.bin")
)
def test_recorded_connections(case: Path) -> None:
    expected = [message for message in captures.expected(case) if message[0] != "PING"]
    found = list(itertools.chain(*(recorded(path)[1] for path in sorted(case.glob("conn*.rx.bin")))))
    # only the first connection of a case may be kept here
    assert len(found) > 0 or not expected
    for message, wanted in zip(found, expected, strict=False):
        options = wanted[-1] if isinstance(wanted[-1], dict) and len(wanted) > 2 else {}
        assert message.chunk == options.get("chunk")
        assert message.is_logs == (not options.get("fluent_signal"))
        entries = captures.forward_entries(wanted) if message.is_logs else []
        assert list(message.records.bodies) == [entry.body for entry in entries]
        assert list(message.records.times_ns) == [entry.time_ns for entry in entries]
        assert list(message.records.attributes) == [entry.attributes for entry in entries]
        assert {origin.tag for origin in message.records.origins} <= {wanted[0]}


@pytest.mark.parametrize("case", captures.cases("forward", "conn001.tx.bin"))
def test_recorded_acknowledgements_are_made_again(case: Path) -> None:
    answers = list(ForwardDecoder(**LIMITS).split((case / "conn001.tx.bin").read_bytes()))
    wanted = [answer for answer in answers if answer[1:5] == b"\xa3ack"]
    chunks = [message.chunk for message in recorded(case / "conn001.rx.bin")[1]]
    assert [acknowledgement(chunk) for chunk in chunks if chunk is not None] == wanted


@pytest.mark.parametrize("name", ["text", "gzip"])
def test_a_message_laid_out_as_fluentd_does(name: str) -> None:
    (message,) = recorded(captures.LOCAL / "synthetic" / f"fluentd_packedforward_{name}.bin")[1]
    assert len(message.records) == 5
    assert message.records.all_have_times
    assert message.chunk == "AAECAwQFBgcICQoLDA0ODw==\n"


ENTRIES = [[event_time(5, 7), {"log": "a", "n": 1}], [6, {"log": "b"}], [7.5, {"message": "c"}]]
PACKED = b"".join(msgpack.packb(entry) for entry in ENTRIES)


@pytest.mark.parametrize(
    "message",
    [
        ["tag", ENTRIES],
        ["tag", ENTRIES, {"chunk": "c"}],
        ["tag", PACKED, {"size": 3}],
        ["tag", PACKED, {"compressed": "text"}],
        ["tag", gzip.compress(PACKED, mtime=0), {"compressed": "gzip"}],
        ["tag", gzip.compress(PACKED[:9], mtime=0) + gzip.compress(PACKED[9:]), {"compressed": "gzip"}],
        ["tag", zstandard.compress(PACKED), {"compressed": "zstd"}],
        ["tag", zstandard.compress(PACKED[:9]) + zstandard.compress(PACKED[9:]), {"compressed": "zstd"}],
        [b"tag", [[[time, {}], record] for time, record in ENTRIES], None],
    ],
)
def test_all_modes_of_many_entries(message: Any) -> None:
    (found,) = decode(message)
    assert found.records.bodies == ["a", "b", "c"]
    assert found.records.times_ns == [5_000_000_007, 6_000_000_000, 7_500_000_000]
    assert found.records.attributes == [{"n": 1}, {}, {}]
    assert {origin.tag for origin in found.records.origins} == {"tag"}


def test_packed_entries_may_be_packed_as_text() -> None:
    raw = msgpack.packb(["tag", b"X" * 300, {}])
    # bin 16 becomes str 16
    text = raw.replace(b"\xc5\x01\x2c" + b"X" * 300, b"\xda" + struct.pack(">H", len(PACKED)) + PACKED)
    (message,) = ForwardDecoder(**LIMITS).feed(text)
    assert message.records.bodies == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("time", "time_ns"),
    [
        (None, 0),
        (-1, 0),
        (2**62, 0),
        (float("nan"), 0),
        (float("inf"), 0),
        (1e300, 0),
        (True, 0),
        ("now", 0),
        (msgpack.Timestamp(5, 7), 5_000_000_007),
        (msgpack.ExtType(0, b"short"), 0),
        (msgpack.ExtType(3, bytes(8)), 0),
        ([], 0),
        ([5], 5_000_000_000),
    ],
)
def test_times(time: Any, time_ns: int) -> None:
    (message,) = decode(["tag", [[time, {"log": "a"}]]])
    assert message.records.times_ns == [time_ns]


def test_metadata_are_attributes_and_the_record_wins() -> None:
    metadata = {"trace_id": "t", "host": "of metadata"}
    record = {"log": "a", "host": "own"}
    wanted = [{"trace_id": "t", "host": "own"}]
    (of_entry,) = decode(["tag", [[[5, metadata], record]]])
    (of_message,) = decode(["tag", 5, record, {"metadata": metadata}])
    assert of_entry.records.attributes == of_message.records.attributes == wanted


def test_metadata_that_came_by_otlp_are_as_if_they_had_come_by_otlp() -> None:
    otlp = {"trace_id": b"\xab" * 16, "span_id": "01" * 8, "severity_text": "WARN", "severity_number": 13}
    metadata = {"m": 1, "otlp": {**otlp, "timestamp": 5, "trace_flags": 0, "attributes": {"severity_text": "own"}}}
    (message,) = decode(["tag", [[[5, metadata], {"log": "a"}], [[5, {"otlp": {"attributes": 5}}], {"log": "b"}]]])
    assert message.records.attributes == [
        {"m": 1, "trace_id": "ab" * 16, "span_id": "01" * 8, "severity_text": "own", "severity_number": 13},
        {},
    ]


def test_groups_give_the_resource_and_the_scope() -> None:
    group = {"resource": {"attributes": {"service.name": "orders"}}, "scope": {"name": "s"}}
    entries = [
        [event_time(1), {"log": "before"}],
        [[event_time(0xFFFFFFFF), {"schema": "otlp"}], group],
        [event_time(2), {"log": "inside"}],
        [event_time(0xFFFFFFFE), {}],
        [event_time(3), {"log": "after"}],
        [event_time(0xFFFFFFFF), {"resource": "odd", "scope": []}],
        [event_time(4), {"log": "odd"}],
    ]
    (message,) = decode(["tag", entries])
    assert message.records.bodies == ["before", "inside", "after", "odd"]
    origins = message.records.origins
    assert [origin.resource for origin in origins] == [{}, {"service.name": "orders"}, {}, {}]
    assert [origin.scope for origin in origins] == ["", "s", "", ""]
    assert {origin.tag for origin in origins} == {"tag"}


def test_options_that_are_ours_are_headers() -> None:
    (message,) = decode(["tag", ENTRIES, {"X-DeepLog-Source": "node-1", "x-deeplog-n": 5, "size": 3, "other": "no"}])
    assert message.records.origins[0].headers == {"x-deeplog-source": "node-1", "x-deeplog-n": "5"}


def test_what_is_not_logs_is_acknowledged_unread() -> None:
    (message,) = decode(["tag", b"\xc1 no msgpack", {"fluent_signal": 1, "chunk": "c"}])
    assert (len(message.records), message.chunk, message.is_logs) == (0, "c", False)


def test_heartbeats_are_nothing() -> None:
    assert decode(None, [], None) == []


@pytest.mark.parametrize("chunk", ["c\n", b"\xff\xfe", "é"])
def test_a_chunk_is_echoed_as_it_came(chunk: str | bytes) -> None:
    (message,) = decode(["tag", ENTRIES, {"chunk": chunk}])
    assert message.chunk is not None
    assert acknowledgement(message.chunk) == msgpack.packb({"ack": chunk})


def test_a_chunk_of_bytes_packed_as_text_is_echoed_as_it_came() -> None:
    raw = msgpack.packb(["tag", ENTRIES, {"chunk": "XXXX"}]).replace(b"XXXX", b"\xff\xfe\x80\xc3")
    (message,) = ForwardDecoder(**LIMITS).feed(raw)
    assert message.chunk is not None
    assert acknowledgement(message.chunk) == msgpack.packb({"ack": "XXXX"}).replace(b"XXXX", b"\xff\xfe\x80\xc3")


def test_records_of_any_type() -> None:
    records: Sequence[Any] = [
        {b"log": b"disk \xff", 5: 1.5, "when": event_time(5), "nan": float("nan"), "é": ["ü", b"\xff", {b"k": True}]},
        "just a line",
        ["a", 1],
        None,
        {},
        {"log": ""},
    ]
    (message,) = decode(["tag", [[1, record] for record in records]])
    bodies = ["disk �", "just a line", '["a",1]', "null", "{}", '{"log":""}']
    assert message.records.bodies == bodies
    assert message.records.attributes[0] == {
        "5": 1.5,
        "when": "1970-01-01T00:00:05.000000000Z",
        "nan": None,
        "é": ["ü", "�", {"k": True}],
    }


@pytest.mark.parametrize("is_packed", [False, True])
def test_text_that_is_not_utf_8_is_replaced(*, is_packed: bool) -> None:
    entry = [1, {"log": "MARK", "KEYS": "MARK"}]
    raw = msgpack.packb(["tag", msgpack.packb(entry) if is_packed else [entry]])
    broken = raw.replace(b"MARK", b"a\xff\xfeb").replace(b"KEYS", b"k\xffk\xff")
    (message,) = ForwardDecoder(**LIMITS).feed(broken)
    assert message.records.bodies == ["a��b"]
    assert message.records.attributes == [{"k�k�": "a��b"}]
    message_mode = msgpack.packb(["tag", 1, entry[1]]).replace(b"MARK", b"a\xff\xfeb").replace(b"KEYS", b"k\xffk\xff")
    (single,) = ForwardDecoder(**LIMITS).feed(message_mode)
    assert (single.records.bodies, single.records.attributes) == (message.records.bodies, message.records.attributes)


@given(st.lists(st.integers(1, 700), max_size=8))
def test_how_a_connection_is_cut_does_not_matter(sizes: list[int]) -> None:
    data = b"".join(
        msgpack.packb(message) for message in (["a", ENTRIES], None, ["b", PACKED, {}], ["c", 5, {"k": "x" * 900}])
    )
    decoder = ForwardDecoder(**LIMITS)
    ends = [*itertools.accumulate(sizes), len(data)]
    parts = [data[start:end] for start, end in itertools.pairwise([0, *ends])]
    bodies = [message.records.bodies for part in parts for message in decoder.feed(part)]
    assert bodies == [message.records.bodies for message in ForwardDecoder(**LIMITS).feed(data)]
    assert len(bodies) == 3


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"log": "a"}', "JSON is not taken"),
        (b'["tag", 5, {}]', "JSON is not taken"),
        (b"\xc0{}", "JSON is not taken"),
        (b"\xc1", "are not msgpack"),
        (b"\x93" * 2000, "are not msgpack"),
        (msgpack.packb("text"), "no message"),
        (msgpack.packb({"a": 1}), "no message"),
        (msgpack.packb(["tag"]), "begins with the tag"),
        (msgpack.packb([5, ENTRIES]), "begins with the tag"),
        (msgpack.packb(["tag", 5]), "must have a record"),
        (msgpack.packb(["tag", [[5]]]), r"entries\[0\]: must be a list"),
        (msgpack.packb(["tag", [[5, {}], "x"]]), r"entries\[1\]: must be a list"),
        (msgpack.packb(["tag", PACKED[:-1]]), "no message"),
        (msgpack.packb(["tag", b"\xdd\xff\xff\xff\xff" * 100]), "no message"),
        (msgpack.packb(["tag", PACKED, {"compressed": "gzip"}]), "are not gzip"),
        (msgpack.packb(["tag", gzip.compress(PACKED, mtime=0)[:-1], {"compressed": "gzip"}]), "are not gzip"),
        (msgpack.packb(["tag", PACKED, {"compressed": "zstd"}]), "are not zstd"),
        (msgpack.packb(["tag", PACKED, {"compressed": "lz4"}]), "'lz4' is not known"),
        (b"\x92\xa3tag\x91\x92\x05\x81\x90\x05", "no message"),  # a key that is a list
    ],
)
def test_what_is_no_message_is_named(raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(ForwardDecoder(**LIMITS).feed(raw))


def test_messages_before_a_bad_one_are_given() -> None:
    messages = ForwardDecoder(**LIMITS).feed(msgpack.packb(["tag", ENTRIES]) + b"\xc1")
    assert next(messages).records.bodies == ["a", "b", "c"]
    with pytest.raises(InputError):
        next(messages)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_message_that_unpacks_to_more_than_the_limit_is_refused(compression: str) -> None:
    content = msgpack.packb([5, {"log": "x" * 5_000_000}])
    raw = gzip.compress(content, mtime=0) if compression == "gzip" else zstandard.compress(content)
    assert len(raw) < 10_000
    with pytest.raises(InputError, match="longer than 1000000 bytes"):
        decode(["tag", raw, {"compressed": compression}], max_message_bytes=1_000_000)


def test_a_message_longer_than_the_limit_is_refused_before_it_is_whole() -> None:
    decoder = ForwardDecoder(max_message_bytes=1000, max_records=10)
    assert list(decoder.feed(b"\x92\xa3tag\xc6" + struct.pack(">I", 2**31) + bytes(900))) == []
    with pytest.raises(InputError, match="longer than 1000"):
        list(decoder.feed(bytes(100)))
    with pytest.raises(InputError, match="longer than 1000"):
        decode(["tag", 5, {"log": "x" * 1000}], max_message_bytes=1000)
    assert len(decode(["tag", 5, {"log": "x" * 900}], max_message_bytes=1000)) == 1


@pytest.mark.parametrize("content", [ENTRIES, PACKED])
def test_more_entries_than_the_limit_are_refused(content: Any) -> None:
    assert len(decode(["tag", content], max_records=3)) == 1
    with pytest.raises(InputError, match="more than 2 entries"):
        decode(["tag", content], max_records=2)


def test_what_lies_too_deep_is_none() -> None:
    value: Any = "x"
    for _ in range(MAX_DEPTH + 100):
        value = [value]
    (message,) = decode(["tag", 5, {"log": "a", "deep": value}])
    found, depth = message.records.attributes[0]["deep"], 1
    while found is not None:
        (found,) = found
        depth += 1
    assert depth == MAX_DEPTH


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(values, values, values)
def test_any_msgpack_is_messages_or_an_input_error(first: Any, second: Any, third: Any) -> None:
    for message in (
        first,
        ["tag", first, second, third],
        ["tag", [[first, second], third], third],
        ["tag", [[[5, first], second]]],
    ):
        _decode_any(msgpack.packb(message))


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_an_input_error(raw: bytes) -> None:
    _decode_any(raw)
    _decode_any(msgpack.packb(["tag", raw, {}]))
    _decode_any(msgpack.packb(["tag", raw, {"compressed": "gzip"}]))


SAMPLES = [
    (captures.LOCAL / "forward" / name / "conn001.rx.bin").read_bytes()
    for name in ("envelope_groups", "compressed_gzip_ack", "message_dynamic_tag_ack", "handshake_user_password")
]


@given(st.sampled_from(SAMPLES), st.data())
def test_a_connection_with_changed_bytes_is_messages_or_an_input_error(raw: bytes, data: st.DataObject) -> None:
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _decode_any(bytes(changed))


def _decode_any(raw: bytes) -> None:
    try:
        for message in ForwardDecoder(max_message_bytes=10_000, max_records=1000).feed(raw):
            assert all(isinstance(body, str) for body in message.records.bodies)
            assert all(time_ns >= 0 for time_ns in message.records.times_ns)
            msgpack.packb(
                [dict(attributes) for attributes in message.records.attributes]
            )  # only plain values, clean text
    except InputError:
        pass


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_encoded_is_decoded(*, compress: bool) -> None:
    entries = [(5_000_000_007, {"message": "a", "n": 1}), (2**63, {"message": "b", "path": Path("x")}), (-1, {})]
    raw = encode_forward("tag", entries, chunk="c", compress=compress)
    (message,) = ForwardDecoder(**LIMITS).feed(raw)
    assert message.chunk == "c"
    assert message.records.bodies == ["a", "b", "{}"]
    assert message.records.times_ns == [5_000_000_007, 0xFFFFFFFD * 10**9 + 854_775_808, 0]
    assert message.records.attributes == [{"n": 1}, {"path": "x"}, {}]
