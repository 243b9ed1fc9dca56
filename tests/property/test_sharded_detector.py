"""A detector over shards says what one detector says, whatever it reads and however many shards there are."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplog_grpc.detection import ApplicationModel, Detector, EntryBatch, Judges, SessionConfig, VerdictBatch
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.models import KeyModelConfig, ThresholdConfig, ValueModelConfig
from deeplog_grpc.serving.sharded_batch import ShardedBatch
from deeplog_grpc.serving.sharded_detector import ShardedDetector
from deeplog_grpc.training import Trainer
from tests.sharded import local_shards, sharded_detector
from tests.trained import fresh_detector

START_S = 1_700_000_000
_LATER_S = START_S + 10**6
_ODD = [
    "transfer from node_a took 9000.0 ms",
    "transfer from node_b took 80.0 ms",
    "transfer from node_a took 80.5 ms",
    "job started by erase worker",
    "job done, code 500",
    "disk 7 is on fire",
    "the moon is in the seventh house",
    "first row\nsecond row",
]
_STEPS_S = [0.0, 0.5, 2.0, 2.0, 2.0, 61.0, 5_000.0, 100_000.0]
ModelOf = Callable[[int], ApplicationModel]
relaxed = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _trained(*, streams: bool, values: ValueModelConfig, semantic: bool = False) -> ApplicationModel:
    random = np.random.default_rng(0)
    bodies, times_s = [], []
    for number in range(250):
        wave = 80.0 + 30.0 * (number % 3) + random.normal(0.0, 1.0)
        bodies += [f"job started by {('copy', 'move')[number % 2]} worker", f"transfer from node_a took {wave:.1f} ms"]
        bodies += [f"job done, code {(200, 204)[number % 2]}"]
        times_s += (START_S + 60.0 * number + np.array([0.0, random.normal(2.0, 0.05), 2.5])).tolist()
    trainer = Trainer(values=values)
    sessions = None if streams else [f"job-{row // 3}" for row in range(len(bodies))]
    trainer.add(EntryBatch.of(bodies, times_ns=(np.array(times_s) * NS_PER_S).astype(np.int64), sessions=sessions))
    model, _ = trainer.fit(
        application="jobs",
        version=1,
        config=KeyModelConfig(hidden=16, epochs=3, semantic=semantic, semantic_similarity=0.3),
        thresholds=ThresholdConfig(false_positive_rate=0.02),
    )
    return model


@pytest.fixture(scope="module")
def model_of() -> ModelOf:
    """Values by networks and by medians; of sessions and of a stream; with new log keys that have stand-ins.

    A function, for what a test is given is printed when it fails.
    """
    networks = ValueModelConfig(min_gain=None, epochs=2)
    models = [
        _trained(streams=False, values=networks),
        _trained(streams=False, values=ValueModelConfig(), semantic=True),
        _trained(streams=True, values=replace(networks, interval="gaussian", confidence=0.99)),
    ]
    return lambda place: models[place]


@st.composite
def entries(draw: st.DrawFn) -> EntryBatch:
    """Jobs, some with other lines, in sessions and streams, at times that stand, run, jump and are not known."""
    count = draw(st.integers(0, 60))
    steps = draw(st.lists(st.sampled_from(_STEPS_S), min_size=count, max_size=count))
    odd_times = draw(st.dictionaries(st.integers(0, 59), st.sampled_from([0.0, 1.0, START_S, _LATER_S + 1e8])))
    odd = draw(st.dictionaries(st.integers(0, 59), st.sampled_from(_ODD)))
    turns = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    starts_untimed = draw(st.booleans())
    places = [0] * 7
    bodies, times_s, now_s = [], [], float(_LATER_S)
    for row, (turn, step_s) in enumerate(zip(turns, steps, strict=True)):
        place = places[turn] = places[turn] + 1
        usual = (
            f"job started by {('copy', 'move')[turn % 2]} worker",
            f"transfer from node_a took {80 + place % 3 * 30}.5 ms",
            f"job done, code {(200, 204)[turn % 2]}",
        )
        bodies.append(odd.get(row, usual[(place - 1) % 3]))
        now_s += step_s
        times_s.append(0.0 if starts_untimed and row < count // 3 else odd_times.get(row, now_s))
    return EntryBatch.of(
        bodies,
        times_ns=[int(time_s * NS_PER_S) for time_s in times_s],
        sessions=["" if turn > 4 else f"job-{turn}-{places[turn]}" if turn == 4 else f"job-{turn}" for turn in turns],
        sources=[("", "host")[turn % 2] for turn in turns],
    )


options = st.fixed_dictionaries(
    {
        "timeout_s": st.sampled_from([0.0, 60.0]),
        "cold_start_s": st.sampled_from([0.0, 100.0, None]),
        "sessions": st.sampled_from([SessionConfig(), SessionConfig(end_patterns=("job done", "on fire"))]),
        "path_entries": st.sampled_from([0, 256]),
    }
)
_divisions = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["", "", "parse", "flush", "adopt"])), max_size=8)


def said(scored: VerdictBatch | ShardedBatch) -> tuple[Any, ...]:
    """All that is said, to the last bit; the ends in no order, for that of those at one entry is not promised."""
    columns = (scored.keys, scored.kinds, scored.ranks, scored.probabilities, scored.scores)
    return (
        *(column.tolist() for column in columns),
        list(scored.sessions),
        dict(scored.stands_for),
        [repr(scored.verdict(row)) for row in range(len(scored))],
        sorted(repr(end) for end in scored.session_ends),
    )


@pytest.mark.parametrize("place", range(3))
@relaxed
@given(batch=entries(), division=_divisions, count=st.integers(1, 3), options=options)
def test_shards_change_nothing_that_is_said(
    model_of: ModelOf,
    place: int,
    batch: EntryBatch,
    division: list[tuple[int, str]],
    count: int,
    options: dict[str, Any],
) -> None:
    model = model_of(place)
    one: Detector = fresh_detector(model, **options)
    many: ShardedDetector = sharded_detector(model, local_shards(count), **options)
    start = 0
    for number, (size, then) in enumerate([*division, (len(batch), "flush")], start=2):
        part = batch.slice(start, start + size)
        start += size
        assert said(many.score(part)) == said(one.score(part))
        match then:
            case "parse":
                assert many.parse(_ODD).keys.tolist() == one.parse(_ODD).keys.tolist()
            case "flush":
                names = [*part.sessions[:2], "job-1", "@host"]
                assert said(many.flush(names)) == said(one.flush(names))
            case "adopt":
                judges = one.judges_of(replace(model, version=number))
                one.adopt(judges)
                if number % 2:  # else the shards are told when it comes into force
                    many.prepare(judges.model)
                many.adopt(Judges(judges.model, cache_bytes=1 << 20))
        now_ns = one.event_time_ns + 90 * NS_PER_S * (number % 3 == 0 < one.event_time_ns)
        assert many.next_deadline_ns == one.next_deadline_ns
        assert said(many.advance(now_ns)) == said(one.advance(now_ns))
        assert many.open_sessions == one.open_sessions
        assert many.event_time_ns == one.event_time_ns
    assert said(many.flush()) == said(one.flush())
    assert many.open_sessions == many.evicted_sessions == 0


@relaxed
@given(batch=entries(), sizes=st.lists(st.integers(1, 12), min_size=6, max_size=6), count=st.integers(1, 3))
def test_reading_ahead_changes_nothing_that_is_said(
    model_of: ModelOf, batch: EntryBatch, sizes: list[int], count: int
) -> None:
    one = fresh_detector(model_of(0), timeout_s=60.0)
    many = sharded_detector(model_of(0), local_shards(count), timeout_s=60.0)
    stops = np.minimum(np.cumsum([0, *sizes, len(batch)]), len(batch)).tolist()
    parts = [batch.slice(start, stop) for start, stop in pairwise(stops)]
    expected = [said(one.score(part)) for part in parts]
    # Templates grow more general with what is read ahead: what is compared is all but the texts of evidence.
    found = [said(scored) for scored in many.score_each(parts)]
    assert [said[:6] for said in found] == [said[:6] for said in expected]
    assert [len(said[-1]) for said in found] == [len(said[-1]) for said in expected]


@relaxed
@given(numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=80), limit=st.integers(2, 9))
def test_open_sessions_are_bounded_in_all_shards_together(model_of: ModelOf, numbers: list[int], limit: int) -> None:
    detector = sharded_detector(model_of(0), local_shards(2), max_open_sessions=limit, timeout_s=0.0)
    names = [f"job-{number}" for number in numbers]
    detector.score(EntryBatch.of(["job started by copy worker"] * len(names), sessions=names))
    assert detector.open_sessions <= limit + 1
    assert detector.open_sessions + detector.evicted_sessions >= len(set(names))
    still_open = detector.open_sessions
    assert len(detector.flush().session_ends) == still_open > 0
