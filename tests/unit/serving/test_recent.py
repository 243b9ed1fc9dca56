import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.serving import recent
from deeplog_grpc.serving.recent import RecentEntries, RecentEntry

SESSIONS = st.lists(st.sampled_from("abc"), max_size=9)


def batch_of(sessions: str | list[str], *, start: int = 0, body: str = "line") -> EntryBatch:
    numbers = range(start, start + len(sessions))
    return EntryBatch.of([f"{body} {number}" for number in numbers], times_ns=list(numbers), sessions=list(sessions))


def kept(*batches: str, body: str = "line") -> RecentEntries:
    entries, start = RecentEntries(), 0
    for sessions in batches:
        entries.add(batch_of(sessions, start=start, body=body), list(sessions))
        start += len(sessions)
    return entries


def times(found: list[RecentEntry]) -> list[int]:
    return [entry.time_ns for entry in found]


def test_the_entries_of_the_session_before_a_row_come_oldest_first() -> None:
    found = kept("ab", "aab").before([("a", 1), ("b", 2), ("a", 99)], 9)
    assert [times(entries) for entries in found] == [[0, 2], [1], [0, 2, 3]]
    assert found[0][-1] == RecentEntry(time_ns=2, body="line 2")


def test_no_more_than_asked_for_and_those_are_the_latest() -> None:
    entries = kept("aaaa", "aa")
    assert [times(entries.before([("a", 1)], count)[0]) for count in (0, 1, 3, 99)] == [
        [],
        [4],
        [2, 3, 4],
        [0, 1, 2, 3, 4],
    ]


def test_of_a_session_never_seen_and_before_any_batch_there_is_nothing() -> None:
    assert RecentEntries().before([("a", 3)], 5) == [[]]
    assert kept("a").before([("b", 3)], 5) == [[]]
    assert kept("a").before([], 5) == []


def test_rows_are_those_of_the_latest_batch() -> None:
    assert kept("ab", "c").body(0) == "line 2"
    assert times(kept("aa", "a").before([("a", 0)], 5)[0]) == [0, 1]


def test_old_batches_go_when_there_are_too_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_ENTRIES", 5)
    assert times(kept("aa", "aa", "aa").before([("a", 99)], 99)[0]) == [2, 3, 4, 5]
    assert times(kept("aa", "aaaaaaaa").before([("a", 99)], 99)[0]) == list(range(2, 10))


def test_old_batches_go_when_there_is_too_much_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_CHARACTERS", 250)
    long = "x" * 98  # and a blank and a digit
    assert times(kept("a", "a", "a", body=long).before([("a", 99)], 99)[0]) == [1, 2]
    assert times(kept("a", "aaaa", "a", body=long).before([("a", 99)], 99)[0]) == [5]


@given(st.lists(SESSIONS, min_size=1, max_size=6), st.integers(0, 9), st.integers(0, 5))
def test_what_is_found_is_what_a_search_through_everything_finds(
    batches: list[list[str]], row: int, count: int
) -> None:
    entries = kept(*map("".join, batches))
    everything = [session for sessions in batches for session in sessions]
    first = len(everything) - len(batches[-1])
    for session, found in zip("abc", entries.before([(session, row) for session in "abc"], count), strict=True):
        expected = [place for place, name in enumerate(everything[: first + row]) if name == session]
        assert times(found) == expected[len(expected) - min(count, len(expected)) :]
