"""Loops in a stream: fragments of log keys that repeat at once, as 39, 40 in 26, 37, 39, 40, 39, 40, 41.

A loop makes what follows its last key unsure: back to its first key, or on. So loops are found first, and each of
their executions is taken down to one copy; the tasks are built from what is left, and the loops are put back into them
(the paper's back edge, CCS'17, section 4).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.workflow.cooccurrence import Cooccurrence

LEAST_OUTSIDE = 0.03
"""Share of entries of a loop's first key before which, and of its last key after which, another key comes: fewer is
noise, and the fragment is no loop, but a whole task that runs again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A fragment that repeats: its body, then as often as wanted the redo part and the body again."""

    body: tuple[int, ...]
    redo: tuple[int, ...]
    least: int
    most: int
    """Least and greatest number of times that the body came in a row, without the rarest ones: see :func:`find`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Log keys in the order of their entries, with the segment of each. Shapes [n]."""

    keys: NDArray[np.int64]
    segments: NDArray[np.int64]

    def at(self, places: NDArray[Any]) -> "Stream":
        """The entries at these places, or where the mask says so."""
        return Stream(keys=self.keys[places], segments=self.segments[places])


def find(
    stream: Stream, near: Cooccurrence, *, longest: int, threshold: float, min_count: int
) -> tuple[tuple[Repeat, ...], Stream]:
    """Loops of a stream, and the stream with one copy of each.

    A fragment is a loop if it is repeated in more than 1 - tau of its executions, and what comes before it as a rule
    always leads into it, or what comes after it as a rule always comes from it: so a short task that runs twice is
    none, since after the end of another task it comes by chance.

    Parameters
    ----------
    stream : Stream
        Log keys.
    near : Cooccurrence
        The shares of this stream.
    longest : int
        Most log keys of a fragment.
    threshold : float
        tau, in (0, 1]. The rarest numbers of repetitions, (1 - tau) / 2 of the executions at either end, are noise.
    min_count : int
        Least number of executions with a repetition.

    Examples
    --------
    >>> keys = np.tile([1, 2, 3, 2, 3, 4, 1, 2, 3, 4, 9], 10)
    >>> stream = Stream(keys=keys, segments=np.zeros(110, np.int64))
    >>> near = Cooccurrence.of(keys, distance=4)
    >>> loops, left = find(stream, near, longest=4, threshold=0.9, min_count=10)
    >>> loops
    (Repeat(body=(2, 3), redo=(), least=1, most=2),)
    >>> left.keys[:9].tolist()
    [1, 2, 3, 4, 1, 2, 3, 4, 9]
    """
    found: list[Repeat] = []
    used: set[int] = set()
    for body, redo, times in _fragments(stream, longest):
        keys = set(body + redo)
        if times < min_count or keys & used or not _leads(near, body, keys, longest, threshold):
            continue
        copies, folded = _folded(stream, body, redo)
        if times > (1 - threshold) * len(copies):
            least, most = np.quantile(copies, [(1 - threshold) / 2, (1 + threshold) / 2], method="nearest")
            found.append(Repeat(body=body, redo=redo, least=int(least), most=max(int(most), 2)))
            stream = folded
            used |= keys
    return tuple(found), stream


def _fragments(stream: Stream, longest: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """(Body, redo part, times) of what comes at least twice in a row, the most frequent first."""
    found: defaultdict[frozenset[int], Counter[tuple[int, ...]]] = defaultdict(Counter)
    for period in range(1, longest + 1):
        for (*fragment, rest), times in _tandems(stream, period):
            if len(set(fragment)) == period:
                found[frozenset(fragment)][*fragment, rest] += times
    for counted in sorted(found.values(), key=lambda counted: (-counted.total(), min(counted))):
        *fragment, rest = min(counted, key=lambda form: (-counted[form], form))
        body = rest or len(fragment)
        yield tuple(fragment[:body]), tuple(fragment[body:]), counted.total()


def _tandems(stream: Stream, period: int) -> Iterable[tuple[list[int], int]]:
    """Rows (fragment, entries of it after the last whole copy) with their counts."""
    keys, segments = stream.keys, stream.segments
    same = (keys[period:] == keys[:-period]) & (segments[period:] == segments[:-period])
    starts, stops = runs(same)
    long = stops - starts >= period
    starts, rest = starts[long], (stops - starts)[long] % period
    rows = np.column_stack([*(keys[starts + place] for place in range(period)), rest])
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    return zip(distinct.tolist(), counts.tolist(), strict=True)


def runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and stops of the runs of True.

    Examples
    --------
    >>> starts, stops = runs(np.array([True, True, False, True]))
    >>> starts.tolist(), stops.tolist()
    ([0, 3], [2, 4])
    """
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _leads(near: Cooccurrence, body: tuple[int, ...], keys: set[int], longest: int, threshold: float) -> bool:
    """Whether what comes before a fragment leads into it, or what comes after it comes from it."""
    outside = np.setdiff1d(np.arange(len(near.keys)), [near.number(key) for key in keys])
    d = min(longest, len(near.forward)) - 1
    first, last = near.number(body[0]), near.number(body[-1])
    before, after = near.backward[0, first, outside], near.forward[0, last, outside]
    if min(before.sum(), after.sum()) < LEAST_OUTSIDE:
        return False
    enters = before @ near.forward[d, outside, first] / before.sum()
    leaves = after @ near.backward[d, outside, last] / after.sum()
    return bool(max(enters, leaves) > threshold)


def _folded(stream: Stream, body: tuple[int, ...], redo: tuple[int, ...]) -> tuple[NDArray[np.int64], Stream]:
    """How often the body came in each execution, and the stream with one copy of it instead.

    One entry of another log key amid an execution is noise, and goes too.
    """
    inside = np.isin(stream.keys, body + redo)
    borders = np.flatnonzero(np.diff(stream.segments)) + 1
    amid = inside.copy()
    amid[1:-1] |= inside[:-2] & inside[2:]
    copies = []
    keep, keys = np.ones(len(inside), np.bool_), stream.keys.copy()
    members = np.append(0, np.cumsum(inside))
    for start, stop in _cut(*runs(amid), borders):
        entries = int(members[stop] - members[start])
        copies.append(max(1, round((entries - len(body)) / len(body + redo)) + 1))
        if entries > len(body):
            keys[start : start + len(body)] = body
            keep[start + len(body) : stop] = False
    folded = Stream(keys=keys, segments=stream.segments).at(keep)
    return np.array(copies, np.int64), folded


def _cut(starts: NDArray[np.int64], stops: NDArray[np.int64], borders: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    """Runs cut where segments begin."""
    amid = borders[np.searchsorted(starts, borders, side="right") > np.searchsorted(stops, borders, side="right")]
    starts, stops = np.sort(np.append(starts, amid)), np.sort(np.append(stops, amid))
    lasting = stops > starts
    return zip(starts[lasting].tolist(), stops[lasting].tolist(), strict=True)
