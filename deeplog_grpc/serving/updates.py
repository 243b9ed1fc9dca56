"""What becomes of feedback on one application: models, journal and store, step by step. Synchronous, for one thread.

The order of steps makes a kill at any point harmless: a record is in the journal before anything is done about it; its
outcome and the version that it made are written together; only then does the version come into force, and only then
are anomalies given their states. What was accepted and not finished is done at the next start, before anything is
scored; states are given again then.
"""

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from google.protobuf import json_format

from deeplog_grpc.detection import ApplicationModel, Judges
from deeplog_grpc.errors import StateError
from deeplog_grpc.feedback import (
    CaseJudge,
    CountsCase,
    FeedbackConfig,
    Knowledge,
    Learner,
    Lesson,
    StepCase,
    Update,
)
from deeplog_grpc.models import common_units
from deeplog_grpc.parsing import Parser
from deeplog_grpc.serving.feedback_answers import answer, gate_check, outcome_of, states_of
from deeplog_grpc.serving.lineage import Lineage, Meant
from deeplog_grpc.serving.status import log_unexpected
from deeplog_grpc.storage import (
    AnomalyState,
    AnomalyStore,
    Journal,
    NewRecord,
    NewVersion,
    Record,
    StoredAnomaly,
    pack_snapshot,
    unpack_snapshot,
    verdict_id,
)
from deeplog_grpc.v1 import feedback_pb2 as pb

OPEN_LOOKED_AT = 2_000
"""Latest open anomalies that an update looks through for those that it explains."""

MAX_GENERALISED = 20
"""Anomalies of one feedback whose groups are looked at."""

FEW_ALIKE = 2
"""Other open sessions with the same counts that a click on one may speak for. One normal session among many that nobody
called normal says more of the one than of the many."""

LAST_RECORDS = 20
"""Records whose states are given again at a start: a kill may have come between the two databases, once."""

SHOWN_CASES = 100
SHOWN_EXPLAINED = 1_000

_log = structlog.get_logger("deeplog_grpc.serving")


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a record."""

    response: pb.FeedbackResponse
    judges: Judges | None
    """Of the version that has to come into force; None = none."""


class Updater:
    """Updates the models of one application.

    Parameters
    ----------
    base : ApplicationModel
        What the bundle holds.
    checksum : str
        Of the bundle.
    journal : Journal
    store : AnomalyStore
    config : FeedbackConfig
    judges_of : callable
        Makes the judges of a version.
    pause : callable
        Called again and again in the middle of an update: who has something more urgent to do may take the time.
    """

    def __init__(
        self,
        base: ApplicationModel,
        checksum: str,
        *,
        journal: Journal,
        store: AnomalyStore,
        config: FeedbackConfig,
        judges_of: Callable[[ApplicationModel], Judges],
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self.application = base.application
        self.checksum = checksum
        self._journal = journal
        self._store = store
        self._config = config
        self._new_judges_of = judges_of
        self._pause = pause
        self._in_force: Judges | None = None
        """Those by which is scored, if that has begun."""
        self._prepare: Callable[[ApplicationModel], None] = lambda model: None
        self._read: dict[int, Lesson | None] = {}
        """What open anomalies teach, by number: their evidence stays as it is."""
        self._started_s = 0.0
        parser = journal.parser(self.application, checksum)
        if parser is not None:
            base = replace(base, parser=Parser.from_state(parser))
        self._base = base
        self.lineage = Lineage(base, checksum, journal, max_lessons=config.max_lessons)
        self._learner = Learner(base, Knowledge(), config, self._judges_of, pause=pause)
        self._learner.confirm(self.lineage.confirmed())
        before = journal.current(self.application)
        if before is None or before.base != checksum:
            self._publish_base(before.version if before is not None else 0)
        else:
            self._restore(before.version)
        self._carry_over()
        self._finish_pending()
        self._learner.get_ready()

    @property
    def model(self) -> ApplicationModel:
        """The version in force."""
        return self._learner.model

    @property
    def history(self) -> int:
        """Log keys in a window."""
        return self.model.key_model.config.history

    def scores_by(self, judges: Judges, prepare: Callable[[ApplicationModel], None] = lambda model: None) -> None:
        """Note by which judges is scored: what they were asked so far, those of the next version are asked ahead.

        Parameters
        ----------
        prepare : callable
            Makes ready to judge by a version elsewhere too.
        """
        self._in_force, self._prepare = judges, prepare

    def save_parser(self, state: bytes) -> None:
        """Keep the parser's state, as JSON, so that log keys mean the same after a restart."""
        self._journal.save_parser(self.application, self.checksum, state)

    def apply(self, record: Record) -> Applied:
        """Do what a record of the journal asks for."""
        self._started_s = time.perf_counter()
        if record.kind == "rollback":
            return self._roll_back(record)
        meant = self.lineage.meant_by(record)
        if record.content["lessons"] and not meant.lessons:
            return self._refused(record, (), "this bundle has none of its log keys, which are those of an earlier one")
        return self._confirm(record, meant) if record.content["label"] == "confirmed" else self._learn(record, meant)

    def _confirm(self, record: Record, meant: Meant) -> Applied:
        judge = CaseJudge(self._judges_of(self.model), pause=self._pause)
        said = tuple(judge.judge([lesson.case for lesson in meant.lessons]))
        normal = sum(judgement.is_normal for judgement in said)
        message = "noted: it is held out of all that is learned from now on"
        if normal:
            message += (
                f"; the version in force holds {normal} of {len(meant.lessons)} cases normal all the same, since it "
                "learned them: 'deeplog-grpc models' shows what to roll back"
            )
        unchanged = Update(judges=None, steps=0, before=said, after=said, check=None, refusal="")
        response = self._answer(record, pb.FEEDBACK_OUTCOME_RECORDED, meant.lessons, message, unchanged)
        states = dict.fromkeys(meant.numbers, AnomalyState.CONFIRMED)
        self._journal.finish(record.sequence, outcome_of(response, states), None)
        self._learner.confirm(meant.lessons)
        self._give_states(states, record.feedback_id)
        return Applied(response=response, judges=None)

    def _learn(self, record: Record, meant: Meant) -> Applied:
        named = meant
        meant, refusal = self._generalised(named)
        if refusal:
            return self._refused(record, meant.lessons, refusal)
        version = self.model.version + 1
        update = self._learner.learn(meant.lessons, version=version)
        if update.refusal:
            return self._refused(record, meant.lessons, update.refusal, update)
        judges = update.judges
        explained = self._explained(judges, set(meant.numbers)) if judges is not None else []
        explained = [*meant.numbers[len(named.numbers) :], *explained]
        response = self._learned_response(record, meant, update, explained)
        states = dict.fromkeys(explained, AnomalyState.EXPLAINED)
        states.update(dict.fromkeys(named.numbers, AnomalyState.FALSE_POSITIVE))
        new = None if judges is None else self._new_version(record, meant.lessons, update, judges.model)
        self._journal.finish(record.sequence, outcome_of(response, states), new)
        if judges is not None:
            self._warm(judges)
        if new is not None:
            self._learner.accept(update, meant.lessons)
        self._give_states(states, record.feedback_id)
        return Applied(response=response, judges=judges)

    def _generalised(self, meant: Meant) -> tuple[Meant, str]:
        """What is meant with the open anomalies that it speaks for; or why it cannot speak."""
        numbers, lessons = dict.fromkeys(meant.numbers), dict.fromkeys(meant.lessons)
        barred = {lesson.case for lesson in self._learner.knowledge.confirmed}
        for number in meant.numbers[:MAX_GENERALISED]:
            named = self._store.get(number)
            if named is None or any(lesson.anywhere for lesson in meant.lessons):  # a group is all of it already
                continue
            alike = self._alike(named, numbers.keys())
            own = self.lineage.lesson(named)
            case = None if own is None else own.case
            sessions = {other.session for other in alike} - {named.session}
            if isinstance(case, CountsCase) and len(sessions) > FEW_ALIKE:
                return meant, (
                    f"{len(sessions)} other open sessions have the very same counts, and a click on one cannot tell "
                    f"whether they were normal too: give feedback on group {named.group_id}, or confirm those that "
                    "were not"
                )
            if isinstance(case, StepCase):
                for other in alike:
                    lesson = self.lineage.lesson(other)
                    if lesson is not None and lesson.case not in barred:
                        numbers[other.number] = None
                        lessons[lesson] = None
        return Meant(numbers=tuple(numbers), lessons=tuple(lessons)), ""

    def _alike(self, named: StoredAnomaly, without: Collection[int]) -> list[StoredAnomaly]:
        """Other open anomalies of the group of one."""
        return [
            other
            for other in self._store.of_group(named.group_id, limit=self._config.max_cases)
            if other.state is AnomalyState.OPEN and other.number not in without
        ]

    def _explained(self, judges: Judges, named: set[int]) -> list[int]:
        """Open anomalies, other than those named, that a version holds normal."""
        found = self._store.open_of(self.application, limit=OPEN_LOOKED_AT)
        open_numbers = {anomaly.number for anomaly in found}
        waiting = [
            (anomaly.number, lesson.case)
            for anomaly in found
            if anomaly.number not in named and (lesson := self._lesson_read(anomaly)) is not None
        ]
        self._read = {number: lesson for number, lesson in self._read.items() if number in open_numbers}
        distinct = list(dict.fromkeys(case for _, case in waiting))
        is_normal = dict(zip(distinct, CaseJudge(judges, pause=self._pause).normal(distinct), strict=True))
        return [number for number, case in waiting if is_normal[case]]

    def _lesson_read(self, anomaly: StoredAnomaly) -> Lesson | None:
        """What an open anomaly teaches, read once."""
        if anomaly.number not in self._read:
            self._pause()
            self._read[anomaly.number] = self.lineage.lesson(anomaly)
        return self._read[anomaly.number]

    def _refused(
        self, record: Record, lessons: Sequence[Lesson], refusal: str, update: Update | None = None
    ) -> Applied:
        message = f"not learned, version {self.model.version} stays: {refusal}"
        response = self._answer(record, pb.FEEDBACK_OUTCOME_REFUSED, lessons, message, update)
        self._journal.finish(record.sequence, outcome_of(response, {}), None)
        return Applied(response=response, judges=None)

    def _roll_back(self, record: Record) -> Applied:
        wanted, version = int(record.content["version"]), self.model.version + 1
        try:
            model = replace(self._load(wanted), version=version)
        except StateError as error:
            return self._refused(record, (), error.message)
        message = f"version {version} has the content of version {wanted}"
        response = self._answer(record, pb.FEEDBACK_OUTCOME_LEARNED, (), message)
        response.model_version = version
        new = NewVersion(
            application=self.application,
            version=version,
            parent=wanted,
            cause="rollback",
            base=self.checksum,
            details={"lessons": []},
            snapshot=pack_snapshot(model),
        )
        self._journal.finish(record.sequence, outcome_of(response, {}), new)
        self._learner.put_back(model, self.lineage.knowledge_of(version))
        judges = self._judges_of(model)
        self._warm(judges)
        return Applied(response=response, judges=judges)

    def _judges_of(self, model: ApplicationModel) -> Judges:
        judges = self._new_judges_of(model)
        if self._in_force is not None:
            judges.graph.borrow(self._in_force.graph)
        return judges

    def _warm(self, judges: Judges) -> None:
        """Make a version ready to score by."""
        if (old := self._in_force) is not None:
            judges.graph.borrow(old.graph)
            units = common_units(old.model.key_model.vocabulary, judges.model.key_model.vocabulary)
            judges.graph.warm(old.graph, units=units, pause=self._pause)
        self._in_force = judges
        self._prepare(judges.model)

    def _new_version(
        self, record: Record, lessons: Sequence[Lesson], update: Update, model: ApplicationModel
    ) -> NewVersion:
        check = json_format.MessageToDict(gate_check(update), preserving_proto_field_name=True)
        return NewVersion(
            application=self.application,
            version=model.version,
            parent=self.model.version,
            cause="adapt" if record.kind == "adapt" else "feedback",
            base=self.checksum,
            details={"lessons": [lesson.to_json() for lesson in lessons], "steps": update.steps, "check": check},
            snapshot=pack_snapshot(model),
        )

    def _answer(
        self,
        record: Record,
        outcome: pb.FeedbackOutcome,
        lessons: Sequence[Lesson],
        message: str,
        update: Update | None = None,
    ) -> pb.FeedbackResponse:
        response = answer(record, outcome, lessons, message, version=self.model.version, update=update)
        response.update_s = time.perf_counter() - self._started_s
        return response

    def _learned_response(
        self, record: Record, meant: Meant, update: Update, explained: Sequence[int]
    ) -> pb.FeedbackResponse:
        if update.judges is None:
            message = f"version {self.model.version} holds it normal already: earlier feedback explained it"
            response = self._answer(record, pb.FEEDBACK_OUTCOME_NOTHING_TO_LEARN, meant.lessons, message, update)
        else:
            others = len(explained)
            message = f"learned in version {update.judges.model.version}"
            message += f": {others} other open alarm{'' if others == 1 else 's'} explained" if others else ""
            response = self._answer(record, pb.FEEDBACK_OUTCOME_LEARNED, meant.lessons, message, update)
            response.model_version = update.judges.model.version
        response.explained = len(explained)
        response.explained_verdict_ids.extend(verdict_id(number) for number in explained[:SHOWN_EXPLAINED])
        return response

    def _give_states(self, states: Mapping[int, AnomalyState], feedback_id: str) -> None:
        for state in set(states.values()):
            self._store.set_state([number for number, own in states.items() if own is state], state, feedback_id)

    def _publish_base(self, last: int) -> None:
        version = max(last + 1, self._base.version)
        self._journal.publish(
            NewVersion(
                application=self.application,
                version=version,
                parent=0,
                cause="training",
                base=self.checksum,
                details={"lessons": []},
                snapshot=None,
            )
        )
        self._learner.put_back(replace(self._base, version=version), Knowledge())

    def _restore(self, version: int) -> None:
        self._learner.put_back(self._load(version), self.lineage.knowledge_of(version))

    def _load(self, version: int) -> ApplicationModel:
        """The models of a version: its snapshot, or the bundle and the lessons since, learned again."""
        known = {found.version: found for found in self._journal.versions(self.application)}
        if known[version].base != self.checksum:
            raise StateError(f"version {version} stands on another bundle than the one that is served", field="version")
        if not known[version].sha256:
            return replace(self._base, version=version)
        try:
            return unpack_snapshot(self._journal.snapshot(self.application, version), self._base, version=version)
        except StateError as error:
            _log.warning("a snapshot cannot be used: the version is made again", version=version, error=str(error))
        return self._made_again(version)

    def _made_again(self, version: int) -> ApplicationModel:
        """A version from the bundle, by learning all its lessons again as they were learned."""
        learner = Learner(self._base, Knowledge(), self._config, self._judges_of)
        for found, lessons in self.lineage.line(version):
            if lessons:
                learner.confirm(self.lineage.confirmed(found.sequence))
                update = learner.learn(lessons, version=found.version)
                if update.judges is None:
                    message = f"version {found.version} cannot be made again from bundle and journal: {update.refusal}"
                    raise StateError(message, field="version")
                learner.accept(update, lessons)
        return replace(learner.model, version=version)

    def _carry_over(self) -> None:
        """Learn again, on a new bundle, what feedback had taught on those before.

        Asked at every start: a kill may have come between the bundle's version and this.
        """
        name = f"carried over to version {self.lineage.first_version()}"
        if self._journal.find(self.application, name, kind="feedback", digest=self.checksum) is not None:
            return
        learned = self.lineage.of_other_bundles()
        barred = {lesson.case for lesson in self._learner.knowledge.confirmed}
        lessons = dict.fromkeys(moved for _, moved in learned if moved is not None and moved.case not in barred)
        if learned:
            lost = sum(moved is None for _, moved in learned)
            _log.warning("a new bundle: lessons of those before are learned again", lessons=len(lessons), lost=lost)
        if lessons:
            self._journal.accept(
                NewRecord(
                    application=self.application,
                    feedback_id=name,
                    kind="feedback",
                    actor="deeplog-grpc",
                    note="lessons of the bundles before",
                    digest=self.checksum,
                    content={
                        "label": "false_positive",
                        "base": self.checksum,
                        **Meant(numbers=(), lessons=tuple(lessons)).to_json(),
                    },
                )
            )

    def _finish_pending(self) -> None:
        """Do what was accepted before the process ended, and give states that may be missing."""
        for record in self._journal.records(self.application)[-LAST_RECORDS:]:
            if record.outcome is not None:
                self._give_states(states_of(record.outcome), record.feedback_id)
        for record in self._journal.pending(self.application):
            try:
                applied = self.apply(record)
            except sqlite3.Error:
                raise
            except Exception as error:  # what cannot be done must not stop this start and every one after it
                log_unexpected(error)
                applied = self._refused(record, (), "an error inside the server, which logged it")
            _log.info(
                "feedback of before the restart", feedback_id=record.feedback_id, message=applied.response.message
            )
