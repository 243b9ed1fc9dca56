"""What is drawn: a workflow, or one task of it, without what is rare, and with the way of a session marked.

Both languages, the page and the message of the contract show a view, so that all of them show the same.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from heapq import heappop, heappush
from math import inf, log

from deeplog_grpc.errors import InputError, NotFoundError, PreconditionError
from deeplog_grpc.workflow import Edge, EdgeKind, State, StateKind, Task, Workflow
from deeplog_grpc.workflow.deviations import NO_STATE
from deeplog_grpc.workflow.graph import GATEWAYS
from deeplog_grpc.workflow.names import Names
from deeplog_grpc.workflow.suggestion import DivergencePoint, Suggestion, divergence_points, edges_from, suggest

CUT = (EdgeKind.CHOICE, EdgeKind.LOOP)
"""Kinds of edges that are left out where they are rare."""
_LEAST_SHARE = 1e-9
"""Stands for a share of 0, which has no logarithm."""

Link = tuple[int, int]
"""Numbers of the states that an edge joins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """What came where the session left its workflow."""

    text: str
    """What is wrong, in a few words."""
    came: str = ""
    """Template of what came; empty where that does not matter."""
    state: int = NO_STATE
    """The state reached before; -1 = none."""
    task: int = NO_STATE
    """The task that the session was in; -1 = none is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlight:
    """What is marked."""

    path: tuple[int, ...] = ()
    """States that a session went through, in its order: those side by side come mixed."""
    missing: tuple[int, ...] = ()
    """States that should have come, or that one of should have come."""
    anomaly: Anomaly | None = None
    notes: Mapping[int, str] = field(default_factory=dict)
    """State -> what was odd there, in a few words: a step that took too long."""


NOTHING = Highlight()


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """One task, as far as it is shown."""

    number: int
    name: str
    """Template of its first step."""
    sessions: int
    shortest: int
    states: tuple[State, ...]
    edges: tuple[Edge, ...]

    @cached_property
    def points(self) -> tuple[DivergencePoint, ...]:
        """Where it branches."""
        return tuple(divergence_points(self.states, self.edges))

    @cached_property
    def loops(self) -> tuple[Edge, ...]:
        """Its edges back, the most frequent first."""
        return tuple(sorted((edge for edge in self.edges if edge.kind is EdgeKind.LOOP), key=lambda edge: -edge.count))

    @cached_property
    def slowest(self) -> tuple[Edge, ...]:
        """Its edges whose time is known, the slowest first."""
        timed = [(edge.elapsed.p99, edge) for edge in self.edges if edge.elapsed is not None]
        return tuple(edge for _, edge in sorted(timed, key=lambda pair: -pair[0]))


@dataclass(frozen=True, kw_only=True)
class View:
    """What is drawn."""

    method: str
    sessions: int
    fitness: float
    """NaN where it is not known."""
    tasks: tuple[TaskView, ...]
    follows: Mapping[tuple[int, int], int]
    suggestion: Suggestion
    """By the whole workflow, whatever is shown of it."""
    states: frozenset[int] = frozenset()
    """States that the highlighted session came to."""
    links: frozenset[Link] = frozenset()
    """Edges that it went along."""
    missing: frozenset[int] = frozenset()
    """States that it should have come to."""
    missing_links: frozenset[Link] = frozenset()
    """Edges on the way there."""
    anomaly: Anomaly | None = None
    left_at: int = NO_STATE
    """The state shown at which the anomaly came; -1 = none, or none that is known."""
    notes: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def state_of(self) -> Mapping[int, State]:
        """Number -> state that is shown."""
        return {state.number: state for task in self.tasks for state in task.states}

    @cached_property
    def names(self) -> Names:
        """Short names of the steps that are shown."""
        return Names.of(state.template for state in self.state_of.values() if state.kind is StateKind.KEY)


def view(
    workflow: Workflow, *, task: int | None = None, min_probability: float = 0.0, highlight: Highlight = NOTHING
) -> View:
    """Choose what is drawn of a workflow.

    Parameters
    ----------
    task : int, optional
        Only this one.
    min_probability : float
        Edges of choices and loops that are less probable are left out, with what is then not reached from the start.
        The most probable way from the start to the end stays: a loop of many rounds is rarely left at once, and yet
        always left.

    Raises
    ------
    PreconditionError
        If the workflow has no tasks.
    NotFoundError
        If there is no such task.
    InputError
        If the probability is none.
    """
    if not 0.0 <= min_probability <= 1.0:
        raise InputError(f"{min_probability:g} is not in [0, 1]", field="min_probability")
    if not workflow.tasks:
        raise PreconditionError("the model has no workflow: train it anew", field="application")
    if task is not None and not 0 <= task < len(workflow.tasks):
        last = len(workflow.tasks) - 1
        raise NotFoundError(f"there is no task {task}: give one of 0 to {last}", field="task")
    chosen = workflow.tasks if task is None else (workflow.tasks[task],)
    shown = tuple(_task_view(one, min_probability) for one in chosen)
    numbers = {one.number for one in shown}
    follows = {pair: count for pair, count in workflow.follows.items() if numbers.issuperset(pair)}
    return _highlighted(
        View(
            method=workflow.method.value,
            sessions=workflow.sessions,
            fitness=workflow.fitness,
            tasks=shown,
            follows=follows,
            suggestion=suggest(workflow),
        ),
        highlight,
    )


@dataclass(frozen=True, slots=True)
class _Graph:
    """The states shown with their edges, for walks."""

    states: Mapping[int, State]
    outgoing: Mapping[int, Sequence[Edge]]
    incoming: Mapping[int, Sequence[Edge]]

    def is_gateway(self, number: int) -> bool:
        return self.states[number].kind in GATEWAYS


def _task_view(task: Task, least: float) -> TaskView:
    """The part of a task that is reached from its start by edges that are probable enough."""
    usual = _usual_way(task) if least else set()
    kept = {
        number: [edge for edge in own if edge.kind not in CUT or edge.probability >= least or id(edge) in usual]
        for number, own in task.outgoing.items()
    }
    reached, waiting = {task.start.number}, [task.start.number]
    while waiting:
        found = {edge.target for edge in kept.get(waiting.pop(), ())} - reached
        reached |= found
        waiting += found
    likely = {id(edge) for number in reached for edge in kept.get(number, ())}
    return TaskView(
        number=task.number,
        name=task.name,
        sessions=task.sessions,
        shortest=task.shortest,
        states=tuple(state for state in task.states if state.number in reached),
        edges=tuple(edge for edge in task.edges if id(edge) in likely),
    )


def _usual_way(task: Task) -> set[int]:
    """The edges of the most probable way from the start to the end, by their identity."""
    cost = {task.start.number: 0.0}
    into: dict[int, Edge] = {}
    waiting = [(0.0, task.start.number)]
    while waiting:
        so_far, number = heappop(waiting)
        for edge in task.outgoing.get(number, ()) if so_far <= cost[number] else ():
            found = so_far - log(max(edge.probability, _LEAST_SHARE))
            if found < cost.get(edge.target, inf):
                cost[edge.target], into[edge.target] = found, edge
                heappush(waiting, (found, edge.target))
    way: set[int] = set()
    number = task.end.number
    while number in into:
        way.add(id(into[number]))
        number = into[number].source
    return way


def _highlighted(plain: View, highlight: Highlight) -> View:
    """The view with its marks; states that are not shown have none."""
    edges = [edge for task in plain.tasks for edge in task.edges]
    graph = _Graph(plain.state_of, edges_from(edges), _edges_into(edges))
    path = [number for number in highlight.path if number in graph.states]
    links = frozenset(_links_of(path, graph))
    missing = frozenset(number for number in highlight.missing if number in graph.states)
    anomaly = _shown(highlight.anomaly, plain)
    left_at = NO_STATE if anomaly is None else _left_at(anomaly, path, plain)
    reached = [] if left_at == NO_STATE else [left_at]
    return replace(
        plain,
        states=frozenset(path).union(*links),
        links=links,
        missing=missing.difference(path),
        missing_links=frozenset(_links_to(missing, [*reached, *missing], graph)) - links,
        anomaly=anomaly,
        left_at=left_at,
        notes={number: note for number, note in highlight.notes.items() if number in graph.states},
    )


def _edges_into(edges: Iterable[Edge]) -> dict[int, list[Edge]]:
    found: dict[int, list[Edge]] = {}
    for edge in edges:
        found.setdefault(edge.target, []).append(edge)
    return found


def _shown(anomaly: Anomaly | None, plain: View) -> Anomaly | None:
    """The anomaly, unless it is one of a task that is not shown."""
    if anomaly is None or anomaly.task == NO_STATE:
        return anomaly
    return anomaly if anomaly.task in {task.number for task in plain.tasks} else None


def _left_at(anomaly: Anomaly, path: Sequence[int], plain: View) -> int:
    """Where the session stood when the anomaly came: a state that is shown, the start of its task, or nowhere."""
    if anomaly.state != NO_STATE or path:
        return anomaly.state if anomaly.state in plain.state_of else NO_STATE
    return next((task.states[0].number for task in plain.tasks if task.number == anomaly.task), NO_STATE)


def _links_of(path: Sequence[int], graph: _Graph) -> Iterator[Link]:
    """The edges that a session went along.

    Steps side by side come mixed, so an edge into a state comes from its latest predecessor on the path, not from the
    entry just before; into a join, all that ran side by side has come.
    """
    latest = {number: -1 for number, state in graph.states.items() if state.kind is StateKind.START}
    for place, number in enumerate(path):
        yield from _links_into(number, latest, graph, set(), again=number in latest)
        latest[number] = place


def _links_into(
    number: int, latest: Mapping[int, int], graph: _Graph, passed: set[int], *, again: bool
) -> Iterator[Link]:
    """The edges into a state, those into the forks and joins before it included; ``again`` = it has come before."""
    passed.add(number)
    come = [
        (when, edge)
        for edge in graph.incoming.get(number, ())
        if (when := _when(edge.source, latest, graph, {number})) is not None
        if again or not _is_round_of_all(edge, graph)
    ]
    if not come:
        return
    if graph.states[number].kind is StateKind.JOIN:
        # An empty branch leads from the fork right here: it is one that was gone only where nothing else has come.
        ways = [edge for _, edge in come if graph.states[edge.source].kind is not StateKind.FORK] or [come[0][1]]
    else:
        ways = [max(come, key=lambda pair: pair[0])[1]]
    for edge in ways:
        yield edge.source, edge.target
        if graph.is_gateway(edge.source) and edge.source not in passed:
            yield from _links_into(edge.source, latest, graph, passed, again=again)


def _is_round_of_all(edge: Edge, graph: _Graph) -> bool:
    """Whether an edge leads back from a join.

    Steps side by side that are repeated: while the first round is under way, some have come and others have not, and
    those that have are no reason to take those that come next for a second round.
    """
    return edge.kind is EdgeKind.LOOP and graph.states[edge.source].kind is StateKind.JOIN


def _when(number: int, latest: Mapping[int, int], graph: _Graph, passed: set[int]) -> int | None:
    """Place on the path at which a state was reached last; of a fork or join, what came before it. None = never."""
    if not graph.is_gateway(number):
        return latest.get(number)
    places = [
        place
        for edge in graph.incoming.get(number, ())
        if edge.source not in passed and (place := _when(edge.source, latest, graph, passed | {number})) is not None
    ]
    return max(places, default=None)


def _links_to(targets: Collection[int], sources: Iterable[int], graph: _Graph) -> Iterator[Link]:
    """Edges from some states to others, through forks and joins only."""
    for source in dict.fromkeys(sources):
        yield from _ways(source, targets, graph, frozenset())


def _ways(number: int, targets: Collection[int], graph: _Graph, passed: frozenset[int]) -> list[Link]:
    found: list[Link] = []
    for edge in graph.outgoing.get(number, ()):
        if edge.target in targets:
            found.append((number, edge.target))
        elif graph.is_gateway(edge.target) and edge.target not in passed:
            onward = _ways(edge.target, targets, graph, passed | {edge.target})
            found += [(number, edge.target), *onward] if onward else []
    return found
