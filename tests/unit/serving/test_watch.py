"""Entries are kept beside the scoring, and a disk that is full does not stop it."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.serving.recorder import AnomalyRecorder
from deeplog_grpc.serving.watch import Watch
from deeplog_grpc.storage import AnomalyStore, SampleLog, read_sample
from tests.unit.serving.fake_detector import FakeDetector

BATCH = EntryBatch.of(["open", "write"], sessions=["s", "s"])


def seen(watch: Watch, detector: FakeDetector) -> None:
    watch.seen("app", BATCH, detector.score(BATCH), now_ns=0)


def watch_in(directory: Path) -> Watch:
    store = AnomalyStore(directory / "anomalies.sqlite", max_age_s=None, max_bytes=1 << 20)
    return Watch(AnomalyRecorder(store, context_entries=0), {})


def test_what_is_scored_is_kept_where_a_sample_is(tmp_path: Path) -> None:
    watch, detector = watch_in(tmp_path), FakeDetector()
    seen(watch, detector)
    watch.install("app", None, SampleLog(tmp_path / "sample", keep_bytes=1 << 20, keep_s=1e6))
    seen(watch, detector)
    watch.install("app", None, None)  # another detector, the same sample
    seen(watch, detector)
    assert [list(batch.bodies) for batch in read_sample(tmp_path / "sample")] == [["open", "write"] * 2]
    assert watch.report("app") is None


def test_a_full_disk_is_complained_about_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, detector = watch_in(tmp_path), FakeDetector()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    sample = SampleLog(tmp_path / "sample", keep_bytes=1 << 20, keep_s=1e6)
    monkeypatch.setattr(sample, "append", full)
    watch.install("app", None, sample)
    with capture_logs() as logged:
        for _ in range(3):
            seen(watch, detector)
    (complaint,) = logged
    assert (complaint["application"], complaint["error"]) == ("app", "No space left on device")
