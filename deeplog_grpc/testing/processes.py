"""A process whose tasks are known, and what it logs: executions one by one, or in one stream, with noise.

:func:`deeplog_grpc.testing.simulate_process` makes one by a seed. Parts side by side are a real race: each branch
begins when a worker is free and runs on its own clock; entries are merged by time.
"""

import heapq
import itertools
import math
import random
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Row
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

from deeplog_grpc.workflow.blocks import Block, Choice, Copies, Loop, Parallel, Sequence, Step, steps
from deeplog_grpc.workflow.graph import Workflow
from deeplog_grpc.workflow.replay import Replay

NOISE = -1
"""True step of an entry that noise put in."""
SIGMA = 0.25
"""Spread of a step's duration: that of the logarithm."""
DISTURBANCES = ("swapped", "dropped", "doubled", "foreign")
"""What noise does to an entry: exchanged with the next one, gone, there twice, followed by a key that does not belong
there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSession:
    """One execution of a task."""

    keys: tuple[int, ...]
    """Log keys."""
    task: int
    """Number of the task."""
    steps: tuple[int, ...]
    """True step of each entry, a state number; :data:`NOISE` where it is none."""
    elapsed_s: tuple[float, ...]
    """Seconds since the entry before; the first is NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStream:
    """Executions in one stream; all columns are by entry."""

    keys: tuple[int, ...]
    """Log keys."""
    tasks: tuple[int, ...]
    """Number of the task that is executed."""
    executions: tuple[int, ...]
    """Number of the execution."""
    steps: tuple[int, ...]
    """True step, a state number; :data:`NOISE` where it is none."""
    elapsed_s: tuple[float, ...]
    """Seconds since the entry before; the first is NaN."""


class _Entry(NamedTuple):
    """A log key at a time."""

    time_s: float
    key: int
    state: int


@dataclass(frozen=True, kw_only=True)
class Process:
    """Tasks as they truly are, and how often and how fast they run.

    Examples
    --------
    >>> from deeplog_grpc.testing import simulate_process
    >>> process = simulate_process(1)
    >>> session = process.draw(100, seed=0)[0]
    >>> session.task, len(session.keys) == len(session.steps) == len(session.elapsed_s)
    (1, True)
    """

    kind: str
    """What it has most of."""
    workflow: Workflow
    """Its tasks, without figures: the truth about states and edges."""
    templates: Mapping[int, str]
    """Log key -> text; keys are 0, 1, 2 ..."""
    shares: tuple[float, ...]
    """Share of each task in the executions."""
    branches: Mapping[Choice, tuple[float, ...]]
    """Choice -> probabilities of its parts."""
    usual_s: Mapping[int, float]
    """State number -> median of its duration in seconds."""

    @cached_property
    def tasks(self) -> tuple[Block, ...]:
        """The tasks as blocks; their steps have the state numbers of the workflow."""
        return tuple(task.block for task in self.workflow.tasks)

    @cached_property
    def replay(self) -> Replay:
        """Follows sessions through the true workflow."""
        return Replay(self.workflow)

    @property
    def unknown_key(self) -> int:
        """A log key that it never has."""
        return len(self.templates)

    def draw(self, sessions: int, *, seed: int, noise: float = 0.0) -> tuple[SimulatedSession, ...]:
        """Execute tasks, each a session of its own.

        Parameters
        ----------
        sessions : int
            How many.
        seed : int
            The same seed gives the same sessions; with noise they are those without, disturbed.
        noise : float
            Share of the entries that are disturbed, in [0, 1], a quarter in each of the :data:`DISTURBANCES`.
        """
        return tuple(_as_session(task, entries) for task, entries in self._executions(sessions, seed, noise))

    def draw_stream(self, executions: int, *, seed: int, noise: float = 0.0, interleave: int = 1) -> SimulatedStream:
        """Execute tasks into one stream, by workers that each do one after the other.

        Parameters
        ----------
        executions : int
            How many.
        seed : int
            The same seed gives the same stream.
        noise : float
            As in :meth:`draw`; it disturbs each execution for itself.
        interleave : int
            Workers: most executions that are open at once. With 1 they follow each other without overlap.
        """
        rng = random.Random(f"pauses {seed}")
        free_s = [0.0] * interleave
        entries: list[tuple[_Entry, int, int]] = []
        for number, (task, own) in enumerate(self._executions(executions, seed, noise)):
            begin_s = heapq.heappop(free_s) + rng.expovariate(1.0)
            moved = [entry._replace(time_s=begin_s + entry.time_s) for entry in own]
            entries += [(entry, task, number) for entry in moved]
            heapq.heappush(free_s, moved[-1].time_s if moved else begin_s)
        entries.sort(key=lambda entry: entry[0].time_s)
        return SimulatedStream(
            keys=tuple(entry.key for entry, _, _ in entries),
            tasks=tuple(task for _, task, _ in entries),
            executions=tuple(number for _, _, number in entries),
            steps=tuple(entry.state for entry, _, _ in entries),
            elapsed_s=_elapsed_s([entry for entry, _, _ in entries]),
        )

    def _executions(self, count: int, seed: int, noise: float) -> Iterator[tuple[int, list[_Entry]]]:
        rng, chance = random.Random(f"executions {seed}"), random.Random(f"noise {seed}")
        foreign = [self._foreign_keys(task) for task in range(len(self.tasks))]
        for task in rng.choices(range(len(self.tasks)), self.shares, k=count):
            _, entries = self._run(self.tasks[task], 0.0, rng)
            yield task, _disturbed(entries, noise, foreign[task], chance) if noise else entries

    def _foreign_keys(self, task: int) -> list[int]:
        """Keys that only other tasks have; all keys where there is none."""
        own = {step.key for step in steps(self.tasks[task])}
        return sorted(self.templates.keys() - own) or sorted(own)

    def _run(self, block: Block, begin_s: float, rng: random.Random) -> tuple[float, list[_Entry]]:
        """When a block is done, and its entries in the order of time."""
        match block:
            case Step(key, state):
                time_s = begin_s + self.usual_s[state] * rng.lognormvariate(0.0, SIGMA)
                return time_s, [_Entry(time_s, key, state)]
            case Sequence(parts):
                return self._run_all(parts, begin_s, rng)
            case Choice(parts):
                return self._run(rng.choices(parts, self.branches[block])[0], begin_s, rng)
            case Loop(body, redo, least, most):
                return self._run_all((body, *(redo, body) * (rng.randint(least, most) - 1)), begin_s, rng)
            case Parallel(parts):
                return self._race(parts, begin_s, rng)
            case Copies(body, least, most):
                return self._race((body,) * rng.randint(least, most), begin_s, rng)

    def _run_all(self, parts: Row[Block], begin_s: float, rng: random.Random) -> tuple[float, list[_Entry]]:
        time_s, entries = begin_s, []
        for part in parts:
            time_s, own = self._run(part, time_s, rng)
            entries += own
        return time_s, entries

    def _race(self, parts: Row[Block], begin_s: float, rng: random.Random) -> tuple[float, list[_Entry]]:
        """Each part begins when a worker is free, that is soon or only when another may be done."""
        wait_s = max(self.expected_s(part) for part in parts)
        runs = [self._run(part, begin_s + rng.uniform(0.0, wait_s), rng) for part in parts]
        entries = heapq.merge(*(own for _, own in runs), key=itemgetter(0))
        return max(time_s for time_s, _ in runs), list(entries)

    def expected_s(self, block: Block) -> float:
        """Seconds that a block takes as a rule."""
        match block:
            case Step(_, state):
                return self.usual_s[state]
            case Sequence(parts):
                return sum(map(self.expected_s, parts))
            case Choice(parts):
                return sum(p * self.expected_s(part) for p, part in zip(self.branches[block], parts, strict=True))
            case Loop(body, redo, least, most):
                times = (least + most) / 2
                return times * self.expected_s(body) + (times - 1) * self.expected_s(redo)
            case Parallel(parts):
                return max(map(self.expected_s, parts))
            case Copies(body):
                return self.expected_s(body)


def _as_session(task: int, entries: Row[_Entry]) -> SimulatedSession:
    return SimulatedSession(
        keys=tuple(entry.key for entry in entries),
        task=task,
        steps=tuple(entry.state for entry in entries),
        elapsed_s=_elapsed_s(entries),
    )


def _elapsed_s(entries: Row[_Entry]) -> tuple[float, ...]:
    pairs = itertools.pairwise(entries)
    return (math.nan, *(second.time_s - first.time_s for first, second in pairs))[: len(entries)]


def _disturbed(entries: Row[_Entry], noise: float, foreign: Row[int], rng: random.Random) -> list[_Entry]:
    """The entries with noise; what is put in comes half-way to the next entry."""
    left = list(entries)
    kept: list[_Entry] = []
    for place in range(len(left)):
        is_last = place == len(left) - 1
        entry = left[place]
        following = entry if is_last else left[place + 1]
        between_s = (entry.time_s + following.time_s) / 2
        match rng.choice(DISTURBANCES[is_last:]) if rng.random() < noise else "":
            case "swapped":
                kept.append(following._replace(time_s=entry.time_s))
                left[place + 1] = entry._replace(time_s=following.time_s)
            case "dropped":
                pass
            case "doubled":
                kept += [entry, _Entry(between_s, entry.key, NOISE)]
            case "foreign":
                kept += [entry, _Entry(between_s, rng.choice(foreign), NOISE)]
            case _:
                kept.append(entry)
    return kept
