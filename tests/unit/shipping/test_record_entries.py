"""Records through the shipper come to the same columns as records that come to a server themselves."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.ingest import (
    Defaults,
    FixedApplications,
    IngestConfig,
    Ingested,
    LenientDecoder,
    NativeIngest,
    Origin,
    RecordIngest,
    Records,
    RoutingConfig,
)
from deeplog_grpc.shipping.record_entries import MAX_ATTRIBUTES, RecordEntryReader

NOW_NS = 1_714_557_600_000_000_000


class WithDefault(FixedApplications):
    """Entries of no known application go to the first."""

    def __init__(self, *names: str) -> None:
        super().__init__(names)
        self.default = names[0]


APPLICATIONS = WithDefault("all", "cart", "shop/pay")
LIMIT = 64

values = st.one_of(st.sampled_from(["cart", "pay", "shop", "s1", "", " x "]), st.integers(0, 9), st.none())
pod = st.fixed_dictionaries(
    {},
    optional={
        "namespace_name": st.just("shop"),
        "pod_name": values,
        "container_name": values,
        "labels": st.dictionaries(st.sampled_from(["app", "app.kubernetes.io/name", "k8s-app"]), values),
    },
)
attributes = st.dictionaries(
    st.sampled_from(["trace_id", "request_id", "deeplog.session", "host", "file", "tag", "service.name", "stream"]),
    values,
    max_size=4,
)
nested = st.builds(lambda flat, inner: {**flat, "kubernetes": inner}, attributes, pod)
origins = st.builds(
    lambda resource, tag, source: Origin(resource=resource, tag=tag, headers={"x-deeplog-source": source}),
    attributes,
    st.sampled_from(["", "kube.cart"]),
    st.sampled_from(["", "node-1"]),
)
bodies = st.sampled_from(
    [
        "up",
        "2024-05-01 09:00:00 up",
        " ",
        "",
        "naïve \ufffd text",
        "x" * (LIMIT - 1) + "é",
        "2024-05-01 09:00:00",
        '{"msg": "done", "session": "s9", "host": "h9", "application": "cart", "time": 1714550000}',
        '{"msg": "done", "application": "not served"}',
        '{"message": "done", "request_id": "r9"}',
        '{"no": "text"}',
    ]
)
rows = st.lists(
    st.tuples(bodies, st.sampled_from([0, NOW_NS - 5]), st.one_of(attributes, nested), st.integers(0, 1)), max_size=6
)


def rows_of(found: Ingested) -> list[tuple[Any, ...]]:
    """Application, text, time, session and source of each entry, by application and then in order."""
    return [
        (part.application, *row)
        for part in sorted(found.parts, key=lambda part: part.application)
        for row in zip(
            part.batch.bodies,
            part.batch.times_ns.tolist(),
            part.batch.sessions,
            part.batch.sources,
            strict=True,
        )
    ]


def direct(records: Records) -> list[tuple[Any, ...]]:
    ingest = RecordIngest(APPLICATIONS, IngestConfig(max_body_bytes=LIMIT), RoutingConfig())
    return rows_of(ingest.ingest(records, arrival_ns=NOW_NS))


def shipped(records: Records) -> list[tuple[Any, ...]]:
    entries = RecordEntryReader(max_body_bytes=LIMIT, clock_ns=lambda: NOW_NS).read(records)
    batch = LenientDecoder("EntryBatch")(b"".join(entries))
    ingest = NativeIngest(APPLICATIONS, IngestConfig(max_body_bytes=LIMIT), RoutingConfig())
    return rows_of(ingest.ingest(batch.entries, Defaults(), arrival_ns=NOW_NS + 60 * 10**9))


@given(rows, origins, origins)
def test_shipped_records_are_judged_as_direct_ones(
    given_rows: list[tuple[str, int, dict[str, Any], int]], first: Origin, second: Origin
) -> None:
    records = Records(
        bodies=[row[0] for row in given_rows],
        times_ns=[row[1] for row in given_rows],
        attributes=[row[2] for row in given_rows],
        origins=[(first, second)[row[3]] for row in given_rows],
    )
    assert shipped(records) == direct(records)


def one(attributes: dict[str, Any], **origin: Any) -> Records:
    return Records(bodies=["up"], times_ns=[7], attributes=[attributes], origins=[Origin(**origin)])


def test_what_was_sent_out_here_does_not_come_back() -> None:
    assert shipped(one({"deeplog.output": "collector"})) == []
    assert shipped(one({}, resource={"deeplog": {"verdict_id": "7"}})) == []
    assert len(shipped(one({"stream": "stdout"}))) == 1


def test_of_too_many_attributes_those_are_kept_that_say_where_a_record_belongs() -> None:
    many = {f"label.{number}": "x" for number in range(2 * MAX_ATTRIBUTES)}
    (row,) = shipped(one({**many, "service.name": "cart", "trace_id": "s1"}, tag="t"))
    assert row == ("cart", "up", 7, "s1", "t")
    assert row in direct(one({**many, "service.name": "cart", "trace_id": "s1"}, tag="t"))


def test_values_become_text() -> None:
    entries = RecordEntryReader(max_body_bytes=LIMIT).read(one({"a": {"b": True, "c": [1, None]}, "d": None, "e": 1.5}))
    batch = LenientDecoder("EntryBatch")(b"".join(entries))
    pairs = {bytes(pair.key): bytes(pair.value) for pair in batch.entries[0].attributes}
    assert pairs == {b"a.b": b"true", b"a.c": b"[1,null]", b"e": b"1.5"}
