"""A detector that is put in while entries come stands where one stands that saw them all."""

import errno
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.detection import ApplicationModel, EntryBatch, Kind, VerdictBatch
from deeplog_grpc.feedback import Lesson, StepCase
from deeplog_grpc.serving import installation
from deeplog_grpc.serving.installation import TooFastError, confirmed_missed, replay
from deeplog_grpc.storage import SampleLog, samples
from deeplog_grpc.testing import simulate_log
from tests.conftest import NewDetector
from tests.trained import LATER_S, ends, entries_of, rows


@pytest.fixture(scope="module")
def log() -> EntryBatch:
    return entries_of(simulate_log(400, seed=21, start_s=LATER_S, fault_rate=0.05).lines)


def sample_in(directory: Path) -> SampleLog:
    return SampleLog(directory, keep_bytes=1 << 26, keep_s=1e6)


def test_the_replay_and_what_was_missed_are_all_that_came(
    tmp_path: Path, new_detector: NewDetector, log: EntryBatch
) -> None:
    sample = sample_in(tmp_path)
    sample.append(log.slice(0, 3_000))
    since = iter(range(3_000, 3_400, 50))

    def more_comes() -> None:
        if (begin := next(since, None)) is not None:
            sample.append(log.slice(begin, begin + 50))

    timeout_s = float(log.times_ns[-1] - log.times_ns[0]) / 1e9  # so that all of it is replayed
    late, early = new_detector(cold_start_s=None, timeout_s=60.0), new_detector(cold_start_s=None, timeout_s=60.0)
    missed = replay(late, sample, timeout_s, more_comes)
    sample.append(log.slice(3_400, 3_700))
    for batch in missed():
        late.score(batch)
    early.score(log.slice(0, 3_700))
    expected, found = (detector.score(log.slice(3_700, len(log))) for detector in (early, late))
    assert rows(found) == rows(expected)
    assert ends(found) == ends(expected)


def full_disk(monkeypatch: pytest.MonkeyPatch, sample: SampleLog, batch: EntryBatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as full:
        full.setattr(samples, "_lines", fail)
        with pytest.raises(OSError, match="full"):
            sample.append(batch)


def test_sessions_that_lost_entries_are_not_replayed(
    tmp_path: Path, new_detector: NewDetector, log: EntryBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_in(tmp_path)
    sample.append(log.slice(0, 1_000))
    full_disk(monkeypatch, sample, log.slice(1_000, 1_010))
    sample.append(log.slice(1_010, 1_100))
    seen: list[EntryBatch] = []
    detector = new_detector()
    score = detector.score

    def listened(batch: EntryBatch) -> VerdictBatch:
        seen.append(batch)
        return score(batch)

    monkeypatch.setattr(detector, "score", listened)
    missed = replay(detector, sample, 1e6, lambda: None)
    assert list(EntryBatch.concat(seen).bodies) == list(log.slice(1_010, 1_100).bodies)
    assert not list(missed())
    full_disk(monkeypatch, sample, log.slice(1_100, 1_110))
    with pytest.raises(TooFastError):
        missed()


def test_only_two_time_outs_are_replayed(
    tmp_path: Path, new_detector: NewDetector, log: EntryBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_in(tmp_path)
    sample.append(log)
    seen: list[int] = []
    detector = new_detector()
    score = detector.score

    def listened(batch: EntryBatch) -> VerdictBatch:
        seen.append(int(batch.times_ns.min()))
        return score(batch)

    monkeypatch.setattr(detector, "score", listened)
    replay(detector, sample, 10.0, lambda: None)
    assert min(seen) >= int(log.times_ns.max()) - 20 * 10**9
    assert min(seen) <= int(log.times_ns.max()) - 15 * 10**9


def test_who_cannot_catch_up_says_so(
    tmp_path: Path, new_detector: NewDetector, log: EntryBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_in(tmp_path)
    sample.append(log.slice(0, 100))

    def flood(*_: Any) -> None:
        sample.append(log.slice(0, 1_000))

    monkeypatch.setattr(installation, "MAX_MISSED", 3_000)
    with pytest.raises(TooFastError):
        replay(new_detector(), sample, 60.0, flood)
    missed = replay(new_detector(), sample, 60.0, lambda: None)
    monkeypatch.setattr(installation, "MAX_MISSED", 50)
    sample.append(log.slice(0, 51))
    with pytest.raises(TooFastError):
        missed()


class Confirmed:
    """A past in which only these were confirmed."""

    def __init__(self, *cases: StepCase) -> None:
        self._cases = cases

    def confirmed(self) -> tuple[Lesson, ...]:
        return tuple(Lesson(kind=Kind.EXECUTION_PATH, case=case) for case in self._cases)


def test_confirmed_anomalies_that_a_model_holds_normal_are_counted(trained: ApplicationModel) -> None:
    keys = tuple(max(trained.behaviour.known.replayed, key=lambda session: len(session.keys)).keys)
    usual, odd = StepCase(window=keys[:4], key=keys[4]), StepCase(window=keys[:4], key=keys[0])
    past: Any = Confirmed(usual, odd, odd)
    assert confirmed_missed(past, trained) == (1, 2)
    nothing: Any = Confirmed()
    assert confirmed_missed(nothing, trained) == (0, 0)
