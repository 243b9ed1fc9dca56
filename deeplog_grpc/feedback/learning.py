"""One update: a version of the models and lessons in, the next version out, or the reason why there is none.

Rules:

1. Nothing of the old version is changed; the new one shares what is not touched.
2. The new version holds every lesson normal, and every earlier one that the old version holds normal.
3. It flags every confirmed anomaly that the old version flags: these are no lessons, whatever is asked.
4. It flags no more of the known-normal sessions than the old version, but for a stated margin.

Where 2, 3 or 4 cannot be had the update is refused, and says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import ApplicationModel, Judges
from deeplog_grpc.feedback.cases import CountsCase, Lesson, NewValueCase, StepCase, ValueCase
from deeplog_grpc.feedback.config import FeedbackConfig
from deeplog_grpc.feedback.judging import CaseJudge, Judgement, flagged_value
from deeplog_grpc.feedback.known_paths import KnownPaths
from deeplog_grpc.models import (
    BEGIN_KEY,
    END,
    MARGIN,
    UNSEEN,
    Behaviour,
    Check,
    KeyLessons,
    WindowCounts,
    count_windows,
    is_placed,
    learn_keys,
    learn_vector,
    vector_of,
    with_new_keys,
    with_new_units,
    with_session,
    with_steps,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What feedback has said so far."""

    lessons: tuple[Lesson, ...] = ()
    """Learned, distinct, in order."""
    confirmed: tuple[Lesson, ...] = ()
    """Confirmed anomalies, distinct, in order."""

    def with_lessons(self, lessons: Sequence[Lesson], *, limit: int) -> "Knowledge":
        """After these were learned."""
        return replace(self, lessons=tuple(dict.fromkeys((*self.lessons, *lessons)))[-limit:])

    def with_confirmed(self, lessons: Sequence[Lesson]) -> "Knowledge":
        """After these were confirmed."""
        return replace(self, confirmed=tuple(dict.fromkeys((*self.confirmed, *lessons))))


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """What was found of a new version; see the rules above."""

    sessions: int
    """Known-normal sessions, or blocks of streams."""
    flagged_first: float
    """Share of them that was flagged before any update."""
    flagged_before: float
    """Share of them that the old version flags."""
    flagged_after: float
    margin: float
    confirmed: int
    """Confirmed anomalies that the old version flags."""
    confirmed_flagged: int
    """How many of these the new one flags."""
    lessons: int
    """Earlier lessons that the old version holds normal."""
    lessons_kept: int
    """How many of these the new one holds normal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What came of lessons."""

    judges: Judges | None
    """Of the new version; None where there is none."""
    steps: int
    """Gradient steps of the log key model."""
    before: tuple[Judgement, ...]
    """Of the lessons, by the old version."""
    after: tuple[Judgement, ...]
    """By the new one; as before where there is none."""
    check: GateCheck | None
    """None where nothing was to be learned."""
    refusal: str
    """Why there is no new version; empty if there is, or if nothing was to be learned."""


class Learner:
    """Updates the models of one application, one after the other. Synchronous; for one thread at a time.

    Parameters
    ----------
    model : ApplicationModel
        The version in force; before any update, what training made.
    knowledge : Knowledge
        What it has learned since training.
    config : FeedbackConfig
    judges_of : callable
        Makes the judges of a version.
    pause : callable
        Called again and again in the middle of an update: who has something more urgent to do may take the time.
    """

    def __init__(
        self,
        model: ApplicationModel,
        knowledge: Knowledge,
        config: FeedbackConfig,
        judges_of: Callable[[ApplicationModel], Judges],
        *,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self.knowledge = knowledge
        self._config = config
        self._judges_of = judges_of
        self._pause = pause
        self._replayed = _pairs(model.behaviour)
        self._tight = _tight(model.behaviour, self._replayed)
        config_of_keys = model.key_model.config
        self._paths = KnownPaths.of(
            model.behaviour.known.held_out, history=config_of_keys.history, begin_end=config_of_keys.begin_end
        )
        self._flagged: int | None = None
        """Known-normal sessions that the version in force flags; None = not counted yet."""
        self._first = model
        self._flagged_at_first: int | None = None
        """The same of the model that it was made with, before any update."""

    def confirm(self, lessons: Sequence[Lesson]) -> None:
        """Hold confirmed anomalies out of all that is learned from now on."""
        self.knowledge = self.knowledge.with_confirmed(lessons)

    def get_ready(self) -> None:
        """Do ahead what the first update would do: see what the version in force flags."""
        self._count_flagged(self._judge_of(self.model))

    def _count_flagged(self, judge: CaseJudge) -> tuple[int, int]:
        """Known-normal sessions that were flagged before any update, and by the version in force."""
        if self._flagged is None:
            self._flagged = judge.flagged(self._paths)
        if self._flagged_at_first is None:
            is_first = self.model.behaviour is self._first.behaviour
            self._flagged_at_first = self._flagged if is_first else self._judge_of(self._first).flagged(self._paths)
        return self._flagged_at_first, self._flagged

    def learn(self, lessons: Sequence[Lesson], *, version: int) -> Update:
        """Make the next version; it comes into force with :meth:`accept`.

        Parameters
        ----------
        lessons : sequence of Lesson
            What is normal from now on.
        version : int
            Number of the new version. It is the seed too: the same history gives the same version.
        """
        cases = [lesson.case for lesson in lessons]
        old = self._judge_of(self.model)
        before = tuple(old.judge(cases))
        barred = {lesson.case for lesson in self.knowledge.confirmed}
        if any(case in barred for case in cases):
            return _none(before, "it was confirmed as an anomaly: what is confirmed is never learned as normal")
        todo = [
            lesson
            for lesson, judgement in zip(lessons, before, strict=True)
            if not judgement.is_normal or self._frees(lesson)
        ]
        if not todo:
            return _none(before, "")
        try:
            model, steps, lacking = self._learned(old, todo, version)
        except ValueError as error:
            return _none(before, str(error))
        new = self._judge_of(model)
        check, refusal = self._gate(old, new)
        if lacking and not refusal:
            refusal = f"{lacking} cases are not learned after {steps} gradient steps, which would spoil what is known"
        after = tuple(new.judge(cases))
        if not refusal and not all(judgement.is_normal for judgement in after):
            refusal = "the new version would still flag a case that it was to learn"
        return Update(
            judges=None if refusal else new.judges,
            steps=steps,
            before=before,
            after=after,
            check=check,
            refusal=refusal,
        )

    def accept(self, update: Update, lessons: Sequence[Lesson]) -> None:
        """Put a new version into force."""
        if update.judges is None or update.check is None:
            raise ValueError("there is no new version to accept")
        self.model = update.judges.model
        self._flagged = round(update.check.flagged_after * update.check.sessions)
        self.knowledge = self.knowledge.with_lessons(lessons, limit=self._config.max_lessons)

    def put_back(self, model: ApplicationModel, knowledge: Knowledge) -> None:
        """Put another version into force, with what it has learned. Confirmed anomalies stay so."""
        self.model = model
        self._flagged = None
        self.knowledge = replace(knowledge, confirmed=self.knowledge.confirmed)

    def _frees(self, lesson: Lesson) -> bool:
        """Whether a log key that is normal in its places so far is to be normal anywhere."""
        if not (lesson.anywhere and isinstance(lesson.case, StepCase)):
            return False
        unit = self.model.key_model.vocabulary.unit_table().get(lesson.case.key)
        return unit is not None and is_placed(self.model.behaviour.profile, unit)

    def _judge_of(self, model: ApplicationModel) -> CaseJudge:
        self._pause()
        return CaseJudge(self._judges_of(model), pause=self._pause)

    def _learned(self, old: CaseJudge, lessons: Sequence[Lesson], version: int) -> tuple[ApplicationModel, int, int]:
        """The new models, gradient steps, and lessons that they do not make usual."""
        model = self.model
        behaviour, steps, lacking = self._behaviour(old, lessons, version)
        value_model, value_sets = model.value_model, model.value_sets
        for case in (lesson.case for lesson in lessons):
            if isinstance(case, ValueCase):
                vectors = vector_of(value_model, case.key, case.numbers, case.previous)
                rate = behaviour.calibration.value_rate
                value_model = learn_vector(value_model, vectors, rate=rate, flagged=flagged_value(case))
            elif isinstance(case, NewValueCase):
                value_sets = value_sets.with_value(case.key, case.slot, case.text)
        learned = replace(model, version=version, behaviour=behaviour, value_model=value_model, value_sets=value_sets)
        return learned, steps, lacking

    def _behaviour(self, old: CaseJudge, lessons: Sequence[Lesson], version: int) -> tuple[Behaviour, int, int]:
        """Log keys, steps and sessions as a whole."""
        behaviour = self.model.behaviour
        own = [lesson.case for lesson in lessons if isinstance(lesson.case, StepCase)]
        sessions = [lesson.case for lesson in lessons if isinstance(lesson.case, CountsCase)]
        if not own and not sessions:
            return behaviour, 0, 0
        anchors = self._replayed.windows
        fresh = self._with_new_keys(lessons, anchors)
        key_model, profile = fresh.key_model, fresh.profile
        judge = self._judge_of(replace(self.model, behaviour=fresh))
        for session in sessions:
            profile = with_session(profile, judge.counts(session))
        steps = [judge.step(case) for case in own]
        profile = with_steps(profile, [(step.state.window[-1], step.unit) for step in steps])
        confirmed = [lesson.case for lesson in self.knowledge.confirmed if isinstance(lesson.case, StepCase)]
        known = [lesson.case for lesson in self.knowledge.lessons if isinstance(lesson.case, StepCase)]
        still = [case for case, normal in zip(known, old.normal(known), strict=True) if normal]
        learning = learn_keys(
            key_model,
            _key_lessons(judge, own, fresh),
            known=self._tight.joined(_key_lessons(judge, still, fresh, margin=KEPT_MARGIN)),
            anchors=np.concatenate([anchors, _windows(judge, confirmed)]),
            seed=version,
            pause=self._pause,
        )
        return replace(fresh, key_model=learning.model, profile=profile), learning.steps, learning.lacking

    def _with_new_keys(self, lessons: Sequence[Lesson], windows: NDArray[np.int64]) -> Behaviour:
        """Units for the log keys that have none, and where these may come."""
        behaviour = self.model.behaviour
        known = set(behaviour.key_model.vocabulary.keys)
        keys = {
            lesson.case.key: lesson.anywhere or not behaviour.profile.sessions
            for lesson in sorted(lessons, key=lambda lesson: lesson.anywhere)
            if isinstance(lesson.case, StepCase) and lesson.case.key != BEGIN_KEY
        }
        fresh = [key for key in keys if key not in known]
        key_model = with_new_keys(
            behaviour.key_model, fresh, windows, usual_nats=behaviour.calibration.limit(Check.KEY)
        )
        unit_of, profile = key_model.vocabulary.unit_table(), behaviour.profile
        for key in [*fresh, *(key for key, anywhere in keys.items() if key in known and anywhere)]:
            profile = with_new_units(profile, [unit_of[key]], anywhere=keys[key])
        return replace(behaviour, key_model=key_model, profile=profile)

    def _gate(self, old: CaseJudge, new: CaseJudge) -> tuple[GateCheck, str]:
        """What is found of the new version, and why it is refused."""
        sessions = self.model.behaviour.known.held_out
        flagged_at_first, flagged_before = self._count_flagged(old)
        flagged = new.flagged(self._paths) if new.judges.model.behaviour is not self.model.behaviour else flagged_before
        confirmed = [lesson.case for lesson in self.knowledge.confirmed]
        alarms = [case for case, normal in zip(confirmed, old.normal(confirmed), strict=True) if not normal]
        lessons = [lesson.case for lesson in self.knowledge.lessons]
        learned = [case for case, normal in zip(lessons, old.normal(lessons), strict=True) if normal]
        count = max(1, len(sessions))
        check = GateCheck(
            sessions=len(sessions),
            flagged_first=flagged_at_first / count,
            flagged_before=flagged_before / count,
            flagged_after=flagged / count,
            margin=max(self._config.margin, 1 / count),
            confirmed=len(alarms),
            confirmed_flagged=len(alarms) - sum(new.normal(alarms)),
            lessons=len(learned),
            lessons_kept=sum(new.normal(learned)),
        )
        return check, _refusal(check)


TIGHT_NATS = 2.0
"""What is usual by less than this is looked after in each update."""
KEPT_MARGIN = 0.05
"""Nats inside the limit at which what was known is left alone again: updates must not make the model laxer."""
_ROUNDING = 1e-9


def _refusal(check: GateCheck) -> str:
    """Why the gate lets a version not pass; empty if it does."""
    if check.flagged_after > max(check.flagged_before, check.flagged_first + check.margin + _ROUNDING):
        return (
            f"it would flag {check.flagged_after:.2%} of {check.sessions} known-normal sessions instead of "
            f"{check.flagged_before:.2%}; {check.flagged_first + check.margin:.2%} are allowed (feedback.margin)"
        )
    if check.confirmed_flagged < check.confirmed:
        return (
            f"{check.confirmed - check.confirmed_flagged} of {check.confirmed} confirmed anomalies would become normal"
        )
    if check.lessons_kept < check.lessons:
        return f"{check.lessons - check.lessons_kept} of {check.lessons} earlier lessons would be forgotten"
    return ""


def _none(before: tuple[Judgement, ...], refusal: str) -> Update:
    return Update(judges=None, steps=0, before=before, after=before, check=None, refusal=refusal)


def _pairs(behaviour: Behaviour) -> WindowCounts:
    """Distinct windows of the sessions that are replayed, with what follows them."""
    config, vocabulary = behaviour.key_model.config, behaviour.key_model.vocabulary
    sessions = behaviour.known.replayed
    return count_windows(
        (vocabulary.units(session.keys) for session in sessions),
        begins=(session.begins and config.begin_end for session in sessions),
        ends=(session.ends and config.begin_end for session in sessions),
        history=config.history,
    )


def _tight(behaviour: Behaviour, pairs: WindowCounts) -> KeyLessons:
    """The replayed steps that are usual by a little: an update must not lose them."""
    limits = {is_end: behaviour.calibration.limit(Check.END if is_end else Check.KEY) for is_end in (True, False)}
    allowed = np.where(pairs.targets == END, limits[True], limits[False])
    nats = -behaviour.key_model.log_probabilities(pairs.windows, pairs.targets)
    rows = np.flatnonzero((nats < allowed) & (nats > allowed - TIGHT_NATS))
    return KeyLessons(
        windows=pairs.windows[rows],
        units=pairs.targets[rows],
        nats=allowed[rows],
        ranks=np.zeros(len(rows), np.int64),  # places change with every new log key
        margins=np.full(len(rows), KEPT_MARGIN),
    )


def _windows(judge: CaseJudge, cases: Sequence[StepCase]) -> NDArray[np.int64]:
    history = judge.judges.model.key_model.config.history
    return np.array([judge.window(case) for case in cases], np.int64).reshape(-1, history)


def _key_lessons(
    judge: CaseJudge, cases: Sequence[StepCase], behaviour: Behaviour, *, margin: float = MARGIN
) -> KeyLessons:
    """What the log key model has to make usual: the steps that it judges."""
    judged = [(case, step) for case, step in ((case, judge.step(case)) for case in cases) if step.state.judged]
    judged = [(case, step) for case, step in judged if step.unit != UNSEEN]
    limits = {
        unit_is_end: behaviour.calibration.limit(Check.END if unit_is_end else Check.KEY)
        for unit_is_end in (True, False)
    }
    rank = behaviour.key_model.config.rank_limit or 0
    return KeyLessons(
        windows=_windows(judge, [case for case, _ in judged]),
        units=np.array([step.unit for _, step in judged], np.int64),
        nats=np.array([limits[step.unit == END] for _, step in judged], np.float64),
        ranks=np.array([0 if step.unit == END else rank for _, step in judged], np.int64),
        margins=np.full(len(judged), margin),
    )
