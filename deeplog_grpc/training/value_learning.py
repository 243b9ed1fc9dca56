"""Value models and value sets of an application, and how surprising its own sessions are to them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models import (
    Check,
    KeyReport,
    Tail,
    ValueEpoch,
    ValueModel,
    ValueModelConfig,
    ValueSets,
    fit_value_model,
    fit_value_sets,
)
from deeplog_grpc.training.history import SessionCut
from deeplog_grpc.training.values import LeftOut, ValueCollector

LEAST_P_VALUE = 1e-300
"""Keeps the logarithm finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedValues:
    """All that was learned of an application's values."""

    model: ValueModel
    sets: ValueSets
    scores: Mapping[Check, NDArray[np.float64]]
    """Surprise of each session, in nats, by what was learned without it. Shape [sessions] each."""
    set_aside: int
    """Sessions whose values are so odd that they did not set the threshold."""
    reports: tuple[KeyReport, ...]
    """One a log key."""
    left_out: tuple[LeftOut, ...]
    """The slots that are no amounts."""


def fit_values(
    collector: ValueCollector,
    cut: SessionCut,
    config: ValueModelConfig,
    *,
    contamination: float,
    seed: int,
    on_epoch: Callable[[ValueEpoch], None] = lambda epoch: None,
) -> LearnedValues:
    """Learn from all that was collected.

    Parameters
    ----------
    cut : SessionCut
        Of the same entries.
    contamination : float
        Share of the sessions that may be abnormal, in [0, 1).
    """
    found = collector.collected(cut, max_values=config.new_values)
    # Times in whole seconds make one second of a millisecond.
    fit = fit_value_model(
        found.series, replace(config, slack_s=max(config.slack_s, cut.resolution_s)), seed=seed, on_epoch=on_epoch
    )
    sets, surprises = fit_value_sets(found.categories)
    entries = np.concatenate([np.zeros(0, np.int64), *found.entries])
    p_values = np.concatenate([np.zeros(0), *fit.p_values])
    unknown = np.zeros(len(cut.sessions), np.bool_)
    unknown[cut.owners[: found.first_whole]] = True
    unknown[cut.owners[entries[np.isnan(p_values)]]] = True
    nats = -np.log(np.maximum(np.nan_to_num(p_values, nan=1.0), LEAST_P_VALUE))
    scores = _highest(cut, entries, nats)
    suspect = _suspect(scores[~unknown], vectors=int((~np.isnan(p_values)).sum()), share=contamination)
    unknown[np.flatnonzero(~unknown)[suspect]] = True
    new = np.array(list(surprises), np.int64)
    return LearnedValues(
        model=fit.model,
        sets=sets,
        scores={
            Check.VALUE: _stood_in(scores, ~unknown),
            Check.NEW_VALUE: _highest(cut, new, np.array(list(surprises.values()))),
        },
        set_aside=int(suspect.sum()),
        reports=fit.reports,
        left_out=found.left_out,
    )


def _highest(cut: SessionCut, entries: NDArray[np.int64], nats: NDArray[np.float64]) -> NDArray[np.float64]:
    """The highest surprise of each session's entries; 0 where there is none. Shape [sessions]."""
    scores = np.zeros(len(cut.sessions))
    np.maximum.at(scores, cut.owners[entries], nats)
    return scores


def _suspect(scores: NDArray[np.float64], *, vectors: int, share: float) -> NDArray[np.bool_]:
    """Which sessions' highest surprises are those of anomalies.

    They are further out than one in as many logs as this one has sessions: by true p-values, and by how the surprises
    below thin out. If there are more than the share, they are how this application is.

    Examples
    --------
    >>> _suspect(np.array([3.0] * 98 + [9.0, 70.0]), vectors=1000, share=0.02).nonzero()[0].tolist()
    [99]
    """
    sessions = max(len(scores), 1)
    limit = log(max(vectors, 1)) + log(sessions)
    limit = max(limit, Tail.of(scores[scores <= limit]).threshold(1.0 / sessions**2))
    found: NDArray[np.bool_] = scores > limit
    return found if found.sum() <= share * sessions else np.zeros(len(scores), np.bool_)


def _stood_in(scores: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scores with those that are not wholly known replaced: such a session is as unusual as one that is known.

    Examples
    --------
    >>> _stood_in(np.array([9.0, 1.0, 2.0, 0.0]), np.array([False, True, True, False])).tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    if known.all() or not known.any():
        return scores
    replaced = scores.copy()
    replaced[~known] = np.resize(scores[known], int((~known).sum()))
    return replaced
