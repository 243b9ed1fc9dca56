from typing import Any

import pytest
from hypothesis import given

from deeplog_grpc.workflow import EMPTY, Block, Choice, Parallel, Step
from deeplog_grpc.workflow.blocks import choice, from_json, numbered, parallel, replaced, sequence, steps, to_json
from tests.block_languages import blocks, words


@given(blocks(3))
def test_a_block_survives_json(block: Block) -> None:
    assert from_json(to_json(block)) == block


@given(blocks(3))
def test_steps_are_numbered_without_gaps_and_keep_their_keys(block: Block) -> None:
    found = list(steps(numbered(block, 5)))
    assert [step.state for step in found] == list(range(5, 5 + len(found)))
    assert [step.key for step in found] == [step.key for step in steps(block)]
    assert replaced(block, lambda step: step) == block


@given(blocks(2, 3), blocks(2, 3))
def test_flat_blocks_allow_what_nested_ones_do(one: Block, other: Block) -> None:
    assert words(choice(one, other), 4) == words(one, 4) | words(other, 4)
    assert words(sequence(one, EMPTY, other), 4) == words(sequence(sequence(one, other)), 4)
    assert words(parallel(one, EMPTY, other), 4) == words(Parallel((one, other)), 4)


def test_nothing_beside_nothing_is_nothing() -> None:
    assert parallel() == parallel(EMPTY) == sequence() == sequence(EMPTY) == choice(EMPTY) == EMPTY
    assert choice(Step(1), Step(1)) == Step(1)
    assert choice(EMPTY, Step(1)) == Choice((Step(1), EMPTY))


@pytest.mark.parametrize(
    "data", [[], ["step", 1], ["step", "1", 2], ["other"], ["loop", ["step", 1, 2]], ["choice", 7]]
)
def test_what_is_no_block_is_refused(data: list[Any]) -> None:
    with pytest.raises(ValueError, match="not a block"):
        from_json(data)
