import base64
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.otlp import decode_logs
from deeplog_grpc.ingest.otlp_json import decode_logs_json
from deeplog_grpc.ingest.records import Records
from deeplog_grpc.ingest.values import MAX_DEPTH
from tests import captures


def decode(*records: dict[str, Any]) -> Records:
    return decode_logs_json(orjson.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}), {})


@pytest.mark.parametrize("snake_case", [False, True])
@pytest.mark.parametrize("name", ["grpc_body_key_attributes", "grpc_envelope_resource", "grpc_cri"])
def test_json_says_what_protobuf_says(name: str, *, snake_case: bool) -> None:
    raw = (captures.LOCAL / "otlp" / name / "req0001.bin").read_bytes()
    request = ExportLogsServiceRequest.FromString(raw)
    as_json = json_format.MessageToJson(request, preserving_proto_field_name=snake_case).encode()
    from_json, from_protobuf = decode_logs_json(as_json, {"a": "b"}), decode_logs(raw, {"a": "b"})
    assert from_json.bodies == from_protobuf.bodies
    assert from_json.times_ns == from_protobuf.times_ns
    assert from_json.attributes == from_protobuf.attributes
    assert from_json.origins[0].resource == from_protobuf.origins[0].resource
    assert from_json.origins[0].scope == from_protobuf.origins[0].scope
    assert from_json.origins[0].headers == {"a": "b"}


def test_identifiers_are_hex_and_severity_an_attribute() -> None:
    record = {"traceId": "AB" * 16, "spanId": "0" * 16, "severityText": "WARN", "severityNumber": 13}
    assert decode(record).attributes == [{"trace_id": "ab" * 16, "severity_text": "WARN", "severity_number": 13}]
    record["attributes"] = [{"key": "trace_id", "value": {"stringValue": "mine"}}]
    assert decode(record).attributes[0]["trace_id"] == "mine"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"stringValue": "a"}, "a"),
        ({"string_value": "a"}, "a"),
        ({"intValue": "-9223372036854775808"}, -(2**63)),
        ({"intValue": 5}, 5),
        ({"intValue": "1" * 5000}, None),
        ({"intValue": "five"}, None),
        ({"doubleValue": 1.5}, 1.5),
        ({"doubleValue": "NaN"}, None),
        ({"boolValue": False}, False),
        ({"bytesValue": base64.b64encode(b"disk \xff").decode()}, "disk �"),
        ({"bytesValue": "a"}, None),
        ({"arrayValue": {"values": [{"intValue": "1"}, {}]}}, [1, None]),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "v"}}]}}, {"k": "v"}),
        ({}, None),
        ("text", None),
        ({"of another version": 1}, None),
    ],
)
def test_values_of_any_type(value: Any, read: Any) -> None:
    assert decode({"attributes": [{"key": "a", "value": value}]}).attributes == [{"a": read}]


@pytest.mark.parametrize(
    ("times", "time_ns"),
    [
        ({"timeUnixNano": "5", "observedTimeUnixNano": "7"}, 5),
        ({"timeUnixNano": 0, "observedTimeUnixNano": 7}, 7),
        ({"timeUnixNano": str(2**63)}, 0),
        ({"timeUnixNano": [1]}, 0),
    ],
)
def test_times(times: dict[str, Any], time_ns: int) -> None:
    assert decode(times).times_ns == [time_ns]


def test_bodies() -> None:
    pairs = {"values": [{"key": "log", "value": {"stringValue": "a"}}, {"key": "n", "value": {"intValue": 1}}]}
    records = decode({"body": {"kvlistValue": pairs}}, {"eventName": "e"}, {"body": {"intValue": "5"}}, {})
    assert records.bodies == ["a", "e", "5", ""]
    assert records.attributes[0] == {"n": 1}


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    raw = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"disk \xff"}}]}]}]}'
    assert decode_logs_json(raw, {}).bodies == ["disk �"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[]", "must be a JSON object"),
        (b"{", "not JSON"),
        (b'{"resourceLogs": {}}', "resourceLogs: must be a list"),
        (b'{"resourceLogs": [{"scopeLogs": [5]}]}', r"resourceLogs\[0\].scopeLogs\[0\]: must be an object"),
    ],
)
def test_what_is_no_request_is_named(raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_logs_json(raw, {})


def test_what_lies_too_deep_is_none() -> None:
    value: Any = {"stringValue": "x"}
    for _ in range(MAX_DEPTH + 3):
        value = {"arrayValue": {"values": [value]}}
    assert decode({"body": value}).bodies == ["[" * MAX_DEPTH + "null" + "]" * MAX_DEPTH]
    deep = b'{"resourceLogs":' + b"[" * 100_000
    with pytest.raises(InputError):
        decode_logs_json(deep, {})


structure = ["resourceLogs", "scopeLogs", "logRecords", "resource", "scope", "body", "attributes"]
names = st.sampled_from([*structure, "key", "value", "values", "name", "stringValue", "kvlistValue", "arrayValue"])
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5)


@given(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)))
def test_any_json_is_records_or_an_input_error(value: Any) -> None:
    record = {"body": value, "attributes": value, "timeUnixNano": value, "traceId": value, "eventName": value}
    for request in (value, {"resourceLogs": [{"resource": value, "scopeLogs": [{"logRecords": [record]}]}]}):
        try:
            records = decode_logs_json(orjson.dumps(request), {})
        except InputError:
            continue
        assert all(isinstance(body, str) for body in records.bodies)
