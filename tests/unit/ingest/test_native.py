from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import (
    Defaults,
    FixedApplications,
    IngestConfig,
    Ingested,
    LenientDecoder,
    NativeIngest,
    RoutingConfig,
)
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

ARRIVAL_NS = 1_000
decode = LenientDecoder("ScoreRequest")


def lenient(entries: Sequence[LogEntry]) -> Any:
    return decode(pb.ScoreRequest(entries=entries).SerializeToString()).entries


def ingest(
    entries: Sequence[LogEntry], *applications: str, config: IngestConfig | None = None, **defaults: Any
) -> Ingested:
    native = NativeIngest(FixedApplications(applications or ("app",)), config or IngestConfig(), RoutingConfig())
    return native.ingest(lenient(entries), Defaults(**defaults), arrival_ns=ARRIVAL_NS)


@given(st.lists(st.tuples(st.sampled_from(["", "one", "two", "zzz"]), st.sampled_from(["", "x", "long" * 9]))))
def test_every_entry_is_in_one_place_and_in_order(rows: list[tuple[str, str]]) -> None:
    entries = [LogEntry(application=name, body=body, entry_id=str(i)) for i, (name, body) in enumerate(rows)]
    result = ingest(entries, "one", "two", config=IngestConfig(max_body_bytes=9))
    places = [[fault.index for fault in result.faults], *(list(part.positions) for part in result.parts)]
    assert sorted(place for group in places for place in group) == list(range(len(rows)))
    assert all(group == sorted(group) for group in places)
    for part in result.parts:
        assert [rows[place] for place in part.positions] == [(part.application, "x")] * len(part.batch)
        assert list(part.entry_ids) == [str(place) for place in part.positions]


def test_fields_become_columns_and_empty_ones_get_their_defaults() -> None:
    entries = [
        LogEntry(body="a", session="s", source="host", time_unix_nano=5, entry_id="id"),
        LogEntry(body="b"),
    ]
    (part,) = ingest(entries, "app", "other", application="app", source="default").parts
    assert (part.application, list(part.entry_ids), list(part.batch.bodies)) == ("app", ["id", ""], ["a", "b"])
    assert part.batch.times_ns.tolist() == [5, ARRIVAL_NS]
    assert (list(part.batch.sessions), list(part.batch.sources)) == (["s", ""], ["host", "default"])


class Admitting:
    """Applications that come to be, within a limit."""

    def __init__(self, limit: int) -> None:
        self.names: tuple[str, ...] = ()
        self.default = "default"
        self.asked: list[str] = []
        self._limit = limit

    def admit(self, name: str) -> bool:
        self.asked.append(name)
        if name not in self.names and len(self.names) < self._limit:
            self.names = (*self.names, name)
        return name in self.names


def test_an_unknown_application_is_one_that_is_admitted() -> None:
    applications = Admitting(3)
    native = NativeIngest(applications, IngestConfig(), RoutingConfig())
    names = ["b", "", "a", "b", "c", "default", "a", "c"]
    entries = [LogEntry(application=name, body=str(i)) for i, name in enumerate(names)]
    result = native.ingest(lenient(entries), Defaults(), arrival_ns=ARRIVAL_NS)
    assert [(part.application, list(part.positions)) for part in result.parts] == [
        ("b", [0, 3]),
        ("default", [1, 5]),
        ("a", [2, 6]),
    ]
    assert [(fault.index, fault.reason) for fault in result.faults] == [(4, "UNKNOWN_APPLICATION")] * 1 + [
        (7, "UNKNOWN_APPLICATION")
    ]
    assert applications.asked.count("b") == 1  # not for each of its entries
    assert native.ingest(lenient(entries[:1]), Defaults(application="a"), arrival_ns=ARRIVAL_NS).parts


def test_a_name_that_is_no_text_is_of_nobody() -> None:
    raw = pb.ScoreRequest(entries=[LogEntry(body="x", application="abc")]).SerializeToString()
    broken = decode(raw.replace(b"abc", b"a\xffc")).entries
    result = NativeIngest(Admitting(3), IngestConfig(), RoutingConfig()).ingest(
        broken, Defaults(), arrival_ns=ARRIVAL_NS
    )
    assert [fault.reason for fault in result.faults] == ["UNKNOWN_APPLICATION"]


def test_limits_count_bytes_and_include_the_limit() -> None:
    config = IngestConfig(max_body_bytes=4, max_id_bytes=4, max_attributes=1)
    sound = LogEntry(body="éé", session="éé", source="éé", entry_id="éé", attributes={"a": "b"})
    assert not ingest([sound], config=config).faults
    for name in ("body", "session", "source", "entry_id"):
        entry = LogEntry()
        entry.CopyFrom(sound)
        setattr(entry, name, "ééé")
        (fault,) = ingest([entry], config=config).faults
        assert fault.field == f"entries[0].{name}"
        assert fault.message.startswith("6 bytes are more than 4")


def test_a_fault_shows_a_long_id_cut_and_a_broken_one_mended() -> None:
    (fault,) = ingest([LogEntry(entry_id="i" * 500)]).faults
    assert fault.entry_id == "i" * 64


def test_many_applications_are_not_all_named() -> None:
    (fault,) = ingest([LogEntry(body="x", application="y" * 500)], *(f"app{i}" for i in range(99))).faults
    assert "app9 and 89 more" in fault.message
    assert len(fault.message) < 250


@pytest.mark.parametrize(("applications", "name", "expected"), [(("a",), "", "a"), (("a", "b"), "b", "b")])
def test_an_application_is_the_named_one_or_the_only_one(
    applications: tuple[str, ...], name: str, expected: str
) -> None:
    assert (
        NativeIngest(FixedApplications(applications), IngestConfig(), RoutingConfig()).application(
            name, field="application"
        )
        == expected
    )


@pytest.mark.parametrize(("applications", "name"), [(("a",), "b"), (("a", "b"), "")])
def test_any_other_application_is_refused(applications: tuple[str, ...], name: str) -> None:
    with pytest.raises(InputError) as caught:
        NativeIngest(FixedApplications(applications), IngestConfig(), RoutingConfig()).application(
            name, field="flush.application"
        )
    assert caught.value.field == "flush.application"


def test_attributes_fill_in_what_an_entry_leaves_open() -> None:
    native = NativeIngest(FixedApplications(("shop/cart", "own")), IngestConfig(), RoutingConfig())
    pod = {
        "kubernetes.namespace_name": "shop",
        "kubernetes.labels.app": "cart",
        "kubernetes.pod_name": "cart-1",
        "trace_id": "4bf9",
    }
    raw = pb.ScoreRequest(
        entries=[
            LogEntry(body="a", attributes=pod),
            LogEntry(body="b", attributes=pod, application="own", session="s", source="host"),
            LogEntry(body="c", attributes={"kubernetes.pod_name": "cart-1"}, application="own"),
            LogEntry(body="d", attributes={"service.name": "unknown"}),
        ]
    ).SerializeToString()
    found = native.ingest(LenientDecoder("ScoreRequest")(raw).entries, Defaults(source="default"), arrival_ns=1)
    cart, own = found.parts
    assert (cart.application, cart.batch.sessions, cart.batch.sources) == ("shop/cart", ["4bf9"], ["cart-1"])
    assert (own.batch.sessions, own.batch.sources) == (["s", ""], ["host", "cart-1"])
    assert [(fault.index, fault.reason) for fault in found.faults] == [(3, "NO_APPLICATION")]


def test_an_application_that_is_named_for_all_comes_before_what_attributes_say() -> None:
    native = NativeIngest(FixedApplications(("cart", "own")), IngestConfig(), RoutingConfig())
    raw = pb.ScoreRequest(entries=[LogEntry(body="a", attributes={"service.name": "cart"})]).SerializeToString()
    (part,) = native.ingest(
        LenientDecoder("ScoreRequest")(raw).entries, Defaults(application="own"), arrival_ns=1
    ).parts
    assert part.application == "own"


def test_raw_bodies_are_lines_as_they_were_written() -> None:
    entries = [
        LogEntry(body="2024-05-01 10:00:00 started"),
        LogEntry(body="2024-05-01 10:00:00 started", time_unix_nano=7),
        LogEntry(body='{"msg": "done", "trace_id": "t", "time": "2024-05-01T10:00:00Z"}'),
        LogEntry(body='{"msg": "done", "trace_id": "t"}', session="own"),
        LogEntry(body="  "),
        LogEntry(body="plain"),
    ]
    native = NativeIngest(FixedApplications(("app",)), IngestConfig(), RoutingConfig())
    (part,) = native.ingest(lenient(entries), Defaults(raw_bodies=True), arrival_ns=ARRIVAL_NS).parts
    time_ns = 1_714_557_600_000_000_000
    assert part.batch.bodies == ["started", "started", "done", "done", "  ", "plain"]
    assert part.batch.times_ns.tolist() == [time_ns, 7, time_ns, time_ns, time_ns, time_ns]
    assert part.batch.sessions == ["", "", "t", "own", "", ""]


def test_expressions_of_the_configuration_find_sessions() -> None:
    native = NativeIngest(FixedApplications(("app",)), IngestConfig(), RoutingConfig(session=("regex:order=([0-9]+)",)))
    entries = [LogEntry(body="order=7 paid"), LogEntry(body="order=7 paid", session="own"), LogEntry(body="x")]
    (part,) = native.ingest(lenient(entries), Defaults(), arrival_ns=ARRIVAL_NS).parts
    assert part.batch.sessions == ["7", "own", ""]
