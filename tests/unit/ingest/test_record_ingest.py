from collections.abc import Sequence
from typing import Any

import orjson

from deeplog_grpc.ingest.applications import FixedApplications
from deeplog_grpc.ingest.config import IngestConfig
from deeplog_grpc.ingest.native import Ingested
from deeplog_grpc.ingest.record_ingest import RecordIngest
from deeplog_grpc.ingest.records import Origin, Records
from deeplog_grpc.ingest.routing import RoutingConfig

NOW_NS = 1_714_557_600_000_000_000
"""2024-05-01 10:00:00 UTC."""


class Growing:
    """Applications that are added up to a limit."""

    def __init__(self, limit: int, default: str = "") -> None:
        self.names: list[str] = []
        self.default = default
        self._limit = limit

    def admit(self, name: str) -> bool:
        if name not in self.names and len(self.names) < self._limit:
            self.names.append(name)
        return name in self.names


def records(
    bodies: Sequence[str],
    attributes: Sequence[dict[str, Any]] | None = None,
    *,
    times_ns: Sequence[int] | None = None,
    origin: Origin | None = None,
) -> Records:
    count = len(bodies)
    return Records(
        bodies=bodies,
        times_ns=times_ns or [NOW_NS + i for i in range(count)],
        attributes=attributes or [{}] * count,
        origins=[origin or Origin()] * count,
    )


def ingest(given: Records, *, applications: Any = None, limits: IngestConfig | None = None, **routing: Any) -> Ingested:
    served = applications or FixedApplications(["app"])
    return RecordIngest(served, limits or IngestConfig(), RoutingConfig(**routing)).ingest(given, arrival_ns=NOW_NS)


def test_records_are_divided_by_application_and_keep_their_order() -> None:
    given = records(["a1", "b1", "a2"], [{"appname": "a", "trace_id": "s"}, {"appname": "b"}, {"appname": "a"}])
    a, b = ingest(given, applications=FixedApplications(["a", "b"])).parts
    assert (a.application, a.positions, a.batch.bodies, a.batch.sessions) == ("a", [0, 2], ["a1", "a2"], ["s", ""])
    assert (b.application, b.positions, b.batch.bodies) == ("b", [1], ["b1"])
    assert a.batch.times_ns.tolist() == [NOW_NS, NOW_NS + 2]


def test_blank_records_are_in_no_part_and_no_fault() -> None:
    found = ingest(records(["", "  \n", "x"]))
    assert [part.positions for part in found.parts] == [[2]]
    assert not found.faults


def test_a_text_loses_its_time_stamp_and_the_record_s_time_counts() -> None:
    (part,) = ingest(records(["2020-01-01 00:00:00 started\n"])).parts
    assert part.batch.bodies == ["started"]
    assert part.batch.times_ns.tolist() == [NOW_NS]


def test_the_time_in_the_text_counts_where_asked_or_where_there_is_no_other() -> None:
    line = "2024-05-01 09:00:00 started"
    for given in (
        ingest(records([line]), time="body"),
        ingest(records([line], times_ns=[0])),
    ):
        (part,) = given.parts
        assert part.batch.times_ns.tolist() == [NOW_NS - 3_600_000_000_000]


def test_a_sender_says_which_time_counts_and_lines_without_one_have_that_before_them() -> None:
    hour_ns = 3_600_000_000_000
    texts = ["at f()", "2024-05-01 09:00:00 failed", "at g()", "2024-05-01 09:00:01 done"]
    given = records(texts, origin=Origin(headers={"x-deeplog-time": "Body"}))
    (part,) = ingest(given).parts
    failed_ns = NOW_NS - hour_ns
    assert part.batch.times_ns.tolist() == [failed_ns, failed_ns, failed_ns, failed_ns + 1_000_000_000]
    (part,) = ingest(records(texts, origin=Origin(headers={"x-deeplog-time": "record"})), time="body").parts
    assert part.batch.times_ns.tolist() == [NOW_NS + number for number in range(4)]
    (part,) = ingest(records(["no time"], origin=Origin(headers={"x-deeplog-time": "body"}))).parts
    assert part.batch.times_ns.tolist() == [NOW_NS]


def test_a_record_without_any_time_has_that_of_its_arrival() -> None:
    (part,) = ingest(records(["started"], times_ns=[0])).parts
    assert part.batch.times_ns.tolist() == [NOW_NS]


def test_a_json_text_gives_its_fields_and_attributes_count_first() -> None:
    text = '{"msg": "paid", "trace_id": "inner", "application": "b", "host": "h"}'
    plain, named = ingest(
        records([text, text], [{}, {"trace_id": "outer", "appname": "a", "host": "n"}]),
        applications=FixedApplications(["b", "a"]),
    ).parts
    assert (plain.application, plain.batch.bodies, plain.batch.sessions) == ("b", ["paid"], ["inner"])
    assert plain.batch.sources == ["h"]
    assert (named.application, named.batch.sessions, named.batch.sources) == ("a", ["outer"], ["n"])


def test_expressions_find_sessions_in_bodies() -> None:
    (part,) = ingest(records(["order=7 paid", "x"]), session=["regex:order=([0-9]+)"]).parts
    assert part.batch.sessions == ["7", ""]


def test_unknown_applications_are_added_or_go_to_the_default() -> None:
    given = records(["1", "2", "3"], [{"appname": "a"}, {"appname": "b"}, {}])
    grown = ingest(given, applications=Growing(2))
    assert [part.application for part in grown.parts] == ["a", "b"]
    assert [(fault.index, fault.reason) for fault in grown.faults] == [(2, "NO_APPLICATION")]
    full = ingest(given, applications=Growing(1))
    assert [(fault.index, fault.reason) for fault in full.faults] == [(1, "UNKNOWN_APPLICATION"), (2, "NO_APPLICATION")]
    (only,) = ingest(given).parts
    assert (only.application, only.positions) == ("app", [0, 1, 2])


def test_long_texts_are_cut_by_bytes() -> None:
    (part,) = ingest(records(["ä" * 100, "x" * 16]), limits=IngestConfig(max_body_bytes=17)).parts
    assert part.batch.bodies == ["ä" * 8, "x" * 16]


def test_lone_surrogates_are_no_fault() -> None:
    (part,) = ingest(records(["\udcff" * 20]), limits=IngestConfig(max_body_bytes=16)).parts
    assert part.batch.bodies == ["?" * 16]


def test_what_this_project_sent_out_is_not_judged_again() -> None:
    found = ingest(records(["x", "y"], [{"deeplog.verdict_id": "7"}, {}]))
    assert [part.positions for part in found.parts] == [[1]]
    assert not found.faults
    found = ingest(records(["x", "y"], origin=Origin(resource={"deeplog.output": "collector"})))
    assert not found.parts
    assert not found.faults


def test_years_are_those_of_the_arrival() -> None:
    (part,) = ingest(records(["May  1 09:00:00 started"], times_ns=[0])).parts
    assert part.batch.times_ns.tolist() == [NOW_NS - 3_600_000_000_000]


def test_identifiers_in_a_text_are_cut_too() -> None:
    text = orjson.dumps({"msg": "paid", "session": "s" * 99, "source": "h" * 99, "application": "a" * 99}).decode()
    (part,) = ingest(records([text]), applications=Growing(1), max_id_chars=16).parts
    assert (part.application, *part.batch.sessions, *part.batch.sources) == ("a" * 16, "s" * 16, "h" * 16)
