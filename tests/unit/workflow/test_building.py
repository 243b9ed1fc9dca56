from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.workflow import (
    EMPTY,
    Block,
    Choice,
    Copies,
    EdgeKind,
    Loop,
    Method,
    Parallel,
    Sequence,
    StateKind,
    Step,
    Task,
    Workflow,
    build_workflow,
    distinct_paths,
)
from deeplog_grpc.workflow.blocks import children, steps
from deeplog_grpc.workflow.derivatives import Rest, derive, may_end
from deeplog_grpc.workflow.graph import key_edges
from tests.block_languages import Word, blocks, words

KEYS = (1, 2, 3)


def built(block: Block, *words: Word) -> Workflow:
    return build_workflow([block], distinct_paths(words), method=Method.SESSIONS)


def is_plain(block: Block) -> bool:
    """Whether nothing runs side by side."""
    return not isinstance(block, Parallel | Copies) and all(map(is_plain, children(block)))


def successions(task: Task) -> set[tuple[int, int]]:
    """Pairs of states that follow each other in some word, by following all ways through a block."""
    found: set[tuple[int, int]] = set()
    waiting: list[tuple[int, Rest]] = [(task.start.number, task.block)]
    seen = set(waiting)
    while waiting:
        source, rest = waiting.pop()
        if may_end(rest):
            found.add((source, task.end.number))
        following = {place for step in steps(task.block) for place in derive(rest, step.key)}
        found |= {(source, state) for state, _ in following}
        waiting += following - seen
        seen |= following
    return found


@given(blocks(len(KEYS), 6).filter(is_plain))
@settings(max_examples=300, deadline=None)
def test_where_nothing_runs_side_by_side_edges_are_what_may_follow(block: Block) -> None:
    (task,) = built(block).tasks
    assert {(edge.source, edge.target) for edge in task.edges} == successions(task)


@given(blocks(len(KEYS)), st.data())
@settings(max_examples=200, deadline=None)
def test_figures_of_normal_sessions_agree(block: Block, data: st.DataObject) -> None:
    language = sorted(words(block, 5) - {()})
    if not language:
        return
    sessions = data.draw(st.lists(st.sampled_from(language), min_size=1, max_size=20))
    workflow = built(block, *sessions)
    (task,) = workflow.tasks
    assert workflow.sessions == task.sessions == task.start.count == task.end.count == len(sessions)
    of_keys = Counter(key for session in sessions for key in session)
    counted: Counter[int] = Counter()
    for state in task.states:
        if state.kind is StateKind.KEY:
            counted[state.key] += state.count
    assert +counted == of_keys
    if is_plain(block):
        for state in task.states:
            into = sum(edge.count for edge in task.incoming.get(state.number, ()))
            out = sum(edge.count for edge in task.outgoing.get(state.number, ()))
            assert state.kind is StateKind.START or into == state.count
            assert state.kind is StateKind.END or out == state.count


@given(blocks(len(KEYS)), blocks(len(KEYS)))
@settings(max_examples=200, deadline=None)
def test_a_workflow_survives_json(one: Block, other: Block) -> None:
    workflow = build_workflow([one, other], distinct_paths([[1, 2], [3]]), method=Method.MODEL, follows={(-1, 0): 2})
    again = Workflow.from_json(workflow.to_json())
    assert again.to_json() == workflow.to_json()
    assert (again.tasks, again.follows, again.method) == (workflow.tasks, workflow.follows, workflow.method)


def test_states_are_numbered_start_steps_others_task_by_task() -> None:
    workflow = build_workflow([Parallel((Step(7), Step(8))), Step(9)], (), method=Method.SESSIONS)
    kinds = [state.kind.value for state in workflow.states]
    assert kinds == ["start", "key", "key", "fork", "join", "end", "start", "key", "end"]
    assert [state.number for state in workflow.states] == list(range(9))


def test_edges_of_a_choice_are_shared_out() -> None:
    block = Sequence((Step(1), Choice((Step(2), Step(3), EMPTY)), Step(4)))
    (task,) = built(block, *[(1, 2, 4)] * 5, *[(1, 3, 4)] * 3, *[(1, 4)] * 2).tasks
    assert [(edge.target, edge.count, edge.probability, edge.kind) for edge in task.outgoing[1]] == [
        (2, 5, 0.5, EdgeKind.CHOICE),
        (3, 3, 0.3, EdgeKind.CHOICE),
        (4, 2, 0.2, EdgeKind.CHOICE),
    ]


def test_a_loop_leads_back_and_says_how_often() -> None:
    block = Sequence((Step(1), Loop(Sequence((Step(2), Step(3))), Step(4), 1, 3), Step(5)))
    (task,) = built(block, (1, 2, 3, 5), (1, 2, 3, 4, 2, 3, 4, 2, 3, 5)).tasks
    (back,) = (edge for edge in task.edges if edge.kind is EdgeKind.LOOP)
    assert (back.source, back.target, back.count, back.least, back.most) == (4, 2, 2, 1, 3)


def test_a_fork_is_passed_once_for_all_its_branches() -> None:
    block = Sequence((Step(1), Parallel((Step(2), Step(3), Step(4))), Step(5)))
    (task,) = built(block, (1, 2, 3, 4, 5), (1, 4, 3, 2, 5), (1, 3, 2, 4, 5)).tasks
    assert {edge.count for edge in task.edges} == {3}
    assert {edge.probability for edge in task.edges} == {1.0}


def test_copies_are_a_fork_that_says_how_many() -> None:
    (task,) = built(Sequence((Step(1), Copies(Step(2), 2, 3))), (1, 2, 2), (1, 2, 2, 2)).tasks
    (edge,) = task.outgoing[1]
    assert (edge.least, edge.most) == (2, 3)
    assert task.states[2].count == 5


def test_times_of_edges_are_those_between_their_states() -> None:
    block = Sequence((Step(1), Parallel((Step(2), Step(3)))))
    elapsed = [np.array([np.nan, 1.0, 2.0]), np.array([np.nan, 4.0, np.nan])]
    paths = distinct_paths([[1, 2, 3], [1, 3, 2]], elapsed)
    (task,) = build_workflow([block], paths, method=Method.SESSIONS).tasks
    times: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
    for edge in task.edges:
        if edge.elapsed:
            times[edge.target].append((edge.elapsed.p50, edge.elapsed.count))
    assert times == {2: [(1.0, 1)], 3: [(3.5, 2)]}, "a time that is not known counts nowhere"


def test_what_leaves_the_workflow_counts_no_edge() -> None:
    block = Sequence((Step(1), Step(2), Step(3)))
    (task,) = built(block, (1, 2, 3), (1, 3), (1, 2, 9, 3)).tasks
    assert [(edge.source, edge.target, edge.count) for edge in task.edges] == [
        (0, 1, 3),
        (1, 2, 2),
        (2, 3, 2),
        (3, 4, 3),
    ]
    assert [state.count for state in task.states] == [3, 3, 2, 3, 3]


@pytest.mark.parametrize("redo", [EMPTY, Step(2)])
def test_a_loop_of_what_may_be_empty_can_be_drawn(redo: Block) -> None:
    (task,) = built(Loop(Choice((Step(1), EMPTY)), redo), (1,)).tasks
    assert task.end.count == 1


def test_without_sessions_what_follows_is_equally_likely() -> None:
    (task,) = built(Choice((Step(1), Step(2)))).tasks
    assert [edge.probability for edge in task.outgoing[0]] == [0.5, 0.5]
    assert task.sessions == 0


def test_there_may_be_any_number_of_routes_through_forks() -> None:
    optional = [Choice((Parallel((Choice((Step(key), EMPTY)), Choice((Step(key + 1), EMPTY)))), EMPTY)) for key in KEYS]
    (task,) = built(Sequence(tuple(optional * 10)), (1, 2, 3)).tasks
    assert set(key_edges(task)) == {(one, other) for one in (-1, 1, 2, 3, 4) for other in (-1, 1, 2, 3, 4)}
    assert task.end.count == 1
