"""Rare ways through a task: what discovery takes for noise, though it is always the same few entries in a row.

A block that is replicated again in one of 300 sessions is rarer than noise, and yet a way of its own. So sessions that
do not keep to a block are looked at once more: entries too many, several in a row and at the same place in several
sessions, make an optional part there.
"""

from collections import defaultdict
from collections.abc import Iterator

from deeplog_grpc.workflow.blocks import EMPTY, Block, Sequence, choice, sequence, steps
from deeplog_grpc.workflow.building import build_workflow
from deeplog_grpc.workflow.discovery import DiscoveryConfig, discover
from deeplog_grpc.workflow.graph import Method
from deeplog_grpc.workflow.relations import Log
from deeplog_grpc.workflow.replay import NO_STATE, Move, Replay

LEAST_ENTRIES = 3
"""Entries in a row of a detour: one or two too many are an accident."""

LEAST_SESSIONS = 3.0
"""Sessions that must have the same log keys there."""

NOISE = DiscoveryConfig(noise=0.01)
"""Two sessions that do something are enough, among so few."""

MAX_SESSIONS = 500
"""Distinct sessions that are looked at, the most frequent ones."""


def with_detours(block: Block, log: Log) -> Block:
    """The block with optional parts for the rare ways of a log.

    Examples
    --------
    >>> from deeplog_grpc.workflow import Step
    >>> usual, rare = ((1, 2, 3), 900.0), ((1, 2, 7, 8, 9, 3), 5.0)
    >>> block = sequence(*(Step(key) for key in (1, 2, 3)))
    >>> [type(part).__name__ for part in with_detours(block, [usual, rare]).parts]
    ['Step', 'Step', 'Choice', 'Step']
    """
    parts: list[Block] = list(block.parts) if isinstance(block, Sequence) else [block]
    if not parts:
        return block
    at_gap: defaultdict[int, defaultdict[frozenset[int], list[tuple[tuple[int, ...], float]]]]
    at_gap = defaultdict(lambda: defaultdict(list))
    for gap, keys, weight in _detours(parts, log):
        at_gap[gap][frozenset(keys)].append((keys, weight))
    for gap, by_keys in sorted(at_gap.items(), reverse=True):
        real = [own for own in by_keys.values() if sum(weight for _, weight in own) >= LEAST_SESSIONS]
        if real:
            found = discover([each for own in real for each in own], NOISE)
            parts.insert(gap, choice(found, EMPTY))
    return sequence(*parts)


def _detours(parts: list[Block], log: Log) -> Iterator[tuple[int, tuple[int, ...], float]]:
    """Entries too many in a row: before which part they come, their log keys, and their weight."""
    workflow = build_workflow([sequence(*parts)], (), method=Method.SESSIONS)
    replay = Replay(workflow)
    part_of = _part_of(parts, first=1)
    unfit = [(path, weight) for path, weight in log if not replay.fits(path)]
    for path, weight in sorted(unfit, key=lambda each: -each[1])[:MAX_SESSIONS]:
        moves = replay.explain(path, ended=True).moves
        for start, stop in _runs(moves):
            if stop - start >= LEAST_ENTRIES:
                before = max((part_of[move.state] for move in moves[:start] if move.state != NO_STATE), default=-1)
                yield before + 1, path[start:stop], weight


def _part_of(parts: list[Block], first: int) -> dict[int, int]:
    """State -> the part that it is in; states are numbered from ``first`` on, from left to right."""
    owners = [number for number, part in enumerate(parts) for _ in steps(part)]
    return dict(enumerate(owners, first))


def _runs(moves: tuple[Move, ...]) -> Iterator[tuple[int, int]]:
    """Places of entries too many in a row: from, and up to.

    Examples
    --------
    >>> list(_runs((Move(4), Move(-1), Move(-1), Move(5), Move(-1))))
    [(1, 3), (4, 5)]
    """
    start = None
    for place, move in enumerate((*moves, Move(0))):
        if move.state == NO_STATE and start is None:
            start = place
        elif move.state != NO_STATE and start is not None:
            yield start, place
            start = None
