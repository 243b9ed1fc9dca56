"""What is left of a block after a step: its derivative, as of regular expressions (Brzozowski 1964) with shuffle.

A session stands where the rest of its task begins, so the rest itself is the position. Nothing but what was
really met is ever computed, however many orders side-by-side parts allow.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

from deeplog_grpc.workflow.blocks import (
    EMPTY,
    Block,
    Choice,
    Copies,
    Loop,
    Parallel,
    Sequence,
    Step,
    parallel,
    sequence,
)
from deeplog_grpc.workflow.blocks import choice as either

MAX_SKIPS = 4
"""Ways to come to a log key by leaving out steps that are looked at, those that leave out the fewest."""


@dataclass(frozen=True, slots=True)
class Running:
    """Copies of which some have begun."""

    of: Copies
    begun: int
    open: tuple["Rest", ...]
    """What is left of those that have not ended, in a fixed order: copies cannot be told from each other."""


Rest: TypeAlias = Block | Running
"""What is left of a block."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A log key that is reached when steps before it are left out."""

    skipped: tuple[int, ...]
    """States left out, in their order."""
    state: int
    """The state of the log key."""
    rest: Rest


def may_end(rest: Rest) -> bool:
    """Whether nothing need come any more.

    Examples
    --------
    >>> may_end(EMPTY), may_end(Step(1)), may_end(Choice((Step(1), EMPTY)))
    (True, False, True)
    """
    match rest:
        case Step():
            return False
        case Sequence(parts) | Parallel(parts):
            return all(map(may_end, parts))
        case Choice(parts):
            return any(map(may_end, parts))
        case Loop(body):
            return may_end(body)
        case Copies(body, least):
            return not least or may_end(body)
        case Running(of, begun, running):
            return (begun >= of.least or may_end(of.body)) and all(map(may_end, running))


def derive(rest: Rest, key: int) -> list[tuple[int, Rest]]:
    """States that a log key may be, each with what is left after it.

    Examples
    --------
    >>> derive(Sequence((Step(1, 0), Step(2, 1))), 1)
    [(0, Step(key=2, state=1))]
    >>> derive(Parallel((Step(1, 0), Step(2, 1))), 2)
    [(1, Step(key=1, state=0))]
    """
    match rest:
        case Step(own, state):
            return [(state, EMPTY)] if own == key else []
        case Sequence(parts):
            found: list[tuple[int, Rest]] = []
            for place, part in enumerate(parts):
                found += [(state, _then(left, parts[place + 1 :])) for state, left in derive(part, key)]
                if not may_end(part):
                    break
            return found
        case Choice(parts):
            return [each for part in parts for each in derive(part, key)]
        case Parallel(parts):
            return [
                (state, _beside(parts, place, left))
                for place, part in enumerate(parts)
                for state, left in derive(part, key)
            ]
        case Loop(body, redo):
            found = [(state, _then(left, (_again(rest),))) for state, left in derive(body, key)]
            if may_end(body):
                found += [(state, _then(left, (rest,))) for state, left in derive(redo, key)]
            return found
        case Copies():
            return derive(Running(rest, 0, ()), key)
        case Running():
            return [
                (state, _copies(rest, place, left)) for place, part in _parts(rest) for state, left in derive(part, key)
            ]


def skips(rest: Rest, key: int) -> list[Skip]:
    """Ways to come to a log key when steps before it are left out, those that leave out the fewest first.

    Examples
    --------
    >>> [(skip.skipped, skip.state) for skip in skips(Sequence((Step(1, 0), Step(2, 1), Step(3, 2))), 3)]
    [((0, 1), 2)]
    """
    found = sorted(_skips(rest, key), key=lambda skip: len(skip.skipped))
    return found[:MAX_SKIPS]


def _skips(rest: Rest, key: int) -> list[Skip]:
    match rest:
        case Step(own, state):
            return [Skip((), state, EMPTY)] if own == key else []
        case Sequence(parts):
            found: list[Skip] = []
            before: tuple[int, ...] = ()
            for place, part in enumerate(parts):
                found += [
                    Skip(before + own.skipped, own.state, _then(own.rest, parts[place + 1 :]))
                    for own in skips(part, key)
                ]
                before += shortest(part)
            return found
        case Choice(parts):
            return [each for part in parts for each in skips(part, key)]
        case Parallel(parts):
            return [
                Skip(own.skipped, own.state, _beside(parts, place, own.rest))
                for place, part in enumerate(parts)
                for own in skips(part, key)
            ]
        case Loop(body, redo):
            of_body = [Skip(own.skipped, own.state, _then(own.rest, (_again(rest),))) for own in skips(body, key)]
            before = shortest(body)
            of_redo = [Skip(before + own.skipped, own.state, _then(own.rest, (rest,))) for own in skips(redo, key)]
            return of_body + of_redo
        case Copies():
            return _skips(Running(rest, 0, ()), key)
        case Running():
            return [
                Skip(own.skipped, own.state, _copies(rest, place, own.rest))
                for place, part in _parts(rest)
                for own in skips(part, key)
            ]


def shortest(rest: Rest) -> tuple[int, ...]:
    """States of the shortest way to the end.

    Examples
    --------
    >>> shortest(Sequence((Step(1, 0), Choice((Step(2, 1), EMPTY)), Loop(Step(3, 2), EMPTY))))
    (0, 2)
    """
    match rest:
        case Step(_, state):
            return (state,)
        case Sequence(parts) | Parallel(parts):
            return tuple(state for part in parts for state in shortest(part))
        case Choice(parts):
            return min(map(shortest, parts), key=len)
        case Loop(body):
            return shortest(body)
        case Copies(body, least):
            return shortest(body) * least
        case Running(of, begun, running):
            left = tuple(state for part in running for state in shortest(part))
            return left + shortest(of.body) * (of.least - begun)


def firsts(rest: Rest) -> list[int]:
    """States that may come next, each once, from left to right.

    Examples
    --------
    >>> firsts(Sequence((Choice((Step(1, 0), EMPTY)), Parallel((Step(2, 1), Step(3, 2))))))
    [0, 1, 2]
    """
    return list(dict.fromkeys(_firsts(rest)))


def _firsts(rest: Rest) -> list[int]:
    match rest:
        case Step(_, state):
            return [state]
        case Sequence(parts):
            found = []
            for part in parts:
                found += _firsts(part)
                if not may_end(part):
                    break
            return found
        case Choice(parts) | Parallel(parts):
            return [state for part in parts for state in _firsts(part)]
        case Loop(body, redo):
            return _firsts(body) + (_firsts(redo) if may_end(body) else [])
        case Copies(body):
            return _firsts(body)
        case Running():
            return [state for _, part in _parts(rest) for state in _firsts(part)]


def _then(left: Rest, following: tuple[Rest, ...]) -> Rest:
    """One rest, and what comes after it."""
    return sequence(left, *following)  # type: ignore[arg-type]  # the core knows no Running, and only moves it


def _beside(parts: tuple[Rest, ...], place: int, left: Rest) -> Rest:
    """Parts side by side, of which one has become less."""
    return parallel(*parts[:place], left, *parts[place + 1 :])  # type: ignore[arg-type]  # as in _then


def _again(loop: Loop) -> Rest:
    """After the body of a loop: once more, or not."""
    return either(sequence(loop.redo, loop), EMPTY)


def _parts(running: Running) -> list[tuple[int, Rest]]:
    """What may go on: each open copy that differs from the one before it, and one more (place -1)."""
    own = running.open
    parts: list[tuple[int, Rest]] = [(i, part) for i, part in enumerate(own) if part not in own[:i]]
    return [*parts, (-1, running.of.body)] if running.begun < running.of.most else parts


def _copies(running: Running, place: int, left: Rest) -> Rest:
    """Copies of which one has become less."""
    others = running.open if place < 0 else running.open[:place] + running.open[place + 1 :]
    begun = running.begun + (place < 0)
    still = others if left == EMPTY else tuple(sorted((*others, left), key=repr))
    if begun >= running.of.most and not still:
        return EMPTY
    return replace(running, begun=begun, open=still)
