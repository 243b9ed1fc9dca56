"""A task as nested blocks: sequence, choice, side by side, loop. The language of its normal sessions.

Every block says which orders of log keys are normal; :mod:`deeplog_grpc.workflow.replay` follows a session through it,
:mod:`deeplog_grpc.workflow.building` draws it as states and edges. A log key may be in several steps: a step is a
(log key, context) (CCS'17, section 4: shared segments are kept apart by their history).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Step:
    """One log key at one place of the task."""

    key: int
    """Log key."""
    state: int = 0
    """Number of its state, unique in a workflow; 0 until :func:`numbered`."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other."""

    parts: tuple["Block", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the parts; :data:`EMPTY` among them says that there may be none."""

    parts: tuple["Block", ...]


@dataclass(frozen=True, slots=True)
class Parallel:
    """All parts side by side, their steps in any mixture (concurrency)."""

    parts: tuple["Block", ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """The body, then as often as wanted the redo part and the body again."""

    body: "Block"
    redo: "Block"
    """:data:`EMPTY` where nothing comes between two repetitions."""
    least: int = 1
    most: int = 1
    """Least and greatest number of repetitions seen; more are normal too."""


@dataclass(frozen=True, slots=True)
class Copies:
    """So many copies of the body side by side: what several workers do at once, three replicas of a block for one."""

    body: "Block"
    least: int
    most: int
    """Least and greatest number of copies; others are not normal."""


Block: TypeAlias = Step | Sequence | Choice | Parallel | Loop | Copies

EMPTY = Sequence(())
"""Nothing at all."""


def sequence(*parts: Block) -> Block:
    """Parts one after the other, flat, without empty ones.

    Examples
    --------
    >>> sequence(Step(1), EMPTY, sequence(Step(2), Step(3)))
    Sequence(parts=(Step(key=1, state=0), Step(key=2, state=0), Step(key=3, state=0)))
    >>> sequence(Step(1))
    Step(key=1, state=0)
    """
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, Sequence) else (part,))]
    return flat[0] if len(flat) == 1 else Sequence(tuple(flat))


def choice(*parts: Block) -> Block:
    """One of the parts, flat, each once; :data:`EMPTY` last.

    Examples
    --------
    >>> choice(EMPTY, Step(1), choice(EMPTY, Step(2)))
    Choice(parts=(Step(key=1, state=0), Step(key=2, state=0), Sequence(parts=())))
    """
    flat = dict.fromkeys(inner for part in parts for inner in (part.parts if isinstance(part, Choice) else (part,)))
    ordered = [part for part in flat if part != EMPTY] + [EMPTY] * (EMPTY in flat)
    return ordered[0] if len(ordered) == 1 else Choice(tuple(ordered))


def parallel(*parts: Block) -> Block:
    """Parts side by side, flat, without empty ones.

    Examples
    --------
    >>> parallel(parallel(Step(1), Step(2)), EMPTY, Step(3)).parts
    (Step(key=1, state=0), Step(key=2, state=0), Step(key=3, state=0))
    """
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, Parallel) else (part,))]
    kept = [part for part in flat if part != EMPTY]
    if not kept:
        return EMPTY
    return kept[0] if len(kept) == 1 else Parallel(tuple(kept))


def children(block: Block) -> tuple[Block, ...]:
    """The blocks right inside a block."""
    match block:
        case Step():
            return ()
        case Loop(body, redo):
            return (body, redo)
        case Copies(body):
            return (body,)
        case _:
            return block.parts


def steps(block: Block) -> Iterator[Step]:
    """All steps in a block, from left to right.

    Examples
    --------
    >>> [step.key for step in steps(sequence(Step(7), Loop(Step(8), EMPTY)))]
    [7, 8]
    """
    if isinstance(block, Step):
        yield block
    for inner in children(block):
        yield from steps(inner)


def replaced(block: Block, by: Callable[[Step], Step]) -> Block:
    """The block with each step replaced, from left to right.

    Examples
    --------
    >>> replaced(Loop(Step(7), EMPTY), lambda step: Step(step.key + 1))
    Loop(body=Step(key=8, state=0), redo=Sequence(parts=()), least=1, most=1)
    """

    def walk(block: Block) -> Block:
        match block:
            case Step():
                return by(block)
            case Loop(body, redo, least, most):
                return Loop(walk(body), walk(redo), least, most)
            case Copies(body, least, most):
                return Copies(walk(body), least, most)
            case Sequence(parts):
                return Sequence(tuple(walk(part) for part in parts))
            case Choice(parts):
                return Choice(tuple(walk(part) for part in parts))
            case Parallel(parts):
                return Parallel(tuple(walk(part) for part in parts))

    return walk(block)


def numbered(block: Block, first: int) -> Block:
    """The block with its steps numbered from left to right.

    Examples
    --------
    >>> [step.state for step in steps(numbered(sequence(Step(7), Step(7)), 5))]
    [5, 6]
    """
    numbers = count(first)
    return replaced(block, lambda step: Step(step.key, next(numbers)))


def to_json(block: Block) -> list[Any]:
    """Plain data: a name and what belongs to it.

    Examples
    --------
    >>> to_json(Choice((Step(7, 1), EMPTY)))
    ['choice', ['step', 7, 1], ['sequence']]
    """
    match block:
        case Step(key, state):
            return ["step", key, state]
        case Loop(body, redo, least, most):
            return ["loop", to_json(body), to_json(redo), least, most]
        case Copies(body, least, most):
            return ["copies", to_json(body), least, most]
        case _:
            return [_NAMES[type(block)], *map(to_json, block.parts)]


def from_json(data: list[Any]) -> Block:
    """Read what :func:`to_json` wrote.

    Raises
    ------
    ValueError
        If it is no block.

    Examples
    --------
    >>> from_json(['choice', ['step', 7, 1], ['sequence']])
    Choice(parts=(Step(key=7, state=1), Sequence(parts=())))
    """
    match data:
        case ["step", int(key), int(state)]:
            return Step(key, state)
        case ["loop", list(body), list(redo), int(least), int(most)]:
            return Loop(from_json(body), from_json(redo), least, most)
        case ["copies", list(body), int(least), int(most)]:
            return Copies(from_json(body), least, most)
        case [str(name), *parts] if name in _OF_PARTS:
            return _OF_PARTS[name](tuple(map(from_json, parts)))
        case _:
            raise ValueError(f"not a block of a workflow: {str(data)[:80]}")


_OF_PARTS: dict[str, type[Sequence] | type[Choice] | type[Parallel]] = {
    "sequence": Sequence,
    "choice": Choice,
    "parallel": Parallel,
}
_NAMES = {kind: name for name, kind in _OF_PARTS.items()}
