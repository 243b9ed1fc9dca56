"""The verdict of a vector does not depend on how vectors are batched, nor on what other keys are beside it."""

from functools import cache
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.models import KeyVectors, ValueMemory, ValueModel, ValueModelConfig, fit_value_model
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


def test_a_long_batch_is_as_its_vectors_one_by_one() -> None:
    entries = [(1, *row) for row in waves(200, 9).tolist()]
    assert judged(entries, list(range(1, 200))) == judged(entries, [])
