"""Workflows from a stream without sessions: which log keys come close to each other (CCS'17, section 4.3).

For one program whose tasks do not overlap in time. The paper's procedure: start from two keys of which one nearly
always follows the other, and extend the task at its tail and head as long as what comes is near each key of it.

Where its assumptions do not hold: a key in several tasks is told by its neighbours where those are in one task only;
where tasks share keys at their begin or end too, one may come in pieces that overlap. A key twice in one task cuts it.
What always follows a task belongs to it. Two choices in a row, and what is side by side within a loop, are not told. Of
a stream of one task alone, or nearly so, the begin is that of the segments, and choices may be missed; a task of at
most ``loop_keys`` keys may be taken for a loop where there are but one or two tasks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from deeplog_grpc.workflow import repeats
from deeplog_grpc.workflow.blocks import Block, Choice, Loop, Parallel, Sequence, Step, sequence
from deeplog_grpc.workflow.cooccurrence import Cooccurrence, Form
from deeplog_grpc.workflow.extension import Direction, Stage, grown, stage_of
from deeplog_grpc.workflow.repeats import Repeat, Stream

ROUNDING = 1e-6
"""Shares are computed in 24 bits; sums of them may fall short of 1 by so much."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class DensityConfig:
    """How tasks are told from co-occurrence."""

    distance: Annotated[int, Field(ge=2, le=100)] = 10
    """D: entries looked ahead and back. It must be greater than the number of keys that run side by side, and much
    smaller than the entries of a few tasks, or every key is near every other one."""
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.9
    """tau: share from which one key always comes with another. From 0.85 to 0.95 the paper's log fell into the right
    tasks; at 1 a single background entry breaks a task; below 0.5 a key could have two that always follow it."""
    form: Form = Form.PRESENCE
    """`presence`, or `printed`: the paper's formula to the letter, by which no task has more than two keys."""
    min_count: Annotated[int, Field(ge=2, le=1_000_000)] = 10
    """Entries that a log key must have. Rarer ones are background, and are taken out first: among fewer than 10 entries
    a share of 0.9 cannot be told from 1."""
    branch_keys: Annotated[int, Field(ge=0, le=50)] = 3
    """Most log keys of a branch that is folded into its task, the paper's example. What is longer is a task of its own;
    0 = fold none."""
    loop_keys: Annotated[int, Field(ge=0, le=50)] = 4
    """Most log keys of a fragment that repeats; 0 = look for none. A longer one may be a task that runs twice."""

    @property
    def limit(self) -> float:
        """A share above this one is enough: tau, and at tau = 1 only a share of 1."""
        return min(self.threshold, 1 - ROUNDING)


@dataclass(frozen=True, slots=True)
class _Candidate:
    stages: tuple[Stage, ...]
    keys: frozenset[int]
    times: int
    """Entries of its rarest key that is always there."""


def density_tasks(
    keys: NDArray[np.integer[Any]],
    config: DensityConfig | None = None,
    *,
    segments: NDArray[np.integer[Any]] | None = None,
) -> tuple[Block, ...]:
    """The tasks of a stream, the most frequent first. The same stream gives the same tasks.

    Parameters
    ----------
    keys : int array [n]
        Log keys in the order of their entries, each >= 0.
    config : DensityConfig, optional
        Limits.
    segments : int array [n], optional
        Segment of each entry: nothing reaches from one into the next. Entries of a segment are together.

    Raises
    ------
    ValueError
        If a key is negative, or there are not as many segments as keys.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> runs = ([1, 2, 3, 4], [1, 3, 2, 4], [5, 6, 7], [8, 9])
    >>> stream = np.concatenate([runs[number] for number in rng.integers(0, 4, 200)])
    >>> from deeplog_grpc.workflow.blocks import to_json
    >>> to_json(density_tasks(stream)[0])
    ['sequence', ['step', 1, 0], ['parallel', ['step', 2, 0], ['step', 3, 0]], ['step', 4, 0]]
    """
    config = config or DensityConfig()
    stream = _frequent(_stream(keys, segments), config.min_count)
    loops: tuple[Repeat, ...] = ()
    if config.loop_keys and len(stream.keys):
        loops, stream = _loops(stream, config)
    near = _near(stream, config)
    found = _kept(_candidates(near, stream, config), config.limit)
    ordered = sorted(found, key=lambda task: (-task.times, min(task.keys)))
    return tuple(_with_loops(sequence(*(stage.block for stage in task.stages)), loops) for task in ordered)


def _stream(keys: NDArray[np.integer[Any]], segments: NDArray[np.integer[Any]] | None) -> Stream:
    if segments is not None and len(segments) != len(keys):
        raise ValueError(f"{len(segments)} segments for {len(keys)} keys")
    numbers = np.zeros(len(keys), np.int64) if segments is None else np.asarray(segments, np.int64)
    return Stream(keys=np.asarray(keys, np.int64), segments=numbers)


def _frequent(stream: Stream, min_count: int) -> Stream:
    """The stream without rare keys."""
    _, places, counts = np.unique(stream.keys, return_inverse=True, return_counts=True)
    return stream.at(counts[places.ravel()] >= min_count)


def _loops(stream: Stream, config: DensityConfig) -> tuple[tuple[Repeat, ...], Stream]:
    """Loops, and the stream with one copy of each; background within them has gone, and may have left rare keys."""
    loops, folded = repeats.find(
        stream,
        _near(stream, config),
        longest=config.loop_keys,
        threshold=config.limit,
        min_count=config.min_count,
    )
    return loops, _frequent(folded, config.min_count)


def _near(stream: Stream, config: DensityConfig) -> Cooccurrence:
    return Cooccurrence.of(stream.keys, distance=config.distance, form=config.form, segments=stream.segments)


def _candidates(near: Cooccurrence, stream: Stream, config: DensityConfig) -> list[_Candidate]:
    """Tasks grown from every start that no task holds yet."""
    tail, head = Direction.both(near, config.limit, config.branch_keys)
    found: list[_Candidate] = []
    for start in _starts(near, stream, config.limit):
        if any(task.keys.issuperset(start) for task in found):
            continue
        stages = [stage_of(near, number) for number in start]
        stages = grown(grown(stages, tail)[::-1], head)[::-1]
        task = _candidate(stages, near)
        if len(task.keys) > 1:
            found.append(task)
    return found


def _candidate(stages: list[Stage], near: Cooccurrence) -> _Candidate:
    keys = frozenset(key for stage in stages for key in stage.keys)
    always = [key for stage in stages if not stage.optional for key in stage.keys]
    return _Candidate(tuple(stages), keys, min((int(near.counts[key]) for key in always), default=0))


def _starts(near: Cooccurrence, stream: Stream, threshold: float) -> Iterator[tuple[int, ...]]:
    """Pairs of which one nearly always comes next to the other, and single keys: the most frequent first.

    Keys of a choice are rarer than those of their task before and after it, so that the task comes first and folds
    them in. What begins a segment goes before all: where one task runs again and again, this is its begin.
    """
    if not len(near.keys):
        return
    shares = np.maximum(near.forward[0], near.backward[0].T)
    begin = near.number(_begin(stream))
    starts: list[tuple[int, ...]] = [(int(i), int(j)) for i, j in np.argwhere(shares > threshold) if i != j]
    starts += [(number,) for number in range(len(near.keys))]
    yield from sorted(
        starts, key=lambda start: (start[0] != begin, -int(near.counts[list(start)].min()), -len(start), start)
    )


def _begin(stream: Stream) -> int:
    """The log key that begins most segments."""
    borders = np.append(0, np.flatnonzero(np.diff(stream.segments)) + 1)
    firsts, counts = np.unique(stream.keys[borders], return_counts=True)
    return int(firsts[counts.argmax()])


def _kept(tasks: list[_Candidate], threshold: float) -> list[_Candidate]:
    """Tasks without those that are but parts of others; what mostly runs alone is no part of another task."""
    kept: list[_Candidate] = []
    for task in sorted(tasks, key=lambda task: (-len(task.keys), sorted(task.keys))):
        around = [other for other in kept if other.keys >= task.keys]
        if sum(other.times for other in around) <= threshold * task.times:
            kept = [_without(other, task) if other in around else other for other in kept]
            kept.append(task)
    return kept


def _without(task: _Candidate, part: _Candidate) -> _Candidate:
    """A task without another one at its begin or end, where at least two keys are left."""
    length, keys = len(part.stages), task.keys - part.keys
    if len(keys) > 1 and task.stages[:length] == part.stages:
        return _Candidate(task.stages[length:], keys, task.times)
    if len(keys) > 1 and task.stages[-length:] == part.stages:
        return _Candidate(task.stages[:-length], keys, task.times)
    return task


def _with_loops(block: Block, loops: tuple[Repeat, ...]) -> Block:
    """A task with the copies of fragments that repeat as loops."""
    match block:
        case Sequence(parts):
            return sequence(*_looped(tuple(_with_loops(part, loops) for part in parts), loops))
        case Choice(parts):
            return Choice(tuple(_with_loops(part, loops) for part in parts))
        case Parallel(parts):
            return Parallel(tuple(_with_loops(part, loops) for part in parts))
        case _:
            return sequence(*_looped((block,), loops))


def _looped(parts: tuple[Block, ...], loops: tuple[Repeat, ...]) -> tuple[Block, ...]:
    """Parts of a sequence, those in the order of a loop's body replaced by the loop."""
    for loop in loops:
        body = tuple(map(Step, loop.body))
        for place in range(len(parts) - len(body) + 1):
            if parts[place : place + len(body)] == body:
                redo = sequence(*map(Step, loop.redo))
                repeated = Loop(sequence(*body), redo, least=loop.least, most=loop.most)
                parts = (*parts[:place], repeated, *parts[place + len(body) :])
                break
    return parts
