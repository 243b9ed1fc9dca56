"""The verdict of a vector does not depend on how vectors are batched, nor on what other keys are beside it."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deeplog_grpc.models import KeyVectors, ValueMemory, ValueModel, ValueModelConfig, fit_value_model, value_network
from tests.value_series import noise, vectors_of, waves

KEYS = (1, 2, 3, 4)
RATE = 1e-3
NUMBERS = st.one_of(
    st.floats(0, 400), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([5.0, 50.0, 100.0, 200.0, 300.0])
)
ENTRIES = st.lists(st.tuples(st.sampled_from(KEYS), NUMBERS, NUMBERS), max_size=60)


@cache
def model() -> ValueModel:
    config = ValueModelConfig(hidden=8, history=4, epochs=8, batch_rows=32, min_gain=None)
    series = [vectors_of(1, waves(150, 1)), vectors_of(2, waves(120, 2)), vectors_of(3, noise(110, 3))]
    return fit_value_model([*series, vectors_of(4, noise(40, 4))], config).model


def judged(entries: list[tuple[int, float, float]], cuts: list[int]) -> tuple[list[bytes], dict[int, str]]:
    """P-values to the bit and findings of each entry, judged in batches that end at the cuts."""
    memory = ValueMemory()
    p_values, findings = [b""] * len(entries), {}
    borders = [0, *sorted(cut for cut in cuts if cut < len(entries)), len(entries)]
    for start, stop in pairwise(borders):
        rows = {key: [row for row in range(start, stop) if entries[row][0] == key] for key in KEYS}
        used = [key for key in KEYS if rows[key]]
        batch: list[KeyVectors] = [vectors_of(key, [entries[row][1:] for row in rows[key]]) for key in used]
        for key, verdict in zip(used, model().judge(batch, memory, false_alarm_rate=RATE), strict=True):
            for place, row in enumerate(rows[key]):
                p_values[row] = verdict.p_values[place].tobytes()
                if place in verdict.findings:
                    findings[row] = repr(verdict.findings[place])
    return p_values, findings


@settings(deadline=None)
@given(entries=ENTRIES, cuts=st.lists(st.integers(0, 60), max_size=8))
def test_batches_do_not_matter(entries: list[tuple[int, float, float]], cuts: list[int]) -> None:
    assert judged(entries, cuts) == judged(entries, [])


@settings(deadline=None)
@given(entries=ENTRIES)
def test_other_keys_do_not_matter(entries: list[tuple[int, float, float]]) -> None:
    together, _ = judged(entries, [])
    for key in KEYS:
        own = [row for row, entry in enumerate(entries) if entry[0] == key]
        alone, _ = judged([entries[row] for row in own], list(range(60)))
        assert alone == [together[row] for row in own]


@settings(deadline=None)
@given(entries=ENTRIES)
def test_every_vector_has_a_p_value_and_every_finding_is_outside_its_interval(
    entries: list[tuple[int, float, float]],
) -> None:
    memory = ValueMemory()
    for key, elapsed, value in entries:
        verdict = model().judge([vectors_of(key, [[elapsed, value]])], memory, false_alarm_rate=RATE)[0]
        assert 0.0 <= verdict.p_values[0] <= 1.0
        assert (0 in verdict.findings) == (verdict.p_values[0] < RATE)
        for finding in verdict.findings.values():
            assert np.isfinite([finding.low, finding.high, finding.predicted]).all()
            assert not finding.low <= finding.observed <= finding.high


@settings(deadline=None)
@given(entries=ENTRIES, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_a_closer_look_at_what_is_settled_changes_nothing(
    entries: list[tuple[int, float, float]], cuts: list[int]
) -> None:
    model_, briefly, closely = model(), ValueMemory(), ValueMemory()
    borders = [0, *sorted(cut for cut in cuts if cut < len(entries)), len(entries)]
    for start, stop in pairwise(borders):
        for key in sorted({entry[0] for entry in entries[start:stop]}):
            vectors = vectors_of(key, [entry[1:] for entry in entries[start:stop] if entry[0] == key])
            low, high = model_.usual_elapsed((9, 9), key)  # what `vectors_of` puts before
            timely = ~((vectors.elapsed_s < low) | (vectors.elapsed_s > high))
            one = model_.judge([vectors], briefly, false_alarm_rate=RATE, timely=[timely])[0]
            every = [np.arange(len(vectors))]
            other = model_.judge([vectors], closely, false_alarm_rate=RATE, timely=[timely], looked_at=every)[0]
            remarkable = other.p_values < model_.unremarkable
            assert (one.p_values < model_.unremarkable).tolist() == remarkable.tolist()
            assert one.p_values[remarkable].tobytes() == other.p_values[remarkable].tobytes()
            assert repr(one.findings) == repr(other.findings)


def test_networks_are_not_asked_about_what_any_answer_would_leave_unremarkable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far, memory, counts = model().looking_below(1e-12), ValueMemory(), list[int]()
    forward = value_network.forward

    def counted(weights: value_network.Weights, windows: Tensor) -> Tensor:
        counts.append(1)
        return forward(weights, windows)

    monkeypatch.setattr(value_network, "forward", counted)
    vectors = vectors_of(3, noise(40, 5))
    timely = [np.ones(len(vectors), np.bool_)]
    quiet = far.judge([vectors], memory, false_alarm_rate=1e-13, timely=timely)[0]
    assert (counts, quiet.p_values.min(), quiet.findings) == ([], 1.0, {})
    odd = vectors_of(3, [[2.0, 1e6]])
    found = far.judge([odd], memory, false_alarm_rate=1e-13, timely=[np.ones(1, np.bool_)])[0]
    assert (counts, list(found.findings)) == ([1], [0])


def test_a_long_batch_is_as_its_vectors_one_by_one() -> None:
    entries = [(1, *row) for row in waves(200, 9).tolist()]
    assert judged(entries, list(range(1, 200))) == judged(entries, [])
