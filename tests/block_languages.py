"""Small blocks and, by force, all they allow."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import heappop, heappush
from itertools import chain, combinations, count

from hypothesis import strategies as st

from deeplog_grpc.workflow import EMPTY, Block, Choice, Copies, Loop, Parallel, Sequence, Step
from deeplog_grpc.workflow.derivatives import Rest, derive, may_end

Word = tuple[int, ...]
Language = frozenset[Word]


def words(block: Block, longest: int) -> Language:
    """All orders of log keys that a block allows, as far as they are no longer."""
    match block:
        case Step(key):
            return frozenset({(key,)} if longest else ())
        case Sequence(parts):
            return _joined((words(part, longest) for part in parts), longest)
        case Choice(parts):
            return frozenset(chain.from_iterable(words(part, longest) for part in parts))
        case Parallel(parts):
            return _mixed((words(part, longest) for part in parts), longest)
        case Copies(body, least, most):
            own = words(body, longest)
            return frozenset(chain.from_iterable(_mixed([own] * n, longest) for n in range(least, most + 1)))
        case Loop(body, redo):
            once, again = words(body, longest), words(Sequence((redo, body)), longest)
            found = once
            while (more := found | _joined((found, again), longest)) != found:
                found = more
            return found


def _joined(languages: Iterable[Language], longest: int) -> Language:
    found: Language = frozenset({()})
    for own in languages:
        found = frozenset(one + other for one in found for other in own if len(one) + len(other) <= longest)
    return found


def _mixed(languages: Iterable[Language], longest: int) -> Language:
    found: Language = frozenset({()})
    for own in languages:
        pairs = ((one, other) for one in found for other in own if len(one) + len(other) <= longest)
        found = frozenset(chain.from_iterable(mixtures(one, other) for one, other in pairs))
    return found


@lru_cache(100_000)
def mixtures(one: Word, other: Word) -> Language:
    """All orders of the entries of two words that keep the order of each."""
    return frozenset(_mixtures(one, other))


def _mixtures(one: Word, other: Word) -> Iterator[Word]:
    length = len(one) + len(other)
    for places in combinations(range(length), len(one)):
        first, second = iter(one), iter(other)
        yield tuple(next(first) if place in places else next(second) for place in range(length))


def least_cost(block: Block, word: Word, keys: Iterable[int]) -> int:
    """Entries too many and steps left out, at the least: by the shortest way through all places."""
    keys = tuple(keys)
    waiting: list[tuple[int, int, int, Rest]] = [(0, 0, 0, block)]
    done: set[tuple[int, Rest]] = set()
    order = count(1)
    while True:
        cost, at, _, rest = heappop(waiting)
        if at == len(word) and may_end(rest):
            return cost
        if (at, rest) in done:
            continue
        done.add((at, rest))
        if at < len(word):
            heappush(waiting, (cost + 1, at + 1, next(order), rest))
        for key in keys:
            for _, left in derive(rest, key):
                heappush(waiting, (cost + 1, at, next(order), left))
                if at < len(word) and word[at] == key:
                    heappush(waiting, (cost, at + 1, next(order), left))


def blocks(keys: int, steps: int = 5) -> st.SearchStrategy[Block]:
    """Random blocks; a log key may be in several steps."""
    step: st.SearchStrategy[Block] = st.builds(Step, st.integers(1, keys))
    return st.recursive(step, _blocks_of, max_leaves=steps)


def _blocks_of(inner: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    parts = st.lists(inner, min_size=2, max_size=3).map(tuple)
    with_empty = st.lists(inner, min_size=1, max_size=2).map(lambda own: (*own, EMPTY))
    counts = st.tuples(st.integers(0, 2), st.integers(2, 3))
    return st.one_of(
        st.builds(Sequence, parts),
        st.builds(Choice, parts | with_empty),
        st.builds(Parallel, parts),
        st.builds(Loop, inner, inner | st.just(EMPTY)),
        st.builds(lambda body, counts: Copies(body, *counts), inner, counts),
    )
