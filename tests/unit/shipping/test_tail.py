"""Following files: every line once and in order, whatever happens to the files and to the shipper."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deeplog_grpc.shipping.config import ShipConfig
from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.followed import CHUNK_BYTES
from deeplog_grpc.shipping.positions import Position
from deeplog_grpc.shipping.splitting import split_lines
from deeplog_grpc.shipping.tail import Tail, find_files, reading_order, series_of


class Lines:
    """Reads lines as themselves."""

    partials: Mapping[str, tuple[str, str]] = {}

    def read(self, lines: Sequence[bytes], reference_ns: int) -> list[bytes]:
        return list(lines)


class Shipper:
    """Follows files, and remembers what a spool would: lines and positions, always together."""

    def __init__(self, *patterns: Path | str, **config: Any) -> None:
        self.lines: list[bytes] = []
        self.positions: dict[str, bytes] = {}
        self.now = 100.0
        self.counts = Counts()
        self.is_once = config.pop("is_once", False)
        self.was_cut = False
        """Whether the last look read something that did not come to the spool."""
        self.config = ShipConfig(files=tuple(map(str, patterns)), **{"rotated_grace_s": 1.0, **config})
        self.tail = self._tail()

    def restart(self) -> None:
        self.tail.close()
        self.tail = self._tail()

    def _tail(self) -> Tail:
        return Tail(
            self.config,
            lambda position: Lines(),
            self.positions,
            self.counts,
            is_once=self.is_once,
            clock=lambda: self.now,
        )

    def look(self, *, portions: int = 10**9, passed_s: float = 0.0) -> list[bytes]:
        """One look, of which only so many portions come to the spool; what is new."""
        self.now += passed_s
        before = len(self.lines)
        self.was_cut = False
        for portion in self.tail.portions():
            if not portions:
                self.was_cut = True
                break
            portions -= 1
            self.lines += portion.entries
            self.positions[portion.name] = portion.position
        else:
            for name in self.tail.take_gone():
                self.positions.pop(name, None)
        return self.lines[before:]

    def close(self) -> None:
        self.tail.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def test_only_whole_lines_until_the_last_has_been_quiet(log: Path) -> None:
    shipper = Shipper(log, partial_line_s=5.0)
    assert shipper.look() == []
    append(log, "one\ntwo\nthr")
    assert shipper.look() == [b"one", b"two"]
    assert shipper.look(passed_s=4) == []
    append(log, "ee")
    assert shipper.look(passed_s=4) == [], "it grew"
    assert shipper.look(passed_s=6) == [b"three"]
    append(log, "\n\nfour\n")
    assert shipper.look() == [b"", b"", b"four"]
    shipper.close()


def test_bytes_stay_as_they_are_and_line_ends_of_windows_go(log: Path) -> None:
    shipper = Shipper(log)
    append(log, b"a\x00b\r\n\xff\xfe\n")
    assert shipper.look() == [b"a\x00b", b"\xff\xfe"]
    shipper.close()


def test_long_lines_are_cut_and_counted(log: Path) -> None:
    shipper = Shipper(log, max_line_bytes=64)
    append(log, b"x" * 100 + b"\nshort\n" + "é".encode() * 50 + b"\n" + b"y" * (3 * CHUNK_BYTES) + b" end")
    assert shipper.look() == [b"x" * 64, b"short", "é".encode() * 32, b"y" * 64]
    shipper.restart()
    append(log, " of it\nnext\n")
    assert shipper.look() == [b"next"]
    assert shipper.counts.lines_cut == 3
    shipper.close()


def test_rotation_by_rename_finishes_the_old_file_first(log: Path) -> None:
    shipper = Shipper(log)
    append(log, "1\n")
    assert shipper.look() == [b"1"]
    append(log, "2\n")
    old = log.rename(log.with_suffix(".log.1"))
    append(log, "3\n")
    assert shipper.look() == [b"2", b"3"]
    append(old, "late")
    assert shipper.look(passed_s=0.9) == []
    assert shipper.look(passed_s=6) == [b"late"]
    shipper.look(passed_s=2)
    append(old, "after the grace\n")
    assert shipper.look() == []
    assert len(shipper.positions) == 1
    shipper.close()


def test_rotation_while_nobody_looks_is_found_in_the_folder(log: Path) -> None:
    shipper = Shipper(log)
    append(log, "1\n2\n")
    shipper.look()
    shipper.restart()
    append(log, "3\n")
    log.rename(log.with_suffix(".log.1"))
    append(log, "4\n")
    assert shipper.look() == [b"3", b"4"]
    shipper.close()


def test_rotated_files_that_are_named_too_are_read_in_their_order(log: Path) -> None:
    shipper = Shipper(f"{log}*")
    for place, name in enumerate(["app.log.2", "app.log.1", "app.log"]):
        path = log.with_name(name)
        append(path, f"{place}\n")
        os.utime(path, ns=(10**9, 10**9))
    (log.parent / "app.log.3.gz").write_bytes(b"never read\n")
    assert shipper.look() == [b"0", b"1", b"2"]
    shipper.close()


def test_copy_truncate_begins_again(log: Path) -> None:
    shipper = Shipper(log)
    append(log, "one\ntwo\nunfinished")
    shipper.look()
    os.truncate(log, 0)
    assert shipper.look() == []
    assert shipper.counts.lost_bytes == len("unfinished")
    append(log, "three\n")
    assert shipper.look() == [b"three"]
    os.truncate(log, 0)
    append(log, "four, which makes it longer than before\n")
    assert shipper.look() + shipper.look() == [b"four, which makes it longer than before"]
    shipper.close()


def test_a_file_written_anew_with_the_same_head_is_told_by_its_last_bytes(log: Path) -> None:
    shipper = Shipper(log)
    head = "# the same head in every file\n" * 50
    append(log, f"{head}one\n")
    shipper.look()
    os.truncate(log, 0)
    append(log, f"{head}two\nthree\n")
    assert (shipper.look() + shipper.look())[-2:] == [b"two", b"three"]
    shipper.close()


def test_a_number_that_is_used_again_is_another_file(log: Path) -> None:
    shipper = Shipper(log)
    append(log, "one\n")
    shipper.look()
    shipper.close()
    log.unlink()
    append(log, "another\n")
    status = log.stat()
    other = Position(path=str(log), device=status.st_dev, inode=status.st_ino).advance(b"one\n", 4, is_skipping=False)
    shipper.positions = {other.name: other.pack()}
    shipper.restart()
    assert shipper.look() + shipper.look() == [b"another"]
    shipper.close()


def test_a_removed_file_is_read_to_its_end(log: Path) -> None:
    shipper = Shipper(log)
    append(log, "one\n")
    shipper.look()
    append(log, "two\nthree")
    log.unlink()
    assert shipper.look() == [b"two"]
    assert shipper.look(passed_s=6) == [b"three"]
    shipper.look(passed_s=2)
    assert (shipper.positions, shipper.counts.files) == ({}, 0)
    shipper.close()


def test_a_link_and_its_file_are_one_and_excluded_paths_are_not_read(tmp_path: Path) -> None:
    for name in ("a.log", "debug.log"):
        append(tmp_path / name, f"{name}\n")
    (tmp_path / "b.log").symlink_to(tmp_path / "a.log")
    (tmp_path / "broken.log").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    shipper = Shipper(tmp_path / "*.log", exclude=("*/debug*",))
    assert shipper.look() == [b"a.log"]
    assert [Path(one.path).name for one in find_files([str(tmp_path / "*.log")], [])] == ["a.log", "debug.log"]
    shipper.close()


def test_files_can_begin_at_their_end_when_first_seen(tmp_path: Path, log: Path) -> None:
    append(log, "old\nhalf")
    shipper = Shipper(tmp_path / "*.log", start="end")
    assert shipper.look() == []
    append(log, " a line\n")
    append(tmp_path / "later.log", "new\n")
    assert sorted(shipper.look()) == [b"half a line", b"new"]
    shipper.restart()
    log.rename(tmp_path / "app.log.1")
    append(log, "after the rotation\n")
    assert shipper.look() == [b"after the rotation"]
    shipper.close()


def test_a_bounded_number_of_files_is_open(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.log" for name in "abcdef"]
    shipper = Shipper(tmp_path / "*.log", max_open_files=2)
    for number in range(3):
        for path in paths:
            append(path, f"{path.name} {number}\n")
        assert sorted(shipper.look(passed_s=1)) == [f"{path.name} {number}".encode() for path in paths]
        assert sum(file.is_open for file in shipper.tail._files.values()) <= 2
    append(paths[0], "last\n")
    paths[0].rename(tmp_path / "a.log.1")
    assert shipper.look(passed_s=1) == [b"last"]
    shipper.close()


def test_once_ends_with_the_last_line_that_has_no_end(log: Path) -> None:
    append(log, b"one\n" * CHUNK_BYTES + b"two")
    shipper = Shipper(log, is_once=True)
    while not shipper.tail.is_finished:
        shipper.look()
    assert shipper.lines == [b"one"] * CHUNK_BYTES + [b"two"]
    shipper.close()


@pytest.mark.parametrize(
    ("path", "series"),
    [
        ("app.log", "app.log"),
        ("logs/app.log.12", "logs/app.log"),
        ("/app.log-20240501", "/app.log"),
        ("app.log.2024-05-01_10-00", "app.log"),
        ("app.log.20240501-101010", "app.log"),
        ("syslog.1", "syslog"),
        ("host-1", "host-1"),
        ("0.log", "0.log"),
    ],
)
def test_series(path: str, series: str) -> None:
    assert series_of(path) == series


def test_reading_order() -> None:
    names = [("app.log", 5), ("app.log.1", 5), ("app.log.2", 5), ("app.log.9", 7), ("app.log.3", 4)]
    ordered = sorted(names, key=lambda one: reading_order(*one))
    assert [name for name, _ in ordered] == ["app.log.3", "app.log.2", "app.log.1", "app.log", "app.log.9"]


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")), max_size=8),
    limit=st.integers(4, 14),
    cuts=st.lists(st.integers(0, 100), max_size=6),
)
def test_lines_do_not_depend_on_how_they_are_read(lines: list[bytes], limit: int, cuts: list[int]) -> None:
    content = b"".join(line + b"\n" for line in lines)
    whole = split_lines(content, max_line_bytes=limit)
    assert whole.size == len(content)
    assert not whole.is_skipping
    assert all(line.startswith(found) and len(line) - len(found) <= max(len(line) - limit, 0) + 3
               for line, found in zip(lines, whole.lines, strict=True))  # fmt: skip
    found, offset, is_skipping, cut = [], 0, False, 0
    for end in (*sorted(cuts), len(content)):
        split = split_lines(content[offset:end], max_line_bytes=limit, is_skipping=is_skipping)
        found += split.lines
        offset, is_skipping, cut = offset + split.size, split.is_skipping, cut + split.cut
    assert (found, cut) == (whole.lines, whole.cut)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 5)),
        st.tuples(st.just("part"), st.integers(1, 3)),
        st.tuples(st.just("old"), st.integers(1, 3)),
        st.tuples(st.just("rotate"), st.just(0)),
        st.tuples(st.just("truncate"), st.just(0)),
        st.tuples(st.just("look"), st.integers(0, 4)),
        st.tuples(st.just("kill"), st.integers(0, 4)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
@settings(max_examples=150, deadline=None)
@given(operations=OPERATIONS)
@example(operations=[("write", 1), ("rotate", 0), ("rotate", 0), ("old", 1), ("look", 0)])
@example(operations=[("write", 2), ("rotate", 0), ("write", 1), ("kill", 1), ("rotate", 0), ("look", 4)])
@example(operations=[("write", 1), ("rotate", 0), ("write", 1), ("rotate", 0), ("look", 4)])
def test_every_line_once_and_in_order(pattern: str, operations: list[tuple[str, int]]) -> None:
    """Against a list of what was written: with appends, rotations, copy-truncates and kills in any order.

    A pattern that does not name rotated files cannot see one that came and went while nobody looked, so the shipper
    looks once before such a rotation. Before a copy-truncate it always looks: that window is lost by nature.
    """
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "app.log"
        shipper = Shipper(Path(directory) / pattern, rotated_grace_s=3600.0, partial_line_s=3600.0)
        written: list[bytes] = []
        number, clock_ns = 0, 10**18
        half = b""
        old: Path | None = None
        for what, amount in operations:
            if what == "write":
                for _ in range(amount):
                    line = half + b"%d %s" % (number, b"x" * (number * 37 % 50))
                    append(log, line[len(half) :] + b"\n")
                    written.append(line)
                    number, half = number + 1, b""
            elif what == "part" and not half:
                half = b"half of %d" % number
                append(log, half)
            elif what == "old" and old is not None and not half:
                for _ in range(amount):  # the writer has not noticed the rotation; nothing was written to the new file
                    if log.exists() and log.stat().st_size:
                        break
                    append(old, b"old %d\n" % number)
                    written.append(b"old %d" % number)
                    number += 1
            elif what == "rotate" and log.exists() and not half:
                if pattern == "app.log":
                    shipper.look()
                for rotated in range(30, 0, -1):
                    if (before := log.with_name(f"app.log.{rotated}")).exists():
                        before.rename(log.with_name(f"app.log.{rotated + 1}"))
                old = log.rename(log.with_name("app.log.1"))
                log.touch()
            elif what == "truncate" and log.exists() and not half:
                shipper.look()
                shipper.look()
                os.truncate(log, 0)
                shipper.look()
            elif what == "look":
                shipper.look(portions=amount, passed_s=1.0)
                if shipper.was_cut:
                    shipper.restart()  # what was read and did not come to the spool is read again
            elif what == "kill":
                shipper.look(portions=amount)
                shipper.restart()
            for path in Path(directory).iterdir():  # times of changes are as far apart as on a real log
                if path.stat().st_mtime_ns > clock_ns + 10**9 or path == log:
                    os.utime(path, ns=(clock_ns, clock_ns))
            clock_ns += 10**9
        for _ in range(3):
            shipper.look()
        assert sorted(shipper.lines) == sorted(written)
        if not any(what == "old" for what, _ in operations):
            assert shipper.lines == written
        shipper.close()
