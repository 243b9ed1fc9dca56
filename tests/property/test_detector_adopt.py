"""What holds for the detector when another version of the models comes into force between two batches."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplog_grpc.detection import ApplicationModel, Detector, EntryBatch, Judges, Verdict, VerdictBatch
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.feedback import FeedbackConfig, Knowledge, Learner, Lesson, StepCase
from deeplog_grpc.models import BEGIN_KEY
from deeplog_grpc.parsing import Parser
from tests.trained import LATER_S, fresh_detector, joined, order

NEW = ["the moon is in the seventh house", "kernel panic in module ext4, stopping now"]
_BODIES = [*order(1).bodies, *order(2).bodies, *NEW, "disk 7 is on fire"]
_STEPS_S = [0.0, 0.5, 30.0, 61.0, 5_000.0]
_relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_judges_of = partial(Judges, cache_bytes=1 << 20)
Version = Callable[[int], ApplicationModel]
Said = tuple[list[Verdict], list[Verdict]]


@pytest.fixture(scope="module")
def version(trained: ApplicationModel) -> Version:
    """Training, and versions that learned one and two new log keys; all with a parser that knows them.

    A function, for what a test is given is printed when it fails.
    """
    detector = fresh_detector(trained)
    keys = detector.parse(NEW).keys.tolist()
    versions = [replace(trained, parser=Parser.from_state(detector.parser_state()))]
    learner = Learner(versions[0], Knowledge(), FeedbackConfig(), _judges_of)
    for number, key in enumerate(keys, start=1):
        case = StepCase(window=(BEGIN_KEY,) * trained.key_model.config.history, key=key)
        lesson = Lesson(kind=Kind.UNSEEN_KEY, case=case, anywhere=number == 1)
        update = learner.learn([lesson], version=versions[-1].version + 1)
        learner.accept(update, [lesson])
        versions.append(learner.model)

    def version(place: int) -> ApplicationModel:
        return versions[place]

    return version


@st.composite
def _entries(draw: st.DrawFn, *, prefix: str = "", timed: bool = True) -> EntryBatch:
    """Entries of few sessions in any order."""
    bodies = draw(st.lists(st.sampled_from(_BODIES), max_size=40))
    sessions = draw(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=len(bodies), max_size=len(bodies)))
    now_s, times_ns = LATER_S, []
    for step_s in draw(st.lists(st.sampled_from(_STEPS_S), min_size=len(bodies), max_size=len(bodies))):
        now_s += step_s
        times_ns.append(int(now_s * NS_PER_S) if timed else 0)
    names = [f"{prefix}{session}" if session else "" for session in sessions]
    return EntryBatch.of(bodies, times_ns=times_ns, sessions=names)


def _told(scored: VerdictBatch) -> Said:
    """All that is said, but for the version."""
    rows = [replace(scored.verdict(row), model_version=0) for row in range(len(scored))]
    return rows, [replace(end, model_version=0) for end in scored.session_ends]


_divisions = st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["", "warm", "cold", "twice"])), max_size=12)


def _adopt(detector: Detector, model: ApplicationModel, way: str) -> None:
    if way == "cold":
        detector.adopt(_judges_of(model))
    elif way:
        for _ in range(1 + (way == "twice")):
            detector.adopt(detector.judges_of(model))


@pytest.mark.parametrize("cache_mb", [0, 128])
@_relaxed
@given(batch=_entries(), division=_divisions)
def test_a_version_of_the_same_content_changes_no_verdict(
    trained: ApplicationModel, cache_mb: int, batch: EntryBatch, division: list[tuple[int, str]]
) -> None:
    plain, adopting = (fresh_detector(trained, timeout_s=60.0, cache_mb=cache_mb) for _ in range(2))
    start = 0
    for number, (size, way) in enumerate([*division, (len(batch), "warm")], start=4):
        part = batch.slice(start, start + size)
        start += size
        assert _told(adopting.score(part)) == _told(plain.score(part))
        _adopt(adopting, replace(trained, version=number), way)
        assert adopting.model_version == (number if way else adopting.model_version)
    assert _told(adopting.flush()) == _told(plain.flush())
    assert adopting.open_sessions == plain.open_sessions == 0


@_relaxed
@given(
    parts=st.lists(st.tuples(_entries(timed=False), st.integers(0, 2), st.booleans()), min_size=1, max_size=5),
    after=_entries(prefix="later-", timed=False),
    cache_mb=st.sampled_from([0, 1]),
)
def test_sessions_that_begin_after_a_change_of_versions_are_judged_as_by_a_fresh_detector(
    version: Version,
    parts: list[tuple[EntryBatch, int, bool]],
    after: EntryBatch,
    cache_mb: int,
) -> None:
    """Forth and back, so that log keys lose their units in the middle of open sessions."""
    after = replace(after, sessions=[session or "later-none" for session in after.sessions])
    detector = fresh_detector(version(0), cache_mb=cache_mb)
    for batch, place, is_warm in parts:
        detector.score(batch)
        _adopt(detector, version(place), "warm" if is_warm else "cold")
    last = version(parts[-1][1])
    fresh = fresh_detector(last, cache_mb=cache_mb)
    for batch, _, _ in parts:
        fresh.parse(batch.bodies)
    assert detector.model_version == fresh.model_version
    assert _told(detector.score(after)) == _told(fresh.score(after))
    names = sorted(set(after.sessions))
    assert _told(detector.flush(names)) == _told(fresh.flush(names))
    detector.flush()
    assert detector.open_sessions == 0


@_relaxed
@given(before=_entries(), after=_entries(), places=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_a_graph_that_was_warmed_says_the_same_as_a_cold_one(
    version: Version, before: EntryBatch, after: EntryBatch, places: tuple[int, int]
) -> None:
    warm, cold = (fresh_detector(version(places[0])) for _ in range(2))
    assert _told(warm.score(before)) == _told(cold.score(before))
    _adopt(warm, version(places[1]), "warm")
    _adopt(cold, version(places[1]), "cold")
    assert _told(warm.score(after)) == _told(cold.score(after))
    assert _told(warm.flush()) == _told(cold.flush())


def test_a_session_open_over_a_change_forgets_the_keys_that_lost_their_units(version: Version) -> None:
    usual = order(1)
    usual = replace(usual, sessions=["s"] * len(usual))
    whole = joined(usual.slice(0, 4), EntryBatch.of([NEW[0]], times_ns=[int(usual.times_ns[3])], sessions=["s"]))
    rest = usual.slice(4, len(usual))
    back, never = fresh_detector(version(1)), fresh_detector(version(0))
    assert Kind.UNSEEN_KEY not in back.score(whole).kinds
    never.score(whole)
    _adopt(back, version(0), "warm")
    assert _told(back.score(rest)) == _told(never.score(rest))
    assert _told(back.flush()) == _told(never.flush())


def test_getting_ready_for_a_version_while_another_thread_scores(version: Version) -> None:
    detector = fresh_detector(version(0))
    until, failures = monotonic() + 1.5, list[BaseException]()

    def score() -> None:
        try:
            seed = 0
            while monotonic() < until:
                seed += 1
                detector.score(joined(order(seed % 50), order(fault=None, seed=seed % 7)))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=score)
    thread.start()
    made = 0
    while monotonic() < until:
        judges = detector.judges_of(version(1 + made % 2))
        made += 1
    thread.join()
    assert failures == []
    assert made > 0
    detector.adopt(judges)
    assert not detector.score(replace(order(1), sessions=["new"] * len(order(1)))).anomalies()
