from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.compression import decompress
from deeplog_grpc.ingest.otlp import decode_logs
from deeplog_grpc.ingest.records import Records
from deeplog_grpc.ingest.values import MAX_DEPTH
from tests import captures


def decode(*records: LogRecord) -> Records:
    request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])])
    return decode_logs(request.SerializeToString(), {})


def pair(key: str, **value: Any) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(**value))


@pytest.mark.parametrize("case", captures.cases("otlp", "req0001.bin"))
def test_recorded_requests_of_fluent_bit(case: Path) -> None:
    requests = sorted(case.glob("req*.bin"))
    expected = captures.expected(case)
    assert len(requests) == len(expected) > 0
    for path, scopes in zip(requests, expected, strict=True):
        records = decode_logs(path.read_bytes(), {"x-deeplog-source": "a"})
        entries = [entry for scope in scopes for entry in captures.otlp_entries(scope)]
        assert list(records.bodies) == [entry.body for entry in entries]
        assert list(records.times_ns) == [entry.time_ns for entry in entries]
        assert list(records.attributes) == [entry.attributes for entry in entries]
        assert records.origins[0].resource == scopes[0]["resource"]
        assert records.origins[0].scope == scopes[0]["scope"]
        assert records.origins[0].headers == {"x-deeplog-source": "a"}


@pytest.mark.parametrize("name", ["http_none", "http_gzip", "http_zstd"])
def test_recorded_http_requests_of_fluent_bit(name: str) -> None:
    head, _, content = (captures.LOCAL / "otlp" / name / "req0001.http").read_bytes().partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if encoding := fields.get(b"Content-Encoding"):
        content = decompress(content, encoding.decode(), max_bytes=10_000)
    records = decode_logs(content, {})
    plain = decode_logs((captures.LOCAL / "otlp" / "grpc_default_body" / "req0001.bin").read_bytes(), {})
    assert records.bodies == plain.bodies
    assert records.all_have_times


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (AnyValue(string_value="disk full"), "disk full"),
        (AnyValue(bytes_value=b"disk \xff"), "disk �"),
        (AnyValue(int_value=-5), "-5"),
        (AnyValue(double_value=float("nan")), ""),
        (AnyValue(bool_value=False), "false"),
        (AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()])), "[1,null]"),
        (AnyValue(), ""),
        (None, ""),
    ],
)
def test_a_body_of_any_type_becomes_text(body: AnyValue | None, text: str) -> None:
    assert decode(LogRecord(body=body)).bodies == [text]


def test_a_body_of_pairs_is_a_record_whose_rest_are_attributes() -> None:
    body = AnyValue(kvlist_value=KeyValueList(values=[pair("log", string_value="a"), pair("host", string_value="h1")]))
    records = decode(LogRecord(body=body, attributes=[pair("host", string_value="h2")]))
    assert (records.bodies, records.attributes) == (["a"], [{"host": "h2"}])


def test_a_record_without_a_body_is_its_event() -> None:
    assert decode(LogRecord(event_name="user.login"), LogRecord()).bodies == ["user.login", ""]


@pytest.mark.parametrize(
    ("times", "time_ns"),
    [
        ({"time_unix_nano": 5, "observed_time_unix_nano": 7}, 5),
        ({"observed_time_unix_nano": 7}, 7),
        ({}, 0),
        ({"time_unix_nano": 2**63}, 0),
        ({"time_unix_nano": 2**63 - 1}, 2**63 - 1),
    ],
)
def test_times(times: dict[str, Any], time_ns: int) -> None:
    assert decode(LogRecord(**times)).times_ns == [time_ns]


def test_what_a_record_says_of_its_trace_and_severity_is_an_attribute_unless_the_sender_has_one() -> None:
    record = LogRecord(
        trace_id=b"\xab" * 16,
        span_id=b"\x01" * 8,
        severity_text="WARN",
        severity_number=SeverityNumber.SEVERITY_NUMBER_WARN,
    )
    assert decode(record).attributes == [
        {"trace_id": "ab" * 16, "span_id": "01" * 8, "severity_text": "WARN", "severity_number": 13}
    ]
    record.attributes.extend([pair("trace_id", string_value="mine"), pair("severity_number", int_value=1)])
    assert decode(record).attributes[0]["trace_id"] == "mine"
    assert decode(record).attributes[0]["severity_number"] == 1
    assert decode(LogRecord(trace_id=bytes(16), span_id=bytes(8))).attributes == [{}]


def test_what_lies_too_deep_is_none() -> None:
    assert decode_logs(_deep(MAX_DEPTH + 3), {}).bodies == ["[" * MAX_DEPTH + "null" + "]" * MAX_DEPTH]
    # deeper than the parser of protobuf goes
    with pytest.raises(InputError, match="not a ExportLogsServiceRequest"):
        decode_logs(_deep(200), {})


def _deep(levels: int) -> bytes:
    """A request with lists inside one another as the body; a message's own parser would refuse to make it."""
    raw = AnyValue(string_value="x").SerializeToString()
    for _ in range(levels):
        raw = captures.field(5, captures.field(1, raw))
    return captures.field(1, captures.field(2, captures.field(2, captures.field(5, raw))))


def test_an_empty_request_has_no_records() -> None:
    assert len(decode_logs(b"", {})) == 0


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_an_input_error(raw: bytes) -> None:
    _decode_any(raw)


@given(st.data())
def test_a_request_with_changed_bytes_is_records_or_an_input_error(data: st.DataObject) -> None:
    raw = bytearray((captures.LOCAL / "otlp" / "grpc_body_key_attributes" / "req0001.bin").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _decode_any(bytes(raw))


def _decode_any(raw: bytes) -> None:
    try:
        records = decode_logs(raw, {})
    except InputError:
        return
    assert len(records.times_ns) == len(records.attributes) == len(records.origins) == len(records) <= len(raw)
    assert all(isinstance(body, str) for body in records.bodies)
