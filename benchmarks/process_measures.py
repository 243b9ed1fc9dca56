"""How near a workflow comes to the truth: edges, divergence points, precision, simplicity.

Pure functions. The truth is a workflow too, drawn from known blocks by the same rules.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from deeplog_grpc.testing import NOISE, SimulatedSession
from deeplog_grpc.workflow import Block, Choice, Copies, Parallel, Path, Replay, Task, Workflow, quality
from deeplog_grpc.workflow.blocks import children, steps
from deeplog_grpc.workflow.derivatives import firsts, may_end
from deeplog_grpc.workflow.graph import key_edges


class Relation(StrEnum):
    """How two steps of a task belong together, by the smallest block that holds both."""

    SIDE_BY_SIDE = "side by side"
    CHOICE = "choice"
    OTHER = "other"
    """One after the other, or in a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A true divergence point, and whether it is told rightly."""

    relation: Relation
    is_right: bool


def edge_f1(found: Workflow, truth: Workflow) -> float:
    """F1 of the pairs of log keys that may follow each other, forks and joins looked through.

    Tasks are matched one to one, so that most pairs agree; all pairs of an unmatched task are wrong.
    """
    matched = matched_tasks(found, truth)
    right = sum((_edges(task) & _edges(truth.tasks[number])).total() for number, task in matched.items())
    return 2 * right / max(1, sum(_edges(task).total() for task in (*found.tasks, *truth.tasks)))


def matched_tasks(found: Workflow, truth: Workflow) -> dict[int, Task]:
    """Number of a true task -> the found task that it is, if it has any edge of it."""
    agreeing = np.array([[(_edges(one) & _edges(other)).total() for other in found.tasks] for one in truth.tasks])
    if not agreeing.size:
        return {}
    rows, columns = linear_sum_assignment(agreeing, maximize=True)
    return {int(row): found.tasks[column] for row, column in zip(rows, columns, strict=True) if agreeing[row, column]}


def _edges(task: Task) -> Counter[tuple[int, int]]:
    return Counter(key_edges(task))


def forks(found: Workflow, truth: Workflow) -> list[Fork]:
    """True divergence points: what runs side by side, and choices.

    One is told rightly if, in the found task, the first log keys of any two of its branches are related as in truth
    (and at no place otherwise). A branch that is empty is told if the other one is optional.
    """
    matched = matched_tasks(found, truth)
    judged: list[Fork] = []
    for task in truth.tasks:
        own = matched.get(task.number)
        for block in _blocks(task.block):
            if isinstance(block, Parallel | Choice):
                relation = Relation.CHOICE if isinstance(block, Choice) else Relation.SIDE_BY_SIDE
                judged.append(Fork(relation=relation, is_right=own is not None and _told(own, block, task)))
    return judged


def fork_accuracy(judged: Sequence[Fork]) -> float:
    """Share of divergence points told rightly; NaN where there is none."""
    return sum(fork.is_right for fork in judged) / len(judged) if judged else float("nan")


def _told(found: Task, block: Parallel | Choice, truth: Task) -> bool:
    wanted = Relation.CHOICE if isinstance(block, Choice) else Relation.SIDE_BY_SIDE
    key_of = {step.state: step.key for step in steps(truth.block)}
    branches = [{key_of[state] for state in firsts(part)} for part in block.parts]
    has_none = isinstance(block, Choice) and any(map(may_end, block.parts))
    optional = _optional_keys(found.block)
    if has_none and not all(keys <= optional for keys in branches):
        return False
    relations = _relations(found.block)
    pairs = (pair for one, other in combinations(branches, 2) for pair in product(one, other))
    return all(relations[frozenset(pair)] - {Relation.OTHER} == {wanted} for pair in pairs)


def _relations(block: Block) -> Mapping[frozenset[int], set[Relation]]:
    """Pair of log keys -> how they belong together at all their places."""
    found: defaultdict[frozenset[int], set[Relation]] = defaultdict(set)
    for outer in _blocks(block):
        if isinstance(outer, Copies):
            keys = {step.key for step in steps(outer)}
            _relate(found, keys, keys, Relation.SIDE_BY_SIDE)
            continue
        relation = _RELATIONS.get(type(outer), Relation.OTHER)
        inner = [{step.key for step in steps(child)} for child in children(outer)]
        for one, other in combinations(inner, 2):
            _relate(found, one, other, relation)
    return found


_RELATIONS = {Parallel: Relation.SIDE_BY_SIDE, Choice: Relation.CHOICE}


def _relate(
    found: defaultdict[frozenset[int], set[Relation]], one: set[int], other: set[int], relation: Relation
) -> None:
    for pair in product(one, other):
        found[frozenset(pair)].add(relation)


def _optional_keys(block: Block) -> set[int]:
    """Log keys of parts instead of which there may be nothing."""
    found: set[int] = set()
    for outer in _blocks(block):
        if isinstance(outer, Choice) and any(map(may_end, outer.parts)):
            found.update(step.key for step in steps(outer))
    return found


def _blocks(block: Block) -> Iterator[Block]:
    yield block
    for inner in children(block):
        yield from _blocks(inner)


def adjusted_rand(truth: Sequence[int], found: Sequence[int]) -> float:
    """How well entries are sorted into groups (Hubert and Arabie 1985): 1 = as in truth, 0 = by chance.

    Examples
    --------
    >>> adjusted_rand([0, 0, 1, 1], [5, 5, 3, 3])
    1.0
    """
    return float(adjusted_rand_score(truth, found))


def fitness(workflow: Workflow, paths: Sequence[Path]) -> float:
    """Share of the sessions that replay from begin to end."""
    return quality.fitness(Replay(workflow), paths) if workflow.tasks else 0.0


def precision(workflow: Workflow, paths: Sequence[Path]) -> float:
    """Share of what the workflow allows that sessions do, over all places that they come to.

    ETC precision, 1 - escaping edges / allowed edges, each prefix by how often it comes (Munoz-Gama and Carmona, "A
    Fresh Look at Precision in Process Conformance", BPM 2010), with the conventions of pm4py's
    ``precision_token_based_replay``: prefixes count that the workflow can replay, the end of a session does not.
    """
    replay = Replay(workflow)
    state_key = [state.key for state in workflow.states]
    allowed: dict[tuple[int, ...], frozenset[int]] = {}
    seen: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for path in paths:
        places = replay.beginnings()
        for index, key in enumerate(path.keys):
            prefix = path.keys[:index]
            seen[prefix][key] += path.count
            if prefix not in allowed:
                allowed[prefix] = frozenset(state_key[state] for state in replay.expected(places))
            places = replay.step(places, key)
            if not places:
                break
    escaping = sum(seen[prefix].total() * len(own - seen[prefix].keys()) for prefix, own in allowed.items())
    return 1.0 - escaping / max(1, sum(seen[prefix].total() * len(own) for prefix, own in allowed.items()))


def true_states(workflow: Workflow, sessions: Sequence[SimulatedSession]) -> Mapping[int, int]:
    """State of a found workflow -> the true step that its entries most often are."""
    votes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    replay = Replay(workflow)
    for session in sessions:
        moves = replay.explain(session.keys, ended=True).moves
        for move, step in zip(moves, session.steps, strict=True):
            if move.state >= 0 and step != NOISE:
                votes[move.state][step] += 1
    return {state: max(sorted(own), key=own.__getitem__) for state, own in votes.items()}
