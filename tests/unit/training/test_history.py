from collections.abc import Sequence

import numpy as np
import pytest

from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.training import History, SessionCut

START_S = 1_700_000_000
Entry = tuple[str, int, float]
"""Session, log key, seconds after the start; minus one = no time."""


def history_of(entries: Sequence[Entry], lasts: Sequence[int] = ()) -> History:
    history = History()
    sessions, keys, times_s = zip(*entries, strict=True)
    times_ns = [0 if time_s < 0 else int((START_S + time_s) * NS_PER_S) for time_s in times_s]
    history.extend(np.array(keys, np.int32), sessions, np.array(times_ns, np.int64), lasts=lasts)
    return history


def cut(entries: Sequence[Entry], timeout_s: float | None = None, lasts: Sequence[int] = ()) -> SessionCut:
    return history_of(entries, lasts).cut(timeout_s)


def keys_of(found: SessionCut) -> list[list[int]]:
    return [[int(key) for key in session.keys] for session in found.sessions]


def test_entries_come_to_their_sessions_in_the_order_of_arrival() -> None:
    found = cut([("a", 1, 0), ("b", 2, 0), ("a", 3, 1), ("b", 4, 1), ("a", 5, 2)])
    assert keys_of(found) == [[1, 3, 5], [2, 4]]


def test_batches_do_not_matter() -> None:
    entries: list[Entry] = [("a", 1, 0), ("b", 2, 0), ("a", 3, 1), ("b", 4, 200), ("a", 5, 2)]
    whole, parts = history_of(entries, lasts=[2]), History()
    for row, (session, key, time_s) in enumerate(entries):
        time_ns = np.array([int((START_S + time_s) * NS_PER_S)], np.int64)
        parts.extend(np.array([key], np.int32), [session], time_ns, lasts=[0] if row == 2 else [])
    assert len(parts) == len(whole) == 5
    one, other = whole.cut(None), parts.cut(None)
    assert keys_of(one) == keys_of(other)
    assert (one.timeout_s, one.open_at_end) == (other.timeout_s, other.open_at_end)


def test_the_time_out_is_twice_the_longest_usual_silence() -> None:
    assert cut([("a", 1, 0), ("a", 2, 100), ("a", 3, 110)]).timeout_s == 200.0


@pytest.mark.parametrize(("silence_s", "timeout_s"), [(1, 60.0), (10 * 86_400, 86_400.0)])
def test_the_learned_time_out_is_between_a_minute_and_a_day(silence_s: float, timeout_s: float) -> None:
    assert cut([("a", 1, 0), ("a", 2, silence_s)]).timeout_s == timeout_s


def test_a_rare_long_silence_does_not_lengthen_the_time_out_and_cuts_its_session() -> None:
    usual: list[Entry] = [(f"s{n}", key, n + 40.0 * key) for n in range(300) for key in (1, 2)]
    found = cut([*usual, ("odd", 7, 0), ("odd", 8, 5_000)])
    assert found.timeout_s == 80.0
    assert [7] in keys_of(found)
    assert [8] in keys_of(found)


def test_a_given_time_out_cuts_where_the_silence_is_longer() -> None:
    entries: list[Entry] = [("a", 1, 0), ("a", 2, 10), ("a", 3, 20.5)]
    assert keys_of(cut(entries, 10.0)) == [[1, 2], [3]]
    assert keys_of(cut(entries, 10.5)) == [[1, 2, 3]]
    assert keys_of(cut(entries, 0.0)) == [[1, 2, 3]]


def test_sessions_still_open_where_the_log_stops_give_no_end() -> None:
    done: list[Entry] = [("a", 1, 0), ("a", 2, 1)]
    found = cut([*done, ("b", 1, 1_000), ("b", 2, 1_001)])
    assert [session.ends for session in found.sessions] == [True, False]
    assert found.open_at_end == 1


def test_every_session_of_a_log_without_times_ends() -> None:
    found = cut([("a", 1, -1), ("b", 1, -1), ("a", 2, -1)])
    assert (found.timeout_s, found.open_at_end) == (0.0, 0)
    assert keys_of(found) == [[1, 2], [1]]


def test_unsorted_times_do_not_cut_sessions() -> None:
    found = cut([("a", 1, 500), ("a", 2, 0), ("a", 3, 501), ("a", 4, -1)])
    assert keys_of(found) == [[1, 2, 3, 4]]
    assert found.timeout_s == 60.0


@pytest.mark.parametrize("unknown", [[0], [0, 1], [1], [2]])
def test_unknown_times_at_any_place_do_not_cut_sessions(unknown: list[int]) -> None:
    found = cut([("a", row, -1 if row in unknown else row) for row in range(4)])
    assert keys_of(found) == [[0, 1, 2, 3]]
    assert found.timeout_s == 60.0


def test_files_of_the_same_days_one_after_the_other_are_as_good_as_one() -> None:
    one: list[Entry] = [(f"a{n}", key, n * 100.0 + key) for n in range(20) for key in (1, 2, 3)]
    other = [(session.replace("a", "b"), key, time_s) for session, key, time_s in one]
    assert cut([*one, *other]).open_at_end == 2
    assert cut([*other, *one]).timeout_s == cut(one).timeout_s


def test_an_end_marker_ends_its_session_and_the_next_entry_of_that_name_begins_another() -> None:
    entries: list[Entry] = [("worker", key, second) for second, key in enumerate((1, 2, 9, 1, 3, 9, 1))]
    found = cut(entries, lasts=[2, 5])
    assert keys_of(found) == [[1, 2, 9], [1, 3, 9], [1]]
    assert [session.ends for session in found.sessions] == [True, True, False]


def test_the_silence_between_two_sessions_of_a_name_is_no_silence_inside_one() -> None:
    found = cut([("w", 1, 0), ("w", 9, 1), ("w", 1, 9_000), ("w", 9, 9_001)], lasts=[1, 3])
    assert found.timeout_s == 60.0


def test_keys_that_were_merged_count_as_the_one_that_stands_for_them() -> None:
    history = history_of([("a", 0, 0), ("a", 1, 1), ("a", 2, 2)])
    assert keys_of(history.cut(None, final_keys=np.array([0, 0, 2], np.int32))) == [[0, 0, 2]]


def test_nothing_to_cut() -> None:
    found = History().cut(7.0)
    assert (found.sessions, found.timeout_s, found.open_at_end, len(found.owners)) == ((), 7.0, 0, 0)


def test_each_entry_knows_its_session_and_what_was_before_it() -> None:
    found = history_of([("a", 1, 5), ("b", 9, 6), ("a", 2, 8), ("b", 8, 6), ("a", 3, -1), ("a", 4, 10)]).cut(0)
    assert found.owners.tolist() == [0, 1, 0, 1, 0, 0]
    np.testing.assert_array_equal(found.elapsed_s, [np.nan, np.nan, 3.0, 0.0, np.nan, 2.0])
    assert found.previous.tolist() == [[-1, -1], [-1, -1], [-1, 1], [-1, 9], [1, 2], [2, 3]]
    assert found.resolution_s == 1.0


def test_a_new_session_of_a_name_has_nothing_before_it() -> None:
    found = history_of([("a", 1, 1), ("a", 2, 5000)]).cut(60)
    assert np.isnan(found.elapsed_s).all()
    assert found.previous[1].tolist() == [-1, -1]


def test_a_history_goes_on_from_its_state() -> None:
    entries: list[Entry] = [("a", 1, 0), ("b", 2, 0), ("a", 3, 1), ("b", 4, 200), ("a", 5, 2)]
    whole, first = history_of(entries, lasts=[2]), history_of(entries[:3], lasts=[2])
    second = History.from_state(first.state())
    times_ns = np.array([int((START_S + time_s) * NS_PER_S) for *_, time_s in entries[3:]], np.int64)
    second.extend(np.array([4, 5], np.int32), ["b", "a"], times_ns)
    assert len(first) == 3
    assert all(np.array_equal(part, whole.state()[name]) for name, part in second.state().items())
    assert keys_of(second.cut(None)) == keys_of(whole.cut(None))


@pytest.mark.parametrize("wrong", [{"keys": [1]}, {"names": ["a"]}, {"sessions": [0, -1, 0]}])
def test_a_state_that_does_not_fit_together_is_refused(wrong: dict[str, list[int]]) -> None:
    state = history_of([("a", 1, 0), ("b", 2, 0), ("a", 3, 1)]).state()
    with pytest.raises(ValueError, match="do not fit each other"):
        History.from_state({**state, **wrong})


def requested(entries: Sequence[tuple[str, int]], lasts: Sequence[int] = ()) -> History:
    """A history of entries that are given as session and request."""
    sessions, requests = zip(*entries, strict=True)
    count = len(entries)
    history = History()
    history.extend(
        np.arange(count, dtype=np.int32),
        sessions,
        np.zeros(count, np.int64),
        lasts=lasts,
        requests=np.array(requests, np.uint32),
    )
    return history


def test_the_parts_of_a_session_are_those_of_its_own_entries() -> None:
    history = requested([("a", 7), ("b", 5), ("a", 7), ("b", 5), ("a", 8), ("a", 8), ("b", 0)])
    assert history.cut(0).parts == ((2,), ())


def test_blocks_of_a_stream_have_no_parts_and_take_no_request_from_a_session() -> None:
    stream = [("@host", request) for request in (1, 1, 2, 2)] * 50
    found = requested([*stream, ("a", 1), ("a", 1), ("a", 2), ("a", 2)]).cut(0)
    assert (found.blocks, found.parts) == (2, ((), (), (2,)))


def test_a_session_that_ends_in_the_middle_of_a_request_is_one_part_as_the_next_one_is() -> None:
    history = requested([("w", request) for request in (1, 1, 2, 2, 2, 2, 3, 3)], lasts=[3])
    assert history.cut(0).parts == ((), ())


def test_without_requests_every_session_is_one_part() -> None:
    assert cut([("a", 1, 0), ("b", 2, 0), ("a", 3, 1)]).parts == ((), ())
    assert History().cut(None).parts == ()


def test_requests_are_a_part_of_the_state() -> None:
    history = requested([("a", 2**32 - 1), ("a", 2**32 - 1), ("a", 3), ("a", 3)])
    other = History.from_state(history.state())
    assert other.state()["requests"].tolist() == [2**32 - 1, 2**32 - 1, 3, 3]
    assert other.cut(0).parts == history.cut(0).parts == ((2,),)
    with pytest.raises(ValueError, match="do not fit each other"):
        History.from_state({**history.state(), "requests": [1]})
