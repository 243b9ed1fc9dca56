import random
from collections.abc import Sequence
from typing import Any

import pytest

from deeplog_grpc.testing import simulate_process
from deeplog_grpc.workflow import NO_WORKFLOW, Method, Replay, Workflow, distinct_paths, sessions
from deeplog_grpc.workflow.sessions import SessionWorkflowConfig, workflow_of_sessions


def built(*keys: Sequence[int], noise: float | None = None) -> Workflow:
    return workflow_of_sessions(distinct_paths(keys), SessionWorkflowConfig(noise=noise))


@pytest.mark.parametrize("seed", [0, 4, 8])
def test_without_noise_new_sessions_fit(seed: int) -> None:
    process = simulate_process(seed)
    workflow = built(*[session.keys for session in process.draw(400, seed=1)])
    replay = Replay(workflow)
    held_out = process.draw(200, seed=2)
    assert len(workflow.tasks) == len(process.tasks)
    assert sum(replay.fits(session.keys) for session in held_out) >= 0.97 * len(held_out)


def test_the_same_sessions_in_any_order_give_the_same_workflow() -> None:
    keys = [session.keys for session in simulate_process(2).draw(300, seed=1, noise=0.02)]
    mixed = random.Random(1).sample(keys, len(keys))
    assert built(*keys).to_json() == built(*mixed).to_json()


def test_without_sessions_there_is_no_workflow() -> None:
    assert built() is built([], []) is NO_WORKFLOW


def test_one_session_is_a_workflow() -> None:
    workflow = built([1, 2, 3])
    assert [state.key for state in workflow.states] == [-1, 1, 2, 3, -1]
    assert workflow.fitness != workflow.fitness, "nothing was held back"


def test_noise_given_is_not_chosen() -> None:
    keys = [[1, 2, 3]] * 95 + [[1, 9, 3]] * 5
    assert 9 in built(*keys, noise=0.0).states_of
    assert 9 not in built(*keys, noise=0.1).states_of


def test_what_is_not_looked_at_is_the_rarest(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [[1, 2]] * 30 + [[1, 3]] * 20 + [[1, 2, 3] * 4] * 10
    assert set(built(*keys).states_of) == {1, 2, 3}
    monkeypatch.setattr(sessions, "MAX_LENGTH", 2)
    assert built(*keys).sessions == 50
    monkeypatch.setattr(sessions, "MAX_ENTRIES", 3)
    assert built(*keys).sessions == 30


@pytest.mark.parametrize(
    "keys",
    [
        [list(range(3_000))],
        [random.Random(i).choices(range(2_000), k=30) for i in range(300)],
        [random.Random(i).sample(range(30), 30) for i in range(100)],
        [[7] * 20_000, [7] * 9_000],
    ],
    ids=["keys", "random", "any order", "long"],
)
def test_strange_sessions_end_in_a_workflow(keys: list[list[int]]) -> None:
    assert built(*keys).method is Method.SESSIONS


@pytest.mark.parametrize("wrong", [{"noise": 0.5}, {"noise": -0.1}, {"noice": 0.1}])
def test_configurations_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        SessionWorkflowConfig(**wrong)
