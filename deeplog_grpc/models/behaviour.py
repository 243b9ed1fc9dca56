"""All that is learned of an application's sessions, and its calibration by cross-fitting.

To know how surprising a *new* normal session is, every training session is scored by a key model that was trained
without it: the sessions are dealt to ``FOLDS`` parts, and each part is scored by a model of the others. The session
profile does the same exactly, session by session (leave-one-out). So every training session calibrates the thresholds,
and none of them by a model that knew it. With three folds training takes three times as long as without; two would be
cheaper, but models of half the sessions are surprised too often.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from math import inf
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.calibration import OF_VALUES, Calibration, Check, ThresholdConfig
from deeplog_grpc.models.fitting import Epoch, Fit, fit_key_model, needed_sessions, normal_keys
from deeplog_grpc.models.key_config import KeyModelConfig
from deeplog_grpc.models.key_model import LogKeyModel
from deeplog_grpc.models.known_normal import KnownNormal
from deeplog_grpc.models.profile import SessionProfile
from deeplog_grpc.models.profile_fitting import ProfileFit, fit_profile
from deeplog_grpc.models.screening import fault_keys, suspects
from deeplog_grpc.models.trainings import Trainings
from deeplog_grpc.models.vocabulary import BEGIN, END, UNSEEN, Vocabulary
from deeplog_grpc.models.windows import CHUNK_WINDOWS, TrainingSession, distinct_windows, session_windows

FOLDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What an application's normal sessions are like, and what is too far from it."""

    key_model: LogKeyModel
    profile: SessionProfile
    calibration: Calibration
    known: KnownNormal
    """Sessions of training that updates are checked with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourFit:
    """Learned behaviour and how the key model came about."""

    behaviour: Behaviour
    key_fit: Fit
    set_aside: int
    """Sessions that were not learned as normal."""


def fit_behaviour(
    sessions: Sequence[TrainingSession],
    config: KeyModelConfig,
    thresholds: ThresholdConfig,
    *,
    scores: Mapping[Check, NDArray[np.float64]] = MappingProxyType({}),
    templates: Mapping[int, Sequence[str]] | None = None,
    seed: int = 0,
    threads: int = 1,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_fold: Callable[[int, int], None] = lambda done, folds: None,
) -> BehaviourFit:
    """Train the key model and the session profile on normal sessions, and calibrate them.

    Parameters
    ----------
    scores : mapping
        Of the detectors that look at more than log keys: score of each session, by models that had not learned from
        it. Shape [sessions] each.
    templates : mapping, optional
        Log key -> constant pieces of its template: its words tell what is a fault, and with ``config.semantic`` where
        its embedding starts.
    threads : int
        Models trained at once, >= 1; the result does not depend on it.
    on_epoch : callable
        Called after each pass of the key model itself, not of those that only calibrate it; with several threads, in
        one of them.
    on_fold : callable
        Called with the number of models trained to calibrate it so far, and of all.

    Raises
    ------
    ValueError
        If the sessions hold no window to learn from.
    """
    total = len(sessions)
    share = thresholds.contamination if config.begin_end else 0.0
    faults = fault_keys(sessions, templates or {}, share=share)
    is_trusted = _trusted(sessions, config, share, faults)
    sessions = list(compress(sessions, is_trusted))
    vocabulary = _vocabulary(sessions, config, faults, reserve=config.reserve)
    fit = partial(fit_key_model, config=config, vocabulary=vocabulary, templates=templates, seed=seed)
    thresholds = _in_force(thresholds, config)
    # Sessions that hold a rare key are suspect: what only they do must not become normal, nor move a threshold.
    units = vocabulary.units_of_all([session.keys for session in sessions])
    is_clean = np.array([UNSEEN not in one for one in units], np.bool_)
    set_aside = total - int(is_clean.sum())
    known = KnownNormal.sample(list(compress(sessions, is_clean)), seed=seed)
    clean = list(compress(sessions, is_clean)) if config.begin_end else []
    with Trainings(threads) as trainings:
        key_training = trainings.begin(partial(fit, sessions, on_epoch=on_epoch))
        folds = _folds(clean, fit, seed, trainings)
        profile_fit = fit_profile(clean, vocabulary)
        key_fit = key_training()
        surprises = _held_out(clean, folds, _joined(profile_fit.alone, thresholds), on_fold)
    of_values = {
        check: scores[check][is_trusted][is_clean] if check in scores else np.zeros(is_clean.sum())
        for check in OF_VALUES
    }
    if config.begin_end:
        calibration = _calibrated(clean, profile_fit, surprises, of_values, thresholds)
    else:
        nothing = {check: np.zeros(is_clean.sum()) for check in Check}
        calibration = Calibration.of({**nothing, **of_values}, begins=np.zeros(0), config=thresholds)
    behaviour = Behaviour(key_model=key_fit.model, profile=profile_fit.profile, calibration=calibration, known=known)
    return BehaviourFit(behaviour=behaviour, key_fit=key_fit, set_aside=set_aside)


def _trusted(
    sessions: Sequence[TrainingSession], config: KeyModelConfig, share: float, faults: set[int]
) -> NDArray[np.bool_]:
    """Which sessions are not suspect. Shape [sessions].

    Those with faults that were not seen as a whole stay, without a unit for these log keys: where nothing tells
    sessions apart, one of them may be half of the log.
    """
    support = needed_sessions(len(sessions), config.min_sessions)
    is_suspect = suspects(sessions, _vocabulary(sessions, config, faults, reserve=0), share=share, support=support)
    at_fault = [s.begins and s.ends and not faults.isdisjoint(np.asarray(s.keys).tolist()) for s in sessions]
    return ~(is_suspect | np.array(at_fault, np.bool_))


def _vocabulary(
    sessions: Sequence[TrainingSession], config: KeyModelConfig, faults: set[int], *, reserve: int
) -> Vocabulary:
    """The log keys that are normal."""
    return Vocabulary.of(set(normal_keys(sessions, config.min_sessions)) - faults, reserve=reserve)


def _in_force(thresholds: ThresholdConfig, config: KeyModelConfig) -> ThresholdConfig:
    """The limits that the key model's configuration leaves to be calibrated.

    Where ranks judge log keys, their probabilities do not; the paper's text, without begin and end, knows ranks alone.
    """
    if not config.begin_end:
        return replace(thresholds, **{check.value: inf for check in Check if check not in OF_VALUES})
    return replace(thresholds, key=inf) if config.candidates and thresholds.key is None else thresholds


def _joined(alone: Mapping[tuple[int, int], float], thresholds: ThresholdConfig) -> dict[tuple[int, int], float]:
    """Nats of the transitions that are judged together with the key model."""
    return {step: nats for step, nats in alone.items() if thresholds.joins(Check.END if step[1] == END else Check.KEY)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surprises:
    """Surprise, in nats, of models that had not learned from the session; 0 where it has no such thing."""

    scored: NDArray[np.bool_]
    """Whether there was a model to ask. Shape [sessions]."""
    keys: NDArray[np.float64]
    """Highest of a session's log keys. Shape [sessions]."""
    ends: NDArray[np.float64]
    """Of the session's end. Shape [sessions]."""
    begins: NDArray[np.float64]
    """-ln(probability) of its first log key. Shape [sessions]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fold:
    """Sessions, and a model that is trained on the others."""

    rows: list[int]
    """Places of the sessions among all."""
    fit: Callable[[], Fit]
    """Waits for it."""


def _folds(
    sessions: Sequence[TrainingSession],
    fit: Callable[[Sequence[TrainingSession]], Fit],
    seed: int,
    trainings: Trainings,
) -> list[_Fold]:
    """Deal the sessions to ``FOLDS`` parts, each with a model of the others; with fewer sessions there are fewer."""
    dealt = np.random.default_rng(seed).permutation(len(sessions)) % FOLDS
    return [
        _Fold(
            rows=np.flatnonzero(dealt == fold).tolist(),
            fit=trainings.begin(partial(fit, list(compress(sessions, dealt != fold)))),
        )
        for fold in np.unique(dealt)
    ]


def _held_out(
    sessions: Sequence[TrainingSession],
    folds: Sequence[_Fold],
    transitions: Mapping[tuple[int, int], float],
    on_fold: Callable[[int, int], None],
) -> _Surprises:
    """Score every session by a model that was trained without it.

    Parameters
    ----------
    transitions : mapping
        Nats to add to the key model's where a transition was new.
    """
    count = len(sessions)
    found = _Surprises(
        scored=np.zeros(count, np.bool_), keys=np.zeros(count), ends=np.zeros(count), begins=np.zeros(count)
    )
    for done, fold in enumerate(folds, start=1):
        try:
            model = fold.fit().model
        except ValueError:  # so few sessions that the others hold nothing to learn from
            continue
        found.scored[fold.rows] = True
        for part in _parts(fold.rows, sessions):
            own = [sessions[row] for row in part]
            found.keys[part], found.ends[part], found.begins[part] = _surprises(model, own, transitions)
        on_fold(done, len(folds))
    return found


def _parts(rows: Sequence[int], sessions: Sequence[TrainingSession]) -> list[NDArray[np.int64]]:
    """Rows divided so that the sessions of a part have few windows together; verdicts do not depend on it."""
    filled = np.cumsum([len(sessions[row].keys) + 1 for row in rows]) // CHUNK_WINDOWS
    return [part for part in np.split(np.array(rows, np.int64), np.flatnonzero(np.diff(filled)) + 1) if len(part)]


def _calibrated(
    sessions: Sequence[TrainingSession],
    profile: ProfileFit,
    surprises: _Surprises,
    others: Mapping[Check, NDArray[np.float64]],
    thresholds: ThresholdConfig,
) -> Calibration:
    """Thresholds from the scores of whole sessions and blocks of streams; from all where there are none."""
    begins = np.array([session.begins for session in sessions], np.bool_)
    ends = np.array([session.ends for session in sessions], np.bool_)
    whole = surprises.scored & (begins == ends)
    chosen = whole if whole.any() else surprises.scored
    scores = {
        Check.KEY: surprises.keys,
        Check.TRANSITION: profile.transitions,
        Check.END: surprises.ends,
        Check.COUNTS: profile.counts,
        Check.LENGTH: profile.lengths,
        **others,
    }
    return Calibration.of(
        {check: values[chosen] for check, values in scores.items()},
        begins=surprises.begins[surprises.scored & begins],
        config=thresholds,
    )


def _surprises(
    model: LogKeyModel, sessions: Sequence[TrainingSession], transitions: Mapping[tuple[int, int], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of log keys (the highest), ends and beginnings, one a session."""
    history, vocabulary = model.config.history, model.vocabulary
    windows = [
        session_windows(units, begins=session.begins, ends=session.ends, history=history)
        for units, session in zip(vocabulary.units_of_all([s.keys for s in sessions]), sessions, strict=True)
    ]
    owners = np.repeat(np.arange(len(sessions)), [len(rows) for rows in windows])
    pairs, places = distinct_windows(np.concatenate(windows))
    own = -model.log_probabilities(pairs[:, :-1], pairs[:, -1])
    added = np.array([transitions.get((before, unit), 0.0) for before, unit in pairs[:, -2:].tolist()])
    surprises, joined = own[places], (own + added)[places]
    is_end, is_begin = (pairs[:, -1] == END)[places], (pairs[:, :-1] == BEGIN).all(axis=1)[places]
    keys, ends, begins = (np.zeros(len(sessions)) for _ in range(3))
    np.maximum.at(keys, owners[~is_end], joined[~is_end])
    ends[owners[is_end]] = joined[is_end]
    begins[owners[is_begin]] = surprises[is_begin]
    return keys, ends, begins
