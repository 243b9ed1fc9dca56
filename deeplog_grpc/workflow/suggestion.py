"""Where tasks branch, and what h and g the workflow suggests (CCS'17, section 4.4)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deeplog_grpc.workflow.graph import GATEWAYS, Edge, EdgeKind, State, StateKind, Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Window and candidates of the log key model by the paper's rule."""

    history: int
    """h: the steps of the shortest task, which is then recognised as a whole; 0 where there is no task."""
    candidates: int
    """g: the most log keys that may follow at one divergence point, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """What may follow at a divergence point."""

    state: State
    """The next state with a log key, or an end."""
    probability: float
    """Share of what follows, 1 for one of several side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergencePoint:
    """A state that more than one state may follow, forks and joins looked through."""

    state: State
    branches: tuple[Branch, ...]
    """The most probable first."""
    is_fork: bool
    """Whether all of the branches follow, side by side."""

    @property
    def width(self) -> int:
        """Distinct log keys that may follow; an end is one."""
        return len({branch.state.key for branch in self.branches})


def suggest(workflow: Workflow) -> Suggestion:
    """The paper's rule: h by the shortest task, g by the widest divergence point.

    Examples
    --------
    >>> from deeplog_grpc.workflow import NO_WORKFLOW
    >>> suggest(NO_WORKFLOW)
    Suggestion(history=0, candidates=1)
    """
    points = divergence_points(workflow.states, workflow.edges)
    return Suggestion(
        history=min((task.shortest for task in workflow.tasks), default=0),
        candidates=max((point.width for point in points), default=1),
    )


def divergence_points(states: Iterable[State], edges: Iterable[Edge]) -> Iterator[DivergencePoint]:
    """The states that more than one may follow, in the order of their numbers."""
    known = {state.number: state for state in states}
    outgoing = edges_from(edges)
    for state in known.values():
        if state.kind in GATEWAYS:
            continue
        shares = followers(state.number, known, outgoing)
        if len(shares) > 1:
            branches = [Branch(state=known[number], probability=share) for number, share in shares.items()]
            yield DivergencePoint(
                state=state,
                branches=tuple(sorted(branches, key=lambda branch: (-branch.probability, branch.state.number))),
                is_fork=_is_fork(outgoing.get(state.number, ()), known),
            )


def followers(number: int, states: Mapping[int, State], outgoing: Mapping[int, Sequence[Edge]]) -> dict[int, float]:
    """State that may come next -> its share, forks and joins looked through."""
    shares: dict[int, float] = {}
    waiting = [(edge, 1.0) for edge in outgoing.get(number, ())]
    passed: set[int] = set()
    while waiting:
        edge, share = waiting.pop(0)
        share *= edge.probability
        if states[edge.target].kind not in GATEWAYS:
            shares[edge.target] = min(1.0, shares.get(edge.target, 0.0) + share)
        elif edge.target not in passed:
            passed.add(edge.target)
            waiting += [(onward, share) for onward in outgoing.get(edge.target, ())]
    return shares


def edges_from(edges: Iterable[Edge]) -> dict[int, list[Edge]]:
    """State number -> edges out of it."""
    found: dict[int, list[Edge]] = {}
    for edge in edges:
        found.setdefault(edge.source, []).append(edge)
    return found


def _is_fork(edges: Sequence[Edge], states: Mapping[int, State]) -> bool:
    """Whether nothing but a fork follows."""
    return len(edges) == 1 and edges[0].kind is not EdgeKind.LOOP and states[edges[0].target].kind is StateKind.FORK
