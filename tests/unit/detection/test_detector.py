from collections import Counter
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from deeplog_grpc.detection import ApplicationModel, EndReason, EntryBatch, Kind, SessionConfig, Verdict, VerdictBatch
from deeplog_grpc.detection.identifiers import IDENTIFIER_CHARS
from deeplog_grpc.models import BEGIN_KEY, UNKNOWN_KEY, LogKeyModel
from deeplog_grpc.testing import Fault
from tests.conftest import NewDetector
from tests.trained import LATER_S, ends, entry, fresh_detector, joined, order, rest_of_order, rows, with_times

TIMEOUT_S = 60.0
STRANGE = "kernel panic: not syncing, attempted to kill init"


def kinds(batch: VerdictBatch) -> set[int]:
    return set(batch.kinds.tolist())


def only(verdicts: tuple[Verdict, ...]) -> Verdict:
    assert len(verdicts) == 1
    return verdicts[0]


def test_normal_sessions_are_normal(new_detector: NewDetector) -> None:
    detector = new_detector()
    scored = detector.score(joined(*(order(seed) for seed in range(20))))
    ended = detector.flush().session_ends
    assert kinds(scored) == {Kind.NORMAL}
    assert scored.anomalies() == []
    assert (scored.ranks > 0).all()
    assert len(ended) == 20
    assert {end.kind for end in ended} == {Kind.NORMAL}
    assert detector.open_sessions == 0


def test_an_unseen_key_is_found_and_does_not_upset_its_neighbours(new_detector: NewDetector) -> None:
    batch = order(fault=Fault.UNSEEN_KEY)
    scored = new_detector().score(batch)
    (row,) = scored.anomalies()
    verdict = scored.verdict(row)
    assert "database connection lost" in verdict.template
    assert (verdict.kind, verdict.rank, verdict.probability, verdict.score) == (Kind.UNSEEN_KEY, 0, 0.0, 1.0)
    assert "not seen in training" in verdict.reason


@pytest.mark.parametrize("cache_mb", [0, 128])
def test_what_was_expected_before_an_unseen_key_does_not_depend_on_who_came_by(
    new_detector: NewDetector, cache_mb: int
) -> None:
    batch = order(fault=Fault.UNSEEN_KEY)
    first, later = new_detector(cache_mb=cache_mb), new_detector(cache_mb=cache_mb)
    for seed in range(10):
        other = order(seed)
        later.score(replace(other, sessions=[f"other-{seed}"] * len(other)))
    scored = (first.score(batch), later.score(batch))
    found = [verdicts.verdict(verdicts.anomalies()[0]).candidates for verdicts in scored]
    assert found[0] == found[1] != ()


def test_the_parser_goes_on_learning_while_new_keys_stay_unseen(new_detector: NewDetector) -> None:
    detector = new_detector()
    before = detector.templates
    scored = detector.score(EntryBatch.of([STRANGE, STRANGE], sessions=["a", "b"]))
    assert detector.templates == before + 1
    assert scored.keys[0] == scored.keys[1] == before
    assert kinds(scored) == {Kind.UNSEEN_KEY}
    assert detector.template(before) == STRANGE


def test_a_wrong_order_is_found_with_its_evidence(new_detector: NewDetector) -> None:
    scored = new_detector().score(order(fault=Fault.WRONG_ORDER))
    row = scored.anomalies()[0]
    verdict = scored.verdict(row)
    assert "handed over to carrier" in verdict.template
    assert verdict.kind is Kind.UNSEEN_TRANSITION
    assert verdict.session == scored.sessions[row]
    assert verdict.model_version == 3
    assert verdict.window[-1] == scored.keys[row - 1]
    assert verdict.window[0] == BEGIN_KEY
    assert verdict.candidates[0].template in verdict.reason
    chances = [candidate.probability for candidate in verdict.candidates]
    assert chances == sorted(chances, reverse=True)
    assert verdict.parameters
    assert verdict.session_end is None


def test_a_session_that_stops_half_way_is_incomplete_when_it_is_flushed(new_detector: NewDetector) -> None:
    detector = new_detector()
    batch = order(fault=Fault.TRUNCATED)
    assert kinds(detector.score(batch)) == {Kind.NORMAL}
    end = only(detector.flush().session_ends)
    assert (end.kind, end.session_end, end.key) == (Kind.INCOMPLETE_SESSION, EndReason.FLUSH, BEGIN_KEY)
    assert end.session.startswith("req-")
    assert "the session ended where" in end.reason


def test_a_silent_session_ends_at_the_entry_that_shows_it(new_detector: NewDetector) -> None:
    detector = new_detector(timeout_s=TIMEOUT_S)
    truncated, other = order(fault=Fault.TRUNCATED), order(5)
    last_s = LATER_S + len(truncated) - 1
    detector.score(truncated)
    on_time = detector.score(with_times(other.slice(0, 1), [last_s + TIMEOUT_S]))
    too_late = detector.score(with_times(other.slice(1, 3), [last_s + TIMEOUT_S, last_s + TIMEOUT_S + 0.001]))
    assert on_time.session_ends == ()
    end = only(too_late.session_ends)
    assert (end.kind, end.session_end, end.index) == (Kind.INCOMPLETE_SESSION, EndReason.TIMEOUT, 1)
    assert detector.open_sessions == 1


def test_time_goes_on_without_entries(new_detector: NewDetector) -> None:
    detector = new_detector(timeout_s=TIMEOUT_S)
    detector.score(order(fault=Fault.TRUNCATED))
    assert detector.advance(int((LATER_S + 30) * 1e9)).session_ends == ()
    end = only(detector.advance(int((LATER_S + 300) * 1e9)).session_ends)
    assert (end.kind, end.session_end) == (Kind.INCOMPLETE_SESSION, EndReason.TIMEOUT)


def test_an_end_marker_ends_its_session_at_once(new_detector: NewDetector) -> None:
    detector = new_detector(sessions=SessionConfig(end_patterns=("order closed",)))
    batch = order(1)
    scored = detector.score(joined(batch, order(2).slice(0, 1)))
    end = only(scored.session_ends)
    assert (end.kind, end.session_end, end.index) == (Kind.NORMAL, EndReason.MARKER, len(batch) - 1)
    assert detector.open_sessions == 1


def test_an_end_marker_too_early_is_incomplete_and_the_next_entry_begins_anew(new_detector: NewDetector) -> None:
    detector = new_detector(sessions=SessionConfig(end_patterns=("charging",)))
    scored = detector.score(order(1))
    end = only(scored.session_ends)
    assert end.kind is Kind.INCOMPLETE_SESSION
    assert "charging" in scored.verdict(end.index).template
    assert scored.verdict(end.index + 1).kind is Kind.UNSEEN_TRANSITION
    assert set(scored.verdict(end.index + 1).window) == {BEGIN_KEY}


def test_a_session_met_in_its_middle_after_a_cold_start_is_not_judged_on_an_unknown_beginning(
    new_detector: NewDetector,
) -> None:
    rest = rest_of_order()
    detector = new_detector(cold_start_s=60.0)
    scored = detector.score(rest)
    assert kinds(scored) == {Kind.NORMAL}
    assert not scored.ranks.any()
    assert set(scored.verdict(0).window) == {UNKNOWN_KEY}
    assert detector.flush().session_ends == ()  # its end is not judged either


def test_an_unseen_key_is_found_even_in_a_session_met_in_its_middle(new_detector: NewDetector) -> None:
    rest = rest_of_order().slice(0, 3)
    session = new_detector().score(rest).sessions[0]
    scored = new_detector(cold_start_s=60.0).score(joined(rest, entry(STRANGE, LATER_S + 8, session)))
    assert scored.kinds.tolist() == [Kind.NORMAL] * 3 + [Kind.UNSEEN_KEY]


def test_a_session_that_begins_during_the_cold_start_is_judged(new_detector: NewDetector) -> None:
    scored = new_detector(cold_start_s=60.0).score(order(fault=Fault.WRONG_ORDER))
    assert Kind.UNSEEN_TRANSITION in kinds(scored)
    assert scored.ranks.all()


def test_after_the_cold_start_an_unknown_beginning_is_abnormal(new_detector: NewDetector) -> None:
    detector = new_detector(cold_start_s=60.0)
    rest = rest_of_order()
    late = with_times(rest, [LATER_S + 61 + second for second in range(len(rest))])
    scored = detector.score(joined(order(1).slice(0, 1), late))
    assert scored.kinds.tolist()[:2] == [Kind.NORMAL, Kind.UNSEEN_TRANSITION]


def test_entries_without_times_are_judged_and_never_time_out(new_detector: NewDetector) -> None:
    detector = new_detector(timeout_s=TIMEOUT_S, cold_start_s=60.0)
    batches = [with_times(order(seed), [0.0] * len(order(seed))) for seed in range(3)]
    truncated = order(fault=Fault.TRUNCATED)
    scored = detector.score(joined(*batches, with_times(truncated, [0.0] * len(truncated))))
    assert kinds(scored) == {Kind.NORMAL}
    assert scored.ranks.all()
    assert scored.session_ends == ()
    assert sorted(end.kind for end in detector.flush().session_ends) == [
        Kind.NORMAL,
        Kind.NORMAL,
        Kind.NORMAL,
        Kind.INCOMPLETE_SESSION,
    ]


def test_a_session_whose_first_entries_have_no_time_goes_on_when_times_come(new_detector: NewDetector) -> None:
    detector = new_detector(timeout_s=TIMEOUT_S)
    batch = order(2)
    times = [0.0, 0.0, *(LATER_S + second for second in range(len(batch) - 2))]
    scored = detector.score(with_times(batch, times))
    assert scored.session_ends == ()
    assert kinds(scored) == {Kind.NORMAL}


def test_one_wrong_time_does_not_end_every_session(new_detector: NewDetector) -> None:
    detector = new_detector(timeout_s=TIMEOUT_S)
    batches = [order(seed).slice(0, 3) for seed in range(5)]
    wrong = entry("order received from 10.1.1.1 with 3 items", LATER_S + 10 * 365 * 86_400, "stray")
    scored = detector.score(joined(*batches, wrong, entry(STRANGE, LATER_S + 5, "other")))
    assert scored.session_ends == ()
    assert detector.open_sessions == 7


def test_a_jump_that_is_confirmed_ends_the_silent_sessions(new_detector: NewDetector) -> None:
    detector = new_detector(timeout_s=TIMEOUT_S)
    detector.score(order(fault=Fault.TRUNCATED))
    night = with_times(order(1), [LATER_S + 40_000 + second for second in range(len(order(1)))])
    scored = detector.score(night)
    end = only(scored.session_ends)
    assert (end.kind, end.session_end, end.index) == (Kind.INCOMPLETE_SESSION, EndReason.TIMEOUT, 1)


@pytest.mark.parametrize("batched", [True, False])
def test_the_first_session_after_a_quiet_night_is_not_cut_off(new_detector: NewDetector, batched: bool) -> None:
    detector = new_detector(timeout_s=TIMEOUT_S)
    detector.score(order(1))
    night = with_times(order(2), [LATER_S + 40_000 + second for second in range(len(order(2)))])
    parts = [night] if batched else [night.slice(row, row + 1) for row in range(len(night))]
    found = [detector.score(part) for part in parts]
    assert {kind for part in found for kind in kinds(part)} == {Kind.NORMAL}
    assert [end.kind for part in found for end in part.session_ends] == [Kind.NORMAL]  # that of the evening


def test_open_sessions_are_bounded_and_evictions_counted(new_detector: NewDetector) -> None:
    detector = new_detector(max_open_sessions=4)
    bodies = ["order received from 10.1.1.1 with 3 items"] * 50
    for start in range(0, 50, 7):
        names = [f"s{number}" for number in range(50)][start : start + 7]
        scored = detector.score(EntryBatch.of(bodies[: len(names)], sessions=names))
        assert detector.open_sessions <= 4
        assert scored.session_ends == ()
    assert (detector.open_sessions, detector.evicted_sessions) == (4, 46)
    assert [end.session for end in detector.flush().session_ends] == ["s46", "s47", "s48", "s49"]


def test_flush_ends_the_named_sessions_and_passes_over_others(new_detector: NewDetector) -> None:
    detector = new_detector()
    long = "x" * 5000
    detector.score(EntryBatch.of(["order received from 10.1.1.1 with 3 items"] * 3, sessions=["a", "b", long]))
    assert [end.session for end in detector.flush(["b", "nobody", long]).session_ends] == ["b", long[:IDENTIFIER_CHARS]]
    assert detector.open_sessions == 1
    assert detector.flush([]).session_ends == ()


def test_parsing_alone_touches_no_session(new_detector: NewDetector) -> None:
    detector = new_detector()
    parsed = detector.parse(["order received from 10.1.1.1 with 3 items"])
    assert detector.open_sessions == 0
    assert "order received from" in detector.template(int(parsed.keys[0]))


def test_an_empty_batch_is_fine(new_detector: NewDetector) -> None:
    scored = new_detector().score(EntryBatch.of([]))
    assert (len(scored), scored.session_ends, scored.anomalies()) == (0, (), [])


def test_without_begin_and_end_only_full_windows_are_judged(trained: ApplicationModel) -> None:
    model = trained.key_model
    inside = LogKeyModel.from_weights(replace(model.config, begin_end=False), model.vocabulary, model.weights())
    detector = fresh_detector(replace(trained, behaviour=replace(trained.behaviour, key_model=inside)))
    batch = max((order(seed) for seed in range(10)), key=len)
    scored = detector.score(batch)
    assert not scored.ranks[: model.config.history].any()
    assert scored.ranks[model.config.history :].all()
    assert detector.flush().session_ends == ()


def test_verdicts_and_columns_agree(new_detector: NewDetector) -> None:
    scored = new_detector().score(joined(order(1), order(fault=Fault.WRONG_ORDER), order(fault=Fault.UNSEEN_KEY)))
    for row, (key, kind, rank, probability, session) in enumerate(rows(scored)):
        verdict = scored.verdict(row)
        assert (verdict.index, verdict.key, verdict.kind, verdict.rank) == (row, key, kind, rank)
        assert np.float32(verdict.probability) == np.float32(probability)
        assert np.float32(verdict.score) == scored.scores[row]
        assert verdict.session == session
        assert verdict.is_anomaly == bool(verdict.reason)


def test_the_length_of_columns_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        EntryBatch.of(["a"], sessions=["s", "t"])


def test_concatenation_and_slices_are_inverse(new_detector: NewDetector) -> None:
    whole = joined(order(1), order(2))
    again = EntryBatch.concat([whole.slice(0, 5), whole.slice(5, 5), whole.slice(5, len(whole))])
    assert rows(new_detector().score(again)) == rows(new_detector().score(whole))
    assert ends(new_detector().score(EntryBatch.concat([]))) == []


def test_a_session_that_was_dropped_may_come_back_in_its_middle(new_detector: NewDetector) -> None:
    """An id flood pushes real sessions out; their next entries must not be judged as beginnings."""
    detector = new_detector(max_open_sessions=3, cold_start_s=0.0)
    whole = order(seed=5)
    half = len(whole) // 2
    flood = EntryBatch.of(
        ["INFO gateway order received"] * 10,
        times_ns=[int(whole.times_ns[half])] * 10,
        sessions=[f"flood-{number}" for number in range(10)],
    )
    detector.score(whole.slice(0, half))
    detector.score(flood)
    assert detector.evicted_sessions >= 7
    assert not detector.score(whole.slice(half, len(whole))).anomalies()


def repeated_entry() -> EntryBatch:
    """An order with its first entry once more where it may stand, so that only the counts are odd."""
    batch = order(1)
    return joined(*(batch.slice(0, 1) for _ in range(3)), batch.slice(1, len(batch)))


def test_a_session_with_odd_counts_is_named_by_what_differs(trained: ApplicationModel) -> None:
    config = replace(trained.behaviour.calibration.config, key=inf, transition=inf, end=inf)
    calibration = replace(trained.behaviour.calibration, config=config)
    detector = fresh_detector(replace(trained, behaviour=replace(trained.behaviour, calibration=calibration)))
    scored = detector.score(with_times(repeated_entry(), [LATER_S + second for second in range(len(repeated_entry()))]))
    assert kinds(scored) == {Kind.NORMAL}
    end = only(detector.flush().session_ends)
    assert end.kind is Kind.SESSION_COUNTS
    assert end.reason.startswith("3 times '")
    assert end.reason.endswith("where training sessions like it have 1")
    assert (max(end.counts.values()), sum(end.counts.values())) == (3, len(repeated_entry()))
    assert end.counts == Counter(scored.keys.tolist())
    assert end.candidates == ()


def test_a_session_of_odd_length_is_named_by_its_length(trained: ApplicationModel) -> None:
    off = {"key": inf, "transition": inf, "end": inf, "counts": inf, "length": 0.0}
    calibration = replace(trained.behaviour.calibration, config=replace(trained.behaviour.calibration.config, **off))
    detector = fresh_detector(replace(trained, behaviour=replace(trained.behaviour, calibration=calibration)))
    begin = EntryBatch.of([*order(1).slice(0, 2).bodies, STRANGE], sessions=["short"] * 3)
    keys = detector.score(begin).keys.tolist()
    end = only(detector.flush().session_ends)
    assert end.kind is Kind.SESSION_LENGTH
    assert list(end.counts.items()) == sorted(Counter(keys).items())
    profile = trained.behaviour.profile
    assert end.reason == f"3 entries where training sessions have {profile.shortest}-{profile.longest}"


def test_a_step_that_training_never_had_is_named_by_its_neighbour(trained: ApplicationModel) -> None:
    config = replace(trained.behaviour.calibration.config, key=inf, transition=1.0)
    calibration = replace(trained.behaviour.calibration, config=config)
    detector = fresh_detector(replace(trained, behaviour=replace(trained.behaviour, calibration=calibration)))
    scored = detector.score(order(fault=Fault.WRONG_ORDER))
    verdict = scored.verdict(scored.anomalies()[0])
    assert verdict.kind is Kind.UNSEEN_TRANSITION
    assert verdict.reason.startswith("this log key never came after '")
    assert 0 < verdict.score < 1
