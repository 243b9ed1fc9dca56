"""What stands where a detector will be: it parses, counts, and judges nothing."""

import pytest

from deeplog_grpc.detection import EntryBatch, SessionConfig
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.parsing import ParserConfig
from deeplog_grpc.serving import learning_detector
from deeplog_grpc.serving.detectors import Scorer
from deeplog_grpc.serving.learning_detector import LearningDetector
from deeplog_grpc.testing import simulate_log
from tests.trained import entries_of

S = 10**9


def learner() -> LearningDetector:
    return LearningDetector("app", ParserConfig(), SessionConfig(), begun_ns=100 * S)


def test_it_is_a_scorer_that_finds_all_normal() -> None:
    scorer: Scorer = learner()
    batch = EntryBatch.of(["paid 17 EUR", "paid 18 EUR", "closed"], sessions=["a", "b", ""], sources=["", "", "host"])
    scored = scorer.score(batch)
    assert scored.kinds.tolist() == [Kind.NORMAL] * 3
    assert scored.keys.tolist() == [0, 0, 1]
    assert (scored.ranks.tolist(), scored.probabilities.tolist(), scored.scores.tolist()) == ([0] * 3, [1] * 3, [0] * 3)
    assert list(scored.sessions) == ["a", "b", "@host"]
    verdict = scored.verdict(1)
    assert (verdict.template, verdict.parameters, verdict.model_version) == ("paid <*> EUR", ("18",), 0)
    for empty in (scorer.flush(), scorer.advance(1 << 62), scorer.flush(["a"])):
        assert (len(empty.kinds), empty.session_ends) == (0, ())
    assert scorer.workflow_path("a") is None


def test_it_counts_what_training_will_have() -> None:
    detector = learner()
    stream = EntryBatch.of([f"tick {n}" for n in range(250)], sources=["host"] * 250)
    detector.score(stream)
    named = EntryBatch.of(["start", "stop"] * 5, sessions=["a", "a", "b", "b", *["c"] * 6])
    detector.score(named)
    seen = detector.seen(160 * S)
    assert (seen.entries, seen.sessions, seen.span_s) == (260, 3 + 2, 60.0)
    assert tuple(seen.key_starts) == (0, 250, 251)


def test_a_log_that_is_replayed_has_shown_the_time_that_it_spans() -> None:
    detector = learner()
    detector.score(EntryBatch.of(["x"] * 3, times_ns=[50 * S, 0, 950 * S]))
    assert detector.seen(101 * S).span_s == 900.0
    assert detector.event_time_ns == 950 * S


def test_a_time_stamp_that_is_years_off_is_no_day_of_log() -> None:
    detector = learner()
    detector.score(EntryBatch.of(["x"] * 4, times_ns=[5, 10_000_000 * S, 10_000_060 * S, 2**63 - 1]))
    detector.score(EntryBatch.of(["x"] * 2, times_ns=[10_000_120 * S, 7]))
    assert detector.seen(101 * S).span_s == 3_600 + 60 + 3_600


def test_taking_up_is_going_on() -> None:
    whole = entries_of(simulate_log(60, seed=3).lines)
    one, other = learner(), learner()
    one.score(whole)
    other.take_up(len(whole), [whole.slice(0, 300), whole.slice(300, len(whole))])
    assert other.seen(200 * S) == one.seen(200 * S)
    late = learner()
    late.take_up(10_000, [whole, EntryBatch.of(["a new kind of message"])])
    seen = late.seen(200 * S)
    assert seen.entries == 10_000
    assert set(seen.key_starts) == {0, 9_999}


def test_sessions_are_counted_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_detector, "MAX_SESSIONS", 50)
    detector = learner()
    for begin in range(0, 500, 10):
        detector.score(EntryBatch.of(["x"] * 10, sessions=[f"s{n}" for n in range(begin, begin + 10)]))
    assert detector.seen(200 * S).sessions <= 60
