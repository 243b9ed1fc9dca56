"""Which log key follows which in a task, forks and joins looked through, with what training knows of it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from deeplog_grpc.workflow.graph import GATEWAYS, Edge, Elapsed, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One state with a log key, or the start, before another one, or the end."""

    source: int
    target: int
    probability: float
    """That it follows; 1 for each of what runs side by side."""
    elapsed: Elapsed | None
    """Seconds between them in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """All links of a task."""

    into: Mapping[int, Mapping[int, Link]]
    """State -> state before it -> link."""

    @classmethod
    def of(cls, task: Task) -> "Links":
        """Look through the forks and joins of a task.

        Examples
        --------
        >>> from deeplog_grpc.workflow import Method, Step, build_workflow, distinct_paths, sequence
        >>> workflow = build_workflow(
        ...     [sequence(Step(7), Step(8))], distinct_paths([[7, 8]] * 3), method=Method.SESSIONS
        ... )
        >>> [(link.source, link.target) for links in Links.of(workflow.tasks[0]).into.values()
        ...  for link in links.values()]
        [(0, 1), (1, 2), (2, 3)]
        """
        into: defaultdict[int, dict[int, Link]] = defaultdict(dict)
        gateways = {state.number for state in task.states if state.kind in GATEWAYS}
        for state in task.states:
            if state.number not in gateways:
                for link in _out_of(task, state.number, gateways):
                    into[link.target].setdefault(link.source, link)
        return cls(into=dict(into))


def _out_of(task: Task, source: int, gateways: set[int]) -> list[Link]:
    """Links out of a state; where several routes lead to the same state, the first."""
    found: list[Link] = []
    seen: set[int] = set()
    waiting: list[tuple[Edge, float]] = [(edge, edge.probability) for edge in task.outgoing.get(source, ())]
    while waiting:
        edge, probability = waiting.pop(0)
        if edge.target not in gateways:
            found.append(Link(source=source, target=edge.target, probability=probability, elapsed=edge.elapsed))
        elif edge.target not in seen:
            seen.add(edge.target)
            waiting += [(following, probability * following.probability) for following in task.outgoing[edge.target]]
    return found
