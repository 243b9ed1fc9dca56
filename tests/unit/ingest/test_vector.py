from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import InputError
from deeplog_grpc.foreign.vector_pb2 import Array, Event, LogEvent, Map, Metadata, Pair, PushEventsRequest, Value
from deeplog_grpc.ingest.values import MAX_DEPTH
from deeplog_grpc.ingest.vector import VectorEvents, decode_events
from tests import captures


def decode(*events: Event) -> VectorEvents:
    return decode_events(PushEventsRequest(events=events).SerializeToString(), {"x-deeplog-application": "orders"})


def pairs(**values: Value) -> list[Pair]:
    return [Pair(key=key.encode(), value=value) for key, value in values.items()]


def log(**fields: Value) -> Event:
    return Event(log=LogEvent(fields=pairs(**fields)))


def text(content: bytes) -> Value:
    return Value(text=content)


def test_an_event_of_the_legacy_namespace() -> None:
    time = Value(time=Timestamp(seconds=1_714_557_600, nanos=5))
    records = decode(log(message=text(b"disk full"), timestamp=time, host=text(b"h1"), code=Value(integer=3))).records
    assert records.bodies == ["disk full"]
    assert records.times_ns == [1_714_557_600_000_000_005]
    assert records.attributes == [{"host": "h1", "code": 3}]
    assert records.origins[0].headers == {"x-deeplog-application": "orders"}


def test_an_event_of_the_vector_namespace() -> None:
    raw = (captures.LOCAL / "synthetic" / "vector_push_vector_namespace_1.bin").read_bytes()
    records = decode_events(raw, {}).records
    assert len(records) == 1
    assert records.bodies[0].endswith("dest: /10.199.19.102:50010")
    assert records.attributes == [{"vector": {"source_type": "file"}, "file": {"path": "/var/log/hdfs.log"}}]


@pytest.mark.shared
@pytest.mark.skipif(not captures.SHARED.is_dir(), reason="the recordings are not there")
def test_a_batch_written_with_the_classes_of_vector() -> None:
    raw = (captures.SHARED / "synthetic" / "vector_push_legacy_namespace_20.bin").read_bytes()
    events = decode_events(raw, {})
    assert (len(events.records), events.ignored, events.records.all_have_times) == (20, 0, True)
    assert set(events.records.attributes[0]) >= {"host", "file", "source_type"}


def test_metrics_traces_and_events_that_are_nothing_are_counted() -> None:
    events = decode(Event(metric={}), log(message=text(b"a")), Event(trace={}), Event())
    assert (events.records.bodies, events.ignored) == (["a"], 3)


def test_metadata_gives_attributes_an_id_and_a_time() -> None:
    ingested = Value(map=Map(fields=pairs(ingest_timestamp=Value(time=Timestamp(seconds=7)))))
    content = Value(map=Map(fields=pairs(vector=ingested, host=text(b"from metadata"))))
    metadata = Metadata(content=content, source_event_id=b"\xab" * 16)
    event = Event(log=LogEvent(fields=pairs(message=text(b"a"), host=text(b"own")), metadata=metadata))
    records = decode(event).records
    assert records.times_ns == [7_000_000_000]
    assert records.attributes == [
        {
            "vector": {"ingest_timestamp": "1970-01-01T00:00:07.000000000Z"},
            "host": "own",
            "source_event_id": "ab" * 16,
        }
    ]
    legacy = Event(log=LogEvent(root=text(b"a"), legacy_metadata=content))
    assert decode(legacy).records.attributes[0]["host"] == "from metadata"


@pytest.mark.parametrize(
    ("root", "body", "attributes"),
    [
        (text(b"disk \xff"), "disk �", {}),
        (text(b""), "", {}),
        (Value(integer=5), "5", {}),
        (Value(number=float("nan")), "", {}),
        (Value(array=Array(items=[Value(boolean=True), Value()])), "[true,null]", {}),
        (Value(map=Map(fields=pairs(msg=text(b"a"), n=Value(nothing=0)))), "a", {"n": None}),
        (Value(nothing=0), "", {}),
        (Value(), "", {}),
    ],
)
def test_a_root_of_any_type(root: Value, body: str, attributes: dict[str, Any]) -> None:
    dummy = [Pair(key=b".", value=Value(nothing=0))]
    records = decode(Event(log=LogEvent(root=root, fields=dummy))).records
    assert (records.bodies, records.attributes) == ([body], [attributes])


@pytest.mark.parametrize("seconds", [-5, 2**62, -(2**62)])
def test_times_out_of_range_are_unknown(seconds: int) -> None:
    time = Value(time=Timestamp(seconds=seconds))
    records = decode(log(message=text(b"a"), timestamp=time, other=time)).records
    assert (records.times_ns, records.attributes) == ([0], [{"other": None}])


def test_an_event_without_a_line_is_its_json() -> None:
    assert decode(log(level=text(b"warn"), code=Value(integer=3))).records.bodies == ['{"level":"warn","code":3}']


def test_a_deep_event_does_not_raise_and_a_deeper_one_is_refused() -> None:
    def deep(levels: int) -> bytes:
        raw = text(b"x").SerializeToString()
        for _ in range(levels):
            raw = captures.field(8, captures.field(1, raw))
        return captures.field(1, captures.field(1, captures.field(2, raw)))

    assert decode_events(deep(40), {}).records.bodies == ["[" * MAX_DEPTH + "null" + "]" * MAX_DEPTH]
    with pytest.raises(InputError, match="not a PushEventsRequest"):
        decode_events(deep(200), {})


@given(st.binary(max_size=300))
def test_any_bytes_are_events_or_an_input_error(raw: bytes) -> None:
    _decode_any(raw)


@given(st.data())
def test_a_request_with_changed_bytes_is_events_or_an_input_error(data: st.DataObject) -> None:
    raw = bytearray((captures.LOCAL / "synthetic" / "vector_push_vector_namespace_1.bin").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _decode_any(bytes(raw))


def _decode_any(raw: bytes) -> None:
    try:
        events = decode_events(raw, {})
    except InputError:
        return
    assert len(events.records) + events.ignored <= len(raw)
