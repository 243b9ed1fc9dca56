"""A sample keeps the newest entries, in order, through kills and restarts."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.storage import SampleLog, SamplePlace, newest_entries, place_of_last, read_sample
from deeplog_grpc.storage.samples import _lines

S = 10**9


class Clock:
    def __init__(self) -> None:
        self.at_s = 1_000.0

    def __call__(self) -> float:
        return self.at_s


def log_in(directory: Path, *, segment_bytes: int = 1_000, keep_bytes: int = 1 << 20, keep_s: float = 1e6) -> SampleLog:
    return SampleLog(directory, keep_bytes=keep_bytes, keep_s=keep_s, segment_bytes=segment_bytes, clock=Clock())


def numbered(first: int, stop: int) -> EntryBatch:
    count = range(first, stop)
    return EntryBatch.of(
        [f"entry {number}" for number in count],
        times_ns=[number * S for number in count],
        sessions=[f"s{number % 7}" for number in count],
        sources=["host"] * len(count),
    )


def numbers(directory: Path, start: SamplePlace | None = None, stop: SamplePlace | None = None) -> list[int]:
    return [int(body.split()[1]) for batch in read_sample(directory, start=start, stop=stop) for body in batch.bodies]


texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=6)


@given(texts, st.integers(0, 2**63 - 1))
def test_a_line_gives_back_what_was_put_in(bodies: Sequence[str], time_ns: int) -> None:
    awkward = [*bodies, '},{"body":', 'a "},{\\"body\\":" b', "\n\x00"]
    lines = _lines(EntryBatch.of(awkward, times_ns=[time_ns] * len(awkward)))
    assert lines.count(b"\n") == len(awkward)


def test_entries_come_back_in_order_with_all_their_fields(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    awkward = EntryBatch.of(
        ['},{"body":', "half \ud800 pair", "a\nb", ""],
        times_ns=[1, 0, 2**63 - 1, 3],
        sessions=["", '"', "\u2028", "s"],
        sources=["h", "", "ü", "x"],
    )
    log.append(awkward)
    (found,) = read_sample(tmp_path)
    assert list(found.bodies) == ['},{"body":', "half ? pair", "a\nb", ""]
    assert (list(found.sessions), list(found.sources)) == (list(awkward.sessions), list(awkward.sources))
    assert np.array_equal(found.times_ns, awkward.times_ns)


@pytest.mark.parametrize("is_tidied", [False, True])
def test_many_segments_are_one_sample(tmp_path: Path, is_tidied: bool) -> None:
    log = log_in(tmp_path)
    places = []
    for first in range(0, 300, 10):
        log.append(numbered(first, first + 10))
        places.append(log.end)
        if is_tidied:
            log.tidy()
    assert numbers(tmp_path) == list(range(300))
    assert log.entries == 300
    assert numbers(tmp_path, stop=places[11]) == list(range(120))
    assert numbers(tmp_path, start=places[11], stop=places[20]) == list(range(120, 210))
    assert len(list(tmp_path.glob("*.zst"))) == (len(list(tmp_path.iterdir())) - 1 if is_tidied else 0)
    reopened = log_in(tmp_path)
    assert reopened.entries == 300
    reopened.append(numbered(300, 310))
    assert numbers(tmp_path) == list(range(310))


def test_the_oldest_go_when_the_room_is_used_up(tmp_path: Path) -> None:
    log = log_in(tmp_path, keep_bytes=4_000)
    for first in range(0, 2_000, 10):
        log.append(numbered(first, first + 10))
        log.tidy()
    kept = numbers(tmp_path)
    assert kept == list(range(2_000 - len(kept), 2_000))
    assert 50 < len(kept) < 1_000
    assert log.entries == len(kept)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5_000


def test_the_oldest_go_when_their_time_has_passed_and_a_quiet_application_keeps_all(tmp_path: Path) -> None:
    log = log_in(tmp_path, segment_bytes=100, keep_s=50.0)
    for first in range(0, 60, 10):
        log.append(numbered(first, first + 10))
    for age, path in enumerate(sorted(tmp_path.iterdir(), reverse=True)):
        os.utime(path, (1_000_000 - age * 20, 1_000_000 - age * 20))
    log.tidy()
    assert numbers(tmp_path) == list(range(30, 60))


def test_the_newest_are_bounded_by_number_and_by_time(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for first in range(0, 300, 10):
        log.append(numbered(first, first + 10))
    stop = log.end
    log.append(numbered(300, 310))
    newest = newest_entries(tmp_path, stop=stop, entries=25, span_ns=0)
    assert list(newest.bodies) == [f"entry {number}" for number in range(275, 300)]
    assert len(newest_entries(tmp_path, stop=stop, entries=100, span_ns=9 * S)) == 10
    assert len(newest_entries(tmp_path, stop=stop, entries=10**6, span_ns=0)) == 300
    assert len(newest_entries(tmp_path / "none", stop=stop, entries=5, span_ns=0)) == 0
    assert 40 <= len(numbers(tmp_path, start=place_of_last(tmp_path, 40))) < 100


def test_a_cut_line_and_a_damaged_segment_cost_nothing_else(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for first in range(0, 60, 10):
        log.append(numbered(first, first + 10))
    log.tidy()
    log.close()
    last = max(tmp_path.glob("*.jsonl"))
    last.write_bytes(last.read_bytes()[:-5])
    oldest = min(tmp_path.glob("*.zst"))
    oldest.write_bytes(oldest.read_bytes()[:40])
    again = log_in(tmp_path)
    again.append(numbered(60, 70))
    again.tidy()
    found = numbers(tmp_path)
    assert 59 not in found
    assert found[-10:] == list(range(60, 70))
    assert set(range(30, 59)) < set(found)


_WRITER = """
import sys
from pathlib import Path
from deeplog_grpc.storage import SampleLog
from tests.unit.storage.test_samples import numbered
log = SampleLog(Path(sys.argv[1]), keep_bytes=1 << 20, keep_s=1e6, segment_bytes=20_000)
for first in range(0, 10**6, 10):
    log.append(numbered(first, first + 10))
    print(first + 10, flush=True)
    if first % 1000 == 0:
        log.tidy()
"""


@pytest.mark.parametrize("reports", [30, 250])
def test_what_was_appended_before_a_kill_is_there(tmp_path: Path, reports: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    appended = 0
    for _ in range(reports):
        appended = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    found = numbers(tmp_path)
    assert len(found) >= appended
    assert found == list(range(len(found)))


def test_a_full_disk_keeps_neither_what_is_too_old_nor_half_a_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_in(tmp_path, keep_bytes=4_000)
    for first in range(0, 2_000, 10):
        log.append(numbered(first, first + 10))

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        log.tidy()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5_000
    assert not list(tmp_path.glob(".*"))
    assert 10 < len(numbers(tmp_path)) == log.entries < 2_000


def test_what_no_entry_has_takes_no_room(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append(EntryBatch.of(["a", "b"], times_ns=[1, 2]))
    log.append(EntryBatch.of(["c", "d"], times_ns=[3, 4], sessions=["s", ""]))
    log.close()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("*.jsonl"))
    assert content.count(b"session") == 2
    (batch,) = read_sample(tmp_path)
    assert (list(batch.bodies), list(batch.sessions)) == (["a", "b", "c", "d"], ["", "", "s", ""])
