"""Pages of stored anomalies: each one once, what a filter says, without scans, while others write."""

import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.storage import AnomalyFilter, AnomalyState, AnomalyStore
from deeplog_grpc.storage import anomaly_tables as tables
from tests.unit.storage.anomaly_samples import (
    NOON_NS,
    Expected,
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
def path(tmp_path: Path) -> Path:
    return tmp_path / "anomalies.db"


@pytest.fixture
def store(path: Path) -> Iterator[AnomalyStore]:
    store = open_store(path)
    yield store
    store.close()


class TestPages:
    def test_each_selection(self, store: AnomalyStore) -> None:
        a = add(store, 3, session="s1", key=1)
        b = add(store, 2, session="s2", key=2, application="bank", time_ns=NOON_NS + 10, kind=5)
        c = add(store, 1, session="s1", key=1, application="bank", score=0.9)
        assert numbers(store.page(ALL, limit=4)) == [*c, *b[::-1], a[2]]
        assert numbers(store.page(ALL, before=a[2], limit=4)) == [a[1], a[0]]
        assert numbers(store.since(a[1], ALL, limit=2)) == [a[2], b[0]]
        assert numbers(store.of_session("shop", "s1", limit=9)) == a[::-1]
        assert numbers(store.of_group("g1", limit=9)) == [*c, *a[::-1]]
        assert numbers(store.open_of("bank", limit=9)) == [*c, *b[::-1]]
        assert numbers(store.open_of("bank", limit=9, from_ns=NOON_NS, to_ns=NOON_NS + 10)) == c
        assert numbers(store.page(AnomalyFilter(kinds=(5, 6)), limit=9)) == b[::-1]
        assert numbers(store.page(AnomalyFilter(min_score=0.9), limit=9)) == c

    @settings(deadline=None, max_examples=40)
    @given(st.data())
    def test_paging_yields_each_anomaly_once_whatever_happens_between_the_pages(self, data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder) / "a.db")
            try:
                _page_through(store, data)
                check_counts(store, Path(folder) / "a.db")
            finally:
                store.close()

    @settings(deadline=None, max_examples=25)
    @given(st.data())
    def test_filters_let_pass_what_they_say(self, data: st.DataObject) -> None:
        few = st.integers(0, 2)
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "NARROW_ROWS", 4)
            store = open_store(Path(folder) / "a.db")
            for number in store.reserve(data.draw(st.integers(0, 25))):
                app, key, session, kind, time_ns, score = (data.draw(few) for _ in range(6))
                store.add(
                    [
                        anomaly(
                            number,
                            application=f"app{app}",
                            group_id=f"app{app} key{key}",
                            session=f"s{session}",
                            kind=kind,
                            time_ns=time_ns,
                            score=score / 2,
                        )
                    ]
                )
                store.set_state([number], data.draw(st.sampled_from(AnomalyState)), "f")
            muted = {group.group_id for group in store.groups(limit=2)}
            for group_id in muted:
                store.mute(group_id, 2**62)
            stored = all_of(store)
            for _ in range(20):
                wanted = data.draw(_filters)
                passing = [one for one in stored if Expected(wanted, muted).passes(one)]
                assert numbers(store.since(0, wanted, limit=99)) == numbers(passing)
                assert numbers(store.page(wanted, limit=99)) == numbers(passing)[::-1]
                assert numbers(store.page(wanted, limit=2)) == numbers(passing)[::-1][:2]
            store.close()


_filters = st.builds(
    AnomalyFilter,
    application=st.sampled_from(["", "", "app0", "app1"]),
    kinds=st.lists(st.integers(0, 3), max_size=3).map(tuple),
    states=st.lists(st.sampled_from(AnomalyState), max_size=3).map(tuple),
    session=st.sampled_from(["", "", "s0", "s1"]),
    group_id=st.sampled_from(["", "", "app0 key0", "app1 key1"]),
    from_ns=st.integers(0, 2),
    to_ns=st.integers(0, 3),
    min_score=st.sampled_from([0.0, 0.5]),
    exclude_muted=st.booleans(),
)


def test_no_question_scans_the_table(path: Path) -> None:
    """20,000 anomalies; a scan would be seen in the plan, and in the steps that SQLite takes."""
    store = open_store(path)
    for batch in range(200):
        store.add(
            [
                anomaly(number, key=number % 50, session=f"s{number % 2000}", time_ns=NOON_NS + batch)
                for number in store.reserve(100)
            ]
        )
    middle = store.last_number() - 10_000
    shop = AnomalyFilter(application="shop")
    questions = {
        "page": (ALL, None, middle),
        "since": (ALL, middle, None),
        "application": (shop, None, middle),
        "states": (AnomalyFilter(application="shop", states=(CONFIRMED, OPEN)), None, middle),
        "none of the state": (AnomalyFilter(application="shop", states=(CONFIRMED,)), None, None),
        "session": (AnomalyFilter(session="s7", application="shop"), None, None),
        "group": (AnomalyFilter(group_id="g7"), None, None),
        "time": (AnomalyFilter(from_ns=NOON_NS + 7, to_ns=NOON_NS + 9), None, None),
    }
    steps = {}
    for name, (wanted, after, before) in questions.items():
        query = tables.page_of_anomalies(
            wanted, before=before, after=after, limit=100, is_narrow=tables.has_time_of_its_own(wanted), now_ns=1
        )
        with store._database.reading() as connection:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", query.values)]
            assert not any(line.startswith(("SCAN a", "SCAN e")) for line in plan), (name, plan)
            if name != "time":
                assert not any("TEMP B-TREE" in line for line in plan), (name, plan)
            steps[name] = _steps(connection, query)
    assert max(steps.values()) < 20_000, steps
    store.close()


def test_readers_read_while_scoring_and_feedback_write(store: AnomalyStore, path: Path) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def watch() -> None:
        try:
            last = 1 << 32
            while not (stop.is_set() and last == store.last_number()):
                found = store.since(last, ALL, limit=50)
                assert [one.number for one in found] == list(range(last + 1, last + 1 + len(found)))
                last = found[-1].number if found else last
                store.groups(limit=10)
        except BaseException as error:
            failures.append(error)

    def say() -> None:
        try:
            while not stop.is_set():
                store.set_state(numbers(store.open_of("shop", limit=5)), EXPLAINED, "f")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=target) for target in (watch, watch, say)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        add(store, 3)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert store.totals().anomalies == 300
    check_counts(store, path)


def _page_through(store: AnomalyStore, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(0, 4))):
        add(store, data.draw(st.integers(1, 6)), key=data.draw(st.integers(1, 3)))
    present = numbers(all_of(store))
    seen: list[int] = []
    before = None
    while page := store.page(ALL, before=before, limit=data.draw(st.integers(1, 5))):
        seen += numbers(page)
        before = seen[-1]
        if data.draw(st.booleans()):
            add(store, data.draw(st.integers(1, 3)), key=data.draw(st.integers(1, 3)))
        chosen = data.draw(st.lists(st.sampled_from(present), max_size=4)) if present else []
        store.set_state(chosen, data.draw(st.sampled_from(AnomalyState)), "f")
    assert seen == present[::-1]


def _steps(connection: sqlite3.Connection, query: tables.Query) -> int:
    """What SQLite does for a question, in hundreds of instructions of its machine, times hundred."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 100
        return 0

    connection.set_progress_handler(count, 100)
    connection.execute(query.sql, query.values).fetchall()
    connection.set_progress_handler(None, 0)
    return steps
