"""Log keys at several places of one task, told apart by what is around them.

A state is a (log key, context) (CCS'17, section 4.2: a shared segment is known by the longer history). Keys that
always come in one row are looked at as one, so that the context of a segment is what is around all of it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from deeplog_grpc.workflow.blocks import Block, Step, replaced
from deeplog_grpc.workflow.relations import Log, Relations, groups

BEGIN, END = -1, -2
"""What is before the first entry, and after the last."""

MAX_ROUNDS = 8
"""Times that keys told apart may tell others apart."""

Limit = Callable[[float], float]
"""What noise gives at most of so many sessions."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A log whose keys at several places have a label of their own for each place."""

    log: Log
    key_of: Mapping[int, int]
    """Label -> log key, of the labels that are not log keys themselves."""

    def with_keys(self, block: Block) -> Block:
        """A block of labels as one of log keys."""
        return replaced(block, lambda step: Step(self.key_of.get(step.key, step.key), step.state))


def told_apart(log: Log, limit: Limit) -> Labelled:
    """Give a log key at several places of the task a label for each.

    Examples
    --------
    >>> told_apart([((1, 7, 2, 3, 7, 4), 20.0)], lambda weight: 0.1 * weight).log
    [((1, 7, 2, 3, 8, 4), 20.0)]
    """
    key_of: dict[int, int] = {}
    for _ in range(MAX_ROUNDS):
        following = _next_of(log, limit)
        where, inner = _where(log), set(following.values())
        heads = [key for key in _keys(log) if key not in inner]
        free = max([*_keys(log), 0]) + 1
        split = next((found for key in heads if (found := _places(where[key], _row(key, following), limit))), None)
        if split is not None:
            log, fresh = _relabelled(log, split, free)
        elif (turn := _turn(log, limit)) is not None:
            log, fresh = _from_turn_on(log, *turn, free), {free: turn[0]}
        else:
            break
        key_of.update({label: key_of.get(key, key) for label, key in fresh.items()})
    return Labelled(log, key_of)


def _keys(log: Log) -> list[int]:
    return sorted({key for path, _ in log for key in path})


_Place: TypeAlias = tuple[tuple[int, ...], int, float]
"""A path, a place in it, and the weight of the path."""


def _where(log: Log) -> Mapping[int, list[_Place]]:
    """Log key -> where it is."""
    found: defaultdict[int, list[_Place]] = defaultdict(list)
    for path, weight in log:
        for at, key in enumerate(path):
            found[key].append((path, at, weight))
    return found


def _next_of(log: Log, limit: Limit) -> dict[int, int]:
    """Log key -> the one that always comes right after it, and after it alone."""
    found = Relations.of(log)
    following = {}
    for row, key in enumerate(found.keys):
        column = int(found.adjacent[row].argmax())
        most = max(found.occurrences[row], found.occurrences[column])
        if column != row and most - found.adjacent[row, column] <= limit(float(most)):
            following[key] = found.keys[column]
    return following


def _row(key: int, following: Mapping[int, int]) -> tuple[int, ...]:
    """A log key and those that always come in a row after it."""
    row = [key]
    while (after := following.get(row[-1])) is not None and after not in row:
        row.append(after)
    return tuple(row)


@dataclass(frozen=True, slots=True)
class _Split:
    """The places of a row of log keys."""

    row: tuple[int, ...]
    place_of: Mapping[int, int]
    """Neighbour of the row -> number of the place, 0 for the most frequent."""


def _places(where: Iterable[_Place], row: tuple[int, ...], limit: Limit) -> _Split | None:
    """Places of a row of log keys, given where the first of them is; None where it has but one.

    What may be on either side of one place hangs together: it is seen around the same occurrence, or is beside the
    row and so on both of its sides.
    """
    around: Counter[tuple[int, int]] = Counter()
    occurrences = 0.0
    for path, at, weight in where:
        if path[at : at + len(row)] == row:
            around[_neighbours(path, at, len(row))] += weight  # type: ignore[assignment]  # a Counter holds any number
            occurrences += weight
    nodes = sorted({node for pair in around for node in pair})
    if len(nodes) < 3:
        return None
    column_of = {node: column for column, node in enumerate(nodes)}
    weights = np.zeros((len(nodes), len(nodes)))
    for (before, after), weight in around.items():
        weights[column_of[before], column_of[after]] += weight
    parts = _hanging_together(weights, limit(occurrences))
    of_part = [weights[part].sum() + weights[:, part].sum() for part in parts]
    real = [part for part, weight in zip(parts, of_part, strict=True) if weight > 2 * limit(occurrences)]
    if len(real) < 2:
        return None
    real.sort(key=lambda part: -(weights[part].sum() + weights[:, part].sum()))
    return _Split(row, {nodes[column]: number for number, part in enumerate(real) for column in part})


def _hanging_together(weights: np.ndarray, limit: float) -> list[list[int]]:
    """Nodes joined by strong links, and then groups joined by enough weak ones."""
    parts = groups(weights > limit)
    while True:
        belongs = np.zeros((len(parts), len(weights)))
        for number, part in enumerate(parts):
            belongs[number, part] = 1.0
        between = belongs @ weights @ belongs.T
        joined = groups(between > limit)
        if len(joined) == len(parts):
            return parts
        parts = [[column for number in group for column in parts[number]] for group in joined]


def _neighbours(path: tuple[int, ...], at: int, size: int) -> tuple[int, int]:
    """What is before and after so many entries.

    Examples
    --------
    >>> _neighbours((5, 1, 2, 6, 1, 2), 1, 2), _neighbours((5, 1, 2, 6, 1, 2), 4, 2)
    ((5, 6), (6, -2))
    """
    return (path[at - 1] if at else BEGIN, path[at + size] if at + size < len(path) else END)


def _relabelled(log: Log, split: _Split, first: int) -> tuple[Log, dict[int, int]]:
    """The log with labels for all places of a row but the most frequent one; label -> what it was."""
    labels: defaultdict[int, dict[int, int]] = defaultdict(dict)
    fresh: dict[int, int] = {}
    for place in range(1, max(split.place_of.values()) + 1):
        for key in split.row:
            labels[place][key] = first + len(fresh)
            fresh[labels[place][key]] = key

    def relabelled(path: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            labels[place].get(key, key) if (place := _place_at(path, at, split)) else key for at, key in enumerate(path)
        )

    return [(relabelled(path), weight) for path, weight in log], fresh


def _place_at(path: tuple[int, ...], at: int, split: _Split) -> int:
    """The place that an entry of a row is at: by the nearest entries around it that belong to a place."""
    if path[at] not in split.row:
        return 0
    for distance in range(1, len(path) + 1):
        for neighbour in (at - distance, at + distance):
            node = BEGIN if neighbour < 0 else END if neighbour >= len(path) else path[neighbour]
            if node not in split.row and (place := split.place_of.get(node)) is not None:
                return place
    return 0


def _turn(log: Log, limit: Limit) -> tuple[int, int] | None:
    """A log key that always comes before and after another one that comes once; None = there is no such key.

    No loop has such a key in it, for what is between would come again too: it is at two places of the task.
    """
    found = Relations.of(log)
    once = found.repeating <= [limit(float(weight)) for weight in found.having]
    for column in np.flatnonzero(~once).tolist():
        key = found.keys[column]
        for other in np.flatnonzero(once).tolist():
            having, turn = float(found.having[column]), found.keys[other]
            if having - found.together[column, other] > limit(having):
                continue
            both = sum(weight for path, weight in log if key in path and _is_around(path, key, turn))
            if having - both <= limit(having):
                return key, turn
    return None


def _is_around(path: tuple[int, ...], key: int, turn: int) -> bool:
    """Whether a log key comes both before and after another one.

    Examples
    --------
    >>> _is_around((1, 2, 1), 1, 2), _is_around((1, 1, 2), 1, 2), _is_around((1, 1), 1, 2)
    (True, False, False)
    """
    if turn not in path:
        return False
    at = path.index(turn)
    return key in path[:at] and key in path[at:]


def _from_turn_on(log: Log, key: int, turn: int, label: int) -> Log:
    """The log with a label for a log key after another one; where that is missing, after the first time.

    Examples
    --------
    >>> _from_turn_on([((1, 2, 1), 3.0), ((1, 1), 1.0)], 1, 2, 9)
    [((1, 2, 9), 3.0), ((1, 9), 1.0)]
    """

    def relabelled(path: tuple[int, ...]) -> tuple[int, ...]:
        start = path.index(turn) if turn in path else path.index(key) + 1 if key in path else len(path)
        return (*path[:start], *(label if own == key else own for own in path[start:]))

    return [(relabelled(path), weight) for path, weight in log]
