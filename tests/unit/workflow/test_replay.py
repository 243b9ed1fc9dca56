from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.workflow import EMPTY, Block, Choice, Loop, Method, Parallel, Replay, Sequence, Step, build_workflow
from deeplog_grpc.workflow import replay as module
from deeplog_grpc.workflow.replay import BEAM, MAX_AT_ONCE
from tests.block_languages import Word, blocks, least_cost, words

KEYS = (1, 2, 3)


def replay_of(*blocks: Block) -> Replay:
    return Replay(build_workflow(blocks, (), method=Method.SESSIONS))


@given(blocks(len(KEYS)))
@settings(max_examples=100, deadline=None)
def test_what_a_block_allows_fits_and_costs_nothing(block: Block) -> None:
    replay, language = replay_of(block), words(block, 4)
    for length in range(5):
        for word in product(KEYS, repeat=length):
            fits = replay.fits(word)
            assert fits == (word in language)
            assert fits == (replay.explain(word, ended=True).cost == 0)


@given(blocks(len(KEYS)), st.lists(st.integers(1, 4), max_size=6).map(tuple))
@settings(max_examples=200, deadline=None)
def test_an_explanation_agrees_with_itself(block: Block, word: Word) -> None:
    replay = replay_of(block)
    explained = replay.explain(word, ended=True)
    states = replay.workflow.states
    assert len(explained.moves) == len(word)
    for move, key in zip(explained.moves, word, strict=True):
        assert move.state < 0 or states[move.state].key == key
        assert all(states[state].key > 0 for state in move.skipped)
    too_many = sum(move.state < 0 for move in explained.moves)
    left_out = sum(len(move.skipped) for move in explained.moves) + len(explained.missing)
    assert explained.cost == too_many + left_out >= least_cost(replay.workflow.tasks[0].block, word, KEYS)
    assert sum(move.begins_task for move in explained.moves) == bool(explained.path)


@given(blocks(len(KEYS)), st.lists(st.integers(1, 4), max_size=6).map(tuple))
@settings(max_examples=200, deadline=None)
def test_the_first_entry_that_leaves_the_workflow_is_where_nothing_fits_any_more(block: Block, word: Word) -> None:
    replay = replay_of(block)
    place = replay.explain(word).divergence
    assert replay.fits(word[: place if place >= 0 else len(word)], ended=False)
    assert place < 0 or not replay.fits(word[: place + 1], ended=False)


def test_what_fits_so_far_is_kept_to_though_it_turns_out_dearer() -> None:
    block = Sequence((Choice((Sequence((Step(1), Step(2), Step(3))), EMPTY)), Step(4)))
    explained = replay_of(block).explain((1, 4), ended=True)
    assert (explained.cost, explained.divergence) == (2, 1), "an entry 1 too many would cost 1"


def test_a_loop_of_all_of_a_task_begins_no_new_task() -> None:
    replay = replay_of(Loop(Step(1), Step(2)))
    moves = replay.explain((1, 2, 1, 2, 1), ended=True).moves
    assert [move.begins_task for move in moves] == [True, False, False, False, False]


def test_places_followed_at_once_are_bounded() -> None:
    part = Loop(Choice((Step(1), Step(1))), Choice((Step(1), EMPTY)))
    replay = replay_of(Parallel((part,) * 8))
    places = replay.beginnings()
    for _ in range(6):
        places = replay.step(places, 1)
        assert 0 < len(places) <= MAX_AT_ONCE
    assert replay.explain((1, 2, 1)).cost == 1
    assert BEAM <= MAX_AT_ONCE


def test_met_in_the_middle_what_came_before_costs_nothing() -> None:
    explained = replay_of(Sequence((Step(1), Step(2), Step(3)))).explain((2, 3), begins=False, ended=True)
    assert (explained.cost, explained.path) == (0, (2, 3))


def test_one_task_follows_another_as_in_training() -> None:
    workflow = build_workflow(
        [Step(1), Step(2)], (), method=Method.DENSITY, follows={(-1, 0): 1, (0, 1): 1, (1, -1): 1}
    )
    replay = Replay(workflow)
    assert [replay.fits(word) for word in [(1, 2), (2, 1), (1,), (2,)]] == [True, False, False, False]
    assert Replay(workflow, any_succession=True).fits((2, 1, 2))


def test_log_keys_that_no_task_has_are_remembered_as_one() -> None:
    replay = replay_of(Sequence((Step(1), Step(2))))
    explained = [replay.explain((1, unknown, 2), ended=True) for unknown in range(100, 1_100)]
    assert {found.cost for found in explained} == {1}
    assert replay.memory.turns <= 3


def test_what_is_remembered_is_bounded_and_what_is_forgotten_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Parallel(tuple(Sequence((Step(key), Step(key + 10))) for key in KEYS))
    sessions = [word for length in range(7) for word in product((*KEYS, 11, 12, 13), repeat=length)][:3_000]
    expected = replay_of(block)
    found = [(expected.explain(word, ended=True), expected.fits(word)) for word in sessions]
    for limit in ("MAX_PLACES", "MAX_LOOKED_UP", "MAX_TURNS"):
        monkeypatch.setattr(module, limit, 20)
    replay = replay_of(block)
    for word, (explained, fits) in zip(sessions, found, strict=True):
        again = replay.explain(word, ended=True)
        assert (again.moves, again.missing, again.cost, replay.fits(word)) == (
            explained.moves,
            explained.missing,
            explained.cost,
            fits,
        )
        assert max(replay.memory) < 20 + 200, "what one session adds"
