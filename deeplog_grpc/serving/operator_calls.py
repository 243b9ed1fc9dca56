"""The methods for operators: feedback, stored anomalies, model versions, drift. They check, look up and convert."""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.errors import InputError
from deeplog_grpc.feedback import CountsCase, Lesson, NewValueCase, StepCase, ValueCase
from deeplog_grpc.models import BEGIN_KEY, UNKNOWN_KEY, ValueModel, vector_of
from deeplog_grpc.serving.learning import Found, Learning, Order
from deeplog_grpc.serving.state import ServerState
from deeplog_grpc.serving.updates import Meant, evidence_of
from deeplog_grpc.storage import (
    AnomalyFilter,
    AnomalyGroup,
    AnomalyState,
    Record,
    StoredAnomaly,
    Version,
    number_of,
    verdict_id,
)
from deeplog_grpc.v1 import anomaly_pb2, feedback_pb2, model_pb2, verdict_pb2

MAX_PAGE = 1_000
USUAL_PAGE = 100
MAX_NAME_BYTES = 256
MAX_NOTE_BYTES = 4_096
WATCH_S = 0.1
"""Seconds between two looks for new anomalies; a look is one comparison of numbers."""

BEFORE_ALL = number_of("1-0")
"""The position before every anomaly."""

CAUSES = {
    "training": model_pb2.VERSION_CAUSE_TRAINING,
    "feedback": model_pb2.VERSION_CAUSE_FEEDBACK,
    "adapt": model_pb2.VERSION_CAUSE_ADAPT,
    "rollback": model_pb2.VERSION_CAUSE_ROLLBACK,
}
STATES = {
    AnomalyState.OPEN: anomaly_pb2.ANOMALY_STATE_OPEN,
    AnomalyState.FALSE_POSITIVE: anomaly_pb2.ANOMALY_STATE_FALSE_POSITIVE,
    AnomalyState.CONFIRMED: anomaly_pb2.ANOMALY_STATE_CONFIRMED,
    AnomalyState.EXPLAINED: anomaly_pb2.ANOMALY_STATE_EXPLAINED,
}
LABELS = {
    feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE: "false_positive",
    feedback_pb2.FEEDBACK_LABEL_CONFIRMED: "confirmed",
}

Request = TypeVar("Request", bound=Message)


class OperatorCalls:
    """Answers the operators' methods.

    Parameters
    ----------
    applications : sequence of str
        Those that are served.
    state : ServerState
    learning : Learning
    """

    def __init__(self, applications: Sequence[str], state: ServerState, learning: Learning) -> None:
        self._applications = applications
        self._learning = learning
        self._journal = state.journal
        self._store = state.anomalies
        self._recorder = state.recorder
        self._config = state.feedback
        self._updaters = state.updaters
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all watches."""
        self._stopping.set()

    async def feedback(self, raw: bytes) -> feedback_pb2.FeedbackResponse:
        """``Feedback``."""
        request = _read(feedback_pb2.FeedbackRequest, raw)
        if request.label not in LABELS:
            raise InputError("must be FALSE_POSITIVE or CONFIRMED", field="label")
        if request.WhichOneof("target") is None:
            raise InputError("must name what is meant: verdict_id, session, group_id, step or vector", field="target")
        application = await self._learning.in_thread(lambda: self._application_of(request))
        order = _order(request, application, "feedback")
        label = LABELS[request.label]
        return await self._learning.take(order, lambda: self._found(label, self._meant(request, application)))

    async def adapt(self, raw: bytes) -> feedback_pb2.AdaptResponse:
        """``Adapt``."""
        request = _read(feedback_pb2.AdaptRequest, raw)
        if 0 < request.to_unix_nano <= request.from_unix_nano:
            raise InputError("must be later than from_unix_nano", field="to_unix_nano")
        application = self._application(request.application)
        order = _order(request, application, "adapt")
        result = await self._learning.take(
            order, lambda: self._found("false_positive", self._in_range(request, application))
        )
        return feedback_pb2.AdaptResponse(result=result)

    async def list_anomalies(self, raw: bytes) -> anomaly_pb2.ListAnomaliesResponse:
        """``ListAnomalies``."""
        request = _read(anomaly_pb2.ListAnomaliesRequest, raw)
        wanted, size = _filter(request.filter), _page_size(request.page_size)
        before = _number(request.page_token, "page_token") if request.page_token else None
        found = await self._learning.in_thread(lambda: self._store.page(wanted, before=before, limit=size + 1))
        shown = found[:size]
        token = verdict_id(shown[-1].number) if len(found) > size else ""
        return anomaly_pb2.ListAnomaliesResponse(anomalies=map(_anomaly, shown), next_page_token=token)

    async def watch_anomalies(self, raw: bytes) -> AsyncIterator[anomaly_pb2.WatchAnomaliesResponse]:
        """``WatchAnomalies``: ends when the server stops."""
        request = _read(anomaly_pb2.WatchAnomaliesRequest, raw)
        wanted = _filter(request.filter)
        given = request.after_verdict_id
        after = _number(given, "after_verdict_id") if given else self._recorder.last_number
        yield anomaly_pb2.WatchAnomaliesResponse(position=verdict_id(max(after, BEFORE_ALL)))
        while not self._stopping.is_set():
            last = self._recorder.last_number
            if after < last:
                found = await self._learning.in_thread(
                    lambda after=after: self._store.since(after, wanted, limit=USUAL_PAGE)  # type: ignore[misc]
                )
                for anomaly in found:
                    name = verdict_id(anomaly.number)
                    yield anomaly_pb2.WatchAnomaliesResponse(anomaly=_anomaly(anomaly), position=name)
                # Some may have been stored since `last` was read: these were sent as well.
                sent = found[-1].number if found else 0
                after = sent if len(found) == USUAL_PAGE else max(last, sent)
                continue
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def list_groups(self, raw: bytes) -> anomaly_pb2.ListAnomalyGroupsResponse:
        """``ListAnomalyGroups``."""
        request = _read(anomaly_pb2.ListAnomalyGroupsRequest, raw)
        size = _page_size(request.page_size)
        before = _number(request.page_token, "page_token") if request.page_token else None
        found = await self._learning.in_thread(
            lambda: self._store.groups(
                application=request.application,
                states=_states(request.states, "states"),
                exclude_muted=request.exclude_muted,
                before=before,
                limit=size + 1,
            )
        )
        shown = found[:size]
        token = verdict_id(shown[-1].last_number) if len(found) > size else ""
        return anomaly_pb2.ListAnomalyGroupsResponse(groups=map(_group, shown), next_page_token=token)

    async def mute_group(self, raw: bytes) -> anomaly_pb2.MuteAnomalyGroupResponse:
        """``MuteAnomalyGroup``."""
        request = _read(anomaly_pb2.MuteAnomalyGroupRequest, raw)
        group = await self._learning.in_thread(
            lambda: self._store.mute(request.group_id, request.muted_until_unix_nano)
        )
        return anomaly_pb2.MuteAnomalyGroupResponse(group=_group(group))

    async def list_versions(self, raw: bytes) -> model_pb2.ListModelVersionsResponse:
        """``ListModelVersions``."""
        application = self._application(_read(model_pb2.ListModelVersionsRequest, raw).application)
        return model_pb2.ListModelVersionsResponse(versions=await self._versions(application))

    async def roll_back(self, raw: bytes) -> model_pb2.RollbackModelResponse:
        """``RollbackModel``."""
        request = _read(model_pb2.RollbackModelRequest, raw)
        application = self._application(request.application)
        order = _order(request, application, "rollback")
        answer = await self._learning.take(order, lambda: self._kept(request.version, application))
        if answer.outcome == feedback_pb2.FEEDBACK_OUTCOME_REFUSED:
            raise InputError(answer.message, field="version")
        made = {version.version: version for version in await self._versions(application)}[answer.model_version]
        return model_pb2.RollbackModelResponse(version=made)

    async def drift(self, raw: bytes) -> model_pb2.GetDriftResponse:
        """``GetDrift``."""
        application = self._application(_read(model_pb2.GetDriftRequest, raw).application)
        found = await self._learning.inspect(application)
        report = found.drift
        if report is None:
            raise InputError("drift is not looked for", field="application")
        return model_pb2.GetDriftResponse(
            report=model_pb2.DriftReport(
                application=application,
                is_drifting=report.is_drifting,
                since_unix_nano=report.since_ns,
                alarm_share=report.alarm_share,
                usual_alarm_share=report.usual_alarm_share,
                unseen_share=report.unseen_share,
                usual_unseen_share=report.usual_unseen_share,
                entries=report.entries,
                window_s=report.window_s,
                parts=[
                    model_pb2.DriftPart(key=key, template=found.templates.get(key, ""), count=count)
                    for key, count in report.parts
                ],
                message=report.message,
            )
        )

    def _application(self, name: str) -> str:
        if not name and len(self._applications) == 1:
            return self._applications[0]
        if name not in self._applications:
            what = f"'{name[:80]}' is not served" if name else "must be given"
            raise InputError(f"{what}: give one of {', '.join(sorted(self._applications))}", field="application")
        return name

    def _application_of(self, request: feedback_pb2.FeedbackRequest) -> str:
        """The application that is named, or that of the anomaly or group.

        What is named may be gone by the time that a request is repeated: then the journal knows.
        """
        found = ""
        if request.WhichOneof("target") == "verdict_id":
            stored = self._store.get(number_of(request.verdict_id))
            found = "" if stored is None else stored.application
        elif request.WhichOneof("target") == "group_id":
            group = self._store.group(request.group_id)
            found = "" if group is None else group.application
        if found and request.application and found != request.application:
            raise InputError(f"what is named belongs to '{found}'", field="application")
        named = found or request.application
        if not named and len(self._applications) > 1:
            if request.WhichOneof("target") == "verdict_id":
                self._stored(request.verdict_id)
            elif request.WhichOneof("target") == "group_id":
                self._group(request.group_id)
        return self._application(named)

    def _group(self, name: str) -> AnomalyGroup:
        found = self._store.group(name)
        if found is None:
            raise InputError(f"there is no group {name[:80]!r}", field="group_id")
        return found

    def _stored(self, name: str) -> StoredAnomaly:
        found = self._store.get(number_of(name))
        if found is None:
            raise InputError(f"{name[:80]!r} is not stored: it was never seen, or is too old", field="verdict_id")
        return found

    def _meant(self, request: feedback_pb2.FeedbackRequest, application: str) -> Meant:
        """The anomalies and lessons that a request names."""
        updater = self._updaters[application]
        match request.WhichOneof("target"):
            case "verdict_id":
                meant = updater.meant([self._stored(request.verdict_id)], anywhere=False)
            case "session":
                found = self._store.of_session(application, request.session, limit=MAX_ADAPTED)
                if not found:
                    raise InputError(f"no anomaly of session {request.session[:80]!r} is stored", field="session")
                meant = updater.meant(found, anywhere=False)
            case "group_id":
                self._group(request.group_id)
                still_open = AnomalyFilter(group_id=request.group_id, states=(AnomalyState.OPEN,))
                found = self._store.page(still_open, limit=MAX_ADAPTED)
                found = found or self._store.of_group(request.group_id, limit=1)
                if not found:
                    raise InputError("none of its anomalies is stored any more", field="group_id")
                meant = updater.meant(found, anywhere=True)
            case "step":
                return Meant(numbers=(), lessons=(_step(request.step, updater.history),))
            case _:
                return Meant(numbers=(), lessons=(_vector(request.vector, updater.model.value_model),))
        if not meant.lessons:
            raise InputError(
                "was found with an earlier bundle, whose log keys this one does not have: name a newer anomaly",
                field=str(request.WhichOneof("target")),
            )
        return meant

    def _in_range(self, request: feedback_pb2.AdaptRequest, application: str) -> Meant:
        """Open anomalies of a range of time, but for what was confirmed and sessions in which something was."""
        updater = self._updaters[application]
        found = self._store.open_of(
            application, limit=MAX_ADAPTED, from_ns=request.from_unix_nano, to_ns=request.to_unix_nano
        )
        wanted = AnomalyFilter(application=application, states=(AnomalyState.CONFIRMED,))
        confirmed = self._store.page(wanted, limit=MAX_ADAPTED)
        sessions = {one.session for one in confirmed}
        cases = {lesson.case for lesson in updater.meant(confirmed, anywhere=True).lessons}
        chosen = [
            one
            for one in found
            if one.session not in sessions
            and not cases.intersection(lesson.case for lesson in updater.meant([one], anywhere=True).lessons)
        ]
        meant = updater.meant(chosen, anywhere=True)
        if not meant.lessons:
            raise InputError("no open anomaly is stored in this range of time", field="from_unix_nano")
        return meant

    def _kept(self, version: int, application: str) -> Found:
        """An order to go back to a version that is there."""
        versions = {found.version: found for found in self._read_versions(application)}
        if version not in versions:
            raise InputError(f"there is no version {version} of '{application}'", field="version")
        if not versions[version].is_kept:
            raise InputError(
                f"version {version} is no longer kept (state.keep_versions), or stands on another bundle",
                field="version",
            )
        return Found(content={"label": "", "version": version}, templates={})

    def _found(self, label: str, meant: Meant) -> Found:
        """An order to learn or confirm, with the log keys that it speaks of."""
        if len(meant.lessons) > self._config.max_cases:
            raise InputError(
                f"these are more than {self._config.max_cases} distinct cases (feedback.max_cases): give feedback in "
                "parts, or train anew",
                field="target",
            )
        templates = {key: "" for lesson in meant.lessons for key in _keys(lesson) if key >= 0}
        for number in meant.numbers[:MAX_LOOKED_AT]:
            stored = self._store.get(number)
            if stored is not None and self._updaters[stored.application].is_of_bundle(stored):
                verdict = evidence_of(stored).verdict
                templates.update({verdict.key: verdict.template} if verdict.key in templates else {})
        return Found(content={"label": label, **meant.to_json()}, templates=templates)

    async def _versions(self, application: str) -> list[model_pb2.ModelVersion]:
        return await self._learning.in_thread(lambda: self._read_versions(application))

    def _read_versions(self, application: str) -> list[model_pb2.ModelVersion]:
        records = {record.sequence: record for record in self._journal.records(application)}
        versions = self._journal.versions(application)
        current = versions[0]
        return [_version(version, records.get(version.sequence or 0), current) for version in versions]


MAX_LOOKED_AT = 1_000
"""Anomalies of one order whose templates are compared with those of now."""

MAX_ADAPTED = 100_000
"""Stored anomalies that one `Adapt` looks at."""


def _read(kind: type[Request], raw: bytes) -> Request:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise InputError(f"is not a {kind.DESCRIPTOR.name}") from error


def _order(request: Any, application: str, kind: Any) -> Order:
    for name, limit in (("feedback_id", MAX_NAME_BYTES), ("actor", MAX_NAME_BYTES), ("note", MAX_NOTE_BYTES)):
        if len(getattr(request, name).encode()) > limit:
            raise InputError(f"is longer than {limit} bytes", field=name)
    asked: dict[str, Any] = json_format.MessageToDict(request, preserving_proto_field_name=True)
    asked.pop("feedback_id", None)
    return Order(
        application=application,
        feedback_id=request.feedback_id or str(uuid.uuid4()),
        kind=kind,
        actor=request.actor,
        note=request.note,
        asked=asked,
    )


def _keys(lesson: Lesson) -> tuple[int, ...]:
    """The log keys that a lesson speaks of, and marks that are none."""
    case = lesson.case
    match case:
        case StepCase():
            return (*case.window, case.key)
        case CountsCase():
            return tuple(key for key, _ in case.counts)
        case ValueCase():
            return (case.key, *case.previous, *case.after)
        case NewValueCase():
            return (case.key,)


def _step(step: feedback_pb2.LabelledStep, history: int) -> Lesson:
    window = tuple(step.window)
    if len(window) > history:
        raise InputError(f"has more log keys than the window of the model, {history}", field="step.window")
    bad = [key for key in (*window, step.key) if key < UNKNOWN_KEY] + [key for key in (step.key,) if key == UNKNOWN_KEY]
    if bad:
        raise InputError(f"{bad[0]} is not a log key", field="step")
    kind = Kind.INCOMPLETE_SESSION if step.key == BEGIN_KEY else Kind.EXECUTION_PATH
    return Lesson(kind=kind, case=StepCase(window=window, key=step.key))


def _vector(vector: verdict_pb2.ValueVector, model: ValueModel) -> Lesson:
    if not vector.numbers:
        raise InputError("must not be empty", field="vector.numbers")
    if vector.key < 0:
        raise InputError(f"{vector.key} is not a log key", field="vector.key")
    if bad := [key for key in vector.previous if key < UNKNOWN_KEY]:
        raise InputError(f"{bad[0]} is not a log key", field="vector.previous")
    before = (UNKNOWN_KEY, UNKNOWN_KEY, *vector.previous)
    previous = (before[-2], before[-1])
    known: dict[int, set[str]] = {}
    for position in vector_of(model, vector.key, (), previous).positions:
        known.setdefault(position.slot, set()).add(position.unit)
    numbers = []
    for place, number in enumerate(vector.numbers):
        field = f"vector.numbers[{place}]"
        if not math.isfinite(number.number):
            raise InputError("is not finite", field=f"{field}.number")
        units = known.get(number.slot, set())
        if not number.unit and "" not in units and len(units) > 1:
            raise InputError(f"slot {number.slot} has {', '.join(sorted(units))}: give one", field=f"{field}.unit")
        is_clear = not number.unit and len(units) == 1
        numbers.append((number.slot, next(iter(units)) if is_clear else number.unit, number.number))
    case = ValueCase(key=vector.key, numbers=tuple(numbers), previous=previous)
    return Lesson(kind=Kind.PARAMETER_VALUE, case=case)


def _number(name: str, field: str) -> int:
    """The number that a name stands for, with the error at the field that has it."""
    try:
        return number_of(name)
    except InputError as error:
        raise InputError(error.message, field=field) from None


def _numbers(names: Sequence[str]) -> tuple[int, ...]:
    if len(names) > MAX_PAGE:
        raise InputError(f"names {len(names)} anomalies, more than {MAX_PAGE}", field="filter.verdict_ids")
    return tuple(_number(name, f"filter.verdict_ids[{place}]") for place, name in enumerate(names))


def _page_size(asked: int) -> int:
    if asked > MAX_PAGE:
        raise InputError(f"{asked} is more than {MAX_PAGE}", field="page_size")
    return asked or USUAL_PAGE


def _states(states: Sequence[int], field: str) -> tuple[AnomalyState, ...]:
    try:
        return tuple(AnomalyState(state) for state in states)
    except ValueError as error:
        raise InputError(str(error), field=field) from error


def _filter(message: anomaly_pb2.AnomalyFilter) -> AnomalyFilter:
    return AnomalyFilter(
        application=message.application,
        kinds=tuple(message.kinds),
        states=_states(message.states, "filter.states"),
        session=message.session,
        group_id=message.group_id,
        from_ns=message.from_unix_nano,
        to_ns=message.to_unix_nano,
        min_score=message.min_score,
        numbers=_numbers(message.verdict_ids),
        exclude_muted=message.exclude_muted,
    )


def _anomaly(stored: StoredAnomaly) -> anomaly_pb2.Anomaly:
    message = evidence_of(stored)
    message.group_id = stored.group_id
    message.state = STATES[stored.state]
    message.feedback_id = stored.feedback_id
    message.stored_unix_nano = stored.stored_ns
    message.is_muted = stored.is_muted
    return message


def _group(group: AnomalyGroup) -> anomaly_pb2.AnomalyGroup:
    return anomaly_pb2.AnomalyGroup(
        group_id=group.group_id,
        application=group.application,
        kind=verdict_pb2.Kind.Name(group.kind),
        key=group.key,
        template=group.template,
        reason=group.reason,
        count=group.count,
        open_count=group.open_count,
        first_seen_unix_nano=group.first_seen_ns,
        last_seen_unix_nano=group.last_seen_ns,
        state=STATES[group.state],
        muted_until_unix_nano=group.muted_until_ns,
        last_verdict_id=verdict_id(group.last_number),
    )


def _version(version: Version, record: Record | None, current: Version) -> model_pb2.ModelVersion:
    message = model_pb2.ModelVersion(
        application=version.application,
        version=version.version,
        parent=version.parent,
        cause=CAUSES[version.cause],
        created_unix_nano=version.created_ns,
        case_count=len(version.details["lessons"]),
        steps=int(version.details.get("steps", 0)),
        is_current=version is current,
        is_kept=version.base == current.base and (version.is_kept or not version.sha256),
    )
    if record is not None:
        message.feedback_id, message.actor, message.note = record.feedback_id, record.actor, record.note
    if version.details.get("check"):
        json_format.ParseDict(version.details["check"], message.check)
    return message
