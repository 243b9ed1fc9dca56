import pytest

from deeplog_grpc.workflow import NO_WORKFLOW, Workflow
from deeplog_grpc.workflow.blocks import EMPTY, Step, choice, parallel, sequence
from deeplog_grpc.workflow.suggestion import Suggestion, divergence_points, suggest
from tests.workflows import CHOICE, FORK, LOOP, SEQUENCE, TWICE, TWO_TASKS, workflow


@pytest.mark.parametrize(
    ("found", "history", "candidates"),
    [
        (NO_WORKFLOW, 0, 1),
        (SEQUENCE, 3, 1),
        (CHOICE, 2, 3),
        (FORK, 5, 2),
        (LOOP, 4, 2),
        (TWO_TASKS, 2, 2),
        (TWICE, 3, 1),
    ],
)
def test_h_is_the_shortest_task_and_g_the_widest_divergence_point(
    found: Workflow, history: int, candidates: int
) -> None:
    assert suggest(found) == Suggestion(history=history, candidates=candidates)


def test_a_log_key_that_follows_twice_is_one_candidate() -> None:
    found = workflow(sequence(Step(1), choice(sequence(Step(2), Step(3)), sequence(Step(2), Step(4)))))
    (point,) = divergence_points(found.states, found.edges)
    assert (len(point.branches), point.width, suggest(found).candidates) == (2, 1, 1)


def test_forks_and_joins_are_looked_through() -> None:
    inner = parallel(Step(2), choice(Step(3), Step(4)))
    found = workflow(sequence(Step(1), choice(inner, Step(5)), Step(6)))
    points = {point.state.key: point for point in divergence_points(found.states, found.edges)}
    assert {branch.state.key for branch in points[1].branches} == {2, 3, 4, 5}
    assert not points[1].is_fork
    shares = {branch.state.key: branch.probability for branch in points[1].branches}
    assert shares[2] == pytest.approx(0.8)
    assert shares[5] == pytest.approx(0.2)


def test_the_begin_and_the_end_of_a_task_count() -> None:
    found = workflow(sequence(choice(Step(1), Step(2), Step(3)), choice(Step(4), EMPTY)))
    points = [(point.state.kind.value, point.width) for point in divergence_points(found.states, found.edges)]
    assert points == [("start", 3), ("key", 2), ("key", 2), ("key", 2)]
