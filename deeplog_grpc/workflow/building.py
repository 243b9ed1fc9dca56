"""Blocks drawn as states and edges, with what training sessions did on them."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.workflow.blocks import (
    Block,
    Choice,
    Copies,
    Loop,
    Parallel,
    Sequence,
    Step,
    numbered,
    steps,
)
from deeplog_grpc.workflow.derivatives import may_end, shortest
from deeplog_grpc.workflow.graph import (
    GATEWAYS,
    Edge,
    EdgeKind,
    Elapsed,
    Method,
    State,
    StateKind,
    Task,
    Workflow,
)
from deeplog_grpc.workflow.paths import Path
from deeplog_grpc.workflow.replay import Explanation, Replay


def build_workflow(
    blocks: Items[Block],
    paths: Items[Path],
    *,
    method: Method,
    template: Callable[[int], str] = str,
    follows: Mapping[tuple[int, int], int] | None = None,
    fitness: float = float("nan"),
) -> Workflow:
    """Draw tasks, and count what sessions did.

    Parameters
    ----------
    blocks : sequence of Block
        One a task; their states are numbered here.
    paths : sequence of Path
        Sessions, or whole streams cut into pieces.
    template : callable
        Log key -> its template.
    follows : mapping, optional
        As :attr:`Workflow.follows`; default: a session is one task.
    fitness : float
        As :attr:`Workflow.fitness`.

    Examples
    --------
    >>> from deeplog_grpc.workflow import distinct_paths, sequence
    >>> workflow = build_workflow([sequence(Step(7), Step(8))], distinct_paths([[7, 8]] * 3), method=Method.SESSIONS)
    >>> [(edge.source, edge.target, edge.count) for edge in workflow.edges]
    [(0, 1, 3), (1, 2, 3), (2, 3, 3)]
    """
    tasks: list[Task] = []
    first = 0
    for number, block in enumerate(blocks):
        tasks.append(_drawn(number, first, block, template))
        first += len(tasks[-1].states)
    plain = Workflow(
        method=method,
        tasks=tuple(tasks),
        follows=follows or {},
        sessions=sum(path.count for path in paths),
        fitness=fitness,
    )
    if not tasks:
        return plain
    counted = _Counted.of(plain, paths)
    return replace(plain, tasks=tuple(_with_counts(task, counted) for task in tasks))


class _Link(NamedTuple):
    """An edge without figures."""

    source: int
    target: int
    kind: EdgeKind
    least: int = 1
    most: int = 1


@dataclass(slots=True)
class _Pen:
    """Draws one task."""

    next_number: int
    task: int
    states: list[State] = field(default_factory=list)
    links: dict[tuple[int, int], _Link] = field(default_factory=dict)

    def state(self, kind: StateKind) -> int:
        """A new start, end, fork or join."""
        self.states.append(State(number=self.next_number, task=self.task, kind=kind))
        self.next_number += 1
        return self.next_number - 1

    def link(self, sources: Iterable[int], target: int, kind: EdgeKind, least: int = 1, most: int = 1) -> None:
        """Edges to one state; the first kind that an edge had stays."""
        for source in sources:
            self.links.setdefault((source, target), _Link(source, target, kind, least, most))

    def draw(self, block: Block, sources: tuple[int, ...], kind: EdgeKind) -> tuple[int, ...]:
        """Draw a block after some states; the states after which it is over (of them, where it may be empty)."""
        match block:
            case Step(_, state):
                self.link(sources, state, kind)
                return (state,)
            case Sequence(parts):
                for part in parts:
                    sources, kind = self.draw(part, sources, kind), EdgeKind.SEQUENCE
                return sources
            case Choice(parts):
                return tuple(dict.fromkeys(end for part in parts for end in self.draw(part, sources, kind)))
            case Parallel(parts):
                return self._side_by_side(parts, sources, kind, 1, 1)
            case Copies(body, least, most):
                ends = self._side_by_side((body,), sources, kind, least, most)
                return ends if least else (*sources, *ends)
            case Loop(body, redo, least, most):
                return self._loop(body, redo, sources, kind, least, most)

    def _side_by_side(
        self, parts: tuple[Block, ...], sources: tuple[int, ...], kind: EdgeKind, least: int, most: int
    ) -> tuple[int, ...]:
        fork = self.state(StateKind.FORK)
        self.link(sources, fork, kind, least, most)
        ends = tuple(end for part in parts for end in self.draw(part, (fork,), EdgeKind.FORK))
        join = self.state(StateKind.JOIN)
        self.link(ends, join, EdgeKind.JOIN)
        return (join,)

    def _loop(
        self, body: Block, redo: Block, sources: tuple[int, ...], kind: EdgeKind, least: int, most: int
    ) -> tuple[int, ...]:
        before = set(self.links)
        ends = self.draw(body, sources, kind)
        entered, before = self._entered(sources, before), set(self.links)
        back = self.draw(redo, ends, EdgeKind.SEQUENCE)
        if may_end(body):  # what comes between may come first, and again, and last
            entered += self._entered(ends, before)
            ends = tuple(dict.fromkeys((*ends, *back)))
        for target in dict.fromkeys(entered):
            self.link((source for source in back if source not in sources), target, EdgeKind.LOOP, least, most)
        return ends

    def _entered(self, sources: tuple[int, ...], before: set[tuple[int, int]]) -> list[int]:
        """Where edges lead that are new."""
        return [link.target for pair, link in self.links.items() if pair not in before and pair[0] in sources]


def _drawn(number: int, first: int, block: Block, template: Callable[[int], str]) -> Task:
    """A task without figures."""
    block = numbered(block, first + 1)
    own = [
        State(number=step.state, task=number, kind=StateKind.KEY, key=step.key, template=template(step.key))
        for step in steps(block)
    ]
    pen = _Pen(next_number=first + 1 + len(own), task=number)
    start = State(number=first, task=number, kind=StateKind.START)
    ends = pen.draw(block, (first,), EdgeKind.SEQUENCE)
    pen.link(ends, pen.state(StateKind.END), EdgeKind.SEQUENCE)
    links = tuple(sorted(pen.links.values()))
    fan = Counter(link.source for link in links)
    forks = {state.number for state in pen.states if state.kind is StateKind.FORK}
    return Task(
        number=number,
        block=block,
        states=(start, *own, *pen.states),
        edges=tuple(
            Edge(
                source=link.source,
                target=link.target,
                kind=_kind(link, fan),
                count=0,
                probability=1.0 if link.source in forks else 1.0 / fan[link.source],
                least=link.least,
                most=link.most,
            )
            for link in links
        ),
        sessions=0,
        shortest=len(shortest(block)),
    )


def _kind(link: _Link, fan: Counter[int]) -> EdgeKind:
    """What an edge is, by what else leaves its source."""
    if link.kind is EdgeKind.SEQUENCE and fan[link.source] > 1:
        return EdgeKind.CHOICE
    return link.kind


@dataclass(frozen=True, slots=True)
class _Routes:
    """How the log keys of a task follow each other, forks and joins looked through."""

    start: int
    end: int
    edges: Mapping[tuple[int, int], tuple[tuple[int, int], ...]]
    """(state, next state with a log key, or the end) -> the edges between them."""
    before: Mapping[int, frozenset[int]]
    """State -> states right before it."""
    loops: frozenset[tuple[int, int]]
    """Of the pairs, those that are joined only by going back to a fork in a loop."""

    @classmethod
    def of(cls, task: Task) -> "_Routes":
        """Find them."""
        gateways = {state.number for state in task.states if state.kind in GATEWAYS}
        edges: dict[tuple[int, int], tuple[tuple[int, int], ...]] = {}
        before: defaultdict[int, set[int]] = defaultdict(set)

        for state in task.states:
            if state.number in gateways:
                continue
            routes: dict[int, tuple[tuple[int, int], ...]] = {state.number: ()}
            waiting = deque(routes)  # the nearest first, each fork and join once: there are far too many routes
            while waiting:
                for edge in task.outgoing.get(at := waiting.popleft(), ()):
                    route = (*routes[at], (edge.source, edge.target))
                    if edge.target not in gateways:
                        edges.setdefault((state.number, edge.target), route)
                        before[edge.target].add(state.number)
                    elif edge.target not in routes:
                        routes[edge.target] = route
                        waiting.append(edge.target)
        forks = {state.number for state in task.states if state.kind is StateKind.FORK}
        back = {(e.source, e.target) for e in task.edges if e.kind is EdgeKind.LOOP and e.target in forks}
        return cls(
            start=task.start.number,
            end=task.end.number,
            edges=edges,
            before={state: frozenset(sources) for state, sources in before.items()},
            loops=frozenset(pair for pair, route in edges.items() if not back.isdisjoint(route)),
        )

    def source(self, own: Items[tuple[int, int]], state: int) -> tuple[int, int]:
        """Place and state of what a state came after: the latest state before it of those that lead to it.

        Where parts run side by side in a loop, the end of the one leads back to the begin of the other, but not the
        first time.
        """
        is_first = all(seen != state for _, seen in own)
        for place, source in reversed(own):
            if source in self.before[state] and not (is_first and (source, state) in self.loops):
                return place, source
        return -1, self.start


@dataclass(slots=True)
class _Counted:
    """What sessions did."""

    states: Counter[int] = field(default_factory=Counter)
    edges: Counter[tuple[int, int]] = field(default_factory=Counter)
    times: defaultdict[tuple[int, int], list[NDArray[np.float32]]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, workflow: Workflow, paths: Items[Path]) -> "_Counted":
        """Follow every path."""
        counted, replay = cls(), Replay(replace(workflow, follows={}))  # a path is one task
        routes = {task.number: _Routes.of(task) for task in workflow.tasks}
        for path in paths:
            counted._add(path, replay.explain(path.keys, ended=True), workflow, routes)
        return counted

    def _add(self, path: Path, explained: Explanation, workflow: Workflow, routes: Mapping[int, _Routes]) -> None:
        seconds = np.cumsum(np.nan_to_num(path.elapsed_s), axis=1) if len(path.elapsed_s) else None
        known = ~np.isnan(path.elapsed_s)
        own: list[tuple[int, int]] = []
        for place, move in enumerate(explained.moves):
            if move.state < 0:
                continue
            route = routes[workflow.states[move.state].task]
            if move.begins_task or not own:
                self._leave(own, workflow, routes, path.count)
                own = []
                self.states[route.start] += path.count
            source_place, source = route.source(own, move.state)
            own.append((place, move.state))
            self.states[move.state] += path.count
            edges = route.edges.get((source, move.state))
            if edges is None:  # steps were left out before it
                continue
            for edge in edges:
                self.edges[edge] += path.count
            if seconds is not None and source_place >= 0:
                rows = known[:, source_place + 1 : place + 1].all(axis=1)
                self.times[edges[-1]].append((seconds[:, place] - seconds[:, source_place])[rows])
        self._leave(own, workflow, routes, path.count)

    def _leave(
        self, own: Items[tuple[int, int]], workflow: Workflow, routes: Mapping[int, _Routes], count: int
    ) -> None:
        """Count how an execution came to its end."""
        if not own:
            return
        route = routes[workflow.states[own[-1][1]].task]
        last = next((state for _, state in reversed(own) if state in route.before[route.end]), None)
        if last is not None:
            self.states[route.end] += count
            for edge in route.edges[last, route.end]:
                self.edges[edge] += count


def _with_counts(task: Task, counted: _Counted) -> Task:
    """A task with figures."""
    counts = _balanced(task, counted)
    forks = {state.number for state in task.states if state.kind is StateKind.FORK}
    totals: Counter[int] = Counter()
    for edge in task.edges:
        totals[edge.source] += counts[edge.source, edge.target]
    inflow: Counter[int] = Counter()
    for edge in task.edges:
        inflow[edge.target] = max(inflow[edge.target], counts[edge.source, edge.target])
    return replace(
        task,
        sessions=counted.states[task.start.number],
        states=tuple(
            replace(
                state,
                count=counted.states[state.number] if state.kind not in GATEWAYS else inflow[state.number],
            )
            for state in task.states
        ),
        edges=tuple(
            replace(
                edge,
                count=counts[edge.source, edge.target],
                probability=(
                    counts[edge.source, edge.target] / totals[edge.source]
                    if totals[edge.source] and edge.source not in forks
                    else edge.probability
                ),
                elapsed=_elapsed(counted.times.get((edge.source, edge.target), [])),
            )
            for edge in task.edges
        ),
    )


def _balanced(task: Task, counted: _Counted) -> dict[tuple[int, int], int]:
    """Counts of edges, those around forks and joins made to fit: a fork was passed once for all its branches."""
    counts = {(edge.source, edge.target): counted.edges[edge.source, edge.target] for edge in task.edges}
    for state in sorted(task.states, key=lambda state: state.number, reverse=True):
        own_in, own_out = task.incoming.get(state.number, ()), task.outgoing.get(state.number, ())
        if state.kind is StateKind.FORK:
            passed = max((counts[edge.source, edge.target] for edge in own_out), default=0)
            arrived = sum(counts[edge.source, edge.target] for edge in own_in)
            for edge in own_in:
                share = counts[edge.source, edge.target] / arrived if arrived else 0.0
                counts[edge.source, edge.target] = round(passed * share)
        if state.kind is StateKind.JOIN:
            for edge in own_in:
                others = [e for e in task.outgoing[edge.source] if e.target != state.number]
                left = counted.states[edge.source] - sum(counts[e.source, e.target] for e in others)
                counts[edge.source, edge.target] = max(left, counts[edge.source, edge.target])
    return counts


def _elapsed(times: Items[NDArray[np.float32]]) -> Elapsed | None:
    known = np.concatenate([np.zeros(0, np.float32), *times])
    if not len(known):
        return None
    p50, p95, p99 = np.quantile(known.astype(np.float64), (0.5, 0.95, 0.99)).tolist()
    return Elapsed(p50=p50, p95=p95, p99=p99, count=len(known))
