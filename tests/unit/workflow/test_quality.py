from math import isnan

import pytest
from hypothesis import given, settings

from deeplog_grpc.workflow import (
    Block,
    Choice,
    Method,
    Parallel,
    Replay,
    Sequence,
    Step,
    build_workflow,
    distinct_paths,
)
from deeplog_grpc.workflow.quality import alignment, fitness, precision, simplicity
from tests.block_languages import blocks, words


def replay_of(*blocks: Block) -> Replay:
    return Replay(build_workflow(blocks, (), method=Method.SESSIONS))


@given(blocks(3))
@settings(max_examples=100, deadline=None)
def test_figures_are_shares(block: Block) -> None:
    replay = replay_of(block)
    paths = distinct_paths([*words(block, 4), (1, 2)])
    if len(paths) == 1:  # all that the block allows is longer
        return
    assert round(fitness(replay, paths) * len(paths)) >= len(paths) - 1
    assert 0 < precision(replay, paths) <= 1
    assert 0 < simplicity(replay.workflow) <= 1


def test_a_workflow_that_allows_just_what_there_is_has_precision_one() -> None:
    block = Sequence((Step(1), Parallel((Step(2), Step(3))), Choice((Step(4), Step(5)))))
    assert precision(replay_of(block), distinct_paths(words(block, 4))) == 1.0


def test_what_is_allowed_and_never_done_lowers_precision() -> None:
    replay = replay_of(Choice((Step(1), Step(2), Step(3), Step(4))))
    assert precision(replay, distinct_paths([[1], [1]])) == (1 / 4 + 1) / 2


def test_what_leaves_the_workflow_counts_no_further() -> None:
    assert precision(replay_of(Sequence((Step(1), Step(2)))), distinct_paths([[1, 9, 9]])) == 1.0


def test_without_sessions_nothing_is_known() -> None:
    replay = replay_of(Step(1))
    assert isnan(fitness(replay, ()))
    assert isnan(precision(replay, ()))


def test_more_edges_are_less_simple() -> None:
    tangled = replay_of(Sequence(tuple(Choice((Step(key), Step(key + 1))) for key in range(0, 8, 2)))).workflow
    assert simplicity(tangled) < simplicity(replay_of(Sequence((Step(1), Step(2)))).workflow) == 1.0


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([[1, 2, 3]], 1.0),
        ([[1, 3]], 4 / 5),
        ([[1, 2]], 4 / 5),
        ([[1, 2, 9, 3]], 6 / 7),
        ([[1, 2, 3], [1, 3]], 10 / 11),
        ([[]], 0.0),
    ],
)
def test_alignment_is_the_share_of_entries_and_steps_that_agree(keys: list[list[int]], expected: float) -> None:
    workflow = build_workflow([Sequence((Step(1), Step(2), Step(3)))], (), method=Method.SESSIONS)
    assert alignment(Replay(workflow), distinct_paths(keys)) == pytest.approx(expected)


def test_of_no_sessions_there_is_no_alignment() -> None:
    assert isnan(alignment(Replay(build_workflow([Step(1)], (), method=Method.SESSIONS)), ()))
