"""A task grown key by key at its tail or head, by how close log keys come to each other (CCS'17, section 4.3).

A task is a row of stages, each a log key, keys side by side, or a choice. What comes next at the tail is the smallest
number m of keys that all come within m entries. For m = 1 that is the paper's extension by one key. For m = 2 it is the
paper's pair of concurrent keys: the first-order shares of both sum above tau, and their shares rise above tau at
distance 2. At the head the same is asked of the entries before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.workflow.blocks import EMPTY, Block, Step, choice, parallel, sequence
from deeplog_grpc.workflow.cooccurrence import Cooccurrence

SLACK = 1
"""Entries that a key far from the tail may be further away: at 10 entries, one more between them is common noise."""


LEAST_NEIGHBOURS = 5
LEAST_NEIGHBOUR_SHARE = 0.02
"""Times, and share of the executions, that two keys must be neighbours to tell their order: fewer may be chance, and
noise. Without an order they are side by side, which allows more."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a task. Keys are rows of the shares."""

    block: Block
    keys: tuple[int, ...]
    width: int
    """Most entries it takes."""
    optional: bool = False
    """Whether none of its keys is there always."""


@dataclass(frozen=True, slots=True)
class Direction:
    """The shares as seen in one direction."""

    near: Cooccurrence
    next: NDArray[np.float32]
    """Shares in this direction. Shape [D, K, K]."""
    back: NDArray[np.float32]
    """Shares in the other one."""
    threshold: float
    branch_keys: int
    is_forward: bool

    @classmethod
    def both(cls, near: Cooccurrence, threshold: float, branch_keys: int) -> "tuple[Direction, Direction]":
        """Towards the tail, and towards the head."""
        return (
            cls(near, near.forward, near.backward, threshold, branch_keys, True),
            cls(near, near.backward, near.forward, threshold, branch_keys, False),
        )


def stage_of(near: Cooccurrence, number: int) -> Stage:
    """One key as a stage."""
    return Stage(Step(int(near.keys[number])), (number,), 1)


def grown(stages: list[Stage], towards: Direction) -> list[Stage]:
    """A task with all that follows it in this direction, the last stage being the outermost."""
    stages = list(stages)
    while found := _joining(stages, towards) or _branches(stages, towards):
        stages.append(found)
    return stages


def _joining(stages: list[Stage], towards: Direction) -> Stage | None:
    """The key that comes next, or the keys side by side."""
    for size in range(1, len(towards.next) + 1):
        passing = _passing(stages, size, towards)
        if size > 1:
            passing = [number for number in passing if _belongs(number, stages, size, towards)]
        if len(passing) >= size:
            group = tuple(sorted(passing[:size]))
            return Stage(arranged(group, towards.near, towards.threshold), group, size)
    return None


def _passing(stages: list[Stage], steps: int, towards: Direction) -> list[int]:
    """Keys that every task key has within so many steps after the task's end, the nearest first.

    Each key of the task must have it, or be had by it in the other direction: where a key is in several tasks, only
    one of the two shares is near 1. At least one must have it in this direction.
    """
    size = len(towards.near.keys)
    allowed, strong, nearness = np.ones(size, np.bool_), np.zeros(size, np.bool_), np.zeros(size)
    behind, is_far = 0, False
    for stage in reversed(stages):
        allowed[list(stage.keys)] = False
        reach = behind + stage.width - 1 + steps
        behind += stage.width
        if stage.optional or reach > len(towards.next):
            continue
        d = min(reach + SLACK * is_far, len(towards.next)) - 1
        for key in stage.keys:
            has = towards.next[d, key] > towards.threshold
            allowed &= has | (towards.back[d, :, key] > towards.threshold)
            strong |= has
            if not is_far:
                nearness += towards.next[: d + 1, key].sum(axis=0)
        is_far = True
    found = np.flatnonzero(allowed & strong)
    return [int(number) for number in found[np.argsort(-nearness[found], kind="stable")]]


def _belongs(number: int, stages: list[Stage], steps: int, towards: Direction) -> bool:
    """Whether a key has one of the last keys of the task in the other direction.

    Where one task is most of the stream, all of its keys come soon after any background entry, but not the other way.
    """
    stage = next(stage for stage in reversed(stages) if not stage.optional)
    d = min(stage.width - 1 + steps, len(towards.back)) - 1
    return bool(towards.back[d, number, list(stage.keys)].max() > towards.threshold)


def _branches(stages: list[Stage], towards: Direction) -> Stage | None:
    """Short branches that part at the tail and come together in one key: a choice, by the paper's rule of thumb."""
    tail = stages[-1]
    if tail.optional or not towards.branch_keys:
        return None
    used = {key for stage in stages for key in stage.keys}
    firsts = _first_keys(tail, used, towards)
    met = next((found for m in range(2, towards.branch_keys + 2) if (found := _passing(stages, m, towards))), [])
    if len(firsts) < 2 or not met:
        return None
    paths = [_path(first, met[0], used, tail, towards) for first in firsts]
    branches = [path for path in paths if path is not None]
    keys = [key for path in branches for key in path]
    if len(branches) < len(paths) or len(set(keys)) < len(keys):
        return None
    blocks = [_line(path, towards) for path in branches]
    return Stage(choice(*blocks), tuple(keys), max(map(len, branches)), optional=True)


def _first_keys(tail: Stage, used: set[int], towards: Direction) -> list[int]:
    """The fewest keys whose shares directly after the stage sum above tau; none if all do not."""
    counts = towards.near.counts[list(tail.keys)]
    shares = counts @ towards.next[0, list(tail.keys)] / counts.mean()
    shares[list(used)] = 0
    order = np.argsort(-shares, kind="stable")
    sums = np.cumsum(shares[order])
    return order[: int(np.argmax(sums > towards.threshold)) + 1].tolist() if sums[-1] > towards.threshold else []


def _path(first: int, met: int, used: set[int], tail: Stage, towards: Direction) -> list[int] | None:
    """Keys from a branch's first one until the branches meet; None where it is no short branch of this task alone."""
    if first == met:
        return []
    if any(towards.back[tail.width - 1, first, list(tail.keys)] <= towards.threshold):
        return None
    path = [first]
    while len(path) <= towards.branch_keys:
        following = int(np.argmax(towards.next[0, path[-1]]))
        if towards.next[0, path[-1], following] <= towards.threshold or following in used or following in path:
            return None
        if following == met:
            return path
        path.append(following)
    return None


def _line(path: list[int], towards: Direction) -> Block:
    """A branch as a block, in the order of time."""
    keys = towards.near.keys[path if towards.is_forward else path[::-1]]
    return sequence(*(Step(int(key)) for key in keys)) if path else EMPTY


def arranged(group: tuple[int, ...], near: Cooccurrence, threshold: float) -> Block:
    """Keys that all come, in what order: one after the other, side by side, or both.

    Keys side by side are neighbours in either order, others in one order, save for (1 - tau) / 2 of the times: half of
    the background 1 - tau. Only neighbours are asked: within a wider window the task's next execution may begin.
    """
    if len(group) == 1:
        return Step(int(near.keys[group[0]]))
    before = _orders(group, near, threshold)
    ordered = before | before.T
    if len(parts := list(_components(ordered))) > 1:
        return parallel(*(arranged(tuple(group[place] for place in part), near, threshold) for part in parts))
    if len(parts := list(_components(~ordered))) > 1:
        parts.sort(key=lambda part: -int(before[part].sum()) / len(part))
        return sequence(*(arranged(tuple(group[place] for place in part), near, threshold) for part in parts))
    return parallel(*(Step(int(near.keys[number])) for number in group))


def _orders(group: tuple[int, ...], near: Cooccurrence, threshold: float) -> NDArray[np.bool_]:
    """[i, j]: whether i is always before j, be it by keys between them. Shape [n, n]."""
    rows = np.array(group)
    times = near.forward[0][np.ix_(rows, rows)] * near.counts[rows][:, None]
    np.fill_diagonal(times, 0)
    seen = times >= max(LEAST_NEIGHBOURS, LEAST_NEIGHBOUR_SHARE * int(near.counts[rows].min()))
    result: NDArray[np.bool_] = seen & (times * 2 > (1 + threshold) * (times + times.T))
    for middle in range(len(group)):
        result |= result[:, [middle]] & result[middle]
    return result


def _components(linked: NDArray[np.bool_]) -> Iterator[list[int]]:
    """Connected parts of a graph without directions, each ascending."""
    left = set(range(len(linked)))
    while left:
        part, waiting = set(), [min(left)]
        while waiting:
            place = waiting.pop()
            if place in left:
                left.remove(place)
                part.add(place)
                waiting.extend(np.flatnonzero(linked[place]).tolist())
        yield sorted(part)
