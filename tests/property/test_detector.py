"""What holds for the detector whatever it reads."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplog_grpc.detection import Detector, EntryBatch, SessionConfig
from deeplog_grpc.detection.watermark import NS_PER_S
from tests.conftest import NewDetector
from tests.trained import LATER_S, Row, in_parts, order, rows

_BODIES = [*order(1).bodies, *order(2).bodies, "disk 7 is on fire", "kernel panic in module ext4, stopping now"]
_SESSIONS = ["a", "b", "c", "d", ""]
_STEPS_S = [0.0, 0.5, 30.0, 61.0, 5_000.0, 100_000.0]
_relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def _entries(draw: st.DrawFn) -> EntryBatch:
    """Entries of few sessions in any order, with times that stand, run, jump ahead and back, or are not known."""
    count = draw(st.integers(0, 60))
    steps = draw(st.lists(st.sampled_from(_STEPS_S), min_size=count, max_size=count))
    odd = draw(st.dictionaries(st.integers(0, 59), st.sampled_from([0.0, 1.0, LATER_S - 1e6, LATER_S + 1e9])))
    times_s, now_s = [], LATER_S
    for row, step_s in enumerate(steps):
        now_s += step_s
        times_s.append(odd.get(row, now_s))
    bodies = draw(st.lists(st.sampled_from(_BODIES), min_size=count, max_size=count))
    sessions = draw(st.lists(st.sampled_from(_SESSIONS), min_size=count, max_size=count))
    return EntryBatch.of(bodies, times_ns=[int(time_s * NS_PER_S) for time_s in times_s], sessions=sessions)


_sizes = st.lists(st.integers(0, 12), max_size=20)
_options = st.fixed_dictionaries(
    {
        "timeout_s": st.sampled_from([0.0, 60.0]),
        "cold_start_s": st.sampled_from([0.0, 100.0]),
        "max_open_sessions": st.sampled_from([2, 100]),
        "sessions": st.sampled_from([SessionConfig(), SessionConfig(end_patterns=("order closed", "on fire"))]),
    }
)


@_relaxed
@given(_entries(), _sizes, _options)
def test_batch_sizes_change_no_verdict_and_no_end(
    new_detector: NewDetector, batch: EntryBatch, sizes: list[int], options: dict[str, Any]
) -> None:
    whole, parts, single = (new_detector(**options) for _ in range(3))
    expected = in_parts(whole, batch, [])
    assert in_parts(parts, batch, sizes) == expected
    assert in_parts(single, batch, [1] * len(batch)) == expected
    assert parts.evicted_sessions == single.evicted_sessions == whole.evicted_sessions


@_relaxed
@given(_entries(), _sizes, _options)
def test_the_cache_of_windows_changes_nothing(
    new_detector: NewDetector, batch: EntryBatch, sizes: list[int], options: dict[str, Any]
) -> None:
    cached, bare = new_detector(**options), new_detector(**options, cache_mb=0)
    assert in_parts(cached, batch, sizes) == in_parts(bare, batch, sizes)


def _by_session(found: Sequence[Row]) -> dict[str, list[tuple[int, int, float]]]:
    """What was said of each session's entries, without log keys: a new key's number depends on who came first."""
    grouped: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for _, kind, rank, probability, session in found:
        grouped[session].append((kind, rank, probability))
    return grouped


@_relaxed
@given(st.lists(st.lists(st.sampled_from(_BODIES), min_size=1, max_size=20), min_size=1, max_size=5), st.randoms())
def test_other_sessions_in_between_change_nothing(
    new_detector: NewDetector, sessions: list[list[str]], random: Any
) -> None:
    turns = [number for number, bodies in enumerate(sessions) for _ in bodies]
    random.shuffle(turns)
    left = [iter(bodies) for bodies in sessions]
    mixed = EntryBatch.of([next(left[turn]) for turn in turns], sessions=[f"s{turn}" for turn in turns])
    in_turn = EntryBatch.of(
        [body for bodies in sessions for body in bodies],
        sessions=[f"s{number}" for number, bodies in enumerate(sessions) for _ in bodies],
    )
    mixed_rows, mixed_ends = in_parts(new_detector(), mixed, [5, 1, 9])
    turn_rows, turn_ends = in_parts(new_detector(), in_turn, [])
    assert _by_session(mixed_rows) == _by_session(turn_rows)
    assert {end[1]: end[2:] for end in mixed_ends} == {end[1]: end[2:] for end in turn_ends}


@_relaxed
@given(
    st.lists(
        st.tuples(
            st.one_of(st.text(max_size=60), st.sampled_from(_BODIES)),
            st.integers(0, 2**63 - 1),
            st.text(max_size=5),
            st.text(max_size=5),
        ),
        max_size=30,
    ),
    _sizes,
)
def test_any_text_gets_a_verdict(
    new_detector: NewDetector, entries: list[tuple[str, int, str, str]], sizes: list[int]
) -> None:
    bodies, times, sessions, sources = zip(*entries, strict=True) if entries else ((), (), (), ())
    batch = EntryBatch.of(bodies, times_ns=list(times), sessions=sessions, sources=sources)
    found, _ = in_parts(new_detector(), batch, sizes)
    assert len(found) == len(entries)
    scored = new_detector().score(batch)
    assert [scored.verdict(row).index for row in range(len(scored))] == list(range(len(entries)))


def _closed(detector: Detector, batch: EntryBatch) -> int:
    scored = detector.score(batch)
    return len(scored.session_ends)


@_relaxed
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=80), st.integers(1, 8), st.integers(1, 20))
def test_open_sessions_are_bounded_and_each_is_accounted_for(
    new_detector: NewDetector, numbers: list[int], limit: int, size: int
) -> None:
    detector = new_detector(max_open_sessions=limit, timeout_s=0.0)
    first = str(_BODIES[0])
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        assert _closed(detector, EntryBatch.of([first] * len(part), sessions=[f"id-{n}" for n in part])) == 0
        assert detector.open_sessions <= limit
    opened = detector.open_sessions + detector.evicted_sessions
    assert opened >= len(set(numbers))
    assert detector.open_sessions == min(limit, len(set(numbers)))
    assert len(detector.flush().session_ends) == min(limit, len(set(numbers)))


@_relaxed
@given(_entries())
def test_every_number_is_in_its_range(new_detector: NewDetector, batch: EntryBatch) -> None:
    detector = new_detector()
    scored = detector.score(batch)
    assert len(rows(scored)) == len(batch)
    assert ((scored.probabilities >= 0) & (scored.probabilities <= 1)).all()
    assert ((scored.scores >= 0) & (scored.scores <= 1)).all()
    assert np.isfinite(scored.scores).all()
    assert all(0 <= end.index < max(len(batch), 1) for end in scored.session_ends)
