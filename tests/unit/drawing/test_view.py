from math import nan

import pytest

from deeplog_grpc.drawing import Anomaly, Highlight, view
from deeplog_grpc.errors import InputError, NotFoundError, PreconditionError
from deeplog_grpc.workflow import NO_WORKFLOW, Method
from deeplog_grpc.workflow.blocks import EMPTY, Loop, Step, parallel, sequence
from deeplog_grpc.workflow.building import build_workflow
from deeplog_grpc.workflow.paths import distinct_paths
from tests.workflows import ALL, CHOICE, FORK, LOOP, SEQUENCE, TWO_TASKS, workflow


@pytest.mark.parametrize("name", ALL)
def test_a_view_of_all_is_the_workflow(name: str) -> None:
    shown = view(ALL[name])
    assert tuple(state for task in shown.tasks for state in task.states) == ALL[name].states
    assert tuple(edge for task in shown.tasks for edge in task.edges) == ALL[name].edges
    assert (shown.states, shown.links, shown.missing, shown.anomaly) == (frozenset(), frozenset(), frozenset(), None)


def test_one_task_is_shown_alone() -> None:
    (task,) = view(TWO_TASKS, task=1).tasks
    assert (task.number, [state.number for state in task.states]) == (1, [4, 5, 6, 7, 8, 9])


def test_what_is_rare_is_left_out_with_what_is_reached_by_it_alone() -> None:
    (task,) = view(TWO_TASKS, task=1, min_probability=0.3).tasks
    assert [state.number for state in task.states] == [4, 5, 6, 8, 9]
    assert {(edge.source, edge.target) for edge in task.edges} == {(4, 5), (5, 6), (6, 8), (8, 9)}


@pytest.mark.parametrize("name", ALL)
def test_the_most_probable_way_always_stays(name: str) -> None:
    for task in view(ALL[name], min_probability=1.0).tasks:
        assert [state.kind.value for state in task.states][:: len(task.states) - 1] == ["start", "end"]


def test_a_loop_of_many_rounds_is_left_all_the_same() -> None:
    block = sequence(Step(1), Loop(Step(2), EMPTY), Step(3))
    found = build_workflow([block], distinct_paths([[1, *[2] * 50, 3]] * 3), method=Method.SESSIONS)
    (task,) = view(found, min_probability=0.5).tasks
    assert [state.key for state in task.states] == [-1, 1, 2, 3, -1]
    (task,) = view(found, min_probability=0.99).tasks
    assert not task.loops


def test_a_highlighted_path_takes_the_edges_between_its_states() -> None:
    shown = view(CHOICE, highlight=Highlight(path=(1, 3, 4)))
    assert shown.states == {0, 1, 3, 4}
    assert shown.links == {(0, 1), (1, 3), (3, 4)}


@pytest.mark.parametrize("path", [(1, 3, 5, 4, 7), (1, 5, 3, 4, 7), (1, 3, 4, 5, 7)])
def test_steps_side_by_side_may_come_mixed(path: tuple[int, ...]) -> None:
    shown = view(FORK, highlight=Highlight(path=path))
    assert shown.links == {(0, 1), (1, 2), (2, 3), (3, 4), (2, 5), (4, 6), (5, 6), (6, 7)}
    assert shown.states == {0, 1, 2, 3, 4, 5, 6, 7}


def test_a_join_that_was_not_reached_is_not_highlighted() -> None:
    shown = view(FORK, highlight=Highlight(path=(1, 3, 5)))
    assert shown.links == {(0, 1), (1, 2), (2, 3), (2, 5)}


def test_the_second_round_of_a_loop_takes_the_way_back() -> None:
    assert view(LOOP, highlight=Highlight(path=(1, 2, 3, 4))).links == {(0, 1), (1, 2), (2, 3), (3, 4)}
    again = view(LOOP, highlight=Highlight(path=(1, 2, 3, 2, 3, 4)))
    assert again.links == {(0, 1), (1, 2), (2, 3), (3, 2), (3, 4)}


def test_the_first_round_of_steps_side_by_side_takes_no_way_back() -> None:
    found = workflow(sequence(Step(1), Loop(parallel(Step(2), Step(3)), EMPTY), Step(4)))
    fork, join = 2, 5
    once = view(found, highlight=Highlight(path=(1, 4, 3)))
    assert once.links == {(0, 1), (1, fork), (fork, 3), (fork, 4)}
    twice = view(found, highlight=Highlight(path=(1, 4, 3, 3, 4, 6)))
    assert twice.links == {*once.links, (3, join), (4, join), (join, fork), (join, 6)}


def test_a_task_that_begins_in_its_middle_has_no_way_to_there() -> None:
    assert view(SEQUENCE, highlight=Highlight(path=(2, 3))).links == {(2, 3)}


def test_states_that_are_not_shown_have_no_marks() -> None:
    highlight = Highlight(
        path=(1, 2, 4_711), missing=(99,), anomaly=Anomaly(text="x", task=0, state=2), notes={77: "n"}
    )
    shown = view(TWO_TASKS, task=1, highlight=highlight)
    assert (shown.states, shown.missing, shown.anomaly, dict(shown.notes)) == (frozenset(), frozenset(), None, {})


def test_what_is_missing_is_marked_with_the_way_there() -> None:
    anomaly = Anomaly(text="steps were skipped", came="step 5 of <*>", state=1, task=0)
    shown = view(FORK, highlight=Highlight(path=(1, 7), missing=(3, 4, 5), anomaly=anomaly))
    assert shown.missing == {3, 4, 5}
    assert shown.missing_links == {(1, 2), (2, 3), (3, 4), (2, 5)}
    assert shown.left_at == 1


@pytest.mark.parametrize(
    ("path", "state", "task", "left_at"),
    [((), -1, 0, 0), ((), -1, 1, 4), ((), -1, -1, -1), ((1,), -1, 0, -1), ((1,), 1, 0, 1), ((1,), 4_711, 0, -1)],
)
def test_the_place_where_a_session_left(path: tuple[int, ...], state: int, task: int, left_at: int) -> None:
    anomaly = Anomaly(text="x", state=state, task=task)
    shown = view(TWO_TASKS, highlight=Highlight(path=path, anomaly=anomaly))
    assert (shown.anomaly, shown.left_at) == (anomaly, left_at)


def test_the_suggestion_is_that_of_the_whole_workflow() -> None:
    assert view(TWO_TASKS, task=1).suggestion == view(TWO_TASKS).suggestion


@pytest.mark.parametrize("probability", [-0.1, 1.1, nan])
def test_a_probability_that_is_none_is_refused(probability: float) -> None:
    with pytest.raises(InputError, match=r"^min_probability: .* is not in \[0, 1\]$"):
        view(SEQUENCE, min_probability=probability)


@pytest.mark.parametrize("task", [-1, 2])
def test_a_task_that_is_not_there_is_named(task: int) -> None:
    with pytest.raises(NotFoundError, match=f"^task: there is no task {task}: give one of 0 to 1$"):
        view(TWO_TASKS, task=task)


def test_without_tasks_there_is_nothing_to_see() -> None:
    with pytest.raises(PreconditionError, match="train it anew"):
        view(NO_WORKFLOW)
