from dataclasses import replace

import pytest

from deeplog_grpc.workflow import (
    NO_WORKFLOW,
    Edge,
    EdgeKind,
    Loop,
    Method,
    Parallel,
    Sequence,
    Step,
    Task,
    Workflow,
    build_workflow,
    distinct_paths,
)
from deeplog_grpc.workflow.graph import key_edges

BLOCK = Sequence((Step(5), Parallel((Step(6), Step(7))), Loop(Step(8), Step(9))))
WORKFLOW = build_workflow([BLOCK], distinct_paths([[5, 6, 7, 8]]), method=Method.SESSIONS, fitness=0.5)
TASK = WORKFLOW.tasks[0]


def with_task(**changes: object) -> Workflow:
    task: Task = replace(TASK, **changes)  # type: ignore[arg-type]  # any field of a task
    return replace(WORKFLOW, tasks=(task,))


def test_pairs_of_log_keys_look_through_forks_and_joins() -> None:
    expected = {(-1, 5), (5, 6), (5, 7), (6, 8), (7, 8), (8, 9), (9, 8), (8, -1)}
    assert set(key_edges(TASK)) == expected
    assert {key: [state.number for state in states] for key, states in WORKFLOW.states_of.items()} == {
        5: [1],
        6: [2],
        7: [3],
        8: [4],
        9: [5],
    }


def test_a_workflow_without_tasks_survives_json() -> None:
    assert Workflow.from_json(NO_WORKFLOW.to_json()).to_json() == NO_WORKFLOW.to_json()


def test_states_are_numbered_by_their_places() -> None:
    with pytest.raises(ValueError, match="state 1 is at place 0"):
        with_task(states=TASK.states[1:])


def test_a_task_has_one_end() -> None:
    with pytest.raises(ValueError, match="has not one end"):
        with_task(states=TASK.states[:-1])


def test_no_edge_leads_outside_a_task() -> None:
    outside = Edge(source=1, target=99, kind=EdgeKind.SEQUENCE, count=0, probability=1.0)
    with pytest.raises(ValueError, match="leads outside"):
        with_task(edges=(*TASK.edges, outside))


def test_every_state_is_reached_and_reaches_the_end() -> None:
    with pytest.raises(ValueError, match="not reached"):
        with_task(edges=tuple(edge for edge in TASK.edges if edge.target != 2))
    with pytest.raises(ValueError, match="does not reach"):
        with_task(edges=tuple(edge for edge in TASK.edges if edge.source != 2))


def test_probabilities_sum_to_one() -> None:
    with pytest.raises(ValueError, match="do not sum to 1"):
        with_task(edges=tuple(replace(edge, probability=0.4) for edge in TASK.edges))


def test_states_are_the_steps_of_the_block() -> None:
    with pytest.raises(ValueError, match="not the steps of its block"):
        with_task(block=Step(5, 1))


def test_states_belong_to_their_task() -> None:
    with pytest.raises(ValueError, match="state of another task"):
        with_task(number=1)
