"""Faults put into normal executions, and what a diagnosis should say of them."""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Row
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from deeplog_grpc.testing.processes import NOISE, Process, SimulatedSession
from deeplog_grpc.workflow.blocks import Block, Choice, Loop, Parallel, Step, children, steps
from deeplog_grpc.workflow.deviations import NO_STATE, NOWHERE, Deviation

SLOW_FACTOR = 20.0
MOST_SKIPPED = 3
LEAST_LEFT = 2
"""Entries that a session cut short still has; as many are missing at least."""
LEAST_MOVE = 2
MOST_LATER = 4
"""A step comes again at most so many entries later."""

T = TypeVar("T")
Columns = tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultySession:
    """A session with one fault, and the truth about it."""

    session: SimulatedSession
    """What was put in has the true step :data:`NOISE`."""
    fault: Deviation
    index: int
    """Place of the first entry that deviates; the number of entries where it is the end that does."""
    state: int
    """True state of the entry before; -1 at the begin."""
    slow_state: int = NO_STATE
    """The step that is slow."""
    missing: tuple[int, ...] = ()
    """States that are left out."""


class _Marked(NamedTuple):
    """Which entries of a session may be used for faults."""

    needed: list[bool]
    """The step is in every execution of the task, once."""
    unique: list[bool]
    """The log key is at no other place of the task."""
    alone: list[bool]
    """Nothing runs beside the step."""


def is_normal(process: Process, keys: Row[int]) -> bool:
    """Whether some task of a process has just these keys.

    Examples
    --------
    >>> from deeplog_grpc.testing import simulate_process
    >>> process = simulate_process(1)
    >>> keys = process.draw(1, seed=0)[0].keys
    >>> is_normal(process, keys), is_normal(process, keys[:-1])
    (True, False)
    """
    return process.replay.fits(keys)


def first_divergence(process: Process, keys: Row[int]) -> int:
    """Place of the first entry that a process does not have there; -1 = it has all of them, so far."""
    places = process.replay.beginnings()
    for index, key in enumerate(keys):
        places = process.replay.step(places, key)
        if not places:
            return index
    return NOWHERE


def with_fault(process: Process, session: SimulatedSession, fault: Deviation, *, seed: int) -> FaultySession:
    """Put a fault into a normal session; it can always be seen, by keys or by a time.

    Parameters
    ----------
    process : Process
    session : SimulatedSession
        Drawn from it without noise.
    fault : Deviation
        One of :data:`FAULTS`. ``SKIPPED``: one to three steps that every execution has are missing. ``REPEATED``: a
        step that is in no loop comes again, at once or some entries later. ``OUT_OF_ORDER``: a step that is in no
        loop comes two or more entries earlier or later. ``TRUNCATED``: the last two or more entries are missing.
        ``UNKNOWN``: a log key that the process never has comes in between. ``SLOW``: a step that nothing runs beside
        takes 20 times as long as usual.
    seed : int
        The same seed gives the same fault.

    Raises
    ------
    ValueError
        If the session is not normal, has no place for the fault, or there is no such fault.

    Examples
    --------
    >>> from deeplog_grpc.testing import simulate_process
    >>> process = simulate_process(1)
    >>> faulty = with_fault(process, process.draw(1, seed=0)[0], Deviation.TRUNCATED, seed=0)
    >>> faulty.index == len(faulty.session.keys), faulty.state == faulty.session.steps[-1]
    (True, True)
    """
    if fault not in _CANDIDATES:
        raise ValueError(f"no such fault: {fault!r}")
    if not is_normal(process, session.keys):
        raise ValueError("a fault is put into normal sessions only")
    rng = random.Random(f"{fault.name} {seed}")
    marked = _marked(process.tasks[session.task], session)
    for faulty in _CANDIDATES[fault](process, session, marked, rng):
        if fault is Deviation.SLOW or not is_normal(process, faulty.session.keys):
            return faulty
    raise ValueError(f"no place for {fault.name} in the session")


def _marked(task: Block, session: SimulatedSession) -> _Marked:
    needed, beside = set[int](), set[int]()

    def walk(block: Block, is_needed: bool, has_others: bool) -> None:
        if isinstance(block, Step):
            needed.update([block.state] * is_needed)
            beside.update([block.state] * has_others)
        is_needed = is_needed and not isinstance(block, Choice | Loop)
        for inner in children(block):
            walk(inner, is_needed, has_others or isinstance(block, Parallel))

    walk(task, True, False)
    keys = [step.key for step in steps(task)]
    return _Marked(
        needed=[state in needed for state in session.steps],
        unique=[keys.count(key) == 1 for key in session.keys],
        alone=[state not in beside for state in session.steps],
    )


def _skipped(
    process: Process, session: SimulatedSession, marked: _Marked, rng: random.Random
) -> Iterator[FaultySession]:
    """All but the last entry may be missing: without it the session is cut short."""
    count = rng.randint(1, MOST_SKIPPED)
    places = [p for p in range(len(session.keys) - 1) if marked.needed[p]]
    for first in _shuffled(places, rng):
        gone = range(first, first + 1)
        while len(gone) < count and gone.stop in places:
            gone = range(first, gone.stop + 1)
        columns = _columns(session)
        left = _session(session, (*columns[: gone.start], *columns[gone.stop :]))
        yield _told(process, left, Deviation.SKIPPED, missing=session.steps[gone.start : gone.stop])


def _repeated(
    process: Process, session: SimulatedSession, marked: _Marked, rng: random.Random
) -> Iterator[FaultySession]:
    """It is the first entry that deviates, and comes before the last one."""
    loops = _in_loops(process.tasks[session.task])
    places = [p for p, state in enumerate(session.steps[:-1]) if state not in loops and marked.unique[p]]
    for first in _shuffled(places, rng):
        again = min(first + 1 + rng.choice((0, rng.randint(1, MOST_LATER))), len(session.keys) - 1)
        faulty = _told(process, _put_in(session, again, session.keys[first]), Deviation.REPEATED)
        if faulty.index == again:
            yield faulty


def _in_loops(block: Block, inside: bool = False) -> set[int]:
    if isinstance(block, Step):
        return {block.state} if inside else set()
    return set[int]().union(*(_in_loops(inner, inside or isinstance(block, Loop)) for inner in children(block)))


def _out_of_order(
    process: Process, session: SimulatedSession, marked: _Marked, rng: random.Random
) -> Iterator[FaultySession]:
    """Neither the first nor the last entry; one that comes earlier is itself the first that deviates."""
    inner = range(1, len(session.keys) - 1)
    loops = _in_loops(process.tasks[session.task])
    movable = [old for old in inner if marked.unique[old] and session.steps[old] not in loops]
    moves = [(old, new) for old in movable for new in inner if abs(new - old) >= LEAST_MOVE]
    for old, new in _shuffled(moves, rng):
        columns = list(_columns(session))
        moved = columns.pop(old)
        columns.insert(new, moved)
        faulty = _told(process, _session(session, columns), Deviation.OUT_OF_ORDER)
        if faulty.index == new or new > old:
            yield faulty


def _truncated(
    process: Process, session: SimulatedSession, marked: _Marked, rng: random.Random
) -> Iterator[FaultySession]:
    for left in _shuffled(range(LEAST_LEFT, len(session.keys) - LEAST_LEFT + 1), rng):
        cut = _session(session, _columns(session)[:left])
        yield replace(
            _told(process, cut, Deviation.TRUNCATED), missing=process.replay.explain(cut.keys, ended=True).missing
        )


def _unknown(
    process: Process, session: SimulatedSession, marked: _Marked, rng: random.Random
) -> Iterator[FaultySession]:
    place = rng.randint(1, len(session.keys) - 1)
    yield _told(process, _put_in(session, place, process.unknown_key), Deviation.UNKNOWN)


def _slow(process: Process, session: SimulatedSession, marked: _Marked, rng: random.Random) -> Iterator[FaultySession]:
    """Nothing else is odd: all later entries move as well."""
    for place in _shuffled([p for p in range(1, len(session.keys)) if marked.alone[p]], rng):
        elapsed_s = list(session.elapsed_s)
        elapsed_s[place] = SLOW_FACTOR * process.usual_s[session.steps[place]]
        yield FaultySession(
            session=replace(session, elapsed_s=tuple(elapsed_s)),
            fault=Deviation.SLOW,
            index=place,
            state=session.steps[place - 1],
            slow_state=session.steps[place],
        )


_Candidates = Callable[[Process, SimulatedSession, _Marked, random.Random], Iterator[FaultySession]]
_CANDIDATES: Mapping[Deviation, _Candidates] = {
    Deviation.SKIPPED: _skipped,
    Deviation.REPEATED: _repeated,
    Deviation.OUT_OF_ORDER: _out_of_order,
    Deviation.TRUNCATED: _truncated,
    Deviation.SLOW: _slow,
    Deviation.UNKNOWN: _unknown,
}
FAULTS = tuple(_CANDIDATES)
"""What :func:`with_fault` can do."""


def _told(
    process: Process, session: SimulatedSession, fault: Deviation, *, missing: tuple[int, ...] = ()
) -> FaultySession:
    """The truth about a session whose keys deviate."""
    index = first_divergence(process, session.keys)
    index = len(session.keys) if index == NOWHERE else index
    return FaultySession(
        session=session,
        fault=fault,
        index=index,
        state=session.steps[index - 1] if index else NO_STATE,
        missing=missing,
    )


def _columns(session: SimulatedSession) -> Columns:
    """(key, step, seconds since the begin) of each entry."""
    times_s, now_s = [], 0.0
    for elapsed_s in session.elapsed_s:
        now_s += 0.0 if math.isnan(elapsed_s) else elapsed_s
        times_s.append(now_s)
    return tuple(zip(session.keys, session.steps, times_s, strict=True))


def _session(session: SimulatedSession, columns: Row[tuple[int, int, float]]) -> SimulatedSession:
    """Entries in a new order; the times stay in theirs."""
    times_s = sorted(time_s for _, _, time_s in columns)
    return replace(
        session,
        keys=tuple(key for key, _, _ in columns),
        steps=tuple(state for _, state, _ in columns),
        elapsed_s=(math.nan, *(second - first for first, second in itertools.pairwise(times_s))),
    )


def _put_in(session: SimulatedSession, place: int, key: int) -> SimulatedSession:
    """One entry more, half-way between two."""
    columns = _columns(session)
    between_s = (columns[place - 1][2] + columns[place][2]) / 2
    return _session(session, (*columns[:place], (key, NOISE, between_s), *columns[place:]))


def _shuffled(items: Row[T], rng: random.Random) -> list[T]:
    return rng.sample(items, len(items))
