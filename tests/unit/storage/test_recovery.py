"""The recovery log: what is read back is all that was appended, up to the first record that is not whole."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplog_grpc.storage.recovery import ANSWERS, APPLIED, RecoveryLog

RECORDS = [(APPLIED, b"one run" * 50), (ANSWERS, b"an answer"), (APPLIED, b"another run")]


def written(directory: Path, *, start: int = 7, states: int = 1) -> RecoveryLog:
    """A log that was saved so many times, with the records after each save."""
    log = RecoveryLog(directory)
    for number in range(1, states + 1):
        log.save(log.begin(start=start), {"state": number})
        for record in RECORDS:
            log.append([record])
    log.close()
    return log


def only(directory: Path, suffix: str) -> Path:
    *_, newest = sorted(directory.glob(f"*{suffix}"))
    return newest


def test_what_was_saved_and_appended_is_read_back(tmp_path: Path) -> None:
    assert RecoveryLog(tmp_path / "none").read() is None
    written(tmp_path)
    found = RecoveryLog(tmp_path).read()
    assert found is not None
    assert (found.state, found.start, found.is_same_run) == ({"state": 1}, 7, True)
    assert list(found.records()) == RECORDS
    assert list(found.answers()) == [b"an answer"]


def test_a_state_replaces_what_came_before_it_but_for_some_answers(tmp_path: Path) -> None:
    written(tmp_path, states=6)
    found = RecoveryLog(tmp_path).read()
    assert found is not None
    assert found.state == {"state": 6}
    assert list(found.records()) == RECORDS
    assert list(found.answers()) == [b"an answer"] * 3
    assert len(list(tmp_path.iterdir())) == 5  # two states, three logs


def test_what_was_appended_while_a_state_was_being_saved_is_applied_to_the_state_before(tmp_path: Path) -> None:
    log = written(tmp_path)
    log.begin(start=7)
    log.append([(APPLIED, b"after it was taken")])
    log.close()
    found = RecoveryLog(tmp_path).read()
    assert found is not None
    assert found.state == {"state": 1}
    assert list(found.records()) == [*RECORDS, (APPLIED, b"after it was taken")]


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    assert RecoveryLog(tmp_path).begin(start=1) == 1
    assert RecoveryLog(tmp_path).begin(start=2) == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_log_that_is_cut_anywhere_gives_its_whole_records(tmp_path: Path, data: st.DataObject) -> None:
    directory = tmp_path / str(data.draw(st.integers(0, 10**9)))
    written(directory)
    log = only(directory, ".log")
    content = log.read_bytes()
    log.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    found = RecoveryLog(directory).read()
    assert found is not None
    records = list(found.records())
    assert records == RECORDS[: len(records)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path: Path, data: st.DataObject) -> None:
    directory = tmp_path / str(data.draw(st.integers(0, 10**9)))
    written(directory, states=2)
    path = data.draw(st.sampled_from([only(directory, ".log"), only(directory, ".state")]))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    found = RecoveryLog(directory).read()
    if found is None:
        return  # nothing is better than what is wrong
    assert found.state in ({"state": 1}, {"state": 2})
    records = list(found.records())
    expected = RECORDS if found.state == {"state": 2} else RECORDS * 2
    assert records == expected[: len(records)]


def test_the_state_before_stands_in_for_a_damaged_one(tmp_path: Path) -> None:
    written(tmp_path, states=2)
    newest = only(tmp_path, ".state")
    newest.write_bytes(newest.read_bytes()[:-1])
    found = RecoveryLog(tmp_path).read()
    assert found is not None
    assert found.state == {"state": 1}
    assert list(found.records()) == RECORDS * 2


def test_of_another_format_nothing_is_read(tmp_path: Path) -> None:
    written(tmp_path)
    for path in tmp_path.iterdir():
        content = bytearray(path.read_bytes())
        content[4] += 1
        path.write_bytes(content)
    assert RecoveryLog(tmp_path).read() is None


def test_another_run_of_the_machine_is_told_apart(tmp_path: Path) -> None:
    written(tmp_path)
    found = RecoveryLog(tmp_path, machine_run="another").read()
    assert found is not None
    assert not found.is_same_run


def test_after_a_failure_everything_can_be_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = RecoveryLog(tmp_path)
    log.save(log.begin(start=1), {})

    def full(file: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            log.append(RECORDS)
    log.drop()
    assert RecoveryLog(tmp_path).read() is None
    log.save(log.begin(start=1), {"state": "new"})
    assert RecoveryLog(tmp_path).read() is not None


def test_files_can_be_read_by_nobody_else(tmp_path: Path) -> None:
    written(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
