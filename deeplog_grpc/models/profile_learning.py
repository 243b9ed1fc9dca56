"""Online update of a session profile: what feedback calls normal joins it. Each function gives a new profile."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from deeplog_grpc.models.profile import STRICT, SessionProfile
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT

NEVER_NATS = 2 * STRICT
"""Nats of a log key that feedback made normal after something, when it comes after something else: always too many."""


def is_placed(profile: SessionProfile, unit: int) -> bool:
    """Whether feedback made a log key normal only in the places, and the counts, that it showed."""
    column = unit - FIRST_KEY_UNIT
    return 0 <= column < len(profile.weights) - 1 and bool(profile.weights[column] >= STRICT)


def with_new_units(profile: SessionProfile, units: Iterable[int], *, anywhere: bool) -> SessionProfile:
    """Judge log keys that feedback made normal.

    Parameters
    ----------
    units : iterable of int
        Units of them. The profile has a column for each but those that follow the last one it has.
    anywhere : bool
        Whether they are normal wherever and however often they come, until the next training; else only after what
        feedback showed before them (:func:`with_steps`), in sessions with the counts that it showed
        (:func:`with_session`). Where an earlier lesson said "anywhere" it stays so.

    Examples
    --------
    >>> from deeplog_grpc.models.profile_fitting import fit_profile
    >>> from deeplog_grpc.models import TrainingSession, Vocabulary
    >>> profile = fit_profile([TrainingSession(keys=[7, 9])] * 3, Vocabulary.of([7, 9], reserve=1)).profile
    >>> with_new_units(profile, [5], anywhere=True).count_score({3: 1, 4: 1, 5: 12})
    0.0
    >>> with_new_units(profile, [5], anywhere=False).count_score({3: 1, 4: 1, 5: 1})
    1000.0
    """
    arrivals = dict(profile.arrivals)
    weights, vectors = profile.weights.copy(), profile.vectors
    for unit in units:
        column = unit - FIRST_KEY_UNIT
        is_fresh = column == len(weights) - 1  # the last one counts the keys without a unit
        if is_fresh:
            vectors, weights = np.insert(vectors, column, 0, axis=1), np.insert(weights, column, 0.0)
        if anywhere and (is_fresh or weights[column] >= STRICT):
            weights[column] = 0.0
            arrivals.pop(unit, None)
        elif is_fresh:
            weights[column] = STRICT
            arrivals[unit] = NEVER_NATS
    return replace(profile, vectors=vectors, weights=weights.astype(np.float32), arrivals=arrivals)


def with_steps(profile: SessionProfile, steps: Iterable[tuple[int, int]]) -> SessionProfile:
    """Units (or END) that may follow others (or BEGIN).

    Examples
    --------
    >>> from deeplog_grpc.models.profile_fitting import fit_profile
    >>> from deeplog_grpc.models import TrainingSession, Vocabulary
    >>> profile = fit_profile([TrainingSession(keys=[7, 9])] * 300, Vocabulary.of([7, 9], reserve=1)).profile
    >>> round(profile.transition_score(4, 3)), with_steps(profile, [(4, 3)]).transition_score(4, 3)
    (6, 0.0)
    """
    followers = {before: set(after) for before, after in profile.followers.items()}
    for before, unit in steps:
        if before in followers:  # of any other, nothing is called new
            followers[before].add(unit)
    return replace(profile, followers={before: frozenset(after) for before, after in followers.items()})


def with_session(profile: SessionProfile, counts: Mapping[int, int]) -> SessionProfile:
    """A session that is normal as a whole: its counts, and its length.

    Parameters
    ----------
    counts : mapping
        Unit -> times in the session; :data:`~deeplog_grpc.models.vocabulary.UNSEEN` among them.
    """
    if not profile.sessions:  # where no session was seen as a whole, nothing is judged as one
        return profile
    vector = profile.vector(counts)
    vectors, exact = profile.vectors, profile.exact
    if not (vectors == vector).all(axis=1).any():
        vectors, exact = np.concatenate([vectors, vector[None]]), exact + 1
    length = sum(counts.values())
    shortest, longest = min(profile.shortest, length), max(profile.longest, length)
    return replace(profile, vectors=vectors, exact=exact, shortest=shortest, longest=longest)
