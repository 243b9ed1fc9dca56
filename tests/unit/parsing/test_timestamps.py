"""Each format of time stamps, and what is none."""

from datetime import UTC, datetime

import numpy as np
import pytest

from deeplog_grpc.parsing import HeadTimestamps

REFERENCE = datetime(2024, 6, 15, 12, tzinfo=UTC)
REFERENCE_NS = int(REFERENCE.timestamp()) * 10**9


def read(line: str, reference_ns: int = REFERENCE_NS) -> tuple[str, str]:
    """The time as ISO text, without what is zero behind its second, and the rest."""
    times, rest = HeadTimestamps().split([line], reference_ns)
    if times[0] == 0:
        return "", rest[0]
    return str(np.datetime64(int(times[0]), "ns")).rstrip("0").rstrip("."), rest[0]


@pytest.mark.parametrize(
    ("line", "time", "rest"),
    [
        ("2024-06-14T15:16:01Z hi", "2024-06-14T15:16:01", "hi"),
        ("2024-06-14T15:16:01.123456+02:00 hi", "2024-06-14T13:16:01.123456", "hi"),
        ("2024-06-14 15:16:01,5 hi", "2024-06-14T15:16:01.5", "hi"),
        ("2024/06/14 15:16:01 [error] hi", "2024-06-14T15:16:01", "[error] hi"),
        ("[2024-06-14 15:16:01] hi", "2024-06-14T15:16:01", "hi"),
        ("[2024-06-14T15:16:01.5-0700] hi", "2024-06-14T22:16:01.5", "hi"),
        ("2015-10-18 18:01:47,978 INFO [main] hi", "2015-10-18T18:01:47.978", "INFO [main] hi"),
        ("20151018T180147Z hi", "2015-10-18T18:01:47", "hi"),
        ("Jun 14 15:16:01 combo sshd[7]: hi", "2024-06-14T15:16:01", "combo sshd[7]: hi"),
        ("Jun  4 15:16:01 hi", "2024-06-04T15:16:01", "hi"),
        ("081109 203615 148 INFO hi", "2008-11-09T20:36:15", "148 INFO hi"),
        ("[Sun Dec 04 04:47:44 2005] [error] hi", "2005-12-04T04:47:44", "[error] hi"),
        ("Sun Dec  4 04:47:44 UTC 2005 hi", "2005-12-04T04:47:44", "hi"),
        ("10/Oct/2000:13:55:36 -0700 hi", "2000-10-10T20:55:36", "hi"),
        ("[10/Oct/2000:13:55:36 -0700] hi", "2000-10-10T20:55:36", "hi"),
        ('10.0.0.1 - ann [10/Oct/2000:13:55:36 -0700] "GET /"', "2000-10-10T20:55:36", '10.0.0.1 - ann "GET /"'),
        ('localhost - - [10/Oct/2000:13:55:36 +0000] "GET /"', "2000-10-10T13:55:36", 'localhost - - "GET /"'),
        ("17/06/09 20:10:40 INFO hi", "2017-06-09T20:10:40", "INFO hi"),
        ("20171223-22:15:29:606|Step|7|hi", "2017-12-23T22:15:29.606", "Step|7|hi"),
        ("20171224-0:5:3:41|Step|7|hi", "2017-12-24T00:05:03.41", "Step|7|hi"),
        ("[10.30 16:49:06] chrome.exe hi", "2023-10-30T16:49:06", "chrome.exe hi"),
        ("03-17 16:13:38.811  1702 hi", "2024-03-17T16:13:38.811", "1702 hi"),
        ("- 1117838570 2005.06.03 R02 hi", "2005-06-03T22:42:50", "2005.06.03 R02 hi"),
        ("APPREAD 1117838570 2005.06.03 R02 hi", "2005-06-03T22:42:50", "2005.06.03 R02 hi"),
        ("1117838570 hi", "2005-06-03T22:42:50", "hi"),
        ("1117838570363 hi", "2005-06-03T22:42:50.363", "hi"),
        ("1117838570363001 hi", "2005-06-03T22:42:50.363001", "hi"),
        ("1117838570363001002 hi", "2005-06-03T22:42:50.363001002", "hi"),
        ("1117838570.25 hi", "2005-06-03T22:42:50.25", "hi"),
        ("I0614 15:16:01.000250 1 main.go:3] hi", "2024-06-14T15:16:01.00025", "1 main.go:3] hi"),
        ("app.log.1 2017-05-16 00:00:04.500 INFO hi", "2017-05-16T00:00:04.5", "app.log.1 INFO hi"),
        ("2016-09-28 04:30:30, Info hi", "2016-09-28T04:30:30", "Info hi"),
    ],
)
def test_formats(line: str, time: str, rest: str) -> None:
    assert read(line) == (time, rest)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "2024-13-14 15:16:01 no such month",
        "2024-02-30 15:16:01 no such day",
        "2024-06-14 25:16:01 no such hour",
        "Jun 31 15:16:01 no such day",
        "May be 3 things",
        "999999 999999 no date",
        "9999999999 beyond 2100",
        "111783857036 neither s nor ms",
        "12 monkeys",
        "10.0.0.1:80 is an address",
    ],
)
def test_no_time_stamp(line: str) -> None:
    assert read(line) == ("", line)


@pytest.mark.parametrize(
    ("line", "reference", "time"),
    [
        ("Dec 31 23:59:00 x", datetime(2025, 1, 1, tzinfo=UTC), "2024-12-31T23:59"),
        ("Jan  1 06:00:00 x", datetime(2024, 12, 31, 12, tzinfo=UTC), "2025-01-01T06:00"),
        ("Jan  1 13:00:00 x", datetime(2024, 12, 31, 12, tzinfo=UTC), "2024-01-01T13:00"),
        ("Feb 29 00:00:01 x", datetime(2027, 1, 1, tzinfo=UTC), "2024-02-29T00:00:01"),
    ],
)
def test_a_stamp_without_a_year_is_not_more_than_a_day_after_the_reference(
    line: str, reference: datetime, time: str
) -> None:
    times, _ = HeadTimestamps().split([line], int(reference.timestamp()) * 10**9)
    assert str(np.datetime64(int(times[0]), "ns")).startswith(time)


def test_without_a_reference_the_year_is_1970() -> None:
    assert read("Jun 14 15:16:01 x", 0)[0].startswith("1970-06-14T15:16:01")
    assert read("Feb 29 15:16:01 x", 0)[0].startswith("1972-02-29T15:16:01")


def test_a_new_reference_is_heeded_at_once() -> None:
    stamps = HeadTimestamps()
    old, _ = stamps.split(["Jun 14 15:16:01 x"], REFERENCE_NS)
    new, _ = stamps.split(["Jun 14 15:16:01 x"], REFERENCE_NS + 366 * 86_400 * 10**9)
    assert str(np.datetime64(int(old[0]), "ns"))[:4] == "2024"
    assert str(np.datetime64(int(new[0]), "ns"))[:4] == "2025"


def test_the_type_and_order_of_times() -> None:
    times, rest = HeadTimestamps().split(["x", "1117838570 y"])
    assert times.dtype == np.int64
    assert times.tolist() == [0, 1_117_838_570_000_000_000]
    assert rest == ["x", "y"]


_TOGETHER = (
    "2015-10-18 18:01:47,978 a",
    "2015-10-18 18:01:47.5Z |b",
    "2015-10-18 18:01:47 +0200 c ",
    "2015-02-30 18:01:47 no such day",
    "2015-10-18 18:01:61 no such second",
    "081109 203615 another format",
    "  at a row of a stack trace",
    "[2015-10-18 18:01:47] another begin",
    "app.log.1 2015-10-18 18:01:47 a name before",
    "2015-10-18 18:01:47",
    "Z a row that looks like a zone",
    "Jan  2 02:53:20 x",
    "Jan  2 02:53:21 y",
    "10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] GET",
    "",
)


@pytest.mark.parametrize("first", range(len(_TOGETHER)))
@pytest.mark.parametrize("rows", ["", "\n+0200 a row below"])
def test_lines_together_are_read_as_each_alone(first: int, rows: str) -> None:
    lines = [*_TOGETHER[first:], *(line + rows for line in _TOGETHER[:first])]
    reference_ns = 1_735_700_000_000_000_000  # A day before 2 January 2025, 02:53:20: one line is of 2024.
    alone = [HeadTimestamps().split([line], reference_ns) for line in lines]
    times, rest = HeadTimestamps().split(lines, reference_ns)
    assert times.tolist() == [int(time[0]) for time, _ in alone]
    assert rest == [text for _, (text,) in alone]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("line", ["1" * 1_000_000, " " * 1_000_000, "[" * 1_000_000, "a " * 500_000, ".log" * 250_000])
def test_hostile_lines_cost_no_time(line: str) -> None:
    assert HeadTimestamps().split([line] * 5)[0].tolist() == [0] * 5
    assert HeadTimestamps().split(["1117838570 a", *[line] * 7])[0].tolist() == [1_117_838_570 * 10**9, *[0] * 7]
