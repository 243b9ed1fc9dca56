"""What is applied to detectors is written down: after a kill others come to stand where they stood."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplog_grpc.detection import Detector, EntryBatch, SessionConfig
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.ingest import Part
from deeplog_grpc.parsing import ParserConfig
from deeplog_grpc.serving.answers import AnswerOptions
from deeplog_grpc.serving.config import RecoveryConfig
from deeplog_grpc.serving.delivery import Named
from deeplog_grpc.serving.learning_detector import LearningDetector
from deeplog_grpc.serving.recovery import Recovery, Remembered, Restored
from deeplog_grpc.serving.scoring import FlushOrder, Job, ParseJob, ScoreJob, ScoringWorker, TickJob
from deeplog_grpc.storage.recovery import RecoveryLog
from deeplog_grpc.testing import simulate_log
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.conftest import NewDetector
from tests.trained import LATER_S, entries_of

OPTIONS = AnswerOptions(anomalies_only=False, full=True)
LOG = entries_of(simulate_log(120, seed=5, fault_rate=0.3, start_s=LATER_S).lines)
PARTS = [LOG.slice(start, start + 40) for start in range(0, len(LOG), 40)]


class Server:
    """A worker over one detector, and what it writes down."""

    def __init__(
        self,
        directory: Path,
        detector: Any,
        *,
        start: int,
        config: RecoveryConfig | None = None,
        keeps_text: bool = True,
    ) -> None:
        self.at_s = 100.0
        self.detector = detector
        self.detectors = {detector.application: detector}
        self.log = RecoveryLog(directory)
        self.recovery = Recovery(
            self.log,
            config or RecoveryConfig(),
            start=start,
            last_number=lambda: 40 + start,
            keeps_text=keeps_text,
            clock=lambda: self.at_s,
        )
        self.restored: Restored = self.recovery.restore(self.detectors)
        self.recovery.begin(self.detectors)
        self.worker = ScoringWorker(self.detectors, recovery=self.recovery, clock=lambda: self.at_s)

    def run(self, *jobs: Job) -> list[Any]:
        return list(self.worker(jobs))

    def kill(self) -> None:
        """Nothing more is written; a process that is gone has no threads either."""
        self.recovery.end()


def job(part: EntryBatch, *, flush: tuple[str, ...] | None = None, name: str = "") -> ScoreJob:
    own = Part(application="orders", positions=range(len(part)), entry_ids=[""] * len(part), batch=part)
    return ScoreJob(
        parts=(own,),
        faults=(),
        flush=None if flush is None else FlushOrder(application="orders", sessions=flush),
        options=OPTIONS,
        entry_count=len(part),
        named=Named(keys=(("score", name),), digest=name.encode(), is_record_delivery=False) if name else None,
    )


@pytest.fixture
def serve(tmp_path: Path, new_detector: NewDetector) -> Callable[..., Server]:
    """Starts servers on the same folder, one after the other."""
    starts = iter(range(1, 10_000))

    def start(detector: Any = None, config: RecoveryConfig | None = None) -> Server:
        return Server(tmp_path / "recovery", detector or new_detector(), start=next(starts), config=config)

    return start


@pytest.mark.parametrize("every", [1, 3, 1_000])
def test_killed_after_any_run_all_is_answered_as_if_nothing_had_happened(
    serve: Callable[..., Server], new_detector: NewDetector, every: int
) -> None:
    going_on = ScoringWorker({"orders": new_detector()}, clock=lambda: 100.0)
    server = serve()
    for number, part in enumerate(PARTS):
        if number % every == 0:
            server.kill()
            server = serve()
        assert server.run(job(part)) == list(going_on([job(part)]))
    everything = job(EntryBatch.of([]), flush=())
    assert server.run(everything) == list(going_on([everything]))
    server.kill()


def test_flushes_ticks_and_parsed_bodies_are_applied_again(
    serve: Callable[..., Server], new_detector: NewDetector
) -> None:
    bodies = ("the moon is in house 7", "the moon is in house 8")
    going_on, server = new_detector(), serve()
    server.run(job(PARTS[0], flush=(LOG_SESSION,)), ParseJob(application="orders", bodies=bodies))
    server.at_s += 100_000.0
    server.run(TickJob())
    server.run(job(PARTS[1]))
    going_on.score(PARTS[0])
    going_on.flush([LOG_SESSION])
    going_on.parse(bodies)
    going_on.advance(going_on.event_time_ns + 100_000 * NS_PER_S)
    going_on.score(PARTS[1])
    server.kill()
    again = serve()
    assert again.detector.open_sessions == going_on.open_sessions == server.detector.open_sessions
    assert again.detector.templates == going_on.templates
    assert again.restored.entries == len(PARTS[0]) + len(PARTS[1])
    assert _said(again.detector, PARTS[2]) == _said(going_on, PARTS[2])
    again.kill()


LOG_SESSION = "blk-none"
"""No session of the log: a flush of what is not open is applied as well."""


def _said(detector: Detector, part: EntryBatch) -> list[str]:
    scored = detector.score(part)
    return [repr(scored.verdict(row)) for row in range(len(part))] + [repr(end) for end in scored.session_ends]


def test_a_graceful_stop_leaves_nothing_to_apply_again(serve: Callable[..., Server]) -> None:
    server = serve()
    server.run(job(PARTS[0]))
    server.worker.close()
    again = serve()
    assert again.restored.entries == 0
    assert again.detector.open_sessions == server.detector.open_sessions > 0
    again.kill()


def test_answers_come_back_whether_the_state_was_saved_since_or_not(serve: Callable[..., Server]) -> None:
    server = serve(config=RecoveryConfig(max_entries=1_000))
    (answer,) = server.run(job(PARTS[0], name="first"))
    server.kill()
    again = serve()
    assert again.restored.remembered == [
        Remembered(
            key=("score", "first"),
            digest=b"first",
            is_record_delivery=False,
            is_alone=True,
            answer=answer.SerializeToString(),
        )
    ]
    again.kill()
    assert [found.key for found in serve().restored.remembered] == [("score", "first")]


def test_the_state_is_saved_anew_after_so_many_entries(serve: Callable[..., Server]) -> None:
    server = serve(config=RecoveryConfig(max_entries=1_000))
    for number in range(60):
        server.run(job(PARTS[number % len(PARTS)]))
    server.kill()
    assert server.recovery.saves >= 2
    again = serve()
    assert 0 <= again.restored.entries < 1_000 + 10 * server.detector.open_sessions + 40
    assert again.detector.open_sessions == server.detector.open_sessions
    again.kill()


def test_a_full_disk_takes_all_away_and_scoring_goes_on(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    server.run(job(PARTS[0]))

    def full(records: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(server.log, "append", full)
        (answer,) = server.run(job(PARTS[1]))
    assert isinstance(answer, pb.ScoreResponse)
    assert server.recovery.failures == 1
    server.run(job(PARTS[2]))
    assert server.log.read() is None
    server.at_s += 61.0
    server.run(job(PARTS[3]))  # there is room again
    server.kill()
    again = serve()
    assert again.detector.open_sessions == server.detector.open_sessions
    again.kill()


def test_what_an_earlier_run_left_behind_is_not_taken_up(
    serve: Callable[..., Server], new_detector: NewDetector
) -> None:
    """Another release may have served in between, which writes nothing down."""
    server = serve()
    server.run(job(PARTS[0]))
    server.kill()
    later = Server(server.log.directory, new_detector(), start=3)
    assert later.restored == Restored()
    assert later.detector.open_sessions == 0
    later.kill()


def test_a_detector_of_another_training_begins_cold(serve: Callable[..., Server], new_detector: NewDetector) -> None:
    server = serve()
    server.run(job(PARTS[0]))
    server.kill()
    other = new_detector()
    other._reader._training = "another"
    again = serve(other)
    assert again.restored.failed == {"orders"}
    again.kill()


def test_of_applications_that_still_learn_only_answers_are_kept(serve: Callable[..., Server]) -> None:
    def learning() -> LearningDetector:
        return LearningDetector("orders", ParserConfig(), SessionConfig(), begun_ns=0)

    server = serve(learning())
    server.run(job(PARTS[0], name="first"))
    server.kill()
    again = serve(learning())
    assert (again.restored.entries, len(again.restored.remembered)) == (0, 1)
    again.kill()


def test_odd_texts_survive(serve: Callable[..., Server], new_detector: NewDetector) -> None:
    bodies = ["nul \0 here", "", "\ud800 lone", "line\nline", "ünï"]
    batch = EntryBatch.of(bodies, times_ns=np.arange(5) * NS_PER_S, sessions=["a", "", "b", "a", "\0"])
    server, going_on = serve(), new_detector()
    server.run(job(batch))
    going_on.score(batch)
    server.kill()
    again = serve()
    assert _said(again.detector, PARTS[0]) == _said(going_on, PARTS[0])
    again.kill()


def test_where_no_text_may_be_written_sessions_survive_a_stop_and_not_a_kill(
    tmp_path: Path, new_detector: NewDetector
) -> None:
    text = PARTS[0].bodies[0].encode()
    open_after = []
    for start, is_killed in enumerate([True, False, True, False], start=1):
        server = Server(tmp_path / "recovery", new_detector(), start=start, keeps_text=False)
        open_after.append(server.detector.open_sessions)
        server.run(job(PARTS[0]))
        if is_killed:
            server.kill()
        else:
            server.worker.close()
        assert not any(text in path.read_bytes() for path in (tmp_path / "recovery").glob("*"))
        assert not list((tmp_path / "recovery").glob("*.log")) or not is_killed
    assert open_after[:2] == [0, 0]
    assert open_after[2] > 0
    assert open_after[3] == 0


def test_killed_again_and_again_while_it_starts_nothing_is_forgotten(tmp_path: Path, new_detector: NewDetector) -> None:
    directory = tmp_path / "recovery"
    server = Server(directory, new_detector(), start=1)
    server.run(job(PARTS[0]))
    server.kill()
    for start in (2, 3, 4):  # restored, and ended before anything was saved
        detector = new_detector()
        recovery = Recovery(RecoveryLog(directory), RecoveryConfig(), start=start, last_number=lambda: 0)
        assert recovery.restore({"orders": detector}).entries == len(PARTS[0])
    again = Server(directory, new_detector(), start=5)
    assert again.detector.open_sessions == server.detector.open_sessions > 0
    again.kill()
    later = Server(directory, new_detector(), start=7)
    assert later.detector.open_sessions == 0
    later.kill()
