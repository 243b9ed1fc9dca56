"""Sessions of a log that nobody labelled which should not teach what is normal. Pure; under a second for HDFS.

Leaving a session out does not tell: like anomalies vouch for each other. So sessions are compared to *well supported*
ones alone, of which there are more than anomalies are thought to make up, and three things are suspect:

- *cut short*: a session that is a part of a usual one, but has not even all the log keys that nearly every session has.
  A rare kind of session has log keys of its own; this one has only less.
- *far off*: the counts of a session that is the only one of its kind, or of a few with a combination of log keys that
  no well supported kind has, further from all trusted ones than one session in n * n. All like it are left out of
  what that is told by.
- *faults*: a session with a rare log key whose words say that something went wrong.

A kind of session that came more than a few times, with log keys of its own and no such words, stays: rare normal kinds
look just like it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.lexicon import tells_fault, words_of
from deeplog_grpc.models.profile import differences
from deeplog_grpc.models.profile_fitting import FIT_ROUNDS, MAX_CELLS, Row, column_weights, dense, sparse
from deeplog_grpc.models.tails import FEW_SESSIONS
from deeplog_grpc.models.vocabulary import UNSEEN, Vocabulary
from deeplog_grpc.models.windows import TrainingSession

MAX_RARE = 4096
"""Rare count vectors at most: where there are more, being rare says nothing (and would take long to compare)."""


def suspects(
    sessions: Sequence[TrainingSession], vocabulary: Vocabulary, *, share: float, support: int
) -> NDArray[np.bool_]:
    """Which sessions to set aside. Shape [sessions].

    Sessions not seen as a whole, or with a log key that the vocabulary does not know, are not looked at.

    Parameters
    ----------
    share : float
        Share of sessions that may be abnormal, in [0, 1); 0 = none is suspect.
    support : int
        Sessions that make a count vector well supported.

    Examples
    --------
    >>> usual, short, other = [7, 8, 9], [7, 8], [7, 5]
    >>> log = [TrainingSession(keys=keys) for keys in [usual] * 997 + [short, short, other]]
    >>> suspects(log, Vocabulary.of([5, 7, 8, 9], reserve=0), share=0.02, support=1).nonzero()[0].tolist()
    [997, 998]
    """
    rows: list[Row | None] = []
    keys = [session.keys for session in sessions]
    for session, units in zip(sessions, vocabulary.units_of_all(keys), strict=True):
        rows.append(sparse(units) if session.begins and session.ends and UNSEEN not in units else None)
    times = Counter(row for row in rows if row is not None)
    if not share or times.total() < FEW_SESSIONS:
        return np.zeros(len(sessions), np.bool_)
    found = _cut_short(times, share)
    found |= _far_off(Counter({row: n for row, n in times.items() if row not in found}), len(vocabulary.keys), support)
    return np.array([row in found for row in rows], np.bool_)


def fault_keys(
    sessions: Sequence[TrainingSession], templates: Mapping[int, Sequence[str]], *, share: float
) -> set[int]:
    """Log keys whose words say that something went wrong, and which are rare enough to belong to anomalies.

    The rarest ones, as long as the sessions that have one of them are no more than the share.

    Parameters
    ----------
    templates : mapping
        Log key -> constant pieces of its template.
    share : float
        Share of sessions that may be abnormal, in [0, 1); 0 = no log key does.

    Examples
    --------
    >>> log = [TrainingSession(keys=keys) for keys in [[1, 2]] * 990 + [[1, 3, 2]] * 10]
    >>> templates = {1: ["job ", " began"], 2: ["job ", " failed"], 3: ["job ", ": error, will retry"]}
    >>> fault_keys(log, templates, share=0.02)
    {3}
    """
    if not share or len(sessions) < FEW_SESSIONS:
        return set()
    having = defaultdict[int, set[int]](set)
    for row, session in enumerate(sessions):
        for key in np.unique(np.asarray(session.keys)).tolist():
            having[key].add(row)
    limit, found, rows = share * len(sessions), set[int](), set[int]()
    for key in sorted(having, key=lambda key: (len(having[key]), key)):
        if len(having[key]) > limit:
            break
        if tells_fault(words_of(templates.get(key, ()))) and len(rows | having[key]) <= limit:
            found.add(key)
            rows |= having[key]
    return found


def _cut_short(times: Counter[Row], share: float) -> set[Row]:
    """Parts of usual sessions that lack what nearly every session has."""
    sessions = times.total()
    having = Counter[int]()
    for row, count in times.items():
        having.update({unit: count for unit, _ in row})
    needed = {unit for unit, count in having.items() if count >= (1 - share) * sessions}
    usual = [dict(row) for row, count in times.items() if count > share * sessions]
    return {
        row
        for row in times
        if not needed <= {unit for unit, _ in row}
        and any(all(count <= whole.get(unit, 0) for unit, count in row) for whole in usual)
    }


def _far_off(times: Counter[Row], keys: int, support: int) -> set[Row]:
    """Vectors of few sessions that are too far from the trusted ones."""
    common = sorted(row for row, count in times.items() if count >= support)
    usual = {_units(row) for row in common}
    repeats = sorted(row for row, count in times.items() if 1 < count < support and _units(row) in usual)
    rare = sorted(row for row, count in times.items() if count < support)
    if not common or not 0 < len(rare) <= MAX_RARE or (len(common) + len(repeats)) * (keys + 1) > MAX_CELLS:
        return set()
    vectors, trusted = dense(rare, keys + 1), dense([*common, *repeats], keys + 1)
    counts = np.array([times[row] for row in rare])
    differs = _settled_differences(dense(common, keys + 1), vectors, counts, times.total())
    seen = (counts[:, None] * differs).sum(axis=0)
    limit, found = 2 * log(times.total()), set()
    for row, vector, count, own in zip(rare, vectors, counts.tolist(), differs, strict=True):
        left_out = column_weights(seen - count * own, times.total() - count)  # like ones must not vouch for it
        if float((differences(trusted, vector) @ left_out).min()) > limit:
            found.add(row)
    return found


def _units(row: Row) -> frozenset[int]:
    return frozenset(unit for unit, _ in row)


def _settled_differences(
    common: NDArray[np.int32], rare: NDArray[np.int32], counts: NDArray[np.int64], total: int
) -> NDArray[np.bool_]:
    """Where the rare vectors differ from their nearest common one. Shape [rare, columns]."""
    weights = np.ones(common.shape[1], np.float32)
    for _ in range(FIT_ROUNDS):
        differs = np.array([_nearest(differences(common, row), weights) > 0 for row in rare])
        weights = column_weights((counts[:, None] * differs).sum(axis=0), total)
    return differs


def _nearest(gaps: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    nearest: NDArray[np.float32] = gaps[(gaps @ weights).argmin()]
    return nearest
