import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deeplog_grpc.detection import EntryBatch, Kind
from deeplog_grpc.feedback import DriftMonitor
from deeplog_grpc.ingest import Part
from deeplog_grpc.serving.answers import AnswerOptions
from deeplog_grpc.serving.recorder import KEPT_CHARACTERS, AnomalyRecorder, Noted
from deeplog_grpc.serving.scoring import FlushOrder, ScoreJob, ScoringWorker, TickJob, TickReply
from deeplog_grpc.serving.watch import Watch
from deeplog_grpc.storage import AnomalyStore, StoredAnomaly, verdict_id
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.unit.serving.fake_detector import FakeDetector
from tests.unit.storage.anomaly_samples import all_of, open_store

S = 10**9
START_NS = 1_700_000_000 * S
SECRET = "password hunter2"


@dataclass
class Bench:
    """A worker over fake detectors, with a store."""

    store: AnomalyStore
    context_entries: int = 5
    timeout_s: int = 0
    at_s: float = 50.0
    now_ns: int = START_NS
    sent: int = 0
    detectors: dict[str, FakeDetector] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.detectors = {name: FakeDetector(name, timeout_ns=self.timeout_s * S) for name in ("app", "other")}
        self.recorder = AnomalyRecorder(self.store, context_entries=self.context_entries)
        self.drift = {name: DriftMonitor(expected_share=0.001) for name in self.detectors}
        self.worker = ScoringWorker(self.detectors, watch=Watch(self.recorder, self.drift), clock=lambda: self.at_s)

    def job(self, *entries: str, flush: bool = False, application: str = "app") -> ScoreJob:
        """Entries written as ``session: body``, a second apart."""
        pairs = [entry.split(": ", 1) for entry in entries]
        times = [self.now_ns + place * S for place in range(len(pairs))]
        self.now_ns += len(pairs) * S
        batch = EntryBatch.of([body for _, body in pairs], times_ns=times, sessions=[name for name, _ in pairs])
        part = Part(application=application, positions=range(len(pairs)), entry_ids=[""] * len(pairs), batch=batch)
        return ScoreJob(
            parts=(part,) if pairs else (),
            faults=(),
            flush=FlushOrder(application=application, sessions=()) if flush else None,
            options=AnswerOptions(anomalies_only=True, full=False),
            entry_count=len(pairs),
        )

    def run(self, *jobs: ScoreJob) -> list[pb.ScoreResponse]:
        replies = self.worker(jobs)
        return [reply for reply in replies if isinstance(reply, pb.ScoreResponse)]

    def score(self, *entries: str, flush: bool = False) -> pb.ScoreResponse:
        (response,) = self.run(self.job(*entries, flush=flush))
        return response

    def tick(self) -> TickReply:
        (reply,) = self.worker([TickJob()])
        assert isinstance(reply, TickReply)
        return reply

    def stored(self) -> list[StoredAnomaly]:
        return all_of(self.store)

    def evidence(self) -> list[anomaly_pb2.Anomaly]:
        return [anomaly_pb2.Anomaly.FromString(one.evidence) for one in self.stored()]

    def contexts(self) -> list[list[str]]:
        return [[entry.body for entry in one.context] for one in self.evidence()]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnomalyStore]:
    store = open_store(tmp_path / "anomalies.db")
    yield store
    store.close()


@pytest.fixture
def bench(store: AnomalyStore) -> Bench:
    return Bench(store)


def ids(*verdicts: verdict_pb2.Verdict) -> list[str]:
    return [verdict.verdict_id for verdict in verdicts]


def test_every_anomaly_is_answered_with_the_name_under_which_it_is_stored(bench: Bench) -> None:
    response = bench.score("a: open", "a: odd one", "b: what", "b: end")
    answered = [*response.verdicts, *response.session_ends]
    assert [Kind(one.kind) for one in answered] == [Kind.EXECUTION_PATH, Kind.UNSEEN_KEY, Kind.INCOMPLETE_SESSION]
    assert ids(*answered) == [verdict_id(one.number) for one in bench.stored()]
    assert [one.verdict for one in bench.evidence()] == answered
    assert bench.recorder.last_number == bench.stored()[-1].number == bench.store.last_number()


def test_what_is_stored_can_be_looked_for(bench: Bench) -> None:
    bench.score("a: open", "a: odd one")
    (one,) = bench.stored()
    assert (one.application, one.kind, one.key, one.session, one.time_ns) == (
        "app",
        Kind.EXECUTION_PATH,
        3,
        "a",
        START_NS + S,
    )
    assert one.score == 0.25
    group = bench.store.group(one.group_id)
    assert group is not None
    assert (group.template, group.reason) == ("key3 <*>", "EXECUTION_PATH after 2 entries")


def test_normal_entries_and_ends_have_no_name_and_are_not_stored(bench: Bench) -> None:
    response = bench.score("a: open", "a: write", "a: end")
    assert (bench.stored(), len(response.verdicts), len(response.session_ends)) == ([], 0, 0)


def test_jobs_that_are_scored_together_get_their_own_names_in_their_order(bench: Bench) -> None:
    jobs = [bench.job("a: odd 1"), bench.job("b: open"), bench.job("a: odd 2", "b: odd 3")]
    responses = bench.run(*jobs)
    assert bench.detectors["app"].batch_sizes == [4]
    names = [name for response in responses for name in ids(*response.verdicts)]
    assert [one.body for one in bench.evidence()] == ["odd 1", "odd 2", "odd 3"]
    assert names == [verdict_id(one.number) for one in bench.stored()]
    assert bench.contexts() == [[], ["odd 1"], ["open"]]


def test_numbers_grow_from_batch_to_batch_and_over_applications(bench: Bench) -> None:
    bench.score("a: odd")
    bench.run(bench.job("a: odd", application="other"), bench.job("a: odd"))
    numbers = [one.number for one in bench.stored()]
    assert numbers == sorted(set(numbers))
    assert sorted(one.application for one in bench.stored()) == ["app", "app", "other"]


def test_the_context_is_of_the_same_session_and_before_the_entry(bench: Bench) -> None:
    bench.score("a: open 1", "b: open 2", "a: write 3")
    bench.score("b: write 4", "a: write 5", "a: odd 6", "a: write 7", "b: odd 8")
    assert bench.contexts() == [["open 1", "write 3", "write 5"], ["open 2", "write 4"]]
    assert [entry.time_unix_nano - START_NS for entry in bench.evidence()[0].context] == [0, 2 * S, 4 * S]
    assert [one.body for one in bench.evidence()] == ["odd 6", "odd 8"]


def test_applications_do_not_see_each_others_entries(bench: Bench) -> None:
    bench.run(bench.job("a: open 1", application="other"))
    bench.score("a: odd 2")
    assert bench.contexts() == [[]]


def test_the_context_is_bounded_in_entries_and_characters(store: AnomalyStore) -> None:
    bench = Bench(store, context_entries=2)
    bench.score("a: open 1", f"a: write {'x' * 9_999}", "a: write 3", f"a: odd {'y' * 9_999}")
    (one,) = bench.evidence()
    assert [len(entry.body) for entry in one.context] == [KEPT_CHARACTERS, len("write 3")]
    assert len(one.body) == KEPT_CHARACTERS


def test_without_context_only_the_anomaly_is_stored(store: AnomalyStore) -> None:
    bench = Bench(store, context_entries=0)
    bench.score("a: open 1", "a: odd 2")
    assert bench.contexts() == [[]]


def test_an_end_by_a_marker_has_its_last_entry_in_the_context_and_no_body(bench: Bench) -> None:
    bench.score("a: open 1", "a: end 2", "a: open 3")
    (one,) = bench.evidence()
    assert (one.body, [entry.body for entry in one.context]) == ("", ["open 1", "end 2"])
    assert one.verdict.session_end == verdict_pb2.SESSION_END_REASON_MARKER


def test_an_end_by_a_timeout_does_not_have_the_entry_that_showed_it(bench: Bench) -> None:
    """That one is the first of another session of the same name."""
    bench.score("a: open 1", "a: write 2")
    bench.recorder.seen("app", EntryBatch.of(["open 3", "open 4"], sessions=["b", "a"]), ["b", "a"])
    end = verdict_pb2.Verdict(application="app", kind=verdict_pb2.KIND_INCOMPLETE_SESSION, key=-1, session="a")
    end.session_end = verdict_pb2.SESSION_END_REASON_TIMEOUT
    bench.recorder.record("app", [Noted(message=end, row=1)], now_ns=START_NS)
    assert bench.contexts() == [["open 1", "write 2"]]


def test_flushed_sessions_have_all_their_entries_and_the_time_of_the_log(bench: Bench) -> None:
    bench.score("a: open 1", "b: open 2")
    response = bench.score("a: write 3", flush=True)
    assert ids(*response.session_ends) == [verdict_id(one.number) for one in bench.stored()]
    assert sorted(bench.contexts()) == [["open 1", "write 3"], ["open 2"]]
    assert {one.time_ns for one in bench.stored()} == {START_NS + 2 * S}


def test_a_flush_alone_after_nothing_at_all_is_no_error(bench: Bench) -> None:
    assert ids(*bench.score(flush=True).session_ends) == []


def test_ends_that_came_with_the_clock_are_stored_and_named(store: AnomalyStore) -> None:
    bench = Bench(store, timeout_s=60)
    bench.score("a: open 1", "b: open 2", "b: write 3", "b: write 4")
    bench.at_s = 500.0
    ends = {end.session: end for end in bench.tick().ends["app"]}
    (one,) = bench.stored()
    assert (ends["a"].verdict_id, ends["b"].verdict_id) == (verdict_id(one.number), "")
    assert (one.session, one.time_ns) == ("a", START_NS + 60 * S)
    assert bench.contexts() == [["open 1"]]


class FullDisk:
    """A store that cannot write."""

    def __init__(self, store: AnomalyStore) -> None:
        self._add = store.add
        self.is_full = True

    def add(self, anomalies: object) -> None:
        if self.is_full:
            raise sqlite3.OperationalError("database or disk is full")
        self._add(anomalies)  # type: ignore[arg-type]


def test_a_store_that_fails_stops_nothing_but_the_names(store: AnomalyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(store, timeout_s=60)
    disk = FullDisk(store)
    monkeypatch.setattr(store, "add", disk.add)
    with capture_logs() as logs:
        response = bench.score(f"a: odd {SECRET}", f"a: what {SECRET}", "b: end")
        bench.at_s = 500.0
        late = bench.tick().ends["app"]
    answered = [*response.verdicts, *response.session_ends]
    assert [Kind(one.kind) for one in answered] == [Kind.EXECUTION_PATH, Kind.UNSEEN_KEY, Kind.INCOMPLETE_SESSION]
    assert ids(*answered) == [""] * 3
    assert [end.verdict_id for end in late] == [""]
    assert (bench.recorder.lost, bench.recorder.last_number, bench.stored()) == (4, 0, [])
    assert [(log["event"], log["count"]) for log in logs] == [("anomalies not stored", 3), ("anomalies not stored", 1)]
    assert SECRET not in str(logs)
    disk.is_full = False
    (again,) = bench.score("a: odd 7").verdicts
    assert (ids(again), bench.recorder.lost) == ([verdict_id(one.number) for one in bench.stored()], 4)


def test_the_watch_counts_abnormal_entries_ends_and_new_log_keys(bench: Bench) -> None:
    bench.score("a: open", "a: odd", "a: what", "b: end", "a: write rephrased")
    report = bench.drift["app"].report()
    assert report.entries == 5
    assert sorted(report.parts) == [(-1, 1), (3, 1), (99, 1)]
    assert report.alarm_share == pytest.approx(3 / 5)
    assert report.unseen_share == pytest.approx(2 / 5)  # what is judged as a known one is new all the same
