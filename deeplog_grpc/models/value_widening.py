"""What an operator calls normal, value models learn at once: the vector joins, and the intervals around it are widened.

A vector joins by the errors that it shows: the tail of each distribution that calls one of them abnormal is stretched
just so far that it does not any more. Networks, medians and scales stay what they are; so what was normal stays normal,
and what is far beyond the vector stays abnormal.

Invariant: nothing is changed in place. A new model comes out, in which the rules of all other keys and transitions are
the same objects.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from deeplog_grpc.models.value_judging import Sight
from deeplog_grpc.models.value_model import UNREMARKABLE, Judge, ValueModel
from deeplog_grpc.models.value_parts import GapRule, KeyRule
from deeplog_grpc.models.value_vectors import ELAPSED, KeyVectors, Position

MARGIN = 2.0
"""How many times the rate the p-value of a learned vector is. The next one of its kind is not the same to the last
digit: by an exponential tail and a rate of 1e-4, what is a tenth further from its prediction is normal as well. Once
would leave that to rounding, and far more would be a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedValue:
    """The number that was named when a vector was called abnormal, unless it was the time of a transition."""

    slot: int
    """By the template of training; :data:`ELAPSED` for the elapsed time."""
    predicted: float
    """What was expected of it, in its own units."""


def vector_of(
    model: ValueModel, key: int, numbers: Iterable[tuple[int, str, float]], previous: tuple[int, int]
) -> KeyVectors:
    """One entry's numbers as the model reads them.

    Parameters
    ----------
    numbers : iterable of (int, str, float)
        Slot by the template of training (:data:`ELAPSED` for the elapsed time), unit, number. Those that the model does
        not look at are passed over, and what it looks at and is not among them is missing.
    previous : tuple of int
        Log keys of the session's two entries before, oldest first.

    Returns
    -------
    KeyVectors
        One row. A key without a rule has its elapsed time alone, and no template.
    """
    rule = model.rules.get(key)
    pieces = () if rule is None else rule.pieces
    positions = model.positions(key, pieces)
    found = {
        Position(slot=slot, unit="s" if slot == ELAPSED else unit): number  # there is only one unit of it
        for slot, unit, number in numbers
    }
    return KeyVectors(
        key=key,
        pieces=pieces,
        positions=positions,
        values=np.array([[found.get(position, np.nan) for position in positions]], np.float64),
        previous=np.array([previous], np.int64),
    )


def holds_vector(model: ValueModel, vectors: KeyVectors, *, rate: float, flagged: FlaggedValue | None = None) -> bool:
    """Whether a vector is normal.

    Parameters
    ----------
    vectors : KeyVectors
        One row, see :func:`vector_of`.
    rate : float
        Share of normal vectors that may be called abnormal, in [0, 1]; larger ones than `UNREMARKABLE` count as that,
        for so they do where vectors are judged.
    flagged : FlaggedValue, optional
        Tells what the network of the key, if it has one, expected of a number. The medians judge a vector by itself; a
        network judges it after others, of which nothing is left but this.

    Examples
    --------
    >>> from deeplog_grpc.models.value_config import ValueModelConfig
    >>> model = ValueModel(ValueModelConfig(), [], [], {})
    >>> holds_vector(model, vector_of(model, 7, [(-1, "s", 1e9)], (3, 4)), rate=0.001)  # nothing is known of it
    True
    """
    sight = _one(model, vectors)
    rate = min(rate, UNREMARKABLE)
    if _by_medians(model, sight).p_values[0] < rate:
        return False
    by_network = _by_network(model, sight, flagged)
    return by_network is None or by_network[0].p_value_by(0, by_network[1]) >= rate


def learn_vector(
    model: ValueModel, vectors: KeyVectors, *, rate: float, flagged: FlaggedValue | None = None
) -> ValueModel:
    """The model that holds a vector normal, with a p-value of at least :data:`MARGIN` times the rate.

    That is so by the medians, with its transition and without, and for what is known of the network's prediction by the
    network. The transition alone, which is all that judges an entry once its template is another, does so too.

    Parameters
    ----------
    vectors, rate, flagged
        As of :func:`holds_vector`.

    Returns
    -------
    ValueModel
        A number or time that is no more unusual than before has no smaller p-value than before.
    """
    p_value = MARGIN * min(rate, UNREMARKABLE)
    sight = _one(model, vectors)
    gap, rule = sight.gaps[0], sight.rule
    return model.with_rules(
        None if rule is None else _widened(model, sight, rule, flagged, p_value),
        None if gap is None else _stretched(gap, vectors, p_value),
    )


def _one(model: ValueModel, vectors: KeyVectors) -> Sight:
    if len(vectors) != 1:
        raise ValueError(f"{len(vectors)} vectors instead of one")
    return model.sight(vectors)


def _widened(model: ValueModel, sight: Sight, rule: KeyRule, flagged: FlaggedValue | None, p_value: float) -> KeyRule:
    by_median = _by_medians(model, sight).outlook_for(0, p_value, range(len(rule.positions)))
    by_network, asked = rule.by_network, _by_network(model, sight, flagged)
    if asked is not None:
        judge, place = asked
        by_network = judge.outlook_for(0, p_value, [place])
    return replace(rule, by_median=by_median, by_network=by_network)


def _stretched(gap: GapRule, vectors: KeyVectors, p_value: float) -> GapRule:
    return replace(gap, errors=gap.errors.reaching(float(gap.error_of(vectors.elapsed_s)[0]), p_value))


def _by_medians(model: ValueModel, sight: Sight) -> Judge:
    return model.judge_of(sight, sight.medians(), None if sight.rule is None else sight.rule.by_median)


def _by_network(model: ValueModel, sight: Sight, flagged: FlaggedValue | None) -> tuple[Judge, int] | None:
    """The network's judge and the place of the flagged number, of which alone it can be asked."""
    rule = sight.rule
    if rule is None or rule.by_network is None or flagged is None:
        return None
    place = next((place for place, position in enumerate(rule.positions) if position.slot == flagged.slot), None)
    if place is None:
        return None
    predicted = sight.normalised.copy()  # as if the others were what it expected
    predicted[0, place] = rule.scales[place].normalise(np.array([flagged.predicted]))[0]
    return model.judge_of(sight, predicted, rule.by_network), place
