"""The verdicts of a batch, as columns; the evidence of a single one is put together when it is asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.paths import BatchPaths, Past, Path, past_of
from deeplog_grpc.detection.shapes import Shape
from deeplog_grpc.detection.stand_ins import stood_for
from deeplog_grpc.detection.states import Transition, WindowState, hidden_rows, surprise
from deeplog_grpc.detection.values import ValueOutcome, keep_smaller
from deeplog_grpc.detection.verdicts import NO_KEY, AbnormalValue, Candidate, EndReason, Kind, Verdict
from deeplog_grpc.models import BEGIN_KEY, ELAPSED, UNKNOWN_KEY, UNSEEN, Behaviour, StandIn
from deeplog_grpc.models.vocabulary import BEGIN, END
from deeplog_grpc.parsing import Parameter, ParsedBatch
from deeplog_grpc.workflow import Concern, Diagnoser, Diagnosis, OddValue

UsualElapsed = Callable[[tuple[int, int], int], tuple[float, float]]
"""The two log keys before, and a log key -> elapsed seconds between which nobody need look more closely."""

SlotNow = Callable[[int, int], int]
"""A log key and a slot of its template in training -> the slot of its template by now that holds the same."""

END_TEMPLATE = "<end of session>"
SHOWN_CANDIDATES = 3
"""Expected log keys named in a reason: the most probable ones tell the story, the rest is in ``candidates``."""


_CONCERNS = {
    Kind.ELAPSED_TIME: Concern.ELAPSED,
    Kind.PARAMETER_VALUE: Concern.VALUE,
    Kind.NEW_VALUE: Concern.VALUE,
}
"""What a kind of an entry objects to, where it is not the path."""

NO_STAND_INS: Mapping[int, StandIn] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """A session that ended while a batch was scored."""

    index: int
    """The entry at whose time it was seen."""
    session: str
    reason: EndReason
    state: WindowState
    """Where the session stood."""
    step: Transition | None
    """The step to its end; None where the end cannot be judged."""
    shape: Shape | None
    """The session as a whole; None where its begin was not seen."""
    unseen: Mapping[int, int]
    """Log key -> times, of those that have no unit and were told apart."""
    path: Path
    """Its entries, as far as they are remembered."""
    ended_ns: int
    """Event time at which its time-out passed; 0 where something else ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictBatch:
    """Verdicts of the entries of a batch, in order, as columns of length n.

    Ask for evidence (:meth:`verdict`) before the detector scores its next batch: a template may grow more general
    with it.
    """

    keys: NDArray[np.int32]
    """Log keys. Shape [n]."""
    kinds: NDArray[np.int8]
    """:class:`Kind` numbers. Shape [n]."""
    ranks: NDArray[np.int32]
    """1 = most probable; 0 = not judged, or an unseen key. Shape [n]."""
    probabilities: NDArray[np.float32]
    """Of the log key given its window, in [0, 1]. Shape [n]."""
    scores: NDArray[np.float32]
    """Surprise in [0, 1]. Shape [n]."""
    sessions: list[str]
    session_ends: tuple[Verdict, ...]
    """One a session that ended and could be judged, in the order of their ends; normal ones are without candidates."""
    stands_for: Mapping[int, int]
    """Row -> the known log key as which its new one was judged; only rows where that is so."""
    _evidence: "_Evidence"
    _steps: Sequence[Transition]
    _outcomes: Mapping[int, ValueOutcome]
    _parsed: ParsedBatch
    _paths: BatchPaths

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(
        cls,
        *,
        parsed: ParsedBatch,
        sessions: list[str],
        steps: Sequence[Transition],
        outcomes: Mapping[int, ValueOutcome],
        ends: Sequence[SessionEnd],
        paths: BatchPaths,
        behaviour: Behaviour,
        model_version: int,
        template: Callable[[int], str],
        stand_ins: Mapping[int, StandIn] = NO_STAND_INS,
        usual_elapsed: UsualElapsed,
        slot_now: SlotNow,
        diagnoser: Diagnoser,
    ) -> "VerdictBatch":
        """Read the columns off judged steps."""
        evidence = _Evidence(
            behaviour=behaviour,
            model_version=model_version,
            template=template,
            stand_ins=stand_ins,
            usual_elapsed=usual_elapsed,
            slot_now=slot_now,
            diagnoser=diagnoser,
        )
        count = len(steps)
        kinds = np.fromiter([step.kind for step in steps], np.int8, count=count)
        scores = np.fromiter([step.score for step in steps], np.float32, count=count)
        for row, outcome in outcomes.items():
            scores[row] = max(scores[row], surprise(outcome.p_value))
            if outcome.value is not None:
                kinds[row] = outcome.kind
        return cls(
            keys=parsed.keys,
            kinds=kinds,
            ranks=np.fromiter([step.rank for step in steps], np.int32, count=count),
            probabilities=np.fromiter([step.probability for step in steps], np.float32, count=count),
            scores=scores,
            sessions=sessions,
            session_ends=tuple(evidence.of_end(end, end.step) for end in ends if end.step is not None),
            stands_for=stood_for(parsed.keys, stand_ins),
            _evidence=evidence,
            _steps=steps,
            _outcomes=outcomes,
            _parsed=parsed,
            _paths=paths,
        )

    def with_outcomes(self, found: Mapping[int, ValueOutcome]) -> "VerdictBatch":
        """The same with what was found later of the values of some rows."""
        kinds, scores, outcomes = self.kinds.copy(), self.scores.copy(), dict(self._outcomes)
        for row, late in found.items():
            keep_smaller(outcomes, row, late)
            scores[row] = max(scores[row], surprise(outcomes[row].p_value))
            if outcomes[row].value is not None:
                kinds[row] = outcomes[row].kind
        return replace(self, kinds=kinds, scores=scores, _outcomes=outcomes)

    def anomalies(self) -> list[int]:
        """Rows that are not normal, in order."""
        rows: list[int] = np.flatnonzero(self.kinds != Kind.NORMAL).tolist()
        return rows

    def verdict(self, index: int) -> Verdict:
        """The verdict of one row with all its evidence."""
        kind, outcome = Kind(self.kinds[index]), self._outcomes.get(index)
        return self._evidence.of_entry(
            index,
            kind,
            int(self.keys[index]),
            self._parsed.parameters(index),
            () if kind is Kind.NORMAL else self._parsed.typed_parameters(index),
            self.sessions[index],
            self._steps[index],
            float(self.scores[index]),
            outcome,
            None if kind is Kind.NORMAL else self._paths.past(index),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """Turns steps between states into what a person or program can read."""

    behaviour: Behaviour
    model_version: int
    template: Callable[[int], str]
    stand_ins: Mapping[int, StandIn]
    usual_elapsed: UsualElapsed
    slot_now: SlotNow
    diagnoser: Diagnoser

    def of_entry(
        self,
        index: int,
        kind: Kind,
        key: int,
        parameters: tuple[str, ...],
        typed_parameters: tuple[Parameter, ...],
        session: str,
        step: Transition,
        score: float,
        outcome: ValueOutcome | None,
        past: Past | None,
    ) -> Verdict:
        candidates = self._candidates(step.state)
        template = self.template(key)
        stand_in = self.stand_ins.get(key)
        value = None if outcome is None else outcome.value
        if value is not None and value.slot != ELAPSED:
            value = replace(value, slot=self.slot_now(key, value.slot))  # it was read by the template of training
        return Verdict(
            index=index,
            kind=kind,
            key=key,
            template=template,
            parameters=parameters,
            score=score,
            rank=step.rank,
            probability=step.probability,
            candidates=candidates,
            window=self._window(step.state),
            session=session,
            session_end=None,
            reason=self._with_stand_in(
                self._reason(step, candidates) if value is None else self._reason_of_value(value), stand_in
            ),
            model_version=self.model_version,
            typed_parameters=typed_parameters,
            stands_for=NO_KEY if stand_in is None else stand_in.key,
            abnormal_value=value,
            vector=None if outcome is None else outcome.vector,
            diagnosis=None if past is None else self._diagnosis(past, _CONCERNS.get(kind, Concern.PATH), value),
        )

    def of_end(self, end: SessionEnd, step: Transition) -> Verdict:
        # Most ends are normal, and nobody asks what else there could have been: that would be half the cost of a batch.
        shape = end.shape
        candidates: tuple[Candidate, ...] = ()
        counts: dict[int, int] = {}
        kind = Kind(step.kind or Kind.NORMAL)
        if shape is not None and shape.kind is not Kind.NORMAL and self._names(shape, step):
            kind, reason, counts = shape.kind, self._reason_of_shape(shape), self._counts(shape, end.unseen)
        else:
            candidates = () if kind is Kind.NORMAL else self._candidates(step.state)
            reason = self._reason(step, candidates)
            if kind is Kind.INCOMPLETE_SESSION and end.reason is EndReason.TIMEOUT:
                reason += self._overdue(end.state, candidates)
        return Verdict(
            index=end.index,
            kind=kind,
            key=BEGIN_KEY,
            template=END_TEMPLATE,
            parameters=(),
            score=step.score if shape is None else max(step.score, surprise(shape.p_value)),
            rank=step.rank,
            probability=step.probability,
            candidates=candidates,
            window=self._window(end.state),
            session=end.session,
            session_end=end.reason,
            reason=reason,
            model_version=self.model_version,
            counts=counts,
            ended_ns=end.ended_ns,
            diagnosis=None if kind is Kind.NORMAL else self._diagnosis(past_of(end.path), Concern.END, None),
        )

    def _diagnosis(self, past: Past, concern: Concern, value: AbnormalValue | None) -> Diagnosis | None:
        """Where a session left its workflow."""
        return self.diagnoser.diagnose(
            known_keys(past.keys, self.stand_ins),
            past.times_ns,
            begins=past.begins,
            concern=concern,
            value=None
            if value is None
            else OddValue(slot=value.slot, observed=value.observed, low=value.low, high=value.high),
        )

    def _counts(self, shape: Shape, unseen: Mapping[int, int]) -> dict[int, int]:
        """Log key -> times, ascending; those that could not be told apart as :data:`UNKNOWN_KEY`."""
        key_of = self.behaviour.key_model.vocabulary.key_of
        counts = {key_of(unit): times for unit, times in shape.counts.items() if unit != UNSEEN}
        counts.update(unseen)
        if more := shape.counts.get(UNSEEN, 0) - sum(unseen.values()):
            counts[UNKNOWN_KEY] = more
        return dict(sorted(counts.items()))

    def _names(self, shape: Shape, step: Transition) -> bool:
        """Whether the session as a whole is more surprising than where it stopped, which says more when both are."""
        least = self.behaviour.calibration.resolution
        return step.kind is Kind.NORMAL or max(shape.p_value, least) < max(step.p_value, least)

    def _candidates(self, state: WindowState) -> tuple[Candidate, ...]:
        """The g most probable log keys, and the end of the session where it is as probable as one of them."""
        if state.hidden is None:
            return ()
        if state.expected is None:  # sessions that leave their way leave it at the same places again and again
            state.expected = self._expected(state.hidden)
        return tuple(self._candidate(unit, probability) for unit, probability in state.expected)

    def _expected(self, hidden: bytes) -> tuple[tuple[int, float], ...]:
        (prediction,) = self.behaviour.key_model.predictions(hidden_rows([hidden]))
        units = prediction.best(self.behaviour.key_model.config.shown)
        if self.behaviour.key_model.config.begin_end and (rank := prediction.rank(END)) <= len(units):
            units.insert(rank - 1, END)
        return tuple((unit, float(np.exp(prediction.log_probabilities[unit]))) for unit in units)

    def _candidate(self, unit: int, probability: float) -> Candidate:
        key = self.behaviour.key_model.vocabulary.key_of(unit)
        return Candidate(key=key, template=END_TEMPLATE if unit == END else self.template(key), probability=probability)

    def _window(self, state: WindowState) -> tuple[int, ...]:
        return tuple(self.behaviour.key_model.vocabulary.key_of(unit) for unit in state.window)

    def _reason(self, step: Transition, candidates: Sequence[Candidate]) -> str:
        """One sentence that says why; empty when normal."""
        expected = " or ".join(f"'{c.template}' ({c.probability:.1%})" for c in candidates[:SHOWN_CANDIDATES])
        chance = f"probability {step.probability:.2g}"
        match step.kind:
            case Kind.UNSEEN_KEY:
                return "this log key was not seen in training, or too seldom to be normal"
            case Kind.EXECUTION_PATH:
                return f"expected {expected}; this log key ranks {step.rank} with {chance}"
            case Kind.UNSEEN_TRANSITION:
                before = step.state.window[-1]
                where = f"after {self._name(before)}" if before != BEGIN else "at the begin of a session"
                return f"this log key never came {where} in training" + (f"; expected {expected}" if expected else "")
            case Kind.INCOMPLETE_SESSION:
                return f"the session ended where {expected} was expected; an end here has {chance}"
            case _:
                return ""

    def _reason_of_value(self, value: AbnormalValue) -> str:
        """What fits least, and what was expected."""
        if value.text:
            few = value.known_count <= len(value.known)
            known = f"{', '.join(map(repr, value.known))}{'' if few else ', ...'}"
            return f"{value.text!r} never came at <*> {value.slot + 1} in training, which had {known}"
        interval = f"{_number(max(value.low, 0.0) if value.slot == ELAPSED else value.low)} to {_number(value.high)}"
        usual = f"where {interval} is normal and {_number(value.predicted)} was expected"
        observed = f"{_number(value.observed)}{f' {value.unit}' if value.unit else ''}"
        if value.slot != ELAPSED:
            return f"{observed} at <*> {value.slot + 1} {usual}"
        after = f" after '{self.template(value.after[-1])}'" if value.after else " after the session's previous entry"
        return f"{observed}{after} {usual}"

    def _overdue(self, state: WindowState, candidates: Sequence[Candidate]) -> str:
        """How soon the most probable log key comes as a rule, when a session was silent for too long."""
        expected = next((candidate for candidate in candidates if candidate.key != BEGIN_KEY), None)
        if expected is None:
            return ""
        _, high_s = self.usual_elapsed(state.before, expected.key)
        return f"; '{expected.template}' comes within {_number(high_s)} s as a rule" if high_s < inf else ""

    def _with_stand_in(self, reason: str, stand_in: StandIn | None) -> str:
        """A reason that also says as what a new log key was judged; that is told of a normal entry too."""
        if stand_in is None:
            return reason
        note = f"new log key, taken for '{self.template(stand_in.key)}' (similarity {stand_in.similarity:.2f})"
        return f"{reason}; {note}" if reason else note

    def _reason_of_shape(self, shape: Shape) -> str:
        """What differs from the sessions of training."""
        profile = self.behaviour.profile
        if shape.kind is Kind.SESSION_LENGTH:
            return f"{shape.length} entries where training sessions have {_range(profile.shortest, profile.longest)}"
        gap = profile.difference(shape.counts)
        times = _range(gap.least, gap.most)
        found = "once" if gap.count == 1 else f"{gap.count} times"
        return f"{found} {self._name(gap.unit)} where training sessions like it have {times}"

    def _name(self, unit: int) -> str:
        if unit == UNSEEN:
            return "a log key that training did not have"
        return f"'{self.template(self.behaviour.key_model.vocabulary.key_of(unit))}'"


def _number(number: float) -> str:
    """Four digits, or all before the point: ``0.3215``, ``12.3``, ``67,108,864``.

    Examples
    --------
    >>> _number(0.32145), _number(12.3), _number(67108864.0)
    ('0.3215', '12.3', '67,108,864')
    """
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{float(f'{number:.4g}'):g}"


def known_keys(keys: Sequence[int], stand_ins: Mapping[int, StandIn]) -> Sequence[int]:
    """Log keys with each new one as the known one that it is judged as."""
    if not stand_ins:
        return keys
    return [stand_ins[key].key if key in stand_ins else key for key in keys]


def _range(least: int, most: int) -> str:
    """``3``, or ``3-5``."""
    return str(least) if least == most else f"{least}-{most}"
