"""Values, elapsed times and new values, as the Detector judges them."""

import re
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch, Kind, Verdict, VerdictBatch
from deeplog_grpc.models import (
    ELAPSED,
    LARGEST,
    FlaggedValue,
    KeyVectors,
    ThresholdConfig,
    ValueModel,
    ValueModelConfig,
    holds_vector,
    learn_vector,
    vector_of,
)
from deeplog_grpc.parsing import Parser
from deeplog_grpc.testing import Fault
from deeplog_grpc.training import Trainer
from tests.trained import fresh_detector, order

SECOND = 10**9
JOBS = 1_200
VERBS = ("copy", "move", "link")


def jobs(count: int, seed: int, *, start_s: float = 0.0) -> EntryBatch:
    """Jobs of three entries: the second comes about 2 s after the first, and names a duration of about 80 ms."""
    random = np.random.default_rng(seed)
    bodies, times_s, sessions = [], [], []
    for number in range(count):
        begin_s = 1_000.0 + start_s + 60.0 * number
        took_s = random.normal(2.0, 0.05)
        bodies += [
            f"job started by {VERBS[number % 3]} worker",
            f"transfer took {random.normal(80.0, 2.0):.1f} ms",
            "job done",
        ]
        times_s += [begin_s, begin_s + took_s, begin_s + took_s + 0.01]
        sessions += [f"job-{seed}-{number}"] * 3
    return EntryBatch.of(bodies, times_ns=(np.array(times_s) * SECOND).astype(np.int64), sessions=sessions)


def trained_jobs(values: ValueModelConfig | None = None, thresholds: ThresholdConfig | None = None) -> ApplicationModel:
    trainer = Trainer(values=values)
    trainer.add(jobs(JOBS, seed=1))
    model, _ = trainer.fit(application="jobs", version=1, thresholds=thresholds)
    return model


@pytest.fixture(scope="module")
def model() -> ApplicationModel:
    return trained_jobs()


def detector_of(model: ApplicationModel) -> Detector:
    parser = Parser.from_state(model.parser.state())
    return Detector(replace(model, parser=parser), DetectorConfig(cold_start_s=0.0))


def later(count: int = 30) -> EntryBatch:
    return jobs(count, seed=2, start_s=100_000.0)


def with_body(batch: EntryBatch, row: int, body: str) -> EntryBatch:
    bodies = list(batch.bodies)
    bodies[row] = body
    return replace(batch, bodies=bodies)


def with_delay(batch: EntryBatch, row: int, seconds: float) -> EntryBatch:
    """The entry and all later ones come later."""
    times_ns = batch.times_ns.copy()
    times_ns[row:] += int(seconds * SECOND)
    return replace(batch, times_ns=times_ns)


def without_rules(model: ValueModel) -> ValueModel:
    """Transitions alone."""
    return ValueModel(model.config, [], list(model.gaps.values()), {})


def only_anomaly(scored: VerdictBatch) -> Verdict:
    (row,) = scored.anomalies()
    return scored.verdict(row)


def test_normal_values_raise_nothing(model: ApplicationModel) -> None:
    detector = detector_of(model)
    assert detector.score(later()).anomalies() == []
    assert {end.kind for end in detector.flush().session_ends} == {Kind.NORMAL}


def test_a_number_far_from_its_prediction_is_named_with_its_interval(model: ApplicationModel) -> None:
    found = only_anomaly(detector_of(model).score(with_body(later(), 31, "transfer took 160.0 ms")))
    value = found.abnormal_value
    assert value is not None
    assert (found.index, found.kind, value.slot, value.unit) == (31, Kind.PARAMETER_VALUE, 0, "ms")
    assert value.observed == 160.0
    assert 78.0 < value.predicted < 82.0
    assert 60.0 < value.low < 75.0 < 85.0 < value.high < 110.0
    assert found.reason.startswith("160 ms at <*> 1 where ")
    assert found.score > 0.3
    assert [parameter.number for parameter in found.typed_parameters] == [160.0]
    assert value.trained_slot == 0
    assert found.vector is not None
    elapsed_s, took_ms = found.vector.numbers
    assert elapsed_s[:2] == (ELAPSED, "s")
    assert 1.5 < elapsed_s[2] < 2.5
    assert took_ms == (0, "ms", 160.0)
    assert found.vector.previous == (-1, found.window[-1])


def test_an_entry_that_comes_too_late_is_named_with_its_interval(model: ApplicationModel) -> None:
    found = only_anomaly(detector_of(model).score(with_delay(later(), 31, 3.0)))
    value = found.abnormal_value
    assert value is not None
    assert (found.index, found.kind, value.slot, value.unit) == (31, Kind.ELAPSED_TIME, ELAPSED, "s")
    assert 4.5 < value.observed < 5.5
    assert value.low < 2.0 < value.high < 4.0
    assert "after 'job started by <*> worker'" in found.reason
    assert value.trained_slot == ELAPSED
    assert found.vector is not None
    assert found.vector.numbers[0] == (ELAPSED, "s", value.observed)


def test_an_entry_that_comes_too_early_is_found_too(model: ApplicationModel) -> None:
    found = only_anomaly(detector_of(model).score(with_delay(later(), 31, -1.6)))
    assert found.kind is Kind.ELAPSED_TIME


def test_a_value_that_never_came_is_named_with_those_that_did(model: ApplicationModel) -> None:
    found = only_anomaly(detector_of(model).score(with_body(later(), 30, "job started by erase worker")))
    value = found.abnormal_value
    assert value is not None
    assert (found.kind, value.slot, value.text, value.known, value.known_count) == (
        Kind.NEW_VALUE,
        0,
        "erase",
        ("copy", "link", "move"),
        3,
    )
    assert found.reason == "'erase' never came at <*> 1 in training, which had 'copy', 'link', 'move'"
    assert found.vector is None


def test_values_of_an_abnormal_log_key_are_not_judged(model: ApplicationModel) -> None:
    batch = with_body(later(), 30, "transfer took 900.0 ms")  # at the begin of a session
    found = [Kind(kind) for kind in detector_of(model).score(batch).kinds[30:33]]
    assert found[0] in (Kind.UNSEEN_TRANSITION, Kind.EXECUTION_PATH)


def test_the_vector_of_an_entry_without_a_rule_is_its_time(model: ApplicationModel) -> None:
    alone = replace(model, value_model=without_rules(model.value_model))
    found = only_anomaly(detector_of(alone).score(with_delay(later(), 31, 3.0)))
    assert found.kind is Kind.ELAPSED_TIME
    assert found.abnormal_value is not None
    assert found.vector is not None
    assert found.vector.numbers == ((ELAPSED, "s", found.abnormal_value.observed),)


def test_the_numbers_of_a_vector_can_be_written_down(model: ApplicationModel) -> None:
    found = only_anomaly(detector_of(model).score(with_body(later(), 31, f"transfer took {'9' * 200}.0 ms")))
    assert found.vector is not None
    assert found.vector.numbers[1] == (0, "ms", LARGEST)


def test_an_unknown_time_says_nothing(model: ApplicationModel) -> None:
    batch = with_delay(later(), 31, 3.0)
    times_ns = batch.times_ns.copy()
    times_ns[31] = 0
    scored = detector_of(model).score(replace(batch, times_ns=times_ns))
    assert 31 not in scored.anomalies()


@pytest.mark.parametrize("size", [1, 7, 89])
def test_batches_change_no_verdict_on_values(model: ApplicationModel, size: int) -> None:
    batch = with_body(
        with_delay(with_body(later(), 31, "transfer took 95.0 ms"), 40, 1.5), 60, "job started by x worker"
    )
    whole, detector = detector_of(model).score(batch), detector_of(model)
    parts = [detector.score(batch.slice(start, start + size)) for start in range(0, len(batch), size)]
    assert np.concatenate([part.kinds for part in parts]).tolist() == whole.kinds.tolist()
    assert np.concatenate([part.scores for part in parts]).tobytes() == whole.scores.tobytes()
    assert {31, 40, 60} <= set(whole.anomalies())


def test_a_template_that_grows_hides_no_value(model: ApplicationModel) -> None:
    """Values are read by the templates of training, whatever the parser made of them in the same batch."""
    odd = with_body(with_body(later(), 31, "transfer took 160.0 ms"), 60, "transfer again took 80.0 ms")
    detector = detector_of(model)
    assert 31 in detector.score(odd).anomalies()


def test_a_slot_is_that_of_the_template_beside_it() -> None:
    """Values are read by the templates of training; what is shown has grown more general since."""
    line = "copied the old backup of night_shift to the tape library in {:.1f} ms with code {}"
    random = np.random.default_rng(0)
    bodies = [line.format(random.normal(80.0, 2.0), (200, 204, 404)[row % 3]) for row in range(1200)]
    trainer = Trainer()
    trainer.add(EntryBatch.of(bodies, sessions=[f"copy-{row // 2}" for row in range(1200)]))
    model, _ = trainer.fit(application="copies", version=1)
    odd = [line.format(80.0, 200), line.format(160.0, 200), line.format(80.0, 200), line.format(80.0, 599)]
    grown = line.format(80.0, 200).replace("night_shift", "node-77")
    detector = detector_of(model)
    scored = detector.score(EntryBatch.of([*odd, grown], sessions=["copy-a", "copy-a", "copy-b", "copy-b", "copy-c"]))
    number, text = scored.verdict(1), scored.verdict(3)
    assert number.abnormal_value is not None
    assert text.abnormal_value is not None
    assert "of <*> to" in number.template
    assert (number.parameters[number.abnormal_value.slot], text.parameters[text.abnormal_value.slot]) == (
        "160.0",
        "599",
    )
    assert "160 ms at <*> 2" in number.reason
    assert "'599' never came at <*> 3" in text.reason
    assert (number.abnormal_value.trained_slot, text.abnormal_value.trained_slot) == (0, 1)
    assert number.vector is not None
    assert number.vector.numbers == ((0, "ms", 160.0),)


def test_pinned_limits_turn_values_off() -> None:
    model = trained_jobs(thresholds=ThresholdConfig(value=np.inf, new_value=np.inf))
    batch = with_body(
        with_delay(with_body(later(), 31, "transfer took 900.0 ms"), 40, 30.0), 60, "job started by x worker"
    )
    assert detector_of(model).score(batch).anomalies() == []


def test_the_papers_interval_judges_whole_vectors() -> None:
    model = trained_jobs(ValueModelConfig(interval="gaussian", confidence=0.999, min_gain=None, new_values=0))
    assert model.value_model.rules[1].network is not None
    scored = detector_of(model).score(with_body(later(), 31, "transfer took 160.0 ms"))
    assert scored.verdict(31).kind is Kind.PARAMETER_VALUE
    assert len(scored.anomalies()) <= 3


def test_a_session_that_hangs_says_what_was_expected_and_how_soon(model: ApplicationModel) -> None:
    detector = detector_of(model)
    detector.score(later(1).slice(0, 2))
    (end,) = detector.advance(200_000 * SECOND).session_ends
    assert end.kind is Kind.INCOMPLETE_SESSION
    assert "'job done'" in end.reason
    assert "; 'job done' comes within 0." in end.reason


def evidence_of(model: ValueModel, found: Verdict) -> tuple[KeyVectors, FlaggedValue | None]:
    """What a verdict says of the numbers, to judge them again."""
    assert found.vector is not None
    assert found.abnormal_value is not None
    value = found.abnormal_value
    flagged = None if value.after else FlaggedValue(slot=value.trained_slot, predicted=value.predicted)
    return vector_of(model, found.key, found.vector.numbers, found.vector.previous), flagged


def learned(model: ApplicationModel, found: Verdict) -> ApplicationModel:
    """The model that an operator told that this was normal."""
    rate = model.behaviour.calibration.value_rate
    vectors, flagged = evidence_of(model.value_model, found)
    assert not holds_vector(model.value_model, vectors, rate=rate, flagged=flagged)
    wider = learn_vector(model.value_model, vectors, rate=rate, flagged=flagged)
    assert holds_vector(wider, vectors, rate=rate, flagged=flagged)
    return replace(model, value_model=wider)


def slower(batch: EntryBatch, row: int, times: int) -> EntryBatch:
    """An entry that says that it took longer."""
    return with_body(batch, row, re.sub(r"\d+(?= ms)", lambda took: str(int(took[0]) * times), batch.bodies[row]))


def test_a_slow_step_that_was_called_normal_is_so_at_once_and_a_slower_one_is_not(trained: ApplicationModel) -> None:
    batch = order(fault=Fault.SLOW)
    found = only_anomaly(fresh_detector(trained).score(batch))
    assert found.kind is Kind.PARAMETER_VALUE
    model = learned(trained, found)
    assert fresh_detector(model).score(batch).anomalies() == []
    worse = only_anomaly(fresh_detector(model).score(slower(batch, found.index, 5)))
    assert (worse.index, worse.kind) == (found.index, Kind.PARAMETER_VALUE)
    vectors, flagged = evidence_of(model.value_model, worse)
    rate = trained.behaviour.calibration.value_rate
    assert not holds_vector(model.value_model, vectors, rate=rate, flagged=flagged)


@pytest.mark.parametrize(("seconds", "other_s"), [(3.0, 15.0), (-1.6, 3.0)])
def test_a_time_that_was_called_normal_is_so_at_once(model: ApplicationModel, seconds: float, other_s: float) -> None:
    batch = with_delay(later(), 31, seconds)
    after = learned(model, only_anomaly(detector_of(model).score(batch)))
    assert detector_of(after).score(batch).anomalies() == []
    assert only_anomaly(detector_of(after).score(with_delay(later(), 31, other_s))).kind is Kind.ELAPSED_TIME


def test_a_time_is_learned_where_only_the_transition_is_known(model: ApplicationModel) -> None:
    alone, batch = replace(model, value_model=without_rules(model.value_model)), with_delay(later(), 31, 3.0)
    after = learned(alone, only_anomaly(detector_of(alone).score(batch)))
    assert detector_of(after).score(batch).anomalies() == []
    assert detector_of(after).score(with_delay(later(), 31, 15.0)).anomalies() == [31]


@pytest.mark.parametrize("interval", ["gaussian", "quantile"])
def test_a_number_that_a_network_called_abnormal_is_learned(interval: Literal["gaussian", "quantile"]) -> None:
    before = trained_jobs(ValueModelConfig(interval=interval, confidence=0.999, min_gain=None, new_values=0, epochs=3))
    batch = with_body(later(), 31, "transfer took 160.0 ms")
    found = detector_of(before).score(batch).verdict(31)
    assert before.value_model.rules[found.key].network is not None
    after = learned(before, found)
    assert detector_of(after).score(batch).verdict(31).kind is Kind.NORMAL
    worse = detector_of(after).score(with_body(later(), 31, "transfer took 800.0 ms"))
    assert worse.verdict(31).kind is Kind.PARAMETER_VALUE


def test_a_new_value_that_was_called_normal_joins_its_set(model: ApplicationModel) -> None:
    batch = with_body(later(), 30, "job started by erase worker")
    found = only_anomaly(detector_of(model).score(batch))
    value = found.abnormal_value
    assert value is not None
    sets = model.value_sets.with_value(found.key, value.trained_slot, value.text)
    assert sets.holds(found.key, value.trained_slot, value.text)
    assert not model.value_sets.holds(found.key, value.trained_slot, value.text)
    after = replace(model, value_sets=sets)
    assert detector_of(after).score(batch).anomalies() == []
    assert detector_of(after).score(with_body(later(), 30, "job started by format worker")).anomalies() == [30]
