"""Lines of each format as entries of the contract, and in payloads."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.shipping.containers import Joiner, attributes_of, read_cri, read_docker
from deeplog_grpc.shipping.entries import LineEntryReader
from deeplog_grpc.shipping.filling import batches
from deeplog_grpc.shipping.wire import batch_request, entries_of, entry_fields
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

TEN_NS = 1_714_557_600_000_000_000
"""2024-05-01T10:00:00Z"""
POD = "/var/log/containers/web-7d_shop_nginx-side-" + "ab" * 32 + ".log"


def reader(path: str = "app.log", form: Any = "auto", **fields: Any) -> LineEntryReader:
    given: dict[str, Any] = {"source": f"h:{path}", "path": path, "form": form, "max_line_bytes": 4096, **fields}
    return LineEntryReader(clock_ns=lambda: 42, **given)


def read(lines: list[bytes], **fields: Any) -> list[LogEntry]:
    return list(pb.EntryBatch.FromString(b"".join(reader(**fields).read(lines, TEN_NS))).entries)


def test_text_and_objects() -> None:
    lines = [b"2024-05-01 10:00:00.25 up", b" ", b"no time", b'{"msg": "in", "trace_id": "t", "application": "a"}']
    up, no_time, inside = read(lines)
    assert (up.body, up.time_unix_nano, up.source) == ("up", TEN_NS + 250_000_000, "h:app.log")
    assert (no_time.body, no_time.time_unix_nano) == ("no time", 42)
    assert (inside.body, inside.session, inside.application, inside.source) == ("in", "t", "a", "h:app.log")
    assert [entry.body for entry in read(lines[3:], form="raw")] == [lines[3].decode()]


def test_bytes_that_are_not_text_stay() -> None:
    (entry,) = reader().read([b"a\x00\xff\xc3"], 0)
    assert b"a\x00\xff\xc3" in entry


def test_docker_records_are_joined_by_stream() -> None:
    lines = [
        b'{"log":"one ","stream":"stdout","time":"2024-05-01T10:00:00.000000001Z"}',
        b'{"log":"err\\n","stream":"stderr","time":"2024-05-01T10:00:00.000000002Z"}',
        b'{"log":"line\\n","stream":"stdout","time":"2024-05-01T10:00:00.000000003Z"}',
        b'{"log":"{\\"msg\\":\\"inner\\",\\"session\\":\\"s\\"}\\n","stream":"stdout","time":"2024-05-01T10:00:01Z"}',
        b"not a record",
    ]
    entries = read(lines, path="/c/" + "0" * 64 + "-json.log")
    assert [(entry.body, entry.time_unix_nano - TEN_NS) for entry in entries[:3]] == [
        ("err", 2),
        ("one line", 1),
        ("inner", 10**9),
    ]
    assert dict(entries[0].attributes) == {"container_id": "0" * 64, "stream": "stderr"}
    assert (entries[2].session, entries[3].body) == ("s", "not a record")


def test_cri_records_have_the_attributes_of_their_pod() -> None:
    entries = read([b"2024-05-01T10:00:00.5+00:00 stdout F 2024-05-01 09:00:00 started"], path=POD)
    assert [(entry.body, entry.time_unix_nano) for entry in entries] == [("started", TEN_NS + 500_000_000)]
    assert dict(entries[0].attributes) == {
        "kubernetes.pod_name": "web-7d",
        "kubernetes.namespace_name": "shop",
        "kubernetes.container_name": "nginx-side",
        "stream": "stdout",
    }


def test_what_is_not_whole_goes_on_after_a_restart() -> None:
    first = reader(form="cri")
    assert first.read([b"2024-05-01T10:00:00Z stdout P half \xff"], 0) == []
    second = reader(form="cri", partials=first.partials)
    (entry,) = second.read([b"2024-05-01T10:00:01Z stdout F of it"], 0)
    assert b"half \xffof it" in entry
    assert not second.partials


def test_a_record_that_never_ends_is_bounded() -> None:
    joiner = Joiner({}, max_text=10)
    for _ in range(5):
        assert joiner.join([read_cri("2024-05-01T10:00:00Z stdout P abcdef")]) == []
    assert joiner.partials["stdout"][1] == "abcdefabcd"


@pytest.mark.parametrize("line", ["", "{", "[]", '{"log": 5, "stream": "stdout", "time": ""}', '{"log":"x"}', "null"])
def test_what_is_no_docker_record_is_text(line: str) -> None:
    record = read_docker(line)
    assert (record.text, record.stream) == (line, "")


@pytest.mark.parametrize("line", ["", "a b", "2024-05-01T10:00:00Z stdin F x", "2024-05-01T10:00:00Z stdout X x"])
def test_what_is_no_cri_record_is_text(line: str) -> None:
    record = read_cri(line)
    assert (record.text, record.stream) == (line, "")


def test_other_names_say_nothing() -> None:
    assert attributes_of("/var/log/app_one_two.log") == {}


@given(
    rows=st.lists(
        st.tuples(st.text(min_size=1, max_size=300), st.integers(0, 2**63 - 1), st.text(max_size=5)), max_size=20
    ),
    sequence=st.integers(1, 2**63 - 1),
)
def test_bytes_are_those_of_the_contract(rows: list[tuple[str, int, str]], sequence: int) -> None:
    fields = [
        entry_fields(
            application=session.encode(),
            session=session.encode(),
            source=b"h:" + session.encode(),
            attributes={"k": session, session: "v"},
        )
        for *_, session in rows
    ]
    bodies, times = [body.encode() for body, *_ in rows], [time for _, time, _ in rows]
    request = pb.StreamScoreRequest.FromString(batch_request(sequence, b"".join(entries_of(bodies, times, fields))))
    assert request == pb.StreamScoreRequest(
        batch=pb.EntryBatch(
            sequence=sequence,
            entries=[
                LogEntry(
                    body=body,
                    time_unix_nano=time,
                    application=session,
                    session=session,
                    source=f"h:{session}",
                    attributes={"k": session, session: "v"},
                )
                for body, time, session in rows
            ],
        )
    )


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=30), st.integers(1, 5), st.integers(1, 20))
def test_batches_hold_all_entries_within_their_bounds(entries: list[bytes], count: int, size: int) -> None:
    payloads = list(batches(entries, max_count=count, max_bytes=size))
    assert b"".join(payloads) == b"".join(entries)
    assert all(len(payload) <= max(size, 9) for payload in payloads)
