import numpy as np
import pytest

from deeplog_grpc.testing import simulate_process
from deeplog_grpc.workflow import tasks
from deeplog_grpc.workflow.paths import distinct_paths
from deeplog_grpc.workflow.tasks import TaskConfig, sort_by_task


@pytest.mark.parametrize("seed", range(0, 20, 3))
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_each_task_is_one_and_noise_joins_none(seed: int, noise: float) -> None:
    sessions = simulate_process(seed).draw(400, seed=seed, noise=noise)
    paths = distinct_paths([session.keys for session in sessions])
    found = dict(zip((path.keys for path in paths), sort_by_task(paths).tolist(), strict=True))
    pairs = {(session.task, found[session.keys]) for session in sessions if session.keys}
    usual = [
        pair
        for pair in pairs
        if sum((s.task, found[s.keys]) == pair for s in sessions if s.keys) > 0.02 * len(sessions)
    ]
    assert len({true for true, _ in usual}) == len({own for _, own in usual}) == len(usual)


def test_the_most_frequent_task_is_first() -> None:
    paths = distinct_paths([[1, 2]] * 3 + [[8, 9]] * 5 + [[5]] * 4)
    assert sort_by_task(paths).tolist() == [0, 1, 2]


def test_a_chain_of_likely_sessions_is_one_task() -> None:
    paths = distinct_paths([[1, 2, 3, 4]] * 9 + [[1, 2, 3, 5]] * 9 + [[1, 2, 6, 5]] * 9)
    assert sort_by_task(paths).tolist() == [0, 0, 0]
    assert set(sort_by_task(paths, TaskConfig(overlap=1.0, likeness=1.0)).tolist()) == {0, 1, 2}


def test_sets_that_are_not_compared_go_to_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MAX_SETS", 2)
    paths = distinct_paths([[1, 2, 3]] * 9 + [[7, 8, 9]] * 8 + [[7, 8]] * 2 + [[2, 3]] + [[1, 3]])
    assert sort_by_task(paths).tolist() == [0, 1, 1, 0, 0]


def test_empty_sessions_are_sorted_too() -> None:
    found = sort_by_task(distinct_paths([[]] * 2 + [[1]]))
    assert found.dtype == np.int64
    assert len(found) == 2
