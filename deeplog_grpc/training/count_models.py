"""Two published detectors that judge a session by its counts alone, to compare with: PCA and invariant mining.

- PCA (Xu et al., SOSP'09): counts weighted by TF-IDF; what lies outside the principal components of normal sessions,
  squared (the SPE, or Q-statistic), is the score.
- Invariants (Lou et al., USENIX ATC'10): sparse linear relations with small integer coefficients that nearly all normal
  sessions keep, such as "as many opened as closed" or "three times received"; a session's score is the surprise of
  the rarest breach among its broken ones.

Both are learned from normal sessions only. The limit of each is set like all others here: every training session is
scored by a model that was learned without its part of the sessions, and the limit is the score that only the given
share of them exceeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FOLDS = 3
"""Parts of the training sessions, each scored by a model of the others: as the key model is calibrated."""

VARIANCE_KEPT = 0.95
"""Share of the variance that the principal components explain (Xu et al. kept 95 %)."""

SUPPORT = 0.98
"""Share of the normal sessions that keep an invariant (Lou et al., section 4)."""
COEFFICIENT = 5
"""Largest coefficient of an invariant; larger ones are chance."""
TRIPLE_COLUMNS = 120
"""With more log keys only pairs are searched: the number of triples grows with the third power."""
MAX_INVARIANTS = 4096
"""Invariants kept, the best kept ones first."""

Counts = NDArray[np.int64]
"""Count vectors, a session a row, a log key a column; the last column counts unseen log keys. Shape [n, keys + 1]."""


class CountModel(Protocol):
    """Scores count vectors."""

    def scores(self, counts: Counts) -> NDArray[np.float64]:
        """The higher, the more abnormal. Shape [n]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PcaModel:
    """Principal components of the weighted counts of normal sessions."""

    weights: NDArray[np.float64]
    """Inverse document frequency of each column. Shape [keys + 1]."""
    mean: NDArray[np.float64]
    """Of the weighted counts. Shape [keys + 1]."""
    components: NDArray[np.float64]
    """Orthonormal rows. Shape [components, keys + 1]."""

    @classmethod
    def fit(cls, counts: Counts) -> "PcaModel":
        """Learn from normal sessions.

        Examples
        --------
        >>> normal = np.array([[1, 1, 0], [2, 2, 0], [3, 3, 0], [4, 4, 0], [0, 0, 0]])
        >>> model = PcaModel.fit(normal)
        >>> model.scores(np.array([[2, 2, 0], [4, 0, 0]])).round(3).tolist()
        [0.0, 0.662]
        """
        sessions = len(counts)
        weights = np.log((sessions + 1) / ((counts > 0).sum(axis=0) + 0.5))
        weighted = counts * weights
        mean = weighted.mean(axis=0) if sessions else np.zeros(counts.shape[1])
        _, sizes, components = np.linalg.svd(weighted - mean, full_matrices=False)
        explained = np.cumsum(sizes**2) / max(float((sizes**2).sum()), 1e-300)
        kept = int(np.searchsorted(explained, VARIANCE_KEPT - 1e-9)) + 1 if sizes.any() else 0
        return cls(weights=weights, mean=mean, components=components[:kept])

    def scores(self, counts: Counts) -> NDArray[np.float64]:
        """Squared prediction error: the squared length of what the components do not explain. Shape [n]."""
        weighted = counts * self.weights - self.mean
        rest = weighted - weighted @ self.components.T @ self.components
        # Equal sessions must have equal scores, whatever the last bits of a product of another shape are.
        errors: NDArray[np.float64] = (rest**2).sum(axis=1).round(9)
        return errors


@dataclass(frozen=True, slots=True, kw_only=True)
class InvariantModel:
    """Linear relations between counts that normal sessions keep."""

    relations: NDArray[np.int64]
    """Coefficients; the first column is that of the constant 1. Shape [relations, keys + 2]."""
    surprises: NDArray[np.float64]
    """-ln(share of normal sessions that break the relation), in nats. Shape [relations]."""

    @classmethod
    def fit(cls, counts: Counts) -> "InvariantModel":
        """Learn from normal sessions.

        Examples
        --------
        >>> opened = np.arange(1, 41)
        >>> normal = np.stack([opened, opened, np.full(40, 3), 0 * opened], axis=1)
        >>> model = InvariantModel.fit(normal)
        >>> model.relations.tolist()
        [[0, 0, 0, 0, 1], [3, 0, 0, -1, 0], [0, 1, -1, 0, 0]]
        >>> (model.scores(np.array([[7, 7, 3, 0], [7, 6, 3, 0], [7, 7, 2, 0]])) > 0).tolist()
        [False, True, True]
        """
        distinct, repeats = np.unique(counts, axis=0, return_counts=True)
        matrix = np.concatenate([np.ones((len(distinct), 1), np.int64), distinct], axis=1)
        found: list[NDArray[np.int64]] = []
        broken: list[int] = []
        settled: list[frozenset[int]] = []
        columns = matrix.shape[1]
        for size in (1, 2, 3):
            if size == 3 and columns > TRIPLE_COLUMNS:
                break
            for chosen, relation in _candidates(matrix, repeats, size, settled):
                misses = int(repeats[matrix[:, chosen] @ relation != 0].sum())
                if misses <= (1 - SUPPORT) * len(counts):
                    row = np.zeros(columns, np.int64)
                    row[list(chosen)] = relation
                    found.append(row)
                    broken.append(misses)
                    settled.append(frozenset(chosen))
        order = np.argsort(broken, kind="stable")[:MAX_INVARIANTS]
        return cls(
            relations=np.array(found, np.int64).reshape(-1, columns)[order],
            surprises=-np.log((np.array(broken, np.float64)[order] + 0.5) / (len(counts) + 1)),
        )

    def scores(self, counts: Counts) -> NDArray[np.float64]:
        """Surprise of the rarest breach, in nats, and a little for each further one; 0 = none broken. Shape [n]."""
        if not len(self.relations):
            return np.zeros(len(counts))
        broken = counts @ self.relations[:, 1:].T + self.relations[:, 0] != 0
        worst: NDArray[np.float64] = (broken * self.surprises).max(axis=1)
        worst += broken.sum(axis=1) / (len(self.relations) + 1)
        return worst


def _candidates(
    matrix: NDArray[np.int64], repeats: NDArray[np.int64], size: int, settled: list[frozenset[int]]
) -> list[tuple[tuple[int, ...], NDArray[np.int64]]]:
    """Relations between ``size`` columns that the sessions come near to keeping, none with a smaller one inside.

    For each set of columns it is the direction in which the sessions spread least (the last eigenvector of their second
    moments), made integer.
    """
    inner = {columns for columns in settled if len(columns) < size}
    # With a single column always 0 (a key that never comes) nothing more can be said of it.
    alone = {column for columns in inner if len(columns) == 1 for column in columns}
    free = [column for column in range(matrix.shape[1]) if column not in alone]
    if size == 1:
        return [((column,), np.ones(1, np.int64)) for column in free if column]
    sets = [
        columns
        for columns in combinations(free, size)
        if size == 2 or not any(frozenset(pair) in inner for pair in combinations(columns, 2))
    ]
    if not sets:
        return []
    chosen = np.array(sets, np.int64)
    scaled = matrix * np.sqrt(repeats)[:, None]
    moments = scaled.T @ scaled
    _, directions = np.linalg.eigh(moments[chosen[:, :, None], chosen[:, None, :]])
    least = directions[:, :, 0]
    return [
        (columns, relation)
        for columns, direction in zip(sets, least, strict=True)
        if (relation := _integer(direction)) is not None
    ]


def _integer(direction: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The smallest integers in about these proportions, none of them 0; None = there are no small ones.

    Examples
    --------
    >>> _integer(np.array([0.554, -0.832])).tolist(), _integer(np.array([1.0, 0.001]))
    ([2, -3], None)
    """
    smallest = np.abs(direction).min()
    if smallest * COEFFICIENT < np.abs(direction).max() * 0.99:
        return None
    for least in range(1, COEFFICIENT + 1):
        scaled = direction / smallest * least
        rounded = np.round(scaled)
        if np.abs(rounded).max() <= COEFFICIENT and np.abs(scaled - rounded).max() < 0.05 * least:
            relation: NDArray[np.int64] = rounded.astype(np.int64)
            relation *= np.sign(relation[0])  # one of the two that say the same
            return relation
    return None


def held_out_scores(fit: Callable[[Counts], CountModel], counts: Counts, *, seed: int = 0) -> NDArray[np.float64]:
    """Scores of training sessions by models that were learned without them; 0 where too few are left. Shape [n]."""
    scores = np.zeros(len(counts))
    dealt = np.random.default_rng(seed).permutation(len(counts)) % FOLDS
    for fold in range(FOLDS):
        rows = dealt == fold
        if rows.any() and not rows.all():
            scores[rows] = fit(counts[~rows]).scores(counts[rows])
    return scores


def limit(scores: NDArray[np.float64], false_positive_rate: float) -> float:
    """The score that only this share of normal sessions exceeds; the highest of all where they are too few to tell.

    Examples
    --------
    >>> limit(np.arange(999.0), 0.01), limit(np.arange(50.0), 0.01)
    (989.0, 49.0)
    """
    if not len(scores):
        return 0.0
    rank = min(len(scores), ceil((1 - false_positive_rate) * (len(scores) + 1)))
    return float(np.sort(scores)[rank - 1])
