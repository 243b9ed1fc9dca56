from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.workflow import EMPTY, Block, Choice, Copies, Loop, Parallel, Sequence, Step
from deeplog_grpc.workflow.blocks import numbered, steps
from deeplog_grpc.workflow.derivatives import MAX_SKIPS, Rest, derive, firsts, may_end, shortest, skips
from tests.block_languages import Word, blocks, words

KEYS = (1, 2, 3)
LONGEST = 5


def accepts(block: Block, word: Word) -> bool:
    rests: dict[Rest, None] = {block: None}
    for key in word:
        rests = dict.fromkeys(left for rest in rests for _, left in derive(rest, key))
    return any(map(may_end, rests))


@given(blocks(len(KEYS)))
@settings(max_examples=200, deadline=None)
def test_exactly_the_language_is_accepted(block: Block) -> None:
    block = numbered(block, 1)
    language = words(block, LONGEST)
    for length in range(LONGEST + 1):
        for word in product(KEYS, repeat=length):
            assert accepts(block, word) == (word in language)


@given(blocks(len(KEYS)), st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_left_after_any_key_agrees_with_itself(block: Block, data: st.DataObject) -> None:
    block = numbered(block, 1)
    key_of = {step.state: step.key for step in steps(block)}
    rest: Rest = block
    for _ in range(4):
        following = {state: key for key in KEYS for state, _ in derive(rest, key)}
        assert set(firsts(rest)) == set(following)
        assert all(key_of[state] == key for state, key in following.items())
        assert may_end(rest) == (not shortest(rest))
        for key in KEYS:
            for skip in skips(rest, key):
                assert key_of[skip.state] == key
                assert set(skip.skipped) <= set(key_of)
                assert bool(skip.skipped) or (skip.state, skip.rest) in derive(rest, key)
        ways = [left for key in KEYS for _, left in derive(rest, key)]
        if not ways:
            break
        rest = data.draw(st.sampled_from(ways))


@given(blocks(len(KEYS)))
@settings(max_examples=200, deadline=None)
def test_the_shortest_way_leads_to_the_end(block: Block) -> None:
    block = numbered(block, 1)
    key_of = {step.state: step.key for step in steps(block)}
    way = tuple(key_of[state] for state in shortest(block))
    assert accepts(block, way)
    assert not words(block, len(way) - 1) if way else accepts(block, ())


@given(blocks(len(KEYS)), st.sampled_from(KEYS))
@settings(max_examples=200, deadline=None)
def test_what_is_left_out_and_the_log_key_are_a_way_to_the_rest(block: Block, key: int) -> None:
    block = numbered(block, 1)
    key_of = {step.state: step.key for step in steps(block)}
    for skip in skips(block, key):
        way = tuple(key_of[state] for state in (*skip.skipped, skip.state, *shortest(skip.rest)))
        assert accepts(block, way)


def test_copies_cannot_be_told_from_each_other() -> None:
    copies = Copies(Sequence((Step(1, 1), Step(2, 2), Step(3, 3))), 16, 16)
    rests: dict[Rest, None] = {copies: None}
    for key in [1] * 16 + [2] * 8:
        rests = dict.fromkeys(left for rest in rests for _, left in derive(rest, key))
        assert len(rests) == 1
    assert [state for rest in rests for state in firsts(rest)] in ([2, 3], [3, 2])


def test_no_more_copies_begin_than_were_seen() -> None:
    copies = Copies(Step(1), 1, 2)
    assert [accepts(copies, (1,) * count) for count in range(4)] == [False, True, True, False]


def test_many_branches_cost_no_more_than_their_steps() -> None:
    wide = numbered(Parallel(tuple(Sequence((Step(key), Step(100 + key))) for key in range(20))), 1)
    rest: Rest = wide
    for key in [*range(20), *range(100, 120)]:
        ((_, rest),) = derive(rest, key)
    assert rest == EMPTY


def test_only_the_nearest_places_are_looked_at() -> None:
    block = numbered(Sequence(tuple(Step(key) for _ in range(10) for key in (1, 2))), 1)
    assert [len(skip.skipped) for skip in skips(block, 2)] == [1, 3, 5, 7]
    assert len(skips(block, 2)) == MAX_SKIPS


def test_a_loop_may_begin_with_what_is_between_where_its_body_may_be_empty() -> None:
    loop = Loop(Choice((Step(1, 1), EMPTY)), Step(2, 2))
    assert all(accepts(loop, word) for word in [(), (1,), (2,), (2, 2), (1, 2), (2, 1)])
    assert not accepts(loop, (1, 1))
