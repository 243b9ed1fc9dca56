"""The values of entries, judged: numbers and elapsed times by the value models, new values by the value sets.

Only entries whose log key is normal are judged (CCS'17, section 2). Most numbers lie well inside what is normal, and
that costs two comparisons a number; the value models are asked about the rest alone, and about the log keys whose
network has to see every vector.

Invariant: what is said of an entry depends on the entries before it, never on how they were batched: values are read
by the templates of training, and what one in two hundred normal sessions holds is not mentioned.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, isnan, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.states import ANY_TIME, Transition
from deeplog_grpc.detection.vectors import key_vectors
from deeplog_grpc.detection.verdicts import SHOWN_VALUES, AbnormalValue, Kind, ValueVector
from deeplog_grpc.models import (
    ELAPSED,
    LARGEST,
    UNREMARKABLE,
    Calibration,
    Check,
    KeyVectors,
    Position,
    ValueFinding,
    ValueMemory,
    ValueModel,
    ValueSet,
    ValueSets,
)
from deeplog_grpc.parsing import KeyColumns, ParsedBatch, kept_text

Numbered = tuple[tuple[Position, tuple[float, float]], ...]
"""Numeric slots of a key, and the interval of each in which numbers are not worth a closer look."""

_MARGIN = 1.0 + 1e-9
"""Rounding must not lose the evidence of what is abnormal by a hair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueOutcome:
    """What the values of one entry mean; only of entries that have something unusual."""

    kind: Kind
    """NORMAL, PARAMETER_VALUE, ELAPSED_TIME or NEW_VALUE."""
    p_value: float
    """Share of normal sessions that hold values at least as unusual, in (0, 1]."""
    value: AbnormalValue | None
    """None where normal."""
    vector: ValueVector | None = None
    """The numbers, where one of them is abnormal."""


class ValueJudge:
    """Judges the values of an application's entries, in their order.

    Parameters
    ----------
    model : ValueModel
    sets : ValueSets
    calibration : Calibration
        Says from which p-value on something is abnormal.
    """

    def __init__(self, model: ValueModel, sets: ValueSets, calibration: Calibration) -> None:
        self._calibration = calibration
        self._rate = min(UNREMARKABLE, calibration.value_rate * _MARGIN)
        """Share of normal vectors that may be called abnormal; 0 = none is looked at."""
        self._model = model.looking_below(max(self._rate, min(UNREMARKABLE, exp(-calibration.usual(Check.VALUE)))))
        self._memory = ValueMemory()
        rules = {key: rule.pieces for key, rule in model.rules.items()} if self._rate else {}
        self._numbered = {key: self._model.usual_numbers(key) for key in rules}
        self._always = {key: pieces for key, pieces in rules.items() if model.is_asked_always(key)}
        self._rules = rules
        self._sets = {} if calibration.limit(Check.NEW_VALUE) == inf else {key: sets.of_key(key) for key in sets.pieces}
        numbered = {key: pieces for key, pieces in rules.items() if self._numbered[key]}
        self._read = numbered | self._always | {key: sets.pieces[key] for key in self._sets}
        """Keys whose values are read of every entry."""
        self._slots = {key: self._slots_of(key, pieces) for key, pieces in (rules | self._read).items()}
        """How many of their slots hold something to look at."""

    def go_on_from(self, other: "ValueJudge") -> None:
        """Take over what another version remembers of the entries so far."""
        self._memory = other._memory

    def state(self) -> list[tuple[Any, ...]]:
        """What is remembered of the entries so far, as plain data and columns."""
        return self._memory.state()

    def restore(self, state: Iterable[Sequence[Any]]) -> None:
        """Remember what the judge of that :meth:`state` did."""
        self._memory = ValueMemory.of(state)

    def _slots_of(self, key: int, pieces: tuple[str, ...]) -> int:
        positions = self._model.positions(key, pieces) if self._rate else ()
        slots = [position.slot for position in positions] + [values.slot for values in self._sets.get(key, ())]
        return 1 + max(slots, default=-1)

    def usual_elapsed(self, after: tuple[int, int], key: int) -> tuple[float, float]:
        """Elapsed seconds of a transition that nobody need look at more closely."""
        return self._model.usual_elapsed(after, key) if self._rate else ANY_TIME

    def judge(
        self, parsed: ParsedBatch, steps: Sequence[Transition], elapsed_s: NDArray[np.float64]
    ) -> dict[int, ValueOutcome]:
        """Judge the entries of a batch.

        Parameters
        ----------
        steps : sequence of Transition [n]
            What their log keys mean.
        elapsed_s : float64 array [n]
            Seconds since the session's previous entry; NaN = not known.

        Returns
        -------
        dict of int to ValueOutcome
            By row; rows that are not in it have nothing unusual.
        """
        outcomes: dict[int, ValueOutcome] = {}
        if not self._rate and not self._sets:
            return outcomes
        count, usual = len(steps), Kind.NORMAL
        normal = np.fromiter([step.kind is usual for step in steps], np.bool_, count)
        low = np.fromiter([step.low_s for step in steps], np.float64, count)
        high = np.fromiter([step.high_s for step in steps], np.float64, count)
        untimely = (elapsed_s < low) | (elapsed_s > high)
        times = _Times(steps=steps, elapsed_s=elapsed_s, timely=~untimely)
        remarkable = normal & untimely
        vectors: list[AskedVectors] = []
        for columns in parsed.columns_of(np.flatnonzero(normal), self._read, slots=self._slots) if self._read else ():
            for values in self._sets.get(columns.key, ()):
                self._add_new_values(outcomes, columns, values)
            if columns.key in self._always:
                remarkable[columns.rows] = False  # asked about at once
                vectors.append(self._vectors_of(columns, times))
            elif numbered := self._numbered.get(columns.key):
                remarkable[columns.rows] |= _unusual_numbers(columns, numbered)
        if self._rate and remarkable.any():
            vectors += self._remarkable(parsed, remarkable, times)
        if vectors:
            self._ask(outcomes, vectors)
        return outcomes

    def _remarkable(
        self, parsed: ParsedBatch, remarkable: NDArray[np.bool_], times: "_Times"
    ) -> Iterator["AskedVectors"]:
        """The vectors of entries that are worth a closer look."""
        left = remarkable.copy()
        for columns in parsed.columns_of(np.flatnonzero(remarkable), self._rules, slots=self._slots):
            left[columns.rows] = False
            yield self._vectors_of(columns, times)
        # What is left has no rule, or does not fit its template any more: only how long it took can be judged.
        rows = np.flatnonzero(left)
        for key in np.unique(parsed.keys[rows]).tolist():
            own = rows[parsed.keys[rows] == key]
            yield self._vectors_of(KeyColumns(key=key, pieces=(), rows=own, slots=()), times)

    def _vectors_of(self, columns: KeyColumns, times: "_Times") -> "AskedVectors":
        """The vectors of some entries of a key; of those that nobody looks at, without the keys before them."""
        vectors = key_vectors(columns, self._model.positions(columns.key, columns.pieces), times.elapsed_s)
        timely = times.timely[columns.rows]
        looked_at = self._model.looked_at(vectors, timely)
        if len(looked_at):
            rows = columns.rows[looked_at].tolist()
            vectors.previous[looked_at] = [times.steps[row].state.before for row in rows]
        return AskedVectors(rows=columns.rows, vectors=vectors, timely=timely, looked_at=looked_at)

    def _add_new_values(self, outcomes: dict[int, ValueOutcome], columns: KeyColumns, values: ValueSet) -> None:
        known = values.values
        texts = columns.slots[values.slot].texts
        if known.issuperset(texts):
            return
        unknown = {text for text in set(texts) - known if kept_text(text) not in known}
        if not unknown:
            return
        fresh = [place for place, text in enumerate(texts) if text in unknown]
        finding = self._calibration.judge(Check.NEW_VALUE, values.nats)
        for place in fresh:
            found = _normal(finding.p_value)
            if finding.abnormal:
                value = AbnormalValue(
                    slot=values.slot,
                    trained_slot=values.slot,
                    text=kept_text(texts[place]),
                    known=tuple(sorted(known)[:SHOWN_VALUES]),
                    known_count=len(known),
                )
                found = replace(found, kind=Kind.NEW_VALUE, value=value)
            keep_smaller(outcomes, int(columns.rows[place]), found)

    def _ask(self, outcomes: dict[int, ValueOutcome], asked: Sequence["AskedVectors"]) -> None:
        """Judge vectors by the value models."""
        verdicts = self._model.judge(
            [own.vectors for own in asked],
            self._memory,
            false_alarm_rate=self._rate,
            timely=[own.timely for own in asked],
            looked_at=[own.looked_at for own in asked],
        )
        for own, verdict in zip(asked, verdicts, strict=True):
            if not len(own.looked_at):
                continue
            for place in np.flatnonzero(verdict.p_values < self._model.unremarkable).tolist():
                finding = self._calibration.judge(Check.VALUE, -log(max(verdict.p_values[place], _LEAST_P_VALUE)))
                evidence, found = verdict.findings.get(place), _normal(finding.p_value)
                if finding.abnormal and evidence is not None:
                    value, vector = _value_of(evidence), _vector_of(own.vectors, place)
                    found = replace(found, kind=_kind_of(evidence), value=value, vector=vector)
                keep_smaller(outcomes, int(own.rows[place]), found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """The steps of a batch of n entries, and when they came."""

    steps: Sequence[Transition]
    elapsed_s: NDArray[np.float64]
    timely: NDArray[np.bool_]
    """Whether the elapsed time needs no closer look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedVectors:
    """Vectors of m entries of one key."""

    rows: NDArray[np.intp]
    """Where they are in the batch."""
    vectors: KeyVectors
    timely: NDArray[np.bool_]
    looked_at: NDArray[np.intp]
    """Those of them that may be remarkable, from 0."""


def _unusual_numbers(columns: KeyColumns, numbered: Numbered) -> NDArray[np.bool_]:
    """Which lines have a number that is worth a closer look. Shape [m]."""
    unusual = np.zeros(len(columns.rows), np.bool_)
    for position, (low, high) in numbered:
        numbers = columns.slots[position.slot].numbers()
        unusual |= (numbers < low) | (numbers > high)
    return unusual


_LEAST_P_VALUE = 1e-300


def _normal(p_value: float) -> ValueOutcome:
    return ValueOutcome(kind=Kind.NORMAL, p_value=p_value, value=None)


def _kind_of(finding: ValueFinding) -> Kind:
    return Kind.ELAPSED_TIME if finding.position.slot == ELAPSED else Kind.PARAMETER_VALUE


def _value_of(finding: ValueFinding) -> AbnormalValue:
    return AbnormalValue(
        slot=finding.position.slot,
        trained_slot=finding.position.slot,
        unit=finding.position.unit,
        observed=finding.observed,
        predicted=finding.predicted,
        low=finding.low,
        high=finding.high,
        after=finding.after,
    )


def _vector_of(vectors: KeyVectors, row: int) -> ValueVector:
    """The numbers of one vector; infinite ones as the largest that the models tell apart, to be written down."""
    numbers = zip(vectors.positions, vectors.values[row].tolist(), strict=True)
    first, second = vectors.previous[row].tolist()
    return ValueVector(
        numbers=tuple(
            (position.slot, position.unit, min(max(number, -LARGEST), LARGEST))
            for position, number in numbers
            if not isnan(number)
        ),
        previous=(first, second),
    )


def keep_smaller(outcomes: dict[int, ValueOutcome], row: int, found: ValueOutcome) -> None:
    """Note what was found of a row, unless something more surprising was found before."""
    known = outcomes.get(row)
    if known is None:
        outcomes[row] = found
        return
    is_known_first = (known.kind != Kind.NORMAL, -known.p_value) >= (found.kind != Kind.NORMAL, -found.p_value)
    outcomes[row] = replace(known if is_known_first else found, p_value=min(known.p_value, found.p_value))
