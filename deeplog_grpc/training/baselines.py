"""Simple rules to compare with: what shows less than they do has shown nothing.

All are learned from the same normal sessions, and the limit of each comes from the same rule: the share of normal
sessions, scored without themselves, that may be flagged by mistake. A rule stands alone, so it has the whole rate.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models import BEGIN, END, UNSEEN, Tail, TrainingSession, Vocabulary
from deeplog_grpc.models.fitting import normal_keys
from deeplog_grpc.models.profile_fitting import fit_profile
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT
from deeplog_grpc.training.count_models import CountModel, Counts, InvariantModel, PcaModel, held_out_scores, limit
from deeplog_grpc.training.metrics import Judged

RULES = ("unseen_key", "length", "unseen_pair", "ngram", "counts", "key_length_counts", "pca", "invariants")
"""Names of the rules."""

CERTAIN = 1e6
"""Score of what needs no limit: a log key that training did not have."""


class SimpleRules:
    """Rules learned from normal sequences of log keys.

    - ``unseen_key``: the session holds a log key that training did not have.
    - ``length``: its length is outside the range of training.
    - ``unseen_pair``: a log key, or the end, follows one that it never followed.
    - ``ngram``: N-gram with N = 1 (CCS'17, section 5): the least probable step of the session.
    - ``counts``: distance of its counts to the nearest session of training.
    - ``key_length_counts``: any of ``unseen_key``, ``length`` and ``counts``.
    - ``pca``, ``invariants``: :mod:`~deeplog_grpc.training.count_models`, which see the counts alone.

    Parameters
    ----------
    sessions : sequence of sequences of int
        Normal sessions from begin to end.
    min_sessions : int
        As ``key_model.min_sessions``.
    false_positive_rate : float
        As ``thresholds.false_positive_rate``.

    Examples
    --------
    >>> rules = SimpleRules([[1, 2, 3], [1, 2, 2, 3]] * 500, min_sessions=1, false_positive_rate=0.002)
    >>> sorted(rules.flagging([1, 2, 3])), "unseen_pair" in rules.flagging([1, 3])
    ([], True)
    """

    def __init__(self, sessions: Sequence[Sequence[int]], *, min_sessions: int, false_positive_rate: float) -> None:
        training = [TrainingSession(keys=keys) for keys in sessions]
        self._vocabulary = Vocabulary.of(normal_keys(training, min_sessions), reserve=0)
        self._unit_of = self._vocabulary.unit_table()
        clean = [session for session in training if all(key in self._unit_of for key in session.keys)]
        fit = fit_profile(clean, self._vocabulary)
        self._profile = fit.profile
        self._rate = false_positive_rate
        paths = [self._path(session.keys) for session in clean]
        self._pairs = Counter(pair for path in paths for pair in pairwise(path))
        self._visits = Counter(before for path in paths for before in path[:-1])
        self._tails = {
            "length": Tail.of(fit.lengths),
            "unseen_pair": Tail.of(fit.transitions),
            "ngram": Tail.of([self._rarest_step(path, Counter(pairwise(path))) for path in paths]),
            "counts": Tail.of(fit.counts),
        }
        counts = self._counts(paths)
        self._count_models: dict[str, CountModel] = {}
        self._limits: dict[str, float] = {}
        fits: dict[str, Callable[[Counts], CountModel]] = {"pca": PcaModel.fit, "invariants": InvariantModel.fit}
        for name, learn in fits.items():
            self._count_models[name] = learn(counts)
            self._limits[name] = limit(held_out_scores(learn, counts), false_positive_rate)

    def flagging(self, sequence: Iterable[int]) -> frozenset[str]:
        """Names of the rules that call the sequence abnormal."""
        judged = self.judged([list(sequence)])
        return frozenset(name for name in RULES if judged[name].flagged[0])

    def judged(self, sequences: Sequence[Sequence[int]]) -> dict[str, Judged]:
        """What each rule says of n sequences."""
        paths = [self._path(sequence) for sequence in sequences]
        unseen = np.array([UNSEEN in path for path in paths], np.bool_)
        nats = self._nats(paths)
        flagged = {name: self._rare(name, scores) for name, scores in nats.items()}
        # With a key unseen there is no pair and no step that training had.
        judged = {
            name: Judged(scores=np.where(unseen, CERTAIN, nats[name]), flagged=flagged[name] | unseen)
            for name in ("unseen_pair", "ngram")
        }
        judged |= {name: Judged(scores=nats[name], flagged=flagged[name]) for name in ("length", "counts")}
        judged["unseen_key"] = Judged(scores=np.where(unseen, CERTAIN, 0.0), flagged=unseen)
        shares = [np.array([-log(self._tails[name].p_value(s)) for s in nats[name]]) for name in ("length", "counts")]
        judged["key_length_counts"] = Judged(
            scores=np.where(unseen, CERTAIN, np.maximum(*shares)),
            flagged=unseen | flagged["length"] | flagged["counts"],
        )
        counts = self._counts(paths)
        for name, model in self._count_models.items():
            scores = model.scores(counts)
            judged[name] = Judged(scores=scores, flagged=scores > self._limits[name])
        return {name: judged[name] for name in RULES}

    def _nats(self, paths: Sequence[Sequence[int]]) -> dict[str, NDArray[np.float64]]:
        """Scores of the rules whose scores are nats. Shape [n] each."""
        scored = [
            (
                self._profile.length_score(len(path) - 2),
                max(self._profile.transition_score(before, unit) for before, unit in pairwise(path)),
                self._rarest_step(path, Counter()),
                self._profile.count_score(Counter(path[1:-1])),
            )
            for path in paths
        ]
        columns = np.array(scored, np.float64).reshape(-1, 4).T
        return dict(zip(("length", "unseen_pair", "ngram", "counts"), columns, strict=True))

    def _rare(self, name: str, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which scores fewer normal sessions than the rate allows have."""
        tail = self._tails[name]
        return np.array([score > 0 and tail.p_value(score) < self._rate for score in scores], np.bool_)

    def _path(self, keys: Iterable[int]) -> list[int]:
        return [BEGIN, *(self._unit_of.get(int(key), UNSEEN) for key in keys), END]

    def _counts(self, paths: Sequence[Sequence[int]]) -> Counts:
        """How often each unit comes; :data:`UNSEEN`, the unit before the first key, is the last column."""
        counts = np.zeros((len(paths), len(self._vocabulary.keys) + 1), np.int64)
        for row, path in enumerate(paths):
            units, times = np.unique(np.array(path[1:-1], np.int64), return_counts=True)
            counts[row, units - FIRST_KEY_UNIT] = times
        return counts

    def _rarest_step(self, path: Sequence[int], own: Counter[tuple[int, int]]) -> float:
        """Highest -ln(probability) of a step, with the session's own steps left out of the counts."""
        own_visits = Counter(before for before, _ in own.elements())
        return max(
            log((self._visits[before] - own_visits[before] + 1) / (self._pairs[before, unit] - own[before, unit] + 0.5))
            for before, unit in pairwise(path)
        )
