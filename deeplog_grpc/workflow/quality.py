"""How good a workflow is: whether it allows what sessions do, and little else (van der Aalst 2016, chapter 6)."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from deeplog_grpc.workflow.graph import NO_KEY, Workflow
from deeplog_grpc.workflow.paths import Path
from deeplog_grpc.workflow.replay import Replay


def fitness(replay: Replay, paths: Sequence[Path]) -> float:
    """Share of the sessions that keep to the workflow from begin to end; NaN without sessions.

    Examples
    --------
    >>> from deeplog_grpc.workflow import Method, Step, build_workflow, distinct_paths, sequence
    >>> workflow = build_workflow([sequence(Step(1), Step(2))], (), method=Method.SESSIONS)
    >>> fitness(Replay(workflow), distinct_paths([[1, 2], [1, 2], [1], [2, 1]]))
    0.5
    """
    total = sum(path.count for path in paths)
    return sum(path.count for path in paths if replay.fits(path.keys)) / total if total else float("nan")


def alignment(replay: Replay, paths: Sequence[Path]) -> float:
    """Share of entries and steps that agree, where sessions are explained as cheaply as can be; NaN without sessions.

    One entry too many in a session of twenty costs a fortieth, not the whole session (alignment-based fitness,
    Adriansyah 2014, by beam search).

    Examples
    --------
    >>> from deeplog_grpc.workflow import Method, Step, build_workflow, distinct_paths, sequence
    >>> workflow = build_workflow([sequence(Step(1), Step(2))], (), method=Method.SESSIONS)
    >>> alignment(Replay(workflow), distinct_paths([[1, 2, 2, 2]]))
    0.6666666666666666
    """
    agreed = total = 0
    for path in paths:
        found = replay.explain(path.keys, ended=True)
        steps = sum(len(move.skipped) for move in found.moves) + len(found.path) + len(found.missing)
        agreed += path.count * (len(path.keys) + steps - found.cost)
        total += path.count * (len(path.keys) + steps)
    return agreed / total if total else float("nan")


def precision(replay: Replay, paths: Sequence[Path]) -> float:
    """Share of what the workflow allows next that sessions do there, weighted by how often they come there.

    Escaping edges (Munoz-Gama and Carmona 2010), over the parts of sessions that keep to the workflow; NaN where
    nothing does.

    Examples
    --------
    >>> from deeplog_grpc.workflow import Choice, Method, Step, build_workflow, distinct_paths
    >>> workflow = build_workflow([Choice((Step(1), Step(2)))], (), method=Method.SESSIONS)
    >>> precision(Replay(workflow), distinct_paths([[1]]))
    0.75
    """
    visits: Counter[tuple[int, ...]] = Counter()
    done: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
    for path in paths:
        places = replay.beginnings()
        for key in (*path.keys, NO_KEY):
            following = replay.step(places, key)
            if not following and not (key == NO_KEY and any(map(replay.may_end, places))):
                break
            visits[places] += path.count
            done[places].add(key)
            places = following
    states = replay.workflow.states
    share = 0.0
    for places, count in visits.items():
        allowed = {states[state].key for state in replay.expected(places)}
        allowed |= {NO_KEY} if any(map(replay.may_end, places)) else set()
        share += count * len(done[places]) / len(allowed)
    return share / visits.total() if visits else float("nan")


def simplicity(workflow: Workflow) -> float:
    """In (0, 1]: 1 where every state has one way in and one way out, less the more there are.

    ``1 / (1 + max(0, d - 2))`` of the mean number d of edges of a state, arc degree simplicity (Blum 2015).

    Examples
    --------
    >>> from deeplog_grpc.workflow import Method, Step, build_workflow
    >>> simplicity(build_workflow([Step(1)], (), method=Method.SESSIONS))
    1.0
    """
    if not workflow.states:
        return 1.0
    degree = 2 * len(workflow.edges) / len(workflow.states)
    return 1.0 / (1.0 + max(0.0, degree - 2.0))
