"""What normal sessions look like as a whole: how often each key, how long, which key after which.

Three cheap detectors, learned from normal sessions alone, each with a score in nats (0 = nothing unusual):

- *counts*: distance of a session's count vector to the nearest one of training. A key's difference weighs as much as
  it is rare between a training session that is the only one of its kind and its nearest neighbour, so a key that may
  come 3 or 5 times weighs little, and one that always comes 3 times weighs much.
- *length*: whether the number of entries lies outside the range of training, and how far.
- *transition*: where a key follows one that it never followed, how rarely the one was followed by something new, and
  how rarely the other came after something new. Lines of a background thread come after anything: what is new then
  says more about them than about the key before.

Every score of a training session for calibration is computed without that session (leave-one-out).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT, UNSEEN

NEIGHBOURS = 5
"""Nearest training vectors that are named as "sessions like it"."""

STRICT = 1000.0
"""Nats that are far above any limit."""

_STEPS: NDArray[np.float32] = np.log2(1.0 + np.arange(1 << 12)).astype(np.float32)
"""How much a difference of n counts: 1 for the first, less for each further one, for loops repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountDifference:
    """The key in which a session differs most from the training sessions like it."""

    unit: int
    count: int
    """How often the session has it."""
    least: int
    most: int
    """How often the nearest training sessions have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionProfile:
    """Learned shape of normal sessions; see :func:`~deeplog_grpc.models.profile_fitting.fit_profile`.

    The last column of a vector counts the keys without a unit.
    """

    vectors: NDArray[np.int32]
    """Distinct count vectors of training, and then those that feedback called normal. Shape [n, keys + 1]; n = 0: no
    session was seen as a whole."""
    weights: NDArray[np.float32]
    """Nats that a difference of one weighs in each column. Shape [keys + 1]."""
    sessions: int
    """Sessions seen as a whole."""
    shortest: int
    longest: int
    """Range of entries a session; 0, 0 where none was seen as a whole."""
    spread: float
    """Standard deviation of the log of the length: the measure of what is far outside."""
    followers: Mapping[int, frozenset[int]]
    """Unit, or BEGIN -> units, or END, that followed it."""
    novelty: Mapping[int, float]
    """Unit, or BEGIN -> nats of a follower that it never had."""
    arrivals: Mapping[int, float]
    """Unit, or END -> nats of coming after something that it never came after."""
    exact: int = 0
    """So many of the last vectors are from feedback. That one session was normal says nothing of those that differ from
    it: only the very same counts are like it."""

    def count_score(self, counts: Mapping[int, int]) -> float:
        """Weighted distance to the nearest training vector; takes 10 us with 60 vectors of 15 columns.

        Parameters
        ----------
        counts : mapping
            Unit -> times in the session; :data:`UNSEEN` among them.
        """
        return float(self._distances(self.vector(counts)).min()) if len(self.vectors) else 0.0

    def difference(self, counts: Mapping[int, int]) -> CountDifference:
        """The key that tells most of a session's distance; there must be vectors."""
        vector = self.vector(counts)
        order = np.argsort(self._distances(vector), kind="stable")[:NEIGHBOURS]
        gaps = differences(self.vectors[order[0]], vector) * self.weights
        column = int(gaps.argmax())
        like_it = self.vectors[order, column]
        return CountDifference(
            unit=UNSEEN if column == self.vectors.shape[1] - 1 else FIRST_KEY_UNIT + column,
            count=int(vector[column]),
            least=int(like_it.min()),
            most=int(like_it.max()),
        )

    def length_score(self, length: int) -> float:
        """Nats of a length outside the range of training.

        The next of n + 1 sessions is the longest or the shortest of all with probability 2 / (n + 1); each spread of
        the log of the length further out is one nat more.
        """
        if not self.longest or self.shortest <= length <= self.longest:
            return 0.0
        return outside_nats(self.sessions) + length_gap(length, self.shortest, self.longest) / self.spread

    def transition_score(self, before: int, unit: int) -> float:
        """Nats of a unit (or END) after another (or BEGIN); 0 where training had it, or knows nothing of either."""
        followers = self.followers.get(before)
        if followers is None or unit in followers or unit not in self.arrivals:
            return 0.0
        return pooled(self.novelty[before], self.arrivals[unit])

    def vector(self, counts: Mapping[int, int]) -> NDArray[np.int32]:
        """The counts in the columns of the profile. Shape [keys + 1]."""
        vector = np.zeros(self.vectors.shape[1], np.int32)
        for unit, count in counts.items():
            vector[unit - FIRST_KEY_UNIT] = count  # UNSEEN is the unit before the first key: the last column
        return vector

    def _distances(self, vector: NDArray[np.int32]) -> NDArray[np.float32]:
        gaps = differences(self.vectors, vector)
        distances: NDArray[np.float32] = (gaps * self.weights).sum(axis=1)
        if self.exact:
            # What weighs nothing may come any number of times there too.
            distances[-self.exact :] = np.where(distances[-self.exact :] > 0, STRICT, 0.0)
        return distances

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle."""
        return {
            "vectors": self.vectors.tolist(),
            "weights": self.weights.tolist(),
            "sessions": self.sessions,
            "shortest": self.shortest,
            "longest": self.longest,
            "spread": self.spread,
            "followers": [[unit, sorted(after)] for unit, after in sorted(self.followers.items())],
            "novelty": [[unit, nats] for unit, nats in sorted(self.novelty.items())],
            "arrivals": [[unit, nats] for unit, nats in sorted(self.arrivals.items())],
            "exact": self.exact,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SessionProfile":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If the columns differ in number.
        """
        weights = np.array(data["weights"], np.float32)
        return cls(
            vectors=np.array(data["vectors"], np.int32).reshape(-1, len(weights)),
            weights=weights,
            sessions=int(data["sessions"]),
            shortest=int(data["shortest"]),
            longest=int(data["longest"]),
            spread=float(data["spread"]),
            followers={int(unit): frozenset(map(int, after)) for unit, after in data["followers"]},
            novelty={int(unit): float(nats) for unit, nats in data["novelty"]},
            arrivals={int(unit): float(nats) for unit, nats in data["arrivals"]},
            exact=int(data.get("exact", 0)),
        )


def differences(vectors: NDArray[np.int32], vector: NDArray[np.int32]) -> NDArray[np.float32]:
    """Differences of counts on their scale. Shape [..., keys + 1].

    Examples
    --------
    >>> differences(np.array([[3, 0, 7]], np.int32), np.array([3, 1, 0], np.int32)).tolist()
    [[0.0, 1.0, 3.0]]
    """
    steps: NDArray[np.float32] = _STEPS.take(np.abs(vectors - vector), mode="clip")
    return steps


def pooled(follower: float, arrival: float) -> float:
    """What both sides of a new transition say of it: the mean of their nats, a logarithmic opinion pool."""
    return (follower + arrival) / 2


def outside_nats(sessions: int) -> float:
    """Surprise that a session is the longest or the shortest, after so many others.

    Examples
    --------
    >>> outside_nats(1), round(outside_nats(1999), 2)
    (0.0, 6.91)
    """
    return max(0.0, log((sessions + 1) / 2))


def length_gap(length: int, shortest: int, longest: int) -> float:
    """Log of how many times a length is shorter or longer than the range allows.

    Examples
    --------
    >>> round(length_gap(4, 8, 10), 3), round(length_gap(20, 8, 10), 3)
    (0.588, 0.647)
    """
    outer, inner = (shortest, length) if length < shortest else (length, longest)
    return log((outer + 1) / (inner + 1))
