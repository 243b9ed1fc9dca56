"""Streams of tasks that follow each other, with the blocks they were made from."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.workflow.blocks import (
    EMPTY,
    Block,
    Choice,
    Copies,
    Loop,
    Parallel,
    Sequence,
    Step,
    choice,
    parallel,
    sequence,
    steps,
)

Edges = set[tuple[int, int]]


def line(*keys: int) -> Block:
    return sequence(*map(Step, keys))


def run(block: Block, rng: np.random.Generator) -> list[int]:
    """Log keys of one execution."""
    match block:
        case Step(key):
            return [key]
        case Sequence(parts):
            return [key for part in parts for key in run(part, rng)]
        case Choice(parts):
            return run(parts[rng.integers(len(parts))], rng)
        case Loop(body, redo, least, most):
            again = sequence(*[part for _ in range(int(rng.integers(least, most + 1)) - 1) for part in (redo, body)])
            return run(body, rng) + run(again, rng)
        case Parallel(parts):
            branches = [iter(run(part, rng)) for part in parts]
            order = np.repeat(np.arange(len(parts)), [len(list(steps(part))) for part in parts])
            return [next(branches[place]) for place in rng.permutation(order)]
        case Copies():
            raise NotImplementedError


def stream(
    tasks: tuple[Block, ...], rng: np.random.Generator, *, executions: int = 1000, noise: float = 0.0
) -> NDArray[np.int64]:
    """Tasks in random order; a share of the entries is dropped, doubled, swapped, or has a foreign one before it."""
    keys = [key for number in rng.integers(len(tasks), size=executions) for key in run(tasks[number], rng)]
    known = sorted(set(keys))
    hit = rng.random(len(keys)) < noise
    noisy: list[int] = []
    for key, kind in zip(keys, np.where(hit, rng.integers(1, 5, len(keys)), 0), strict=True):
        match kind:
            case 1:
                continue
            case 2:
                noisy += [key, key]
            case 3:
                noisy[-1:] = [key, *noisy[-1:]]
            case 4:
                noisy += [int(rng.choice([*known, 900, 901])), key]
            case _:
                noisy.append(key)
    return np.array(noisy, np.int64)


def random_task(first: int, rng: np.random.Generator, kinds: tuple[str, ...]) -> Block:
    """A task of 6 to 19 keys with up to two of these kinds of parts amid it."""
    keys = iter(range(first, first + 20))
    parts = [line(next(keys))]
    for kind in rng.choice(kinds, int(rng.integers(0, 3))):
        branches = [line(*(next(keys) for _ in range(rng.integers(1, 3)))) for _ in range(rng.integers(2, 5))]
        match kind:
            case "parallel":
                parts.append(parallel(*branches))
            case "choice":
                parts.append(choice(*branches[1:], branches[0] if rng.random() < 0.5 else EMPTY))
            case "loop":
                parts.append(Loop(sequence(branches[0]), EMPTY, 1, int(rng.integers(2, 5))))
        parts.append(line(next(keys)))
    task = sequence(*parts)
    while len(list(steps(task))) < 6:
        task = sequence(task, line(next(keys)))
    return task


def random_tasks(count: int, rng: np.random.Generator, kinds: tuple[str, ...]) -> tuple[Block, ...]:
    return tuple(random_task(100 * number, rng, kinds) for number in range(1, count + 1))


def edges(blocks: tuple[Block, ...]) -> Edges:
    """Pairs of keys that follow each other; through forks and joins, never from one branch into another."""
    found: Edges = set()
    for block in blocks:
        _ends(block, found)
    return found


def _ends(block: Block, found: Edges) -> tuple[set[int], set[int], bool]:
    """First keys, last keys and whether there may be none."""
    match block:
        case Step(key):
            return {key}, {key}, False
        case Sequence(parts):
            firsts: set[int] = set()
            lasts: set[int] = set()
            empty = True
            for first, last, may_lack in (_ends(part, found) for part in parts):
                found |= set(product(lasts, first))
                firsts |= first if empty else set()
                lasts = last | (lasts if may_lack else set())
                empty &= may_lack
            return firsts, lasts, empty
        case Loop(body, redo):
            first, last, empty = _ends(body, found)
            _ends(sequence(body, redo, body), found)
            return first, last, empty
        case Copies(body):
            return _ends(body, found)
        case Choice(parts) | Parallel(parts):
            ends = [_ends(part, found) for part in parts]
            combine = any if isinstance(block, Choice) else all
            return set().union(*(e[0] for e in ends)), set().union(*(e[1] for e in ends)), combine(e[2] for e in ends)


def forks(block: Block) -> Iterator[tuple[str, frozenset[frozenset[int]]]]:
    """Each choice, parallel part and loop: its kind and the keys of its branches."""
    match block:
        case Choice(parts) | Parallel(parts):
            yield type(block).__name__, frozenset(frozenset(step.key for step in steps(part)) for part in parts)
            for part in parts:
                yield from forks(part)
        case Sequence(parts):
            for part in parts:
                yield from forks(part)
        case Loop(body):
            yield "Loop", frozenset({frozenset(step.key for step in steps(block))})
            yield from forks(body)
        case _:
            return


def edge_f1(found: tuple[Block, ...], true: tuple[Block, ...]) -> float:
    common = len(edges(found) & edges(true))
    return 2 * common / max(len(edges(found)) + len(edges(true)), 1)
