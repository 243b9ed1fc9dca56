from typing import Any

import orjson
import pytest

from deeplog_grpc.ingest.lines import LineEntries, LineReader

TIME_NS = 1_714_557_600_000_000_000
"""2024-05-01 10:00:00 UTC."""


def read(*lines: str, source: str = "app.log", reference_ns: int = 0) -> LineEntries:
    return LineReader(source=source, reference_ns=reference_ns).read(lines)


def one(line: str | dict[str, Any], **options: Any) -> tuple[str, int, str, str, str]:
    """Body, time, session, source, application of the only entry of a line."""
    found = read(orjson.dumps(line).decode() if isinstance(line, dict) else line, **options)
    batch = found.batch
    assert len(batch) == 1
    return batch.bodies[0], int(batch.times_ns[0]), batch.sessions[0], batch.sources[0], found.applications[0]


def test_a_raw_line_gives_its_time_and_the_rest() -> None:
    assert one("2024-05-01 10:00:00 started") == ("started", TIME_NS, "", "app.log", "")


def test_a_raw_line_without_a_time() -> None:
    assert one("started") == ("started", 0, "", "app.log", "")


def test_a_line_that_is_only_a_time_stamp_is_an_entry() -> None:
    assert one("2024-05-01 10:00:00")[:2] == ("2024-05-01 10:00:00", TIME_NS)


def test_a_time_without_a_year_takes_that_of_the_reference() -> None:
    assert one("May  1 10:00:00 started", reference_ns=TIME_NS)[1] == TIME_NS


def test_empty_lines_give_no_entry_and_the_others_keep_their_places() -> None:
    found = read("", "a", "   ", "\t", "b", "")
    assert found.numbers == (1, 4)
    assert list(found.batch.bodies) == ["a", "b"]
    assert len(read().batch) == 0


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (
            {"log": "started\n", "stream": "stdout", "time": "2024-05-01T10:00:00.000000000Z"},  # Docker
            ("started", TIME_NS, "", "app.log", ""),
        ),
        (
            {"@timestamp": "2024-05-01T10:00:00.000Z", "message": "started", "ecs": {"version": "1.6"}},  # ECS
            ("started", TIME_NS, "", "app.log", ""),
        ),
        (
            {"ts": 1714557600.0, "level": "info", "msg": "started", "trace_id": "4bf9"},  # zap
            ("started", TIME_NS, "4bf9", "app.log", ""),
        ),
        (
            {"MESSAGE": "started", "hostname": "web-1"},  # the journal
            ("started", 0, "", "web-1", ""),
        ),
        (
            {"body": "started", "time_unix_nano": TIME_NS, "session": "s1", "source": "x", "application": "shop"},
            ("started", TIME_NS, "s1", "x", "shop"),
        ),
        (
            {"msg": "2024-05-01 10:00:00 started"},  # the time stands in the text alone
            ("started", TIME_NS, "", "app.log", ""),
        ),
    ],
)
def test_common_shapes_of_json_lines(line: dict[str, Any], entry: tuple[str, int, str, str, str]) -> None:
    assert one(line) == entry


@pytest.mark.parametrize(
    ("value", "time_ns"),
    [
        (1_714_557_600, TIME_NS),
        (1_714_557_600_000, TIME_NS),
        (1_714_557_600_000_000, TIME_NS),
        (1_714_557_600_000_000_000, TIME_NS),
        (1_714_557_600.5, TIME_NS + 500_000_000),
        (1_714_557_600_500.0, TIME_NS + 500_000_000),
        (999_999_999, 999_999_999 * 10**9),  # 2001
        ("1714557600", TIME_NS),
        ("2024-05-01T12:00:00+02:00", TIME_NS),
        (0, 0),
        (-5, 0),
        (17, 0),
        (True, 0),
        ("yesterday", 0),
        ({"seconds": 5}, 0),
        (9_999_999_999, 0),  # as seconds it would be past the year 2262
        (9_223_372_036_854_775_807, 9_223_372_036_854_775_807),
        (18_446_744_073_709_551_615, 0),
        (1e300, 0),
    ],
)
def test_times_of_json_lines(value: Any, time_ns: int) -> None:
    assert one({"msg": "started", "ts": value})[1] == time_ns


def test_the_first_time_that_is_one_counts() -> None:
    assert one({"msg": "started", "time": "soon", "timestamp": 1_714_557_600})[1] == TIME_NS


def test_the_first_text_that_is_one_is_the_body() -> None:
    assert one({"body": {"nested": 1}, "message": "", "msg": "started"})[0] == "started"


@pytest.mark.parametrize(
    ("value", "session"), [(17, "17"), (0, "0"), ("", "r1"), (None, "r1"), ({"a": 1}, ""), ("é", "é")]
)
def test_sessions_of_any_type(value: Any, session: str) -> None:
    assert one({"msg": "started", "session": value, "request_id": "r1"})[2] == session


@pytest.mark.parametrize(
    "line",
    [
        '{"msg": "started"',
        "{not json at all}",
        "{}",
        '{"level": "info"}',
        '{"msg": 17}',
        '{"msg": ""}',
        '["started"]',
        '{"msg": "started"} trailing',
        '{"msg": "\ud83d"}'.encode("utf-8", "replace").decode() + "}",
        '{"a":' * 2000,
    ],
)
def test_what_is_not_quite_a_json_entry_is_a_raw_line(line: str) -> None:
    assert one(line)[0] == line


def test_raw_lines_and_json_lines_may_be_mixed() -> None:
    found = read("2024-05-01 10:00:00 raw", '{"msg": "json", "session": "s"}', "", "{broken")
    assert list(found.batch.bodies) == ["raw", "json", "{broken"]
    assert list(found.batch.sessions) == ["", "s", ""]
    assert found.batch.times_ns.tolist() == [TIME_NS, 0, 0]
    assert found.numbers == (0, 1, 3)
