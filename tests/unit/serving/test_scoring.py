"""Ticks of the worker, with a clock that the test sets."""

import math

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.ingest import Part
from deeplog_grpc.serving.answers import AnswerOptions
from deeplog_grpc.serving.scoring import ScoreJob, ScoringWorker, TickJob, TickReply
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
