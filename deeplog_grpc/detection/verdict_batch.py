"""The verdicts of a batch, as columns; the evidence of a single one is put together when it is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.shapes import Shape
from deeplog_grpc.detection.states import Transition, WindowState, surprise
from deeplog_grpc.detection.verdicts import Candidate, EndReason, Kind, Verdict
from deeplog_grpc.models import BEGIN_KEY, UNSEEN, Behaviour, Prediction
from deeplog_grpc.models.vocabulary import BEGIN, END
from deeplog_grpc.parsing import Parameter, ParsedBatch

END_TEMPLATE = "<end of session>"
SHOWN_CANDIDATES = 3
"""Expected log keys named in a reason: the most probable ones tell the story, the rest is in ``candidates``."""


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
    _evidence: "_Evidence"
    _steps: Sequence[Transition]
    _parsed: ParsedBatch

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(
        cls,
        *,
        parsed: ParsedBatch,
        sessions: list[str],
        steps: Sequence[Transition],
        ends: Sequence[SessionEnd],
        behaviour: Behaviour,
        model_version: int,
        template: Callable[[int], str],
    ) -> "VerdictBatch":
        """Read the columns off judged steps."""
        evidence = _Evidence(behaviour=behaviour, model_version=model_version, template=template)
        count = len(steps)
        return cls(
            keys=parsed.keys,
            kinds=np.fromiter([step.kind for step in steps], np.int8, count=count),
            ranks=np.fromiter([step.rank for step in steps], np.int32, count=count),
            probabilities=np.fromiter([step.probability for step in steps], np.float32, count=count),
            scores=np.fromiter([step.score for step in steps], np.float32, count=count),
            sessions=sessions,
            session_ends=tuple(evidence.of_end(end, end.step) for end in ends if end.step is not None),
            _evidence=evidence,
            _steps=steps,
            _parsed=parsed,
        )

    def anomalies(self) -> list[int]:
        """Rows that are not normal, in order."""
        rows: list[int] = np.flatnonzero(self.kinds != Kind.NORMAL).tolist()
        return rows

    def verdict(self, index: int) -> Verdict:
        """The verdict of one row with all its evidence."""
        step = self._steps[index]
        return self._evidence.of_entry(
            index,
            int(self.keys[index]),
            self._parsed.parameters(index),
            () if step.kind is Kind.NORMAL else self._parsed.typed_parameters(index),
            self.sessions[index],
            step,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """Turns steps between states into what a person or program can read."""

    behaviour: Behaviour
    model_version: int
    template: Callable[[int], str]

    def of_entry(
        self,
        index: int,
        key: int,
        parameters: tuple[str, ...],
        typed_parameters: tuple[Parameter, ...],
        session: str,
        step: Transition,
    ) -> Verdict:
        candidates = self._candidates(step.state.prediction)
        template = self.template(key)
        return Verdict(
            index=index,
            kind=Kind(step.kind or Kind.NORMAL),
            key=key,
            template=template,
            parameters=parameters,
            score=step.score,
            rank=step.rank,
            probability=step.probability,
            candidates=candidates,
            window=self._window(step.state),
            session=session,
            session_end=None,
            reason=self._reason(step, candidates),
            model_version=self.model_version,
            typed_parameters=typed_parameters,
        )

    def of_end(self, end: SessionEnd, step: Transition) -> Verdict:
        # Most ends are normal, and nobody asks what else there could have been: that would be half the cost of a batch.
        shape = end.shape
        candidates: tuple[Candidate, ...] = ()
        kind = Kind(step.kind or Kind.NORMAL)
        if shape is not None and shape.kind is not Kind.NORMAL and self._names(shape, step):
            kind, reason = shape.kind, self._reason_of_shape(shape)
        else:
            candidates = () if kind is Kind.NORMAL else self._candidates(step.state.prediction)
            reason = self._reason(step, candidates)
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
            ended_ns=end.ended_ns,
        )

    def _names(self, shape: Shape, step: Transition) -> bool:
        """Whether the session as a whole is more surprising than where it stopped, which says more when both are."""
        least = self.behaviour.calibration.resolution
        return step.kind is Kind.NORMAL or max(shape.p_value, least) < max(step.p_value, least)

    def _candidates(self, prediction: Prediction | None) -> tuple[Candidate, ...]:
        """The g most probable log keys, and the end of the session where it is as probable as one of them."""
        if prediction is None:
            return ()
        units = prediction.best(self.behaviour.key_model.config.shown)
        if self.behaviour.key_model.config.begin_end and prediction.ranks[END] <= len(units):
            units.insert(int(prediction.ranks[END]) - 1, END)
        return tuple(self._candidate(unit, prediction) for unit in units)

    def _candidate(self, unit: int, prediction: Prediction) -> Candidate:
        key = self.behaviour.key_model.vocabulary.key_of(unit)
        return Candidate(
            key=key,
            template=END_TEMPLATE if unit == END else self.template(key),
            probability=float(np.exp(prediction.log_probabilities[unit])),
        )

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

    def _reason_of_shape(self, shape: Shape) -> str:
        """What differs from the sessions of training."""
        profile = self.behaviour.profile
        if shape.kind is Kind.SESSION_LENGTH:
            return f"{shape.length} entries where training sessions have {_range(profile.shortest, profile.longest)}"
        gap = profile.difference(shape.counts)
        times = _range(gap.least, gap.most)
        return f"{gap.count} times {self._name(gap.unit)} where training sessions like it have {times}"

    def _name(self, unit: int) -> str:
        if unit == UNSEEN:
            return "a log key that training did not have"
        return f"'{self.template(self.behaviour.key_model.vocabulary.key_of(unit))}'"


def _range(least: int, most: int) -> str:
    """``3``, or ``3-5``."""
    return str(least) if least == most else f"{least}-{most}"
