"""Learning of a :class:`~deeplog_grpc.models.profile.SessionProfile`. Pure and deterministic; bounded in memory.

Cost: each of the sampled sessions (at most ``SAMPLED``) is compared to all kept vectors (at most ``MAX_CELLS`` numbers)
a few times over; under a second for HDFS, some seconds at most.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.profile import SessionProfile, differences, length_gap, outside_nats, pooled
from deeplog_grpc.models.vocabulary import BEGIN, END, FIRST_KEY_UNIT, Vocabulary
from deeplog_grpc.models.windows import TrainingSession

Item = TypeVar("Item", bound=Hashable)

MAX_CELLS = 1 << 19
"""Numbers in the kept vectors: bounds the time that a new vector takes at its end to some milliseconds."""
MAX_VECTORS = 2048
"""Vectors kept at most, the frequent ones first: what is left out is as rare as one session in thousands."""
SAMPLED = 256
"""Sessions alone of their kind that the weights are learned from; more do not change them."""
FIT_ROUNDS = 3
"""Weights decide which neighbour is the nearest, and that decides the weights: settled after three rounds."""
LEAST_SPREAD = 0.05
"""Where all sessions have one length, one entry more or less of twenty is a whole spread."""

Row = tuple[tuple[int, int], ...]
"""Units of a session with their counts, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFit:
    """A profile, and what it would have said of each training session had it not learned from it."""

    profile: SessionProfile
    counts: NDArray[np.float64]
    lengths: NDArray[np.float64]
    transitions: NDArray[np.float64]
    """Leave-one-out scores in nats. Shape [sessions] each."""
    alone: Mapping[tuple[int, int], float]
    """Transitions that one session alone had -> their leave-one-out scores in nats."""


def fit_profile(sessions: Sequence[TrainingSession], vocabulary: Vocabulary) -> ProfileFit:
    """Learn what normal sessions look like.

    Parameters
    ----------
    sessions : sequence of TrainingSession
        Normal sessions without a key that the vocabulary does not know. Counts and length are learned from those whose
        beginning and end were both seen.

    Examples
    --------
    >>> paths = [[7, 9, 9], [7, 9]] * 50 + [[7, 7, 9]]
    >>> fit = fit_profile([TrainingSession(keys=keys) for keys in paths], Vocabulary.of([7, 9], reserve=0))
    >>> fit.profile.vectors.tolist(), fit.profile.shortest, fit.profile.longest
    ([[1, 1, 0], [1, 2, 0], [2, 1, 0]], 2, 3)
    >>> fit.profile.count_score({3: 1, 4: 2}), fit.profile.transition_score(3, 4), fit.counts.argmax().item()
    (0.0, 0.0, 100)
    """
    units = list(vocabulary.units_of_all([session.keys for session in sessions]))
    whole = [session.begins and session.ends for session in sessions]
    vectors, weights, counts = _fit_counts(units, whole, len(vocabulary.keys) + 1)
    shortest, longest, spread, lengths = _fit_lengths(np.array(list(map(len, units)), np.int64), np.array(whole, bool))
    steps = _shared(_steps(path, session) for path, session in zip(units, sessions, strict=True))
    support = Counter(step for row in steps for step in row)
    novelty, novelty_alone = _novelty(steps, support, side=0)
    arrivals, arrivals_alone = _novelty(steps, support, side=1)
    alone = {step: pooled(novelty_alone[step], nats) for step, nats in arrivals_alone.items()}
    profile = SessionProfile(
        vectors=vectors,
        weights=weights,
        sessions=sum(whole),
        shortest=shortest,
        longest=longest,
        spread=spread,
        followers=_followers(support),
        novelty=novelty,
        arrivals=arrivals,
    )
    transitions = np.array([max((alone.get(step, 0.0) for step in row), default=0.0) for row in steps], np.float64)
    return ProfileFit(profile=profile, counts=counts, lengths=lengths, transitions=transitions, alone=alone)


def _fit_counts(
    sessions: Sequence[NDArray[np.int64]], whole: Sequence[bool], columns: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]]:
    """Kept vectors, weights, and leave-one-out scores."""
    scores = np.zeros(len(sessions))
    rows = _shared(sparse(units) if is_whole else None for units, is_whole in zip(sessions, whole, strict=True))
    times = Counter(row for row in rows if row is not None)
    limit = min(MAX_VECTORS, MAX_CELLS // columns)
    kept = sorted(sorted(times, key=lambda row: (-times[row], row))[:limit])
    vectors = dense(kept, columns)
    alone = np.flatnonzero(np.array([times[row] == 1 for row in kept], np.bool_))
    if len(kept) < 2 or not len(alone):
        return vectors, np.full(columns, _nats(0, times.total()), np.float32), scores
    sampled = alone[np.linspace(0, len(alone) - 1, min(SAMPLED, len(alone))).round().astype(np.int64)]
    weights, left_out = _fit_weights(vectors, sampled, times.total())
    own = dict(zip((kept[row] for row in sampled), left_out, strict=True))
    stand_in = iter(np.resize(left_out, len(sessions)))  # a session not sampled is as unusual as one that was
    for place, found in enumerate(rows):
        if found is not None and times[found] == 1:
            scores[place] = own[found] if found in own else next(stand_in)
    return vectors, weights, scores


def sparse(units: NDArray[np.int64]) -> Row:
    """Units of a session with their counts."""
    distinct, counts = np.unique(units, return_counts=True)
    return tuple(zip(distinct.tolist(), counts.tolist(), strict=True))


def dense(rows: Sequence[Row], columns: int) -> NDArray[np.int32]:
    """Count vectors. Shape [rows, columns]."""
    vectors = np.zeros((len(rows), columns), np.int32)
    for vector, row in zip(vectors, rows, strict=True):
        vector[[unit - FIRST_KEY_UNIT for unit, _ in row]] = [count for _, count in row]
    return vectors


def _fit_weights(
    vectors: NDArray[np.int32], sampled: NDArray[np.int64], total: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Weights of the columns, and the sampled vectors' distances with themselves left out of all that was learned."""
    weights = np.ones(vectors.shape[1], np.float32)
    for _ in range(FIT_ROUNDS):
        differs = np.array([_nearest_gap(vectors, row, weights) > 0 for row in sampled])
        seen = differs.sum(axis=0)
        weights = column_weights(seen, total)
    left_out = []
    for row, own in zip(sampled, differs, strict=True):
        others = column_weights(seen - own, total - 1)
        left_out.append(float((_nearest_gap(vectors, row, others) * others).sum()))
    return weights, np.array(left_out)


def column_weights(seen: NDArray[np.int64], total: int) -> NDArray[np.float32]:
    """Nats of a difference in each column, told by how many of the sessions have one. Shape [columns]."""
    return np.array([_nats(int(count), total) for count in seen], np.float32)


def _nearest_gap(vectors: NDArray[np.int32], row: np.int64, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Differences of a vector to its nearest other one. Shape [columns]."""
    gaps = differences(vectors, vectors[row])
    distances = (gaps * weights).sum(axis=1)
    distances[row] = np.inf
    nearest: NDArray[np.float32] = gaps[distances.argmin()]
    return nearest


def _fit_lengths(lengths: NDArray[np.int64], whole: NDArray[np.bool_]) -> tuple[int, int, float, NDArray[np.float64]]:
    """Shortest, longest, spread, and how far the longest and the shortest stand out when they are left out."""
    scores = np.zeros(len(lengths))
    order = np.flatnonzero(whole)[np.argsort(lengths[whole], kind="stable")]
    if not len(order):
        return 0, 0, LEAST_SPREAD, scores
    spread = max(LEAST_SPREAD, float(np.log(lengths[whole] + 1).std()))
    if len(order) > 2:
        shortest, second, next_to_last, longest = (int(lengths[order[place]]) for place in (0, 1, -2, -1))
        nats = outside_nats(len(order) - 1)
        if shortest < second:
            scores[order[0]] = nats + length_gap(shortest, second, longest) / spread
        if longest > next_to_last:
            scores[order[-1]] = nats + length_gap(longest, shortest, next_to_last) / spread
    return int(lengths[order[0]]), int(lengths[order[-1]]), spread, scores


def _followers(steps: Iterable[tuple[int, int]]) -> dict[int, frozenset[int]]:
    """What followed each unit."""
    after: dict[int, set[int]] = defaultdict(set)
    for before, unit in steps:
        after[before].add(unit)
    return {before: frozenset(units) for before, units in after.items()}


def _novelty(
    steps: Sequence[frozenset[tuple[int, int]]], support: Counter[tuple[int, int]], *, side: int
) -> tuple[dict[int, float], dict[tuple[int, int], float]]:
    """Nats of a new transition, by the unit on one side of it (0 = the one before, 1 = the one that follows).

    How often a unit is beside something new is told by the transitions that only one session had (Good-Turing). The
    second result is what would be said of those, had their session been left out.
    """
    sessions = Counter(unit for row in steps for unit in {step[side] for step in row})
    once = Counter(step[side] for step, count in support.items() if count == 1)
    left_out = {unit: _nats(count - 1, sessions[unit] - 1) for unit, count in once.items()}
    return (
        {unit: _nats(once[unit], count) for unit, count in sessions.items()},
        {step: left_out[step[side]] for step, count in support.items() if count == 1},
    )


def _steps(units: NDArray[np.int64], session: TrainingSession) -> frozenset[tuple[int, int]]:
    """Distinct pairs of neighbours, begin and end included."""
    path = [*([BEGIN] if session.begins else []), *units.tolist(), *([END] if session.ends else [])]
    return frozenset(itertools.pairwise(path))


def _shared(items: Iterable[Item]) -> list[Item]:
    """The items, equal ones as one object: most sessions are like another one, and each takes a kilobyte."""
    known: dict[Item, Item] = {}
    return [known.setdefault(item, item) for item in items]


def _nats(seen: int, total: int) -> float:
    """Surprise of a thing seen so often among so many; never infinite, never negative.

    Examples
    --------
    >>> round(_nats(0, 999), 2), round(_nats(500, 999), 2)
    (7.6, 0.69)
    """
    return max(0.0, log((total + 1) / (seen + 0.5)))
