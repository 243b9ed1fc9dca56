"""Measures of workflows: what is known by hand."""

from dataclasses import replace
from typing import Any

import pytest

from deeplog_grpc.testing import simulate_process
from deeplog_grpc.workflow import (
    EMPTY,
    Block,
    Choice,
    Copies,
    Loop,
    Method,
    Parallel,
    Step,
    Workflow,
    build_workflow,
    distinct_paths,
    sequence,
)

measures: Any = pytest.importorskip("benchmarks.process_measures")

A, B, C, D, E = map(Step, range(1, 6))


def workflow(*blocks: Block) -> Workflow:
    return build_workflow(blocks, (), method=Method.SESSIONS)


def told(found: Block, truth: Block) -> list[bool]:
    around = [workflow(sequence(A, block, E)) for block in (found, truth)]
    return [fork.is_right for fork in measures.forks(*around)]


@pytest.mark.parametrize("seed", range(10))
def test_the_truth_agrees_with_itself_whatever_the_order_of_its_tasks(seed: int) -> None:
    process = simulate_process(seed)
    turned = workflow(*reversed(process.tasks))
    sessions = distinct_paths(session.keys for session in process.draw(200, seed=0))
    assert measures.edge_f1(turned, process.workflow) == 1.0
    assert all(fork.is_right for fork in measures.forks(turned, process.workflow))
    assert measures.fitness(turned, sessions) == 1.0
    assert 0.3 < measures.precision(turned, sessions) <= 1.0


def test_edges_are_counted_as_pairs_of_keys() -> None:
    chain = workflow(sequence(A, B, C))  # start A, A B, B C, C end
    assert measures.edge_f1(workflow(sequence(A, C)), chain) == 2 * 2 / (4 + 3)
    assert measures.edge_f1(workflow(sequence(A, B, C), sequence(D, E)), chain) == 2 * 4 / (4 + 4 + 3)
    assert measures.edge_f1(workflow(), chain) == 0.0
    twice = workflow(sequence(A, B, A, B))  # start A, A B twice, B A, B end
    assert measures.edge_f1(workflow(Loop(sequence(A, B), EMPTY)), twice) == 2 * 4 / (5 + 4)


def test_tasks_are_matched_for_the_best_total() -> None:
    truth = workflow(sequence(A, B, C), sequence(A, B, D))
    found = workflow(sequence(A, B, D), sequence(A, B))
    assert {number: task.number for number, task in measures.matched_tasks(found, truth).items()} == {0: 1, 1: 0}


def test_a_fork_is_told_by_what_holds_its_branches() -> None:
    side_by_side, either = Parallel((B, sequence(C, D))), Choice((B, sequence(C, D)))
    assert told(side_by_side, side_by_side) == [True]
    assert told(either, either) == [True]
    assert told(either, side_by_side) == [False]
    assert told(side_by_side, either) == [False]
    assert told(sequence(B, C, D), side_by_side) == [False]
    assert told(Choice((sequence(B, C), sequence(C, B))), Parallel((B, C))) == [False]
    assert told(Copies(sequence(B, C), 2, 2), Parallel((B, C))) == [True]


def test_every_pair_of_branches_must_be_right() -> None:
    assert told(Parallel((B, sequence(C, D))), Parallel((B, C, D))) == [False]
    assert told(Parallel((Choice((B, C)), D)), Parallel((Choice((B, C)), D))) == [True, True]
    assert told(Parallel((B, C, D)), Parallel((Choice((B, C)), D))) == [True, False]


def test_an_empty_branch_is_told_if_the_other_is_optional() -> None:
    optional = Choice((sequence(B, C), EMPTY))
    assert told(optional, optional) == [True]
    assert told(sequence(B, C), optional) == [False]
    assert told(Choice((B, C, EMPTY)), Choice((B, C))) == [True]
    assert told(Choice((B, C)), Choice((B, C, EMPTY))) == [False]


def test_no_divergence_point_no_accuracy_and_none_of_a_missing_task_is_right() -> None:
    chain, fork = workflow(sequence(A, B)), workflow(sequence(A, Choice((B, C)), D))
    assert measures.forks(fork, chain) == []
    assert measures.fork_accuracy([]) != measures.fork_accuracy([])
    assert measures.fork_accuracy(measures.forks(workflow(), fork)) == 0.0
    assert measures.fork_accuracy(measures.forks(fork, fork)) == 1.0


def test_precision_is_the_share_of_the_allowed_that_is_done() -> None:
    graph = workflow(sequence(A, Choice((B, C)), D))
    assert measures.precision(graph, distinct_paths([[1, 2, 4], [1, 3, 4]])) == 1.0
    # A: 1 of 1, after A: 1 of 2 (C escapes), after B: 1 of 1, each of them twice
    assert measures.precision(graph, distinct_paths([[1, 2, 4]] * 2)) == pytest.approx(1 - 2 / 8)
    # what the workflow cannot replay counts up to there; after A nothing of B and C is done
    assert measures.precision(graph, distinct_paths([[1, 4, 4]])) == pytest.approx(1 - 2 / 3)


def test_fitness_is_the_share_of_sessions_that_replay() -> None:
    assert measures.fitness(workflow(sequence(A, B)), distinct_paths([[1, 2], [1], [1, 2], [2, 1]])) == 0.5
    assert measures.fitness(workflow(), distinct_paths([[1]])) == 0.0


def test_found_states_are_mapped_to_true_steps() -> None:
    process = simulate_process(4)
    sessions = process.draw(100, seed=0)
    found = workflow(*reversed(process.tasks))
    state_of = measures.true_states(found, sessions)
    assert sorted(state_of.values()) == sorted({step for session in sessions for step in session.steps})
    assert all(found.states[state].key == process.workflow.states[step].key for state, step in state_of.items())
    noisy = [replace(session, steps=(-1,) * len(session.steps)) for session in sessions]
    assert measures.true_states(found, noisy) == {}


def test_groups_agree_whatever_their_names() -> None:
    assert measures.adjusted_rand([0, 0, 1, 1], [1, 1, 0, 0]) == 1.0
    assert measures.adjusted_rand([0, 0, 1, 1], [0, 1, 0, 1]) < 0.1
