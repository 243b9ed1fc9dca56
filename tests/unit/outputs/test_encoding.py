"""Shapes of records in each protocol, whatever their values are."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.ingest.own import is_own
from deeplog_grpc.ingest.records import Origin, Records
from deeplog_grpc.outputs.encoding import json_line, otlp_request, pack, unpack
from deeplog_grpc.outputs.forward import forward_record
from deeplog_grpc.outputs.shapes import OutRecord, anomaly_record, scored_record
from deeplog_grpc.outputs.trial import sample_anomaly
from deeplog_grpc.v1 import verdict_pb2

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]), max_size=2)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


def record(attributes: dict[str, Any], body: str = "b") -> OutRecord:
    return OutRecord(body=body, time_ns=5, attributes=attributes, resource={"service.name": "shop"})


@given(ATTRIBUTES)
def test_any_value_has_a_form_in_each_protocol(attributes: dict[str, Any]) -> None:
    one = record(attributes)
    assert json.loads(json_line(one))["body"] == "b"
    assert json_line(one).count(b"\n") == 1
    assert len(otlp_request([one]).resource_logs[0].scope_logs[0].log_records[0].attributes) == len(attributes)
    assert set(forward_record(one)) >= {"message"}


@given(st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers(-9, 9) | st.text() | st.binary()))
def test_what_waits_in_a_queue_comes_out_as_it_was(attributes: dict[str, Any]) -> None:
    shared = {"service.name": "shop"}
    records = [
        OutRecord(body="b", time_ns=1, attributes=attributes, resource=shared, tag="t", scope="s"),
        OutRecord(body="\ud800", time_ns=0, resource=shared),
        OutRecord(body="c", time_ns=2, severity="WARN", resource={"x": [1]}),
    ]
    found = unpack(pack(records))
    assert found == records
    assert found[0].resource is found[1].resource


def test_records_of_one_resource_stand_together() -> None:
    request = otlp_request([record({}), record({}), OutRecord(body="x", time_ns=0, resource={"a": 1})])
    assert [len(logs.scope_logs[0].log_records) for logs in request.resource_logs] == [2, 1]


def test_numbers_that_json_does_not_have_become_null() -> None:
    assert json.loads(json_line(record({"a": math.nan})))["attributes"] == {"a": None}


def test_an_anomaly_says_all_that_is_known_and_is_told_from_others_when_it_comes_back() -> None:
    found = anomaly_record(sample_anomaly(5), "lake")
    assert found.body == "test of an output of deeplog-grpc"
    assert (found.severity, found.time_ns) == ("WARN", 5)
    assert found.attributes["deeplog.verdict_id"] == "1-0"
    assert found.attributes["deeplog.kind"] == "unseen_key"
    assert found.attributes["deeplog.state"] == "open"
    assert is_own(found.attributes)
    assert is_own(found.resource)


def test_a_scored_record_keeps_what_it_was() -> None:
    origin = Origin(resource={"service.name": "shop"}, tag="app.log", scope="lib")
    records = Records(bodies=["paid"], times_ns=[9], attributes=[{"code": 1}], origins=[origin])
    verdict = verdict_pb2.Verdict(kind=verdict_pb2.KIND_NORMAL, key=3, application="shop", session="s", model_version=2)
    found = scored_record(records, 0, verdict, "back", {**origin.resource, "deeplog.output": "back"})
    assert found == OutRecord(
        body="paid",
        time_ns=9,
        attributes={
            "code": 1,
            "deeplog.kind": "normal",
            "deeplog.score": 0.0,
            "deeplog.key": 3,
            "deeplog.model_version": 2,
            "deeplog.application": "shop",
            "deeplog.session": "s",
            "deeplog.output": "back",
        },
        resource={"service.name": "shop", "deeplog.output": "back"},
        scope="lib",
        tag="app.log",
    )
    assert is_own(found.attributes)
    assert not is_own(records.attributes[0])
