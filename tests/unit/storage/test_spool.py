"""The queue on disk: order, bounds, identity, and what a restart finds."""

import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.errors import SpoolFullError, StateError
from deeplog_grpc.storage import Spool

ALL = {"max_count": 1000, "max_bytes": 10**9}


def spool_at(path: Path, max_bytes: int = 10**6) -> Spool:
    return Spool(path, max_bytes=max_bytes, sync="normal")


def test_payloads_come_back_in_order_and_bounded(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "a" / "s.spool")
    assert spool.append([b"one", b"two", b"three"]) == range(1, 4)
    assert spool.append([]) == range(4, 4)
    assert spool.read(0, max_count=2, max_bytes=100) == [(1, b"one"), (2, b"two")]
    assert spool.read(0, max_count=9, max_bytes=6) == [(1, b"one"), (2, b"two")]
    assert spool.read(2, max_count=9, max_bytes=1) == [(3, b"three")], "one at least"
    assert spool.read(3, **ALL) == []
    assert (spool.backlog_count, spool.backlog_bytes, spool.last_sequence) == (3, 11, 3)
    spool.acknowledge(2)
    assert (spool.backlog_count, spool.backlog_bytes, spool.last_sequence) == (1, 5, 3)
    assert spool.read(0, **ALL) == [(3, b"three")]
    spool.close()


def test_sequences_are_not_used_again_after_all_is_acknowledged(tmp_path: Path) -> None:
    for first in (1, 3, 5):
        spool = spool_at(tmp_path / "s.spool")
        assert spool.append([b"x", b"y"]) == range(first, first + 2)
        spool.acknowledge(2**70)
        assert spool.backlog_count == spool.backlog_bytes == 0
        spool.close()
    spool = spool_at(tmp_path / "s.spool")
    assert spool.last_sequence == 6
    spool.close()


def test_identity_and_positions_outlive_the_process(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.spool")
    spool.append([b"x"], {"a": b"1", "b": b"2"})
    spool.append([], {"a": b"3"})
    spool.acknowledge(1, {"c": b"4"})
    name = spool.name
    spool.close()
    other = spool_at(tmp_path / "t.spool")
    assert other.name != name
    other.close()
    again = spool_at(tmp_path / "s.spool")
    assert (again.name, again.positions()) == (name, {"a": b"3", "b": b"2", "c": b"4"})
    again.forget(["a", "unknown"])
    assert again.positions() == {"b": b"2", "c": b"4"}
    again.close()


def test_a_full_spool_takes_neither_payloads_nor_their_positions(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.spool", max_bytes=10)
    spool.append([b"12345"], {"a": b"1"})
    with pytest.raises(SpoolFullError, match="pass the limit of 10") as refused:
        spool.append([b"12345", b"6"], {"a": b"2"})
    assert refused.value.retryable
    assert (spool.positions(), spool.backlog_count, spool.last_sequence) == ({"a": b"1"}, 1, 1)
    spool.append([], {"a": b"2"})
    spool.acknowledge(1)
    assert spool.append([b"12345", b"6"]) == range(2, 4)
    spool.close()


def test_a_full_disk_is_named_and_the_spool_goes_on(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.spool")
    pages = spool._database._writer.execute("PRAGMA page_count").fetchone()[0]
    spool._database._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(SpoolFullError, match="disk is full"):
        spool.append([bytes(100_000)], {"a": b"1"})
    assert (spool.append([b"x"]), spool.positions(), spool.backlog_bytes) == (range(1, 2), {}, 1)
    spool.close()


def test_the_space_of_what_is_acknowledged_is_used_again(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.spool")
    for _ in range(40):
        spool.acknowledge(spool.append([bytes(50_000), bytes(50_000)])[-1])
    spool.close()
    assert (tmp_path / "s.spool").stat().st_size < 400_000


def test_one_process_at_a_time(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.spool")
    with pytest.raises(StateError, match=r"s\.spool: the spool is in use by another process: stop it"):
        spool_at(tmp_path / "s.spool")
    spool.close()
    spool_at(tmp_path / "s.spool").close()


def test_what_is_not_a_spool_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but a text of some length" * 10)
    with pytest.raises(StateError, match="spool cannot be used"):
        spool_at(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(StateError, match="something else"):
        spool_at(tmp_path / "other.db")
    with pytest.raises(StateError, match="spool cannot be opened"):
        spool_at(tmp_path / "text" / "s.spool")


def test_damage_is_named_with_its_remedy(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.spool")
    spool.append([bytes(3000), b"k" * 9000])
    spool.close()
    content = bytearray((tmp_path / "s.spool").read_bytes())
    content[content.rindex(b"kkkk")] = 0
    (tmp_path / "s.spool").write_bytes(content)
    spool = spool_at(tmp_path / "s.spool")
    assert spool.read(0, max_count=1, max_bytes=1) == [(1, bytes(3000))]
    with pytest.raises(StateError, match="the spool is damaged: move it"):
        spool.read(1, **ALL)
    spool.close()
    content[4096:] = b"\xff" * (len(content) - 4096)
    (tmp_path / "s.spool").write_bytes(content)
    with pytest.raises(StateError, match="the spool is damaged: move it"):
        spool_at(tmp_path / "s.spool")


def test_a_reader_beside_a_writer_sees_each_payload_once_and_in_order(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.spool")

    def write() -> None:
        for number in range(300):
            spool.append([b"%d" % number], {"number": b"%d" % number})

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[bytes] = []
    while len(seen) < 300:
        for sequence, payload in spool.read(len(seen), max_count=7, max_bytes=100):
            seen.append(payload)
            spool.acknowledge(sequence)
    writer.join()
    assert seen == [b"%d" % number for number in range(300)]
    assert (spool.backlog_count, spool.backlog_bytes, spool.last_sequence) == (0, 0, 300)
    spool.close()


PAYLOADS = st.lists(st.binary(max_size=40), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), PAYLOADS),
        st.tuples(st.just("acknowledge"), st.integers(0, 30)),
        st.tuples(st.just("read"), st.tuples(st.integers(0, 30), st.integers(1, 4), st.integers(1, 80))),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_it_is_a_list_with_numbers(steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "s.spool"
        spool = spool_at(path, max_bytes=200)
        model: list[tuple[int, bytes]] = []
        last = 0
        marks: dict[str, bytes] = {}
        for what, given_ in steps:
            if what == "append" and isinstance(given_, list):
                size = sum(map(len, given_))
                mark = {"mark": b"%d" % len(given_)}
                if size and size + sum(len(payload) for _, payload in model) > 200:
                    with pytest.raises(SpoolFullError):
                        spool.append(given_, mark)
                    continue
                assert spool.append(given_, mark) == range(last + 1, last + 1 + len(given_))
                model += [(last + 1 + place, payload) for place, payload in enumerate(given_)]
                last += len(given_)
                marks = mark
            elif what == "acknowledge" and isinstance(given_, int):
                spool.acknowledge(given_)
                model = [one for one in model if one[0] > given_]
            elif what == "read" and isinstance(given_, tuple):
                after, count, size = given_
                expected = [one for one in model if one[0] > after][:count]
                while len(expected) > 1 and sum(len(payload) for _, payload in expected) > size:
                    expected.pop()
                assert spool.read(after, max_count=count, max_bytes=size) == expected
            else:
                spool.close()
                spool = spool_at(path, max_bytes=200)
            assert (spool.backlog_count, spool.last_sequence) == (len(model), last)
            assert spool.backlog_bytes == sum(len(payload) for _, payload in model)
            assert spool.positions() == marks
        assert spool.read(0, **ALL) == model
        spool.close()
