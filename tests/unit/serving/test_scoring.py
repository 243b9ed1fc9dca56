"""Ticks of the worker, with a clock that the test sets."""

import math

import pytest
from structlog.testing import capture_logs

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.ingest import Part
from deeplog_grpc.serving.answers import AnswerOptions
from deeplog_grpc.serving.attempts import MAX_ATTEMPTS
from deeplog_grpc.serving.scoring import InstallJob, Job, ScoreJob, ScoringWorker, TickJob, TickReply
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.unit.serving.fake_detector import FakeDetector

S = 10**9
IN_2008_NS = 1_200_000_000 * S
OPTIONS = AnswerOptions(anomalies_only=False, full=False)


class Bench:
    """A worker, its detectors and its clock."""

    def __init__(self, *applications: str) -> None:
        self.at_s = 50.0
        self.detectors = {name: FakeDetector(name, timeout_ns=60 * S) for name in applications}
        self.worker = ScoringWorker(self.detectors, clock=lambda: self.at_s)

    def job(self, application: str, session: str, time_ns: int) -> ScoreJob:
        batch = EntryBatch.of(["open"], times_ns=[time_ns], sessions=[session])
        part = Part(application=application, positions=(0,), entry_ids=("",), batch=batch)
        return ScoreJob(parts=(part,), faults=(), flush=None, options=OPTIONS, entry_count=1)

    def score(self, application: str, session: str, time_ns: int) -> None:
        self.worker([self.job(application, session, time_ns)])

    def tick(self) -> TickReply:
        (reply,) = self.worker([TickJob()])
        assert isinstance(reply, TickReply)
        return reply


def ended(reply: TickReply) -> dict[str, list[tuple[str, int]]]:
    return {name: [(end.session, end.ended_ns) for end in ends] for name, ends in reply.ends.items()}


def test_a_session_ends_when_its_timeout_has_passed_whatever_the_date_of_the_log() -> None:
    bench = Bench("app")
    assert bench.worker.tick_due_s == math.inf
    bench.score("app", "s", IN_2008_NS)
    assert bench.worker.tick_due_s == 110.0
    bench.at_s = 110.0
    assert ended(bench.tick()) == {}
    assert bench.detectors["app"].calls == ["score"]
    bench.at_s = 110.1
    assert ended(bench.tick()) == {"app": [("s", IN_2008_NS + 60 * S)]}
    assert bench.worker.tick_due_s > 1e9
    assert ended(bench.tick()) == {}
    assert bench.detectors["app"].calls == ["score", "advance"]


def test_entries_that_were_there_before_the_tick_come_first() -> None:
    bench = Bench("app")
    bench.score("app", "s", IN_2008_NS)
    bench.at_s = 200.0
    replies = bench.worker([bench.job("app", "s", IN_2008_NS + 30 * S), TickJob()])
    assert isinstance(replies[1], TickReply)
    assert ended(replies[1]) == {}
    assert bench.worker.tick_due_s == 260.0


def test_an_application_without_event_times_is_never_advanced() -> None:
    bench = Bench("app")
    bench.score("app", "s", 0)
    assert bench.worker.tick_due_s == math.inf
    bench.at_s = 1e9
    assert ended(bench.tick()) == {}
    assert bench.detectors["app"].calls == ["score"]


def test_a_detector_that_fails_does_not_keep_the_others_from_their_tick() -> None:
    bench = Bench("bad", "good")
    bench.detectors["bad"].broken = True
    for name in ("bad", "good"):
        bench.score(name, "s", IN_2008_NS)
    bench.at_s = 500.0
    reply = bench.tick()
    assert list(reply.ends) == ["good"]
    assert [type(error) for error in reply.errors] == [RuntimeError]


def test_an_application_is_there_for_the_entries_behind_its_job() -> None:
    bench = Bench()
    assert bench.worker([TickJob()])
    jobs: list[Job] = [
        InstallJob(application="new", detector=FakeDetector("new", timeout_ns=60 * S), drift=None, sample=None),
        bench.job("new", "s", IN_2008_NS),
    ]
    _, scored = bench.worker(jobs)
    assert isinstance(scored, pb.ScoreResponse)
    assert scored.entry_count == 1
    assert bench.worker.tick_due_s == 110.0


def test_a_detector_in_the_place_of_another_gets_what_it_missed_and_then_the_rest() -> None:
    bench = Bench("app")
    bench.score("app", "s", IN_2008_NS)
    old, new = bench.detectors["app"], FakeDetector("app", timeout_ns=60 * S)
    missed = EntryBatch.of(["open", "write"], times_ns=[IN_2008_NS] * 2, sessions=["s"] * 2)
    job = InstallJob(application="app", detector=new, drift=None, sample=None, missed=lambda: [missed])
    before, _, after = bench.worker([bench.job("app", "s", IN_2008_NS), job, bench.job("app", "s", IN_2008_NS)])
    assert isinstance(before, pb.ScoreResponse)
    assert isinstance(after, pb.ScoreResponse)
    assert (before.verdicts[0].rank, after.verdicts[0].rank) == (2, 3)
    assert (old.batch_sizes, new.batch_sizes) == ([1, 1], [2, 1])


def test_a_detector_that_cannot_be_made_ready_leaves_the_one_before() -> None:
    bench = Bench("app")
    broken = EntryBatch.of(["crash"])
    job = InstallJob(application="app", detector=FakeDetector(), drift=None, sample=None, missed=lambda: [broken])
    failure, scored = bench.worker([job, bench.job("app", "s", IN_2008_NS)])
    assert isinstance(failure, RuntimeError)
    assert isinstance(scored, pb.ScoreResponse)
    assert bench.detectors["app"].batch_sizes == [1]


def job_of(*bodies: str) -> ScoreJob:
    count = len(bodies)
    batch = EntryBatch.of(list(bodies), times_ns=[IN_2008_NS] * count, sessions=["s"] * count)
    part = Part(application="app", positions=range(count), entry_ids=[""] * count, batch=batch)
    return ScoreJob(parts=(part,), faults=(), flush=None, options=OPTIONS, entry_count=count)


def test_a_job_at_which_the_detector_fails_costs_no_other() -> None:
    before, broken, after = Bench("app").worker([job_of("open"), job_of("open", "crash"), job_of("write")])
    assert isinstance(broken, RuntimeError)
    assert isinstance(before, pb.ScoreResponse)
    assert isinstance(after, pb.ScoreResponse)
    assert [before.verdicts[0].rank, after.verdicts[0].rank] == [1, 2]


@pytest.mark.parametrize("at", range(7))
def test_an_entry_that_fails_again_and_again_is_passed_over(at: int) -> None:
    bodies = ["open"] * 6
    bodies.insert(at, "crash")
    worker = Bench("app").worker
    for _ in range(MAX_ATTEMPTS - 1):
        assert isinstance(worker([job_of(*bodies)])[0], RuntimeError)
    with capture_logs() as logs:
        (response,) = worker([job_of(*bodies)])
    assert isinstance(response, pb.ScoreResponse)
    assert [(error.index, error.reason) for error in response.errors] == [(at, "CANNOT_BE_JUDGED")]
    assert [verdict.index for verdict in response.verdicts] == [place for place in range(7) if place != at]
    assert [verdict.rank for verdict in response.verdicts] == [1, 2, 3, 4, 5, 6]
    assert response.entry_count == 6
    assert [log["error_type"] for log in logs] == ["RuntimeError"]


def test_an_entry_alone_is_passed_over_too() -> None:
    worker = Bench("app").worker
    replies = [worker([job_of("crash")])[0] for _ in range(MAX_ATTEMPTS)]
    assert [isinstance(reply, RuntimeError) for reply in replies] == [True, True, False]
    assert isinstance(worker([job_of("open")])[0], pb.ScoreResponse)
