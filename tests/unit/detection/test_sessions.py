import pytest

from deeplog_grpc.detection import SessionConfig
from deeplog_grpc.detection.sessions import Session, SessionTable
from deeplog_grpc.detection.states import NOTHING_BEFORE, WindowState
from deeplog_grpc.detection.watermark import Watermark


def put(table: SessionTable, name: str, now_ns: int) -> Session:
    session = table.get(name)
    if session is None:
        session = Session(name, WindowState((0,), 1, NOTHING_BEFORE))
        table.add(session)
    table.touch(session, now_ns)
    return session


def names(table: SessionTable) -> list[str]:
    return [session.identifier for session in table.sessions()]


@pytest.mark.parametrize(
    ("times", "seen"),
    [
        ([100, 105, 110], [100, 105, 110]),  # steps that are believed
        ([100, 90, 0, 101], [100, 100, 100, 101]),  # the past and the unknown change nothing
        ([100, 110, 121], [100, 110, 110]),  # exactly a step is believed, one more is held back
        ([100, 900, 105], [100, 100, 105]),  # one wrong time
        ([100, 900, 105, 905, 106], [100, 100, 105, 105, 106]),  # wrong times that do not confirm each other
        ([100, 900, 0, 901], [100, 100, 100, 900]),  # confirmed; an unknown time says nothing
        ([100, 900, 901], [100, 100, 900]),
        ([100, 900, 500], [100, 100, 500]),  # the smaller of the two
        ([0, 0, 50], [0, 0, 50]),
    ],
)
def test_watermark(times: list[int], seen: list[int]) -> None:
    watermark = Watermark(step_ns=10)
    assert [watermark.observe(time_ns) for time_ns in times] == seen


def test_the_watermark_says_whether_it_holds_a_time_back() -> None:
    watermark = Watermark(step_ns=10)
    holds = []
    for time_ns in (100, 900, 0, 105, 900, 901):
        watermark.observe(time_ns)
        holds.append(watermark.holds)
    assert holds == [False, True, True, False, True, False]


def test_the_least_recently_used_session_makes_room_and_is_counted() -> None:
    table = SessionTable(max_open=2, timeout_ns=0)
    for name in ("a", "b", "a", "c"):
        put(table, name, 1)
    assert (names(table), table.evicted, len(table)) == (["a", "c"], 1, 2)
    put(table, "d", 1)
    assert (names(table), table.evicted) == (["c", "d"], 2)


def test_a_session_ends_when_it_was_silent_for_longer_than_the_time_out() -> None:
    table = SessionTable(max_open=10, timeout_ns=10)
    put(table, "a", 100)
    put(table, "b", 105)
    assert table.next_deadline_ns() == 110
    assert list(table.expire(110)) == []
    assert [session.identifier for session in table.expire(111)] == ["a"]
    assert [session.identifier for session in table.expire(10_000)] == ["b"]
    assert len(table) == 0


def test_an_entry_keeps_its_session_open() -> None:
    table = SessionTable(max_open=10, timeout_ns=10)
    for name, now_ns in (("a", 100), ("b", 101), ("a", 108)):
        put(table, name, now_ns)
    assert [session.identifier for session in table.expire(112)] == ["b"]


def test_a_time_out_of_zero_is_never() -> None:
    table = SessionTable(max_open=10, timeout_ns=0)
    put(table, "a", 1)
    assert list(table.expire(10**18)) == []


def test_the_silence_of_sessions_without_a_time_counts_from_the_first_time_known() -> None:
    table = SessionTable(max_open=10, timeout_ns=10)
    put(table, "a", 0)
    put(table, "b", 0)
    assert list(table.expire(10**18)) == []
    assert [session.identifier for session in table.expire(10**18 + 11)] == ["a", "b"]


def test_close_takes_the_named_sessions_or_all_and_passes_over_others() -> None:
    table = SessionTable(max_open=10, timeout_ns=0)
    for name in ("a", "b", "c", "d"):
        put(table, name, 1)
    assert [session.identifier for session in table.close(["c", "x", "c"])] == ["c"]
    assert [session.identifier for session in table.close([])] == []
    assert [session.identifier for session in table.close()] == ["a", "b", "d"]
    assert table.evicted == 0


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        SessionConfig(timeout_s=-1)
