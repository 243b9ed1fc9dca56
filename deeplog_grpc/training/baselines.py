"""Simple rules to compare with: what shows less than they do has shown nothing.

All are learned from the same normal sessions, and the limit of each comes from the same rule: the share of normal
sessions, scored without themselves, that may be flagged by mistake. A rule stands alone, so it has the whole rate.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log

from deeplog_grpc.models import BEGIN, END, UNSEEN, Tail, TrainingSession, Vocabulary
from deeplog_grpc.models.fitting import normal_keys
from deeplog_grpc.models.profile_fitting import fit_profile


class SimpleRules:
    """Rules learned from normal sequences of log keys.

    - ``unseen_key``: the session holds a log key that training did not have.
    - ``length``: its length is outside the range of training.
    - ``unseen_pair``: a log key, or the end, follows one that it never followed.
    - ``ngram``: N-gram with N = 1 (CCS'17, section 5): the least probable step of the session.
    - ``counts``: distance of its counts to the nearest session of training.
    - ``key_length_counts``: any of ``unseen_key``, ``length`` and ``counts``.

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

    def flagging(self, sequence: Iterable[int]) -> frozenset[str]:
        """Names of the rules that call the sequence abnormal."""
        path = self._path(sequence)
        counts = Counter(path[1:-1])
        unseen = UNSEEN in counts
        scores = {
            "length": self._profile.length_score(len(path) - 2),
            "unseen_pair": max(self._profile.transition_score(before, unit) for before, unit in pairwise(path)),
            "ngram": self._rarest_step(path, Counter()),
            "counts": self._profile.count_score(counts),
        }
        flagging = {
            name for name, score in scores.items() if score > 0 and self._tails[name].p_value(score) < self._rate
        }
        if unseen:
            flagging |= {"unseen_key", "unseen_pair", "ngram"}
        if flagging & {"unseen_key", "length", "counts"}:
            flagging.add("key_length_counts")
        return frozenset(flagging)

    def _path(self, keys: Iterable[int]) -> list[int]:
        return [BEGIN, *(self._unit_of.get(int(key), UNSEEN) for key in keys), END]

    def _rarest_step(self, path: Sequence[int], own: Counter[tuple[int, int]]) -> float:
        """Highest -ln(probability) of a step, with the session's own steps left out of the counts."""
        own_visits = Counter(before for before, _ in own.elements())
        return max(
            log((self._visits[before] - own_visits[before] + 1) / (self._pairs[before, unit] - own[before, unit] + 0.5))
            for before, unit in pairwise(path)
        )


RULES = ("unseen_key", "length", "unseen_pair", "ngram", "counts", "key_length_counts")
"""Names of the rules."""
