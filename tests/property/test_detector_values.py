"""What holds for values through the Detector, whatever they are and however entries are put together to batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch
from deeplog_grpc.models import KeyModelConfig, ThresholdConfig, ValueModelConfig
from deeplog_grpc.parsing import Parser
from deeplog_grpc.training import Trainer

SECOND = 10**9
START_S = 1_700_000_000
SESSIONS = 250
_NUMBERS = ["80.0", "81.5", "120.0", "9e3", "1e400", "nan", "-1", "0", "9" * 300, "9" * 250, "seven", "", "80.0 s"]
_BODIES = [
    "job started by {} worker",
    "transfer from node_a took {} ms",
    "job done, code {}",
    "transfer from {} took 80 ms",
]
_relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _trained(*, streams: bool, values: ValueModelConfig) -> ApplicationModel:
    random = np.random.default_rng(0)
    bodies, times_s = [], []
    for number in range(SESSIONS):
        wave = 80.0 + 30.0 * (number % 3) + random.normal(0.0, 1.0)
        bodies += [f"job started by {('copy', 'move')[number % 2]} worker", f"transfer from node_a took {wave:.1f} ms"]
        bodies += [f"job done, code {(200, 204)[number % 2]}"]
        times_s += (START_S + 60.0 * number + np.array([0.0, random.normal(2.0, 0.05), 2.5])).tolist()
    trainer = Trainer(values=values)
    sessions = None if streams else [f"job-{row // 3}" for row in range(len(bodies))]
    times_ns = (np.array(times_s) * SECOND).astype(np.int64)
    trainer.add(EntryBatch.of(bodies, times_ns=times_ns, sessions=sessions))
    model, _ = trainer.fit(
        application="jobs",
        version=1,
        config=KeyModelConfig(hidden=16, epochs=3),
        thresholds=ThresholdConfig(false_positive_rate=0.02),
    )
    return model


@pytest.fixture(scope="module")
def models() -> list[ApplicationModel]:
    """By the median, by networks, as in the paper; and by networks for a stream."""
    always = ValueModelConfig(min_gain=None, epochs=2)
    paper = replace(always, interval="gaussian", confidence=0.99)
    return [
        *(_trained(streams=False, values=values) for values in (ValueModelConfig(), always, paper)),
        _trained(streams=True, values=always),
    ]


@st.composite
def _entries(draw: st.DrawFn) -> EntryBatch:
    """Jobs mostly as in training, some with other values, lines or times."""
    count = draw(st.integers(1, 25))
    odd = draw(st.dictionaries(st.integers(0, 74), st.tuples(st.sampled_from(_BODIES), st.sampled_from(_NUMBERS))))
    late = draw(st.dictionaries(st.integers(0, 74), st.sampled_from([-(10**6), -3, 1, 5, 4000, 10**6])))
    unknown = draw(st.sets(st.integers(0, 74), max_size=5))
    bodies, times_ns = [], []
    now_s = START_S + 10**6
    for row in range(3 * count):
        usual = (
            f"job started by {('copy', 'move')[row % 2]} worker",
            f"transfer from node_a took {80 + row % 3 * 30}.5 ms",
        )
        body, value = odd.get(row, ((*usual, "job done, code 200")[row % 3], ""))
        bodies.append(body.format(value))
        now_s += late.get(row, 2 if row % 3 else 55)
        times_ns.append(0 if row in unknown else now_s * SECOND)
    return EntryBatch.of(bodies, times_ns=times_ns, sessions=[f"new-{row // 3}" for row in range(len(bodies))])


def _scored(model: ApplicationModel, batch: EntryBatch, sizes: list[int]) -> list[Any]:
    """All that is said of entries, but for templates, which may have grown more general when a batch is through."""
    detector = Detector(
        replace(model, parser=Parser.from_state(model.parser.state())), DetectorConfig(cold_start_s=0.0)
    )
    found: list[Any] = []
    start = 0
    for size in [*sizes, len(batch)]:
        scored = detector.score(batch.slice(start, start + size))
        for row, verdict in enumerate(map(scored.verdict, range(len(scored)))):
            value = None if verdict.abnormal_value is None else replace(verdict.abnormal_value, slot=0)
            found.append((verdict.kind, verdict.score, verdict.rank, value, verdict.vector, float(scored.scores[row])))
        found += [(start + end.index, end.kind, end.score, end.session) for end in scored.session_ends]
        start += size
    return sorted(map(repr, found))


@pytest.mark.parametrize("place", range(4))
@_relaxed
@given(batch=_entries(), sizes=st.lists(st.integers(1, 12), max_size=20))
def test_batch_sizes_change_nothing_that_is_said_of_values(
    models: list[ApplicationModel], place: int, batch: EntryBatch, sizes: list[int]
) -> None:
    model = models[place]
    expected = _scored(model, batch, [])
    assert _scored(model, batch, sizes) == expected
    assert _scored(model, batch, [1] * len(batch)) == expected
