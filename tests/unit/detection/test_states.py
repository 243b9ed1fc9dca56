from math import inf, log

import numpy as np
import pytest
from numpy.typing import NDArray

from deeplog_grpc.detection import ApplicationModel, Kind
from deeplog_grpc.detection.states import BYTES_A_UNIT, STATE_BYTES, StateGraph, Transition, WindowState, surprise
from deeplog_grpc.models import END, UNSEEN, Prediction, Thresholds
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT

PLENTY = 1 << 20
UNIT = FIRST_KEY_UNIT


def judged(unit: int, *, rank: int, log_probability: float, candidates: int = 3, **limits: float) -> Transition:
    state = WindowState((0, 0), 2)
    state.prediction = Prediction(
        log_probabilities=np.full(8, log_probability, np.float32), ranks=np.full(8, rank, np.int32)
    )
    transition = Transition(state, unit, state)
    transition.judge(candidates, Thresholds(**limits))
    return transition


def reachable(state: WindowState) -> int:
    found, waiting = {id(state): state}, [state]
    while waiting:
        for step in waiting.pop().next.values():
            if id(step.next) not in found:
                found[id(step.next)] = step.next
                waiting.append(step.next)
    return len(found)


def test_a_key_is_normal_up_to_rank_g() -> None:
    assert judged(UNIT, rank=3, log_probability=-9).kind is Kind.NORMAL
    assert judged(UNIT, rank=4, log_probability=-1).kind is Kind.EXECUTION_PATH


def test_a_key_far_below_its_threshold_is_abnormal_at_any_rank() -> None:
    assert judged(UNIT, rank=1, log_probability=-9, key=-8.5).kind is Kind.EXECUTION_PATH
    assert judged(UNIT, rank=1, log_probability=-9, key=-9.0).kind is Kind.NORMAL


def test_an_end_is_judged_by_probability_alone() -> None:
    assert judged(END, rank=8, log_probability=-9, end=-9.5, key=-1).kind is Kind.NORMAL
    assert judged(END, rank=1, log_probability=-9, end=-8.5).kind is Kind.INCOMPLETE_SESSION
    assert judged(END, rank=8, log_probability=-90, end=-inf).kind is Kind.NORMAL


def test_an_unseen_key_is_its_own_anomaly_whatever_is_known_of_the_window() -> None:
    transition = Transition(WindowState((UNSEEN,), 0), UNSEEN, WindowState((UNSEEN,), 1))
    transition.judge(9, Thresholds())
    assert (transition.kind, transition.rank, transition.probability, transition.score) == (Kind.UNSEEN_KEY, 0, 0, 1)


def test_what_is_not_known_well_enough_is_not_judged() -> None:
    transition = Transition(WindowState((UNSEEN, UNIT), 1), UNIT, WindowState((UNIT, UNIT), 2))
    transition.judge(1, Thresholds(key=0.0))
    assert (transition.kind, transition.rank, transition.probability, transition.score) == (Kind.NORMAL, 0, 1.0, 0.0)


@pytest.mark.parametrize(("probability", "score"), [(1.0, 0.0), (1e-5, 0.5), (1e-10, 1.0), (1e-40, 1.0)])
def test_surprise(probability: float, score: float) -> None:
    assert surprise(log(probability)) == pytest.approx(score)


def test_a_window_reached_on_two_ways_is_one_state(trained: ApplicationModel) -> None:
    graph = StateGraph(trained.key_model, cache_bytes=PLENTY)
    state = graph.beginning()
    for _ in range(trained.key_model.config.history):
        state = graph.step(state, UNIT).next
    assert graph.step(state, UNIT).next is state
    assert graph.beginning() is graph.beginning()


def test_a_window_from_the_middle_is_judged_once_it_is_full(trained: ApplicationModel) -> None:
    graph = StateGraph(trained.key_model, cache_bytes=PLENTY)
    state = graph.middle()
    seen = []
    for _ in range(trained.key_model.config.history + 1):
        seen.append(state.judged)
        state = graph.step(state, UNIT).next
    assert seen == [False] * trained.key_model.config.history + [True]


def test_the_model_is_asked_once_about_each_state(trained: ApplicationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    predict = trained.key_model.predict

    def counted(windows: NDArray[np.int64]) -> list[Prediction]:
        asked.append(len(windows))
        return predict(windows)

    monkeypatch.setattr(trained.key_model, "predict", counted)
    graph = StateGraph(trained.key_model, cache_bytes=PLENTY)
    steps = [graph.step(graph.beginning(), unit) for unit in (UNIT, UNIT + 1, UNIT, END)]
    graph.resolve(steps)
    graph.resolve(steps)
    assert asked == [1]


def test_trim_forgets_all_states_only_past_the_limit(trained: ApplicationModel) -> None:
    room = 3 * (STATE_BYTES + BYTES_A_UNIT * trained.key_model.vocabulary.size)
    graph = StateGraph(trained.key_model, cache_bytes=room)
    state = graph.step(graph.beginning(), UNIT).next
    graph.trim()
    assert len(graph) == 2
    graph.step(graph.step(state, UNIT).next, UNIT)
    graph.trim()
    assert len(graph) == 0


def test_an_idle_session_does_not_keep_what_others_went_through_from_its_state(trained: ApplicationModel) -> None:
    graph = StateGraph(trained.key_model, cache_bytes=0)
    idle = running = graph.beginning()
    graph.trim()  # both stand in a state that is forgotten now
    for number in range(200):
        running = graph.step(running, UNIT + number % 3).next
        graph.trim()
    assert reachable(idle) <= 2


def test_a_forgotten_state_leads_on_as_before(trained: ApplicationModel) -> None:
    graph = StateGraph(trained.key_model, cache_bytes=0)
    state = graph.beginning()
    before = graph.step(state, UNIT)
    graph.resolve([before])
    graph.trim()
    after = state.next.get(UNIT) or graph.step(state, UNIT)
    graph.resolve([after])
    assert after is not before
    assert (after.kind, after.rank, after.probability) == (before.kind, before.rank, before.probability)
