"""Paths put together, and cut into pieces."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias, TypeVar

from deeplog_grpc.workflow.relations import Log, Relations

Weighted: TypeAlias = list[tuple[tuple[int, ...], float]]

Pieces: TypeAlias = tuple[Weighted, Weighted, dict[int, float]]
"""Bodies and redo parts of a loop, and the weight of the paths with so many bodies."""


def merged(log: Iterable[tuple[tuple[int, ...], float]]) -> list[tuple[tuple[int, ...], float]]:
    """Equal paths as one, in the order of their first ones.

    Examples
    --------
    >>> merged([((1,), 1.0), ((2,), 1.0), ((1,), 2.0)])
    [((1,), 3.0), ((2,), 1.0)]
    """
    return list(weights_of(log).items())


_One = TypeVar("_One", bound=Hashable)


def weights_of(pairs: Iterable[tuple[_One, float]]) -> dict[_One, float]:
    """Weight of each distinct one, in the order of their first ones."""
    found: defaultdict[_One, float] = defaultdict(float)
    for one, weight in pairs:
        found[one] += weight
    return dict(found)


def projected(log: Log, found: Relations, part: Sequence[int]) -> Log:
    """Paths with some log keys alone."""
    kept = {found.keys[column] for column in part}
    return [(tuple(key for key in path if key in kept), weight) for path, weight in log]


def pieces_of(
    log: Log, split: Callable[[tuple[int, ...]], tuple[list[tuple[int, ...]], list[tuple[int, ...]]]]
) -> Pieces:
    """Every path split into bodies and redo parts, equal ones as one."""
    bodies: Weighted = []
    redos: Weighted = []
    counts: defaultdict[int, float] = defaultdict(float)
    for path, weight in log:
        own, between = split(path)
        counts[len(own)] += weight
        bodies += [(piece, weight) for piece in own]
        redos += [(piece, weight) for piece in between]
    return merged(bodies), merged(redos), dict(counts)


def cut_between(path: tuple[int, ...], between: Callable[[int, int], bool]) -> list[tuple[int, ...]]:
    """A path cut between neighbours.

    Examples
    --------
    >>> cut_between((1, 2, 1, 2), lambda one, other: one > other)
    [(1, 2), (1, 2)]
    """
    places = [place for place, (one, other) in enumerate(pairwise(path), 1) if between(one, other)]
    return [path[start:stop] for start, stop in pairwise([0, *places, len(path)])]


def runs(path: tuple[int, ...], redo: set[int]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Runs of body and of redo keys.

    Examples
    --------
    >>> runs((1, 2, 9, 1, 2), {9})
    ([(1, 2), (1, 2)], [(9,)])
    """
    pieces = cut_between(path, lambda one, other: (one in redo) is not (other in redo))
    return [piece for piece in pieces if piece[0] not in redo], [piece for piece in pieces if piece[0] in redo]


def until_again(path: tuple[int, ...]) -> list[tuple[int, ...]]:
    """A path cut before what comes again.

    Examples
    --------
    >>> until_again((1, 2, 2, 1))
    [(1, 2), (2, 1)]
    """
    pieces: list[list[int]] = [[]]
    for key in path:
        if key in pieces[-1]:
            pieces.append([])
        pieces[-1].append(key)
    return [tuple(piece) for piece in pieces]


def copies_in(path: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The first, second ... occurrences of all log keys, each as a path.

    Examples
    --------
    >>> copies_in((1, 1, 2, 2))
    [(1, 2), (1, 2)]
    """
    seen: Counter[int] = Counter()
    copies: defaultdict[int, list[int]] = defaultdict(list)
    for key in path:
        copies[seen[key]].append(key)
        seen[key] += 1
    return [tuple(copy) for _, copy in sorted(copies.items())]
