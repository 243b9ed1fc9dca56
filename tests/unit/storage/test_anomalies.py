"""Stored anomalies: numbers, groups, states, retention."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import InputError, StateError
from deeplog_grpc.storage import AnomalyFilter, AnomalyState, AnomalyStore, StoredAnomaly, number_of, verdict_id
from tests.unit.storage.anomaly_samples import (
    NOON_NS,
    HandClock,
    S,
    add,
    all_of,
    anomaly,
    check_counts,
    numbers,
    open_store,
)

ALL = AnomalyFilter()
OPEN, FALSE_POSITIVE, CONFIRMED, EXPLAINED = AnomalyState


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "anomalies.db"


@pytest.fixture
def store(path: Path, clock: HandClock) -> Iterator[AnomalyStore]:
    store = open_store(path, clock)
    yield store
    store.close()


class TestNumbers:
    def test_they_grow_over_restarts_whether_stored_or_not(self, path: Path) -> None:
        given_away = []
        for _ in range(3):
            store = open_store(path)
            given_away += store.reserve(2)
            given_away += add(store)
            given_away += store.reserve(1)
            store.close()
        assert given_away == sorted(set(given_away))
        assert [verdict_id(number) for number in given_away[:5]] == ["1-1", "1-2", "1-3", "1-4", "2-1"]

    def test_a_run_that_ran_out_of_counter_is_passed_by_the_next(self, path: Path) -> None:
        store = open_store(path)
        store._reserved += 2**32  # as if so many had been given away
        (last,) = add(store)
        store.close()
        store = open_store(path)
        assert store.reserve(1)[0] > last
        store.close()

    @given(st.integers(1, 2**31 - 1), st.integers(0, 2**32 - 1))
    def test_a_name_stands_for_its_number(self, boot: int, counter: int) -> None:
        number = (boot << 32) + counter
        assert number_of(verdict_id(number)) == number

    @pytest.mark.parametrize(
        "nonsense", ["", "7", "7-", "-7", "0-1", "07-1", "7-01", "7-1 ", "7-1\n", "٧-1", "2147483648-1", "1-4294967296"]
    )
    def test_nonsense_is_refused(self, nonsense: str) -> None:
        with pytest.raises(InputError, match="verdict_id") as refused:
            number_of(nonsense)
        assert refused.value.field == "verdict_id"


class TestStoring:
    def test_an_anomaly_is_read_as_it_was_stored(self, store: AnomalyStore, clock: HandClock) -> None:
        (number,) = store.reserve(1)
        store.add([anomaly(number, session="blk\0'é", kind=9, key=-1, score=0.25, evidence=b"\0\xff", time_ns=5)])
        assert store.get(number) == StoredAnomaly(
            number=number,
            application="shop",
            kind=9,
            key=-1,
            session="blk\0'é",
            group_id="g-1",
            time_ns=5,
            score=0.25,
            state=OPEN,
            feedback_id="",
            stored_ns=clock.now_ns,
            is_muted=False,
            evidence=b"\0\xff",
        )
        assert store.get(number + 1) is None
        assert store.last_number() == number

    def test_nothing_is_stored_of_an_empty_batch(self, store: AnomalyStore) -> None:
        store.add([])
        assert (store.last_number(), store.get(1), store.page(ALL, limit=9)) == (0, None, [])
        assert (store.groups(limit=9), store.group("g7"), store.prune(100)) == ([], None, 0)

    def test_all_of_a_batch_is_stored_or_none(self, store: AnomalyStore, path: Path) -> None:
        (number,) = add(store)
        with pytest.raises(sqlite3.IntegrityError):
            store.add([anomaly(number + 1), anomaly(number)])
        assert numbers(all_of(store)) == [number]
        check_counts(store, path)

    def test_another_process_that_holds_the_database_is_an_error_and_the_same_call_works_later(
        self, store: AnomalyStore, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store._database._writer.execute("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        batch = [anomaly(number) for number in store.reserve(2)]
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.add(batch)
        assert store.page(ALL, limit=9) == []
        other.execute("ROLLBACK")
        other.close()
        store.add(batch)
        assert len(all_of(store)) == 2

    def test_a_full_disk_is_an_error_and_nothing_is_half_stored(self, store: AnomalyStore, path: Path) -> None:
        add(store, 3)
        (pages,) = store._database._writer.execute("PRAGMA page_count").fetchone()
        store._database._writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            add(store, 3, evidence=bytes(100_000))
        check_counts(store, path)
        store._database._writer.execute("PRAGMA max_page_count = 1000000")
        add(store, 3)
        assert store.totals().anomalies == 6
        check_counts(store, path)

    def test_times_that_no_clock_shows_are_brought_into_range(self, store: AnomalyStore) -> None:
        (number,) = add(store, time_ns=2**64 - 1)
        found = store.get(number)
        assert found is not None
        assert found.time_ns == 2**63 - 1
        assert store.page(AnomalyFilter(from_ns=2**64 - 1), limit=9) == [found]
        assert store.page(AnomalyFilter(to_ns=2**64 - 1), limit=9) == []


class TestOpening:
    def test_what_was_stored_is_there_again(self, path: Path) -> None:
        store = open_store(path)
        add(store, 5)
        before = all_of(store), store.groups(limit=9), store.totals()
        store.close()
        store = open_store(path)
        assert (all_of(store), store.groups(limit=9), store.totals()) == before
        store.close()

    def test_a_newer_format_is_refused_and_left_alone(self, path: Path) -> None:
        open_store(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 2")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(StateError, match="has format 2; this release reads format 1") as refused:
            open_store(path)
        assert refused.value.reason == "INVALID_STATE"
        assert refused.value.field == str(path)
        assert path.read_bytes() == before

    def test_a_database_of_something_else_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE letters (text)")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(StateError, match="is a database of something else"):
            open_store(path)
        assert path.read_bytes() == before

    def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "log.txt"
        path.write_text("a log line\n" * 1000)
        with pytest.raises(StateError, match="not a database"):
            open_store(path)
        with pytest.raises(StateError, match="cannot be opened"):
            open_store(path / "below a file")
        with pytest.raises(StateError, match="cannot be opened"):
            open_store(tmp_path)


class TestGroups:
    def test_a_group_counts_its_anomalies(self, store: AnomalyStore, clock: HandClock) -> None:
        add(store, time_ns=NOON_NS + 5)
        last = store.reserve(2)
        store.add([anomaly(last[0], time_ns=NOON_NS - 5), anomaly(last[1], time_ns=NOON_NS)])
        group = store.group("g7")
        assert group is not None
        assert (group.application, group.kind, group.key) == ("shop", 2, 7)
        assert (group.count, group.open_count, group.state) == (3, 3, OPEN)
        assert (group.first_seen_ns, group.last_seen_ns) == (NOON_NS - 5, NOON_NS + 5)
        assert (group.template, group.reason) == (f"template {last[1]}", f"reason {last[1]}")
        assert (group.last_number, group.muted_until_ns) == (last[1], 0)

    def test_those_seen_last_come_first_page_by_page(self, store: AnomalyStore) -> None:
        for key in (1, 2, 3, 4, 2):
            add(store, key=key, application="shop" if key < 4 else "bank")
        assert [group.group_id for group in store.groups(limit=9)] == ["g2", "g4", "g3", "g1"]
        first = store.groups(limit=2)
        rest = store.groups(limit=9, before=first[-1].last_number)
        assert [group.group_id for group in first + rest] == ["g2", "g4", "g3", "g1"]
        assert [group.group_id for group in store.groups(application="bank", limit=9)] == ["g4"]
        store.set_state(numbers(store.of_group("g3", limit=9)), CONFIRMED, "f")
        assert [group.group_id for group in store.groups(states=(CONFIRMED,), limit=9)] == ["g3"]
        assert [group.group_id for group in store.groups(states=(OPEN,), limit=9)] == ["g2", "g4", "g1"]

    def test_muting_lasts_until_its_time(self, store: AnomalyStore, clock: HandClock) -> None:
        (number,) = add(store)
        (other,) = add(store, key=8)
        muted = store.mute("g7", clock.now_ns + S)
        assert muted == store.group("g7")
        assert muted.muted_until_ns == clock.now_ns + S
        assert [one.is_muted for one in all_of(store)] == [True, False]
        assert numbers(store.page(AnomalyFilter(exclude_muted=True), limit=9)) == [other]
        assert [group.group_id for group in store.groups(exclude_muted=True, limit=9)] == ["g8"]
        clock.now_ns += S
        found = store.get(number)
        assert found is not None
        assert not found.is_muted
        assert numbers(store.page(AnomalyFilter(exclude_muted=True), limit=9)) == [other, number]
        assert store.groups(exclude_muted=True, limit=9)[1].muted_until_ns == 0

    def test_groups_that_nobody_needs_to_be_told_of(self, store: AnomalyStore, clock: HandClock) -> None:
        for key in (1, 2, 3, 4, 5):
            add(store, key=key)
        store.mute("g1", clock.now_ns + S)
        for group, state in (("g2", FALSE_POSITIVE), ("g3", EXPLAINED), ("g4", CONFIRMED)):
            store.set_state(numbers(store.of_group(group, limit=9)), state, "f")
        asked = ["g1", "g2", "g3", "g4", "g5", "unknown"]
        assert sorted(store.settled(asked)) == ["g1", "g2", "g3"]
        assert store.settled(["g2"]) == ["g2"]
        clock.now_ns += S
        add(store, key=2)
        assert store.settled(asked) == ["g3"]

    def test_muting_ends_by_order_and_may_be_for_ever(self, store: AnomalyStore) -> None:
        add(store)
        assert store.mute("g7", 2**64 - 1).muted_until_ns == 2**63 - 1
        assert store.mute("g7", 0).muted_until_ns == 0
        with pytest.raises(InputError, match="no group 'g9'") as refused:
            store.mute("g9", 1)
        assert refused.value.field == "group_id"


class TestStates:
    def test_the_group_is_open_while_any_of_its_anomalies_is(self, store: AnomalyStore) -> None:
        first, second = add(store, 2)
        assert store.set_state([first, 12345], FALSE_POSITIVE, "fb-1") == 1
        found = store.get(first)
        assert found is not None
        assert (found.state, found.feedback_id) == (FALSE_POSITIVE, "fb-1")
        assert _state(store) == (OPEN, 1)
        store.set_state([second], EXPLAINED, "fb-1")
        assert _state(store) == (FALSE_POSITIVE, 0)
        add(store)
        assert _state(store) == (OPEN, 1)

    def test_what_is_said_later_counts_and_can_be_taken_back(self, store: AnomalyStore) -> None:
        both = add(store, 2)
        store.set_state(both, EXPLAINED, "fb-1")
        assert _state(store) == (EXPLAINED, 0)
        store.set_state(both, CONFIRMED, "fb-2")
        assert _state(store) == (CONFIRMED, 0)
        store.set_state(both, OPEN, "")
        assert _state(store) == (OPEN, 2)
        store.set_state(both, EXPLAINED, "fb-3")
        assert _state(store) == (EXPLAINED, 0)


class TestRetention:
    def test_old_ones_go_at_most_two_for_each_that_comes(self, path: Path, clock: HandClock) -> None:
        store = open_store(path, clock, max_age_s=60)
        old = add(store, 10)
        clock.now_ns += 61 * S
        assert len(all_of(store)) == 10
        new = add(store)
        assert numbers(all_of(store)) == old[2:] + new
        new += add(store, 3)
        assert numbers(all_of(store)) == old[8:] + new
        check_counts(store, path)
        assert store.prune(1) == 1
        assert store.prune(100) == 1
        assert numbers(all_of(store)) == new
        group = store.group("g7")
        assert group is not None
        assert (group.count, group.open_count) == (14, 4)
        check_counts(store, path)
        store.close()

    def test_the_oldest_go_when_the_evidence_grows_too_large(self, path: Path) -> None:
        store = open_store(path, max_bytes=1000)
        for _ in range(50):
            add(store, evidence=bytes(100))
        assert store.totals().evidence_bytes == 1000
        newest = add(store, evidence=bytes(1000))
        assert store.totals().evidence_bytes == 1800
        store.prune(100)
        assert numbers(all_of(store)) == newest
        check_counts(store, path)
        store.close()

    def test_a_lower_limit_is_reached_in_the_end(self, path: Path) -> None:
        store = open_store(path)
        add(store, 100, evidence=bytes(10))
        store.close()
        store = open_store(path, max_bytes=300)
        for _ in range(75):
            add(store, evidence=bytes(10))
        assert store.totals().anomalies == 30
        store.close()

    def test_a_clock_that_was_set_back_keeps_the_order(self, path: Path, clock: HandClock) -> None:
        store = open_store(path, clock, max_age_s=60)
        first = add(store)
        clock.now_ns -= 50 * S
        second = add(store)
        clock.now_ns += 70 * S
        assert store.prune(9) == 0
        assert numbers(all_of(store)) == first + second
        clock.now_ns += 41 * S
        assert store.prune(9) == 2
        store.close()

    def test_empty_groups_go_after_the_same_time_unless_muted_or_confirmed(self, path: Path, clock: HandClock) -> None:
        store = open_store(path, clock, max_age_s=60)
        for key in (1, 2, 3, 4):
            add(store, key=key)
        store.mute("g1", clock.now_ns + 1000 * S)
        store.set_state(numbers(store.of_group("g2", limit=9)), CONFIRMED, "f")
        clock.now_ns += 61 * S
        add(store, key=4)
        assert store.prune(100) == 2
        assert _names(store) == {"g1", "g2", "g3", "g4"}
        clock.now_ns += 59 * S
        store.prune(100)
        assert _names(store) == {"g1", "g2", "g3", "g4"}
        clock.now_ns += 2 * S
        store.prune(100)
        assert _names(store) == {"g1", "g2", "g4"}
        clock.now_ns += 1000 * S
        store.prune(100)
        store.prune(100)
        clock.now_ns += 100 * S
        store.prune(100)
        assert _names(store) == {"g2"}
        check_counts(store, path)
        store.close()

    def test_too_many_groups_are_forgotten_kept_ones_last(self, path: Path) -> None:
        store = open_store(path, max_groups=3)
        for key in (1, 2, 3):
            add(store, key=key)
        store.mute("g1", 2**62)
        add(store, key=4)
        assert _names(store) == {"g1", "g3", "g4"}
        add(store, key=2, evidence=b"again")
        group = store.group("g2")
        assert group is not None
        assert (group.count, group.open_count) == (2, 2)
        assert _names(store) == {"g1", "g2", "g4"}
        for key in (2, 4):
            store.mute(f"g{key}", 2**62)
        add(store, key=5)
        assert _names(store) == {"g1", "g2", "g4"}
        check_counts(store, path)
        store.close()


def _state(store: AnomalyStore) -> tuple[AnomalyState, int]:
    group = store.group("g7")
    assert group is not None
    return group.state, group.open_count


def _names(store: AnomalyStore) -> set[str]:
    return {group.group_id for group in store.groups(limit=99)}


class TestRemoving:
    @given(kept=st.lists(st.integers(1, 4), max_size=8), removed=st.lists(st.integers(1, 4), max_size=8))
    def test_what_comes_after_a_number_was_never_there(
        self, tmp_path_factory: pytest.TempPathFactory, kept: list[int], removed: list[int]
    ) -> None:
        path = tmp_path_factory.mktemp("store") / "anomalies.db"
        store = open_store(path)
        first = [number for key in kept for number in add(store, key=key)]
        last = first[-1] if first else store.last_number()
        before = [(group.group_id, group.count, group.open_count) for group in store.groups(limit=10)]
        for key in removed:
            add(store, key=key)
        assert store.remove_after(last) == len(removed)
        assert numbers(all_of(store)) == first
        after = [(group.group_id, group.count, group.open_count) for group in store.groups(limit=10)]
        assert sorted(after) == sorted(before)
        check_counts(store, path)
        assert all(number > last for number in add(store))
        check_counts(store, path)
        store.close()
