"""Sessions put together: the same are found as when each is walked by itself."""

from collections import Counter
from dataclasses import replace

import pytest

from deeplog_grpc.detection import ApplicationModel, Judges, Kind
from deeplog_grpc.feedback.judging import CaseJudge
from deeplog_grpc.feedback.known_paths import KnownPaths
from deeplog_grpc.models import END, UNSEEN, SessionProfile, TrainingSession
from deeplog_grpc.testing import simulate_log
from tests.trained import train_orders


@pytest.fixture(scope="module")
def model() -> ApplicationModel:
    return train_orders(simulate_log(300, seed=1))


def walked(judges: Judges, session: TrainingSession) -> bool:
    """Whether a session is flagged, step by step."""
    graph = judges.graph
    state = graph.beginning() if session.begins and judges.begin_end else graph.middle()
    units = [judges.unit_of.get(key, UNSEEN) for key in map(int, session.keys)]
    for unit in [*units, END] if session.ends and judges.begin_end else units:
        step = graph.step(state, unit)
        graph.resolve([step])
        if step.kind is not Kind.NORMAL:
            return True
        state = step.next
    whole = session.begins and session.ends and judges.knows_sessions
    return whole and judges.shapes.judge(Counter(units)).kind is not Kind.NORMAL


def damaged(sessions: list[TrainingSession]) -> list[TrainingSession]:
    """Sessions as they are, and with all that may be odd of them."""
    found = []
    for number, session in enumerate(sessions):
        keys = [int(key) for key in session.keys]
        odd = [keys, keys[::-1], keys[:-2], [*keys, 999], keys * 2, keys[3:], []][number % 7]
        for begins, ends in ((True, True), (True, False), (False, True), (False, False)):
            found.append(TrainingSession(keys=odd, begins=begins, ends=ends))
    return found


@pytest.mark.parametrize("knows_sessions", [True, False])
def test_sessions_put_together_are_flagged_as_one_by_one(model: ApplicationModel, knows_sessions: bool) -> None:
    if not knows_sessions:
        behaviour = model.behaviour
        profile: SessionProfile = replace(behaviour.profile, sessions=0)
        model = replace(model, behaviour=replace(behaviour, profile=profile))
    sessions = damaged([*model.behaviour.known.held_out[:70]])
    expected = sum(walked(Judges(model, cache_bytes=1 << 24), session) for session in sessions)

    assert 0 < expected < len(sessions)
    config = model.key_model.config
    paths = KnownPaths.of(sessions, history=config.history, begin_end=config.begin_end)
    assert CaseJudge(Judges(model, cache_bytes=1 << 24)).flagged(paths) == expected
    assert CaseJudge(Judges(model, cache_bytes=0)).flagged(paths) == expected
