"""Which task, which state? A stream of several tasks told apart by the workflow, entry by entry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.workflow.graph import NO_TASK
from deeplog_grpc.workflow.replay import NO_STATE, Replay

MAX_OPEN = 256
"""Executions open at once; past it the one that had no entry for longest is taken to have stopped."""

NOBODY = -1
"""Execution of an entry that belongs to none."""

MOST_SKIPPED = 2
"""Steps that may be missing before an entry that is still put to an execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a session stands."""

    task: int
    state: int
    """State of its last entry that is in the workflow; -1 = none is."""
    expected: tuple[int, ...]
    """States that may come next, wherever it may stand; of a window that no task has, none."""
    may_end: bool
    cost: int
    """Entries too many and states left out so far; 0 = it kept to the workflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """A stream told apart; columns by entry."""

    tasks: NDArray[np.int32]
    """Number of the task; -1 = of none. Shape [n]."""
    executions: NDArray[np.int32]
    """Number of the execution, in the order in which they began; -1 = of none. Shape [n]."""
    states: NDArray[np.int32]
    """Number of the state; -1 = an entry too many. Shape [n]."""


def locate(replay: Replay, keys: Sequence[int], *, begins: bool = True) -> Location:
    """Which task, and which state of it, a session has come to, or a window of one.

    Parameters
    ----------
    begins : bool
        False for a window, which begins anywhere.

    Raises
    ------
    ValueError
        If the workflow has no task.

    Examples
    --------
    >>> from deeplog_grpc.workflow import Method, Step, build_workflow, sequence
    >>> tasks = [sequence(*map(Step, (1, 2, 3))), sequence(Step(7), Step(2))]
    >>> workflow = build_workflow(tasks, (), method=Method.SESSIONS)
    >>> locate(Replay(workflow), [1, 2])
    Location(task=0, state=2, expected=(3,), may_end=False, cost=0)
    """
    found = replay.explain(keys, begins=begins)
    state = found.path[-1] if found.path else NO_STATE
    places = found.places if begins or found.path else ()
    return Location(
        task=replay.task(found.place) if state != NO_STATE else NO_TASK,
        state=state,
        expected=replay.expected(places),
        may_end=any(map(replay.may_end, places)),
        cost=found.cost,
    )


def separate(replay: Replay, keys: Sequence[int], *, interleaved: bool = False) -> Separation:
    """Tell the tasks of a stream apart.

    Parameters
    ----------
    replay : Replay
        With ``any_succession``.
    keys : sequence of int
        Log keys in the order of their arrival.
    interleaved : bool
        Whether executions overlap. Then an entry goes to an open execution that has it next, the surest first; else to
        a task that begins with it. Where executions have the same log keys next, nothing tells them apart.

    Examples
    --------
    >>> from deeplog_grpc.workflow import Method, Step, build_workflow, sequence
    >>> workflow = build_workflow([sequence(Step(1), Step(2)), sequence(Step(7), Step(8))], (), method=Method.DENSITY)
    >>> replay = Replay(workflow, any_succession=True)
    >>> separate(replay, [1, 2, 7, 8, 1, 2]).tasks.tolist()
    [0, 0, 1, 1, 0, 0]
    >>> separate(replay, [1, 7, 2, 8], interleaved=True).executions.tolist()
    [0, 1, 0, 1]
    """
    if interleaved:
        return _Sorter(replay).sorted(keys)
    moves = replay.explain(keys).moves
    states = np.array([move.state for move in moves], np.int32)
    executions = np.cumsum([move.begins_task for move in moves], dtype=np.int32) - 1
    of_state = np.array([*(state.task for state in replay.workflow.states), NO_TASK], np.int32)
    tasks = of_state[states]
    for place in np.flatnonzero(states == NO_STATE).tolist():  # an entry too many is where its neighbour is
        tasks[place] = tasks[place - 1] if place else NO_TASK
    return Separation(tasks=tasks, executions=np.maximum(executions, NOBODY), states=states)


@dataclass(slots=True)
class _Execution:
    """A task on its way."""

    number: int
    places: tuple[int, ...]
    task: int


class _Sorter:
    """Puts the entries of a stream to executions that overlap."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._open: list[_Execution] = []
        """The one that had no entry for longest is the first."""
        self._begun = 0

    def sorted(self, keys: Sequence[int]) -> Separation:
        """Take all entries, in order."""
        rows = [self._put(key) for key in keys]
        columns = np.array(rows, np.int32).reshape(-1, 3)
        return Separation(tasks=columns[:, 0], executions=columns[:, 1], states=columns[:, 2])

    def _put(self, key: int) -> tuple[int, int, int]:
        """Task, execution and state of an entry."""
        found = self._going_on(key) or self._beginning(key) or self._with_skips(key)
        if found is None:
            last = self._open[-1] if self._open else None
            return (last.task, last.number, NO_STATE) if last else (NO_TASK, NOBODY, NO_STATE)
        execution, places, state = found
        if execution in self._open:
            self._open.remove(execution)
        execution.places = places
        if self._replay.expected_in_task(places):
            self._open.append(execution)
        del self._open[:-MAX_OPEN]
        return execution.task, execution.number, state

    def _going_on(self, key: int) -> tuple[_Execution, tuple[int, ...], int] | None:
        """The open execution that is surest to have the key next; of equally sure ones the one waiting longest."""
        best, fewest = None, 0
        for execution in self._open:
            ways = [way for place in execution.places for way in self._replay.in_task(place, key)]
            if not ways:
                continue
            count = len(self._replay.expected_in_task(execution.places))
            if best is None or count < fewest:
                best, fewest = (execution, tuple(way.place for way in ways), ways[0].state), count
        return best

    def _beginning(self, key: int) -> tuple[_Execution, tuple[int, ...], int] | None:
        """A new execution of the task that begins with the key."""
        ways = [way for start in self._replay.beginnings() for way in self._replay.in_task(start, key)]
        if not ways:
            return None
        task = self._replay.task(ways[0].place)
        places = tuple(way.place for way in ways if self._replay.task(way.place) == task)
        self._begun += 1
        return _Execution(self._begun - 1, places, task), places, ways[0].state

    def _with_skips(self, key: int) -> tuple[_Execution, tuple[int, ...], int] | None:
        """The open execution in which the fewest steps are missing before the key."""
        best, fewest = None, MOST_SKIPPED + 1
        for execution in self._open:
            for place in execution.places:
                for way in self._replay.ways(place, key):
                    if len(way.skipped) < fewest and not way.begins_task:
                        best, fewest = (execution, (way.place,), way.state), len(way.skipped)
        return best
