"""The workflow of an application: its tasks as graphs of states (CCS'17, section 4).

Invariants, checked when one is made: states are numbered 0, 1, 2 ... in the order of their tasks; every task has one
start and one end; every state is reached from the start and reaches the end; probabilities of what may follow a state
sum to 1 (after a fork all of it follows). The same sessions give the same workflow.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from deeplog_grpc.workflow.blocks import Block, from_json, steps, to_json

NO_KEY = -1
"""Log key of a state that has none."""

NO_TASK = -1
"""In place of a task: before the first and after the last one."""

SUM_TOLERANCE = 1e-6


class StateKind(StrEnum):
    """What a state is."""

    START = "start"
    END = "end"
    KEY = "key"
    """A log key at one place of the task."""
    FORK = "fork"
    """From here on, what follows runs side by side."""
    JOIN = "join"
    """Here all that ran side by side has come."""


GATEWAYS = (StateKind.FORK, StateKind.JOIN)
"""States that no log key comes to."""


class EdgeKind(StrEnum):
    """Why one state follows another."""

    SEQUENCE = "sequence"
    """Nothing else may follow."""
    CHOICE = "choice"
    """One of several that may follow."""
    FORK = "fork"
    """One of several that all follow, side by side."""
    JOIN = "join"
    """The end of one that ran beside others."""
    LOOP = "loop"
    """Back to what was there before."""


class Method(StrEnum):
    """How a workflow was built."""

    SESSIONS = "sessions"
    """From the sessions of training."""
    MODEL = "model"
    """From what the log key LSTM predicts (CCS'17, section 4.2)."""
    DENSITY = "density"
    """From which log keys come close to each other (CCS'17, section 4.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A log key in a context, or a start, end, fork or join."""

    number: int
    task: int
    kind: StateKind
    key: int = NO_KEY
    template: str = ""
    """Template of the log key when the workflow was built."""
    count: int = 0
    """How often training sessions came here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elapsed:
    """Seconds from one state to the next in training."""

    p50: float
    p95: float
    p99: float
    count: int
    """Times that were known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One state may follow another."""

    source: int
    target: int
    kind: EdgeKind
    count: int
    """How often it did in training."""
    probability: float
    """Share of what follows the source; 1 after a fork."""
    least: int = 1
    most: int = 1
    """Of a loop: repetitions seen in a row. Of a fork of copies: how many copies."""
    elapsed: Elapsed | None = None
    """None where no time is known, and at starts, ends, forks and joins themselves."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of an application."""

    number: int
    block: Block
    """What the graph draws; sessions are replayed on it."""
    states: tuple[State, ...]
    edges: tuple[Edge, ...]
    sessions: int
    """Times that training had it."""
    shortest: int
    """Fewest steps of an execution."""

    @cached_property
    def start(self) -> State:
        """Where it begins."""
        return next(state for state in self.states if state.kind is StateKind.START)

    @cached_property
    def end(self) -> State:
        """Where it ends."""
        return next(state for state in self.states if state.kind is StateKind.END)

    @property
    def name(self) -> str:
        """Template of its first step."""
        return next((state.template for state in self.states if state.kind is StateKind.KEY), "")

    @cached_property
    def outgoing(self) -> Mapping[int, tuple[Edge, ...]]:
        """State number -> edges out of it, the most probable first."""
        return _grouped(self.edges, "source")

    @cached_property
    def incoming(self) -> Mapping[int, tuple[Edge, ...]]:
        """State number -> edges into it, the most frequent first."""
        return _grouped(self.edges, "target")


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """All tasks of an application.

    Raises
    ------
    ValueError
        If an invariant of the module does not hold.
    """

    method: Method
    tasks: tuple[Task, ...]
    follows: Mapping[tuple[int, int], int]
    """(task, next task of the same session or stream) -> times in training, with :data:`NO_TASK` before the first and
    after the last; empty where a session is one task. Of a stream, which has neither begin nor end, without those."""
    sessions: int
    """Sessions of training that it was built from; paths that were grown with the method `model`."""
    fitness: float
    """Share of the training sessions held back that replay on it from begin to end, of streams of the executions found
    in them; NaN where there was none."""

    def __post_init__(self) -> None:
        check(self)

    @cached_property
    def states(self) -> tuple[State, ...]:
        """All states; the place of a state is its number."""
        return tuple(state for task in self.tasks for state in task.states)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, task by task."""
        return tuple(edge for task in self.tasks for edge in task.edges)

    @cached_property
    def states_of(self) -> Mapping[int, tuple[State, ...]]:
        """Log key -> its states."""
        found = defaultdict(list)
        for state in self.states:
            if state.kind is StateKind.KEY:
                found[state.key].append(state)
        return {key: tuple(states) for key, states in found.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return {
            "method": self.method.value,
            "sessions": self.sessions,
            "fitness": None if self.fitness != self.fitness else self.fitness,
            "follows": [[first, second, count] for (first, second), count in sorted(self.follows.items())],
            "tasks": [_task_to_json(task) for task in self.tasks],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Workflow":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is damaged.
        """
        return cls(
            method=Method(data["method"]),
            sessions=int(data["sessions"]),
            fitness=float("nan") if data["fitness"] is None else float(data["fitness"]),
            follows={(int(first), int(second)): int(count) for first, second, count in data["follows"]},
            tasks=tuple(_task_from_json(number, task) for number, task in enumerate(data["tasks"])),
        )


def check(workflow: Workflow) -> None:
    """Whether the invariants of the module hold.

    Raises
    ------
    ValueError
        Naming the state.
    """
    for place, state in enumerate(workflow.states):
        if state.number != place:
            raise ValueError(f"workflow: state {state.number} is at place {place}")
    for task in workflow.tasks:
        _check_task(task)


def _check_task(task: Task) -> None:
    numbers = {state.number for state in task.states}
    if any(state.task != task.number for state in task.states):
        raise ValueError(f"workflow: task {task.number} has a state of another task")
    for kind in (StateKind.START, StateKind.END):
        if sum(state.kind is kind for state in task.states) != 1:
            raise ValueError(f"workflow: task {task.number} has not one {kind}")
    if outside := [edge for edge in task.edges if edge.source not in numbers or edge.target not in numbers]:
        raise ValueError(f"workflow: an edge of task {task.number} leads outside it: {outside[0]}")
    drawn = {state.number: state.key for state in task.states if state.kind is StateKind.KEY}
    if drawn != {step.state: step.key for step in steps(task.block)}:
        raise ValueError(f"workflow: the states of task {task.number} are not the steps of its block")
    for number in numbers - _reached(task.start.number, task.outgoing, forward=True):
        raise ValueError(f"workflow: state {number} is not reached from the start of task {task.number}")
    for number in numbers - _reached(task.end.number, task.incoming, forward=False):
        raise ValueError(f"workflow: state {number} does not reach the end of task {task.number}")
    for state in task.states:
        edges = task.outgoing.get(state.number, ())
        expected = len(edges) if state.kind is StateKind.FORK else 1
        if edges and abs(sum(edge.probability for edge in edges) - expected) > SUM_TOLERANCE * len(edges):
            raise ValueError(f"workflow: probabilities after state {state.number} do not sum to {expected}")


def _reached(start: int, edges_of: Mapping[int, tuple[Edge, ...]], *, forward: bool) -> set[int]:
    reached, waiting = {start}, [start]
    while waiting:
        for edge in edges_of.get(waiting.pop(), ()):
            following = edge.target if forward else edge.source
            if following not in reached:
                reached.add(following)
                waiting.append(following)
    return reached


def _grouped(edges: tuple[Edge, ...], end: str) -> dict[int, tuple[Edge, ...]]:
    found: defaultdict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        found[getattr(edge, end)].append(edge)
    return {
        number: tuple(sorted(own, key=lambda edge: (-edge.count, edge.source, edge.target)))
        for number, own in found.items()
    }


def _task_to_json(task: Task) -> dict[str, Any]:
    return {
        "block": to_json(task.block),
        "sessions": task.sessions,
        "shortest": task.shortest,
        "states": [[s.number, s.kind.value, s.key, s.template, s.count] for s in task.states],
        "edges": [
            [e.source, e.target, e.kind.value, e.count, e.probability, e.least, e.most, _elapsed_to_json(e.elapsed)]
            for e in task.edges
        ],
    }


def _elapsed_to_json(elapsed: Elapsed | None) -> list[float] | None:
    return None if elapsed is None else [elapsed.p50, elapsed.p95, elapsed.p99, elapsed.count]


def _elapsed_from_json(data: list[float] | None) -> Elapsed | None:
    if data is None:
        return None
    p50, p95, p99, count = data
    return Elapsed(p50=float(p50), p95=float(p95), p99=float(p99), count=int(count))


def _task_from_json(number: int, data: Mapping[str, Any]) -> Task:
    return Task(
        number=number,
        block=from_json(data["block"]),
        sessions=int(data["sessions"]),
        shortest=int(data["shortest"]),
        states=tuple(
            State(number=n, task=number, kind=StateKind(kind), key=key, template=template, count=count)
            for n, kind, key, template, count in data["states"]
        ),
        edges=tuple(
            Edge(
                source=source,
                target=target,
                kind=EdgeKind(kind),
                count=count,
                probability=probability,
                least=least,
                most=most,
                elapsed=_elapsed_from_json(elapsed),
            )
            for source, target, kind, count, probability, least, most, elapsed in data["edges"]
        ),
    )


def key_edges(task: Task) -> Iterator[tuple[int, int]]:
    """Pairs of log keys that may follow each other, once a pair of states, without forks and joins.

    -1 = start or end.

    Examples
    --------
    See ``tests/unit/workflow/test_graph.py``.
    """
    states = {state.number: state for state in task.states}

    def targets(number: int) -> set[int]:
        found: set[int] = set()
        seen, waiting = {number}, [number]
        while waiting:
            for edge in task.outgoing.get(waiting.pop(), ()):
                if states[edge.target].kind not in GATEWAYS:
                    found.add(edge.target)
                elif edge.target not in seen:
                    seen.add(edge.target)
                    waiting.append(edge.target)
        return found

    for state in task.states:
        if state.kind not in GATEWAYS:
            for target in sorted(targets(state.number)):
                yield state.key, states[target].key


NO_WORKFLOW = Workflow(method=Method.SESSIONS, tasks=(), follows={}, sessions=0, fitness=float("nan"))
"""Of an application of which none could be built."""
