import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.models import (
    ELAPSED,
    UNREMARKABLE,
    FlaggedValue,
    KeyVectors,
    ValueFinding,
    ValueMemory,
    ValueModel,
    ValueModelConfig,
    ValueSet,
    ValueSets,
    fit_value_model,
    holds_vector,
    learn_vector,
    vector_of,
)
from deeplog_grpc.models.value_widening import MARGIN
from tests.value_series import PIECES, noise, vectors_of, waves

CYCLIC, PLAIN, UNKNOWN = 1, 2, 77
BEFORE = 9
RATE = 1e-3
NUMBERS = st.one_of(st.floats(0, 400), st.floats(allow_nan=True, allow_infinity=True))


@cache
def model(interval: str = "quantile") -> ValueModel:
    config = ValueModelConfig(
        hidden=8,
        history=4,
        epochs=25,
        batch_rows=32,
        interval="gaussian" if interval == "gaussian" else "quantile",
    )
    return fit_value_model([vectors_of(CYCLIC, waves(400, 1)), vectors_of(PLAIN, noise(400, 2))], config, seed=4).model


def p_value(judge: ValueModel, vectors: KeyVectors) -> float:
    """Of one vector, by the medians, with no number unremarkable."""
    sight = judge.sight(vectors)
    by_median = sight.rule.by_median if sight.rule else None
    return float(judge.judge_of(sight, sight.medians(), by_median).p_values[0])


def one(key: int, elapsed_s: float, took_ms: float, *, before: int = BEFORE) -> KeyVectors:
    return vectors_of(key, [[elapsed_s, took_ms]], before=before)


@pytest.mark.parametrize("interval", ["quantile", "gaussian"])
@pytest.mark.parametrize(("elapsed_s", "took_ms"), [(2.0, 90.0), (4.0, 50.0), (0.5, 10.0), (6.0, 200.0)])
def test_a_learned_vector_is_normal_and_one_far_beyond_it_is_not(
    interval: str, elapsed_s: float, took_ms: float
) -> None:
    before, vectors = model(interval), one(PLAIN, elapsed_s, took_ms)
    assert not holds_vector(before, vectors, rate=RATE)
    after = learn_vector(before, vectors, rate=RATE)
    assert holds_vector(after, vectors, rate=RATE)
    assert after.judge([vectors], ValueMemory(), false_alarm_rate=RATE)[0].findings == {}
    assert MARGIN * RATE <= p_value(after, vectors) < 0.02
    beyond = one(PLAIN, 2.0 + 2 * (elapsed_s - 2.0), 50.0 + 2 * (took_ms - 50.0))
    assert not holds_vector(after, beyond, rate=RATE)


def test_a_learned_vector_is_normal_with_its_transition_without_it_and_by_it_alone() -> None:
    vectors = one(PLAIN, 4.0, 90.0)
    after = learn_vector(model(), vectors, rate=RATE)
    other_template = replace(vectors, pieces=("", " of 7"))
    assert after.sight(other_template).rule is None
    for view in (vectors, one(PLAIN, 4.0, 90.0, before=55), other_template):
        assert not holds_vector(model(), view, rate=RATE)
        assert p_value(after, view) >= MARGIN * RATE


def test_the_rules_of_all_others_are_the_same_objects() -> None:
    before = model()
    after = learn_vector(before, one(PLAIN, 4.0, 90.0), rate=RATE)
    assert after is not before
    assert {key for key, rule in after.rules.items() if rule is not before.rules[key]} == {PLAIN}
    assert {name for name, gap in after.gaps.items() if gap is not before.gaps[name]} == {(BEFORE, PLAIN)}
    assert list(after.rules) == list(before.rules)
    assert after.looking_below(0.01).unremarkable == 0.01
    assert before.looking_below(0.01).with_rules(None, None).unremarkable == 0.01


def test_the_wider_interval_is_in_all_that_is_derived_from_it() -> None:
    before = model().looking_below(RATE)
    after = learn_vector(before, one(PLAIN, 4.0, 90.0), rate=RATE)
    assert after.usual_elapsed((BEFORE, BEFORE), PLAIN)[1] >= 4.0 > before.usual_elapsed((BEFORE, BEFORE), PLAIN)[1]
    ((_, (_, wide)),), ((_, (_, narrow)),) = after.usual_numbers(PLAIN), before.usual_numbers(PLAIN)
    assert wide >= 90.0 > narrow


def off_beat(judge: ValueModel, took_ms: float = 300.0) -> ValueFinding | None:
    """What is said of a duration that is normal in a cycle, and not where it comes."""
    values = waves(40, 7)
    values[20, 1] = took_ms  # 100 would be next
    return judge.judge([vectors_of(CYCLIC, values)], ValueMemory(), false_alarm_rate=RATE)[0].findings.get(20)


@pytest.mark.parametrize("interval", ["quantile", "gaussian"])
def test_what_a_network_calls_abnormal_is_learned_by_its_prediction(interval: str) -> None:
    before, vectors = model(interval), one(CYCLIC, float(waves(40, 7)[20, 0]), 300.0)
    found = off_beat(before)
    assert found is not None
    flagged = FlaggedValue(slot=0, predicted=found.predicted)
    assert holds_vector(before, vectors, rate=RATE)
    assert not holds_vector(before, vectors, rate=RATE, flagged=flagged)
    after = learn_vector(before, vectors, rate=RATE, flagged=flagged)
    assert holds_vector(after, vectors, rate=RATE, flagged=flagged)
    assert off_beat(after) is None
    assert off_beat(after, 600.0) is not None
    # Without the prediction, all that is known is that the medians hold it normal.
    assert off_beat(learn_vector(before, vectors, rate=RATE)) is not None


def test_a_flagged_slot_without_a_place_says_nothing() -> None:
    vectors = one(CYCLIC, 5.0, 200.0)
    assert holds_vector(model(), vectors, rate=RATE, flagged=FlaggedValue(slot=5, predicted=1e9))
    assert holds_vector(model(), one(UNKNOWN, 5.0, 2.0), rate=RATE, flagged=FlaggedValue(slot=0, predicted=1e9))


def test_a_key_without_a_rule_is_judged_and_learned_by_its_transition() -> None:
    alone = ValueModel(model().config, [], list(model().gaps.values()), {})
    vectors = vector_of(alone, PLAIN, [(ELAPSED, "s", 4.0), (0, "ms", 1e9)], (3, BEFORE))
    assert (vectors.pieces, vectors.values.tolist()) == ((), [[4.0]])
    assert not holds_vector(alone, vectors, rate=RATE)
    after = learn_vector(alone, vectors, rate=RATE)
    assert holds_vector(after, vectors, rate=RATE)
    assert not holds_vector(after, vector_of(alone, PLAIN, [(ELAPSED, "s", 20.0)], (3, BEFORE)), rate=RATE)


def test_of_what_nothing_is_known_nothing_is_learned() -> None:
    vectors = vector_of(model(), UNKNOWN, [(ELAPSED, "s", 1e9)], (3, 4))
    assert holds_vector(model(), vectors, rate=RATE)
    assert learn_vector(model(), vectors, rate=RATE).to_json() == model().to_json()


def test_a_vector_has_the_numbers_that_the_rule_reads() -> None:
    numbers = [(0, "ms", 50.0), (4, "", 3.0), (ELAPSED, "", 2.0)]
    full = vector_of(model(), PLAIN, numbers, (3, BEFORE))
    assert (full.pieces, full.values.tolist(), full.previous.tolist()) == (PIECES, [[2.0, 50.0]], [[3, BEFORE]])
    other_unit = vector_of(model(), PLAIN, [(0, "bytes", 50.0)], (3, BEFORE))
    assert np.isnan(other_unit.values).all()
    assert holds_vector(model(), other_unit, rate=RATE)


@pytest.mark.parametrize("interval", ["quantile", "gaussian"])
def test_any_rate_is_as_where_vectors_are_judged(interval: str) -> None:
    vectors = one(PLAIN, 40.0, 900.0)
    assert holds_vector(model(interval), vectors, rate=0.0)
    assert learn_vector(model(interval), vectors, rate=0.0).to_json() == model(interval).to_json()
    after = learn_vector(model(interval), vectors, rate=1.0)
    assert holds_vector(after, vectors, rate=1.0)
    assert MARGIN * UNREMARKABLE * 0.999 <= p_value(after, vectors) <= MARGIN * UNREMARKABLE * 1.501


def test_one_vector_is_judged_and_learned_at_a_time() -> None:
    for count in (0, 2):
        with pytest.raises(ValueError, match="instead of one"):
            learn_vector(model(), vectors_of(PLAIN, noise(count, 1)), rate=RATE)


@pytest.mark.parametrize("interval", ["quantile", "gaussian"])
@settings(deadline=None)
@given(key=st.sampled_from([CYCLIC, PLAIN]), numbers=st.tuples(NUMBERS, NUMBERS), predicted=NUMBERS, data=st.data())
def test_any_vector_can_be_learned_and_none_is_less_normal_for_it(
    interval: str, key: int, numbers: tuple[float, float], predicted: float, data: st.DataObject
) -> None:
    before, vectors = model(interval), one(key, *numbers)
    flagged = FlaggedValue(slot=data.draw(st.sampled_from([ELAPSED, 0])), predicted=predicted)
    after = learn_vector(before, vectors, rate=RATE, flagged=flagged)
    assert holds_vector(after, vectors, rate=RATE, flagged=flagged)
    assert p_value(after, vectors) >= MARGIN * RATE * (1.0 - 1e-9)
    other = one(key, *data.draw(st.tuples(NUMBERS, NUMBERS)))
    assert p_value(after, other) >= p_value(before, other) * (1.0 - 1e-9)
    written = json.loads(json.dumps(after.to_json(), allow_nan=False))
    loaded = ValueModel.from_json(after.config, written, after.weights())
    assert p_value(loaded, other) == p_value(after, other)


def test_a_value_joins_the_set_of_its_slot_alone() -> None:
    verbs, codes = (ValueSet(slot=slot, values=frozenset({"a"}), nats=6.0) for slot in (0, 2))
    before = ValueSets({4: ("", " ", " ", ""), 5: ("", "")}, {4: [verbs, codes], 5: [verbs]})
    after = before.with_value(4, 2, "b")
    assert [(found.slot, sorted(found.values), found.nats) for found in after.of_key(4)] == [
        (0, ["a"], 6.0),
        (2, ["a", "b"], 6.0),
    ]
    assert not before.holds(4, 2, "b")
    assert after.of_key(5) == before.of_key(5)
    assert after.of_key(4)[0] is verbs
    assert ValueSets.from_json(json.loads(json.dumps(after.to_json()))).holds(4, 2, "b")
    assert before.holds(4, 1, "b")
    assert before.with_value(4, 1, "b") is before
