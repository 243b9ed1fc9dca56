from dataclasses import replace
from math import exp, inf, log

import numpy as np
import pytest
from numpy.typing import NDArray

from deeplog_grpc.detection import ApplicationModel, Kind
from deeplog_grpc.detection.states import (
    BYTES_A_NUMBER,
    NOTHING_BEFORE,
    STATE_BYTES,
    StateGraph,
    Transition,
    WindowState,
    surprise,
)
from deeplog_grpc.models import END, UNSEEN, Behaviour, Calibration, Check, LogKeyModel
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT

PLENTY = 1 << 20
UNIT = FIRST_KEY_UNIT


def judged(
    behaviour: Behaviour, unit: int, *, rank: int, probability: float, known: int = 2, g: int | None = None
) -> Transition:
    """A step whose neighbours training had, so that the key model alone decides."""
    before, following = next(
        (b, u) for b, units in behaviour.profile.followers.items() for u in units if u > UNSEEN < b
    )
    if unit == END:
        before, following = next((b, END) for b, units in behaviour.profile.followers.items() if END in units)
    state = WindowState((before, before), known, NOTHING_BEFORE)
    transition = Transition(state, following, state)
    config = replace(behaviour.key_model.config, candidates=g)
    model = LogKeyModel.from_weights(config, behaviour.key_model.vocabulary, behaviour.key_model.weights())
    thresholds = replace(behaviour.calibration.config, key=inf) if g else behaviour.calibration.config
    calibration = replace(behaviour.calibration, config=thresholds)
    transition.judge(
        replace(behaviour, key_model=model, calibration=calibration),
        (log(probability), probability, rank) if known == 2 else None,
    )
    return transition


def reachable(state: WindowState) -> int:
    found, waiting = {id(state): state}, [state]
    while waiting:
        for step in waiting.pop().next.values():
            if id(step.next) not in found:
                found[id(step.next)] = step.next
                waiting.append(step.next)
    return len(found)


def test_with_a_pinned_g_a_key_is_normal_up_to_that_rank(trained: ApplicationModel) -> None:
    assert judged(trained.behaviour, UNIT, rank=3, probability=1e-9, g=3).kind is Kind.NORMAL
    assert judged(trained.behaviour, UNIT, rank=4, probability=0.5, g=3).kind is Kind.EXECUTION_PATH


def test_without_one_its_probability_decides_at_any_rank(trained: ApplicationModel) -> None:
    assert judged(trained.behaviour, UNIT, rank=1, probability=1e-9).kind is Kind.EXECUTION_PATH
    assert judged(trained.behaviour, UNIT, rank=40, probability=0.2).kind is Kind.NORMAL


def test_an_end_is_judged_by_probability_alone(trained: ApplicationModel) -> None:
    assert judged(trained.behaviour, END, rank=8, probability=0.9, g=3).kind is Kind.NORMAL
    assert judged(trained.behaviour, END, rank=1, probability=1e-9, g=3).kind is Kind.INCOMPLETE_SESSION


def test_a_key_is_judged_after_its_neighbour_even_where_the_window_is_not_full(trained: ApplicationModel) -> None:
    profile = trained.behaviour.profile
    units = range(UNIT, trained.key_model.vocabulary.assigned)
    new = next((b, u) for b in units for u in units if profile.transition_score(b, u) > -log(1e-4) - 4)
    known = judged(trained.behaviour, UNIT, rank=0, probability=0.5, known=1)
    assert (known.kind, known.rank, known.probability, known.score) == (Kind.NORMAL, 0, 1.0, 0.0)
    transition = Transition(
        WindowState((UNSEEN, new[0]), 1, NOTHING_BEFORE), new[1], WindowState(new, 2, NOTHING_BEFORE)
    )
    transition.judge(replace(trained.behaviour, calibration=pinned(trained.behaviour, transition=1.0)))
    assert (transition.kind, transition.rank) == (Kind.UNSEEN_TRANSITION, 0)
    assert transition.score > 0


def test_the_key_model_and_a_new_transition_are_judged_together(trained: ApplicationModel) -> None:
    behaviour = trained.behaviour
    units = range(UNIT, trained.key_model.vocabulary.assigned)
    new = next((b, u) for b in units for u in units if behaviour.profile.transition_score(b, u) > 0)
    nats = behaviour.profile.transition_score(*new)
    state = WindowState((UNSEEN, new[0]), 2, NOTHING_BEFORE)
    prediction = (-6.0, exp(-6.0), 3)
    together, apart = Transition(state, new[1], state), Transition(state, new[1], state)
    together.judge(behaviour, prediction)
    expected = behaviour.calibration.judge(Check.KEY, 6.0 + nats)
    assert together.kind is (Kind.UNSEEN_TRANSITION if expected.abnormal else Kind.NORMAL)
    assert together.p_value == expected.p_value
    apart.judge(replace(behaviour, calibration=pinned(behaviour, transition=inf, key=5.0)), prediction)
    assert apart.kind is Kind.EXECUTION_PATH


def pinned(behaviour: Behaviour, **limits: float) -> Calibration:
    return replace(behaviour.calibration, config=replace(behaviour.calibration.config, **limits))


def test_an_unseen_key_is_its_own_anomaly_whatever_is_known_of_the_window(trained: ApplicationModel) -> None:
    transition = Transition(
        WindowState((UNSEEN,), 0, NOTHING_BEFORE), UNSEEN, WindowState((UNSEEN,), 1, NOTHING_BEFORE)
    )
    transition.judge(trained.behaviour)
    assert (transition.kind, transition.rank, transition.probability, transition.score) == (Kind.UNSEEN_KEY, 0, 0, 1)


@pytest.mark.parametrize(("probability", "score"), [(1.0, 0.0), (1e-5, 0.5), (1e-10, 1.0), (1e-40, 1.0)])
def test_surprise(probability: float, score: float) -> None:
    assert surprise(probability) == pytest.approx(score)


def test_a_window_reached_on_two_ways_is_one_state(trained: ApplicationModel) -> None:
    graph = StateGraph(trained.behaviour, cache_bytes=PLENTY)
    state = graph.beginning()
    for _ in range(trained.key_model.config.history):
        state = graph.step(state, UNIT).next
    assert graph.step(state, UNIT).next is state
    assert graph.beginning() is graph.beginning()


def test_a_window_from_the_middle_is_judged_once_it_is_full(trained: ApplicationModel) -> None:
    graph = StateGraph(trained.behaviour, cache_bytes=PLENTY)
    state = graph.middle()
    seen = []
    for _ in range(trained.key_model.config.history + 1):
        seen.append(state.judged)
        state = graph.step(state, UNIT).next
    assert seen == [False] * trained.key_model.config.history + [True]


def test_the_model_is_asked_once_about_each_state(trained: ApplicationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = trained.key_model.read

    def counted(windows: NDArray[np.int64]) -> NDArray[np.float32]:
        asked.append(len(windows))
        return read(windows)

    monkeypatch.setattr(trained.key_model, "read", counted)
    graph = StateGraph(trained.behaviour, cache_bytes=PLENTY)
    steps = [graph.step(graph.beginning(), unit) for unit in (UNIT, UNIT + 1, UNIT, END)]
    graph.resolve(steps)
    graph.resolve(steps)
    graph.resolve()
    assert asked == [1]


def test_all_that_is_new_is_judged_unless_only_some_is_asked_for(trained: ApplicationModel) -> None:
    graph, apart = (StateGraph(trained.behaviour, cache_bytes=PLENTY) for _ in range(2))
    steps = [graph.step(graph.beginning(), unit) for unit in (UNIT, UNSEEN, END)]
    steps += [graph.step(graph.middle(), unit) for unit in (UNIT, UNSEEN)]
    alone = [apart.step(apart.beginning(), UNIT), apart.step(apart.beginning(), END)]
    apart.resolve(alone[1:])
    assert [step.kind is None for step in alone] == [True, False]
    apart.resolve()
    graph.resolve()
    assert all(step.kind is not None for step in steps)
    for step, same in ((alone[0], steps[0]), (alone[1], steps[2])):
        assert (step.kind, step.rank, step.probability) == (same.kind, same.rank, same.probability)


def test_trim_forgets_all_states_only_past_the_limit(trained: ApplicationModel) -> None:
    room = 3 * (STATE_BYTES + BYTES_A_NUMBER * trained.key_model.config.hidden)
    graph = StateGraph(trained.behaviour, cache_bytes=room)
    state = graph.step(graph.beginning(), UNIT).next
    graph.trim()
    assert len(graph) == 2
    graph.step(graph.step(state, UNIT).next, UNIT)
    graph.trim()
    assert len(graph) == 0


def test_an_idle_session_does_not_keep_what_others_went_through_from_its_state(trained: ApplicationModel) -> None:
    graph = StateGraph(trained.behaviour, cache_bytes=0)
    idle = running = graph.beginning()
    graph.trim()  # both stand in a state that is forgotten now
    for number in range(200):
        running = graph.step(running, UNIT + number % 3).next
        graph.trim()
    assert reachable(idle) <= 2


def test_a_forgotten_state_leads_on_as_before(trained: ApplicationModel) -> None:
    graph = StateGraph(trained.behaviour, cache_bytes=0)
    state = graph.beginning()
    before = graph.step(state, UNIT)
    graph.resolve([before])
    graph.trim()
    after = state.next.get(UNIT) or graph.step(state, UNIT)
    graph.resolve([after])
    assert after is not before
    assert (after.kind, after.rank, after.probability) == (before.kind, before.rank, before.probability)
