"""The methods for operators: feedback, stored anomalies, model versions, drift, workflow, applications.

They check, look up and convert.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

from deeplog_grpc.access.grants import current_grant
from deeplog_grpc.access.scope import check_scope
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import Applications
from deeplog_grpc.serving.application_calls import ApplicationCalls
from deeplog_grpc.serving.evidence import evidence_of
from deeplog_grpc.serving.learning import Found, Learning
from deeplog_grpc.serving.lineage import Meant
from deeplog_grpc.serving.operator_messages import (
    USUAL_PAGE,
    anomaly_message,
    filter_of,
    group_message,
    keys_of,
    order_of,
    page_size,
    read_request,
    states_of,
    step_lesson,
    stored_number,
    vector_lesson,
    version_message,
)
from deeplog_grpc.serving.state import ServerState
from deeplog_grpc.serving.trainings import Trainings
from deeplog_grpc.serving.workflow_calls import WorkflowCalls
from deeplog_grpc.storage import (
    AnomalyFilter,
    AnomalyGroup,
    AnomalyState,
    StoredAnomaly,
    number_of,
    verdict_id,
)
from deeplog_grpc.v1 import anomaly_pb2, application_pb2, feedback_pb2, model_pb2, workflow_pb2

WATCH_S = 0.1
"""Seconds between two looks for new anomalies; a look is one comparison of numbers."""

BEFORE_ALL = number_of("1-0")
"""The position before every anomaly."""

LABELS = {
    feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE: "false_positive",
    feedback_pb2.FEEDBACK_LABEL_CONFIRMED: "confirmed",
}


class OperatorCalls:
    """Answers the operators' methods.

    Parameters
    ----------
    applications : Applications
        Those that are served.
    state : ServerState
    learning : Learning
    trainings : Trainings, optional
        None = the server does not learn from what it is sent.
    """

    def __init__(
        self, applications: Applications, state: ServerState, learning: Learning, trainings: Trainings | None = None
    ) -> None:
        self._applications = applications
        self._of_applications = ApplicationCalls(state, trainings)
        self._learning = learning
        self._journal = state.journal
        self._store = state.anomalies
        self._recorder = state.recorder
        self._config = state.feedback
        self._updaters = state.updaters
        self._workflows = WorkflowCalls(state, learning)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all watches."""
        self._stopping.set()

    async def feedback(self, raw: bytes) -> feedback_pb2.FeedbackResponse:
        """``Feedback``."""
        request = read_request(feedback_pb2.FeedbackRequest, raw)
        if request.label not in LABELS:
            raise InputError("must be FALSE_POSITIVE or CONFIRMED", field="label")
        if request.WhichOneof("target") is None:
            raise InputError("must name what is meant: verdict_id, session, group_id, step or vector", field="target")
        application = await self._learning.in_thread(lambda: self._application_of(request))
        order = order_of(request, application, "feedback")
        label = LABELS[request.label]
        return await self._learning.take(order, lambda: self._found(label, self._meant(request, application)))

    async def adapt(self, raw: bytes) -> feedback_pb2.AdaptResponse:
        """``Adapt``."""
        request = read_request(feedback_pb2.AdaptRequest, raw)
        if 0 < request.to_unix_nano <= request.from_unix_nano:
            raise InputError("must be later than from_unix_nano", field="to_unix_nano")
        application = self._application(request.application)
        order = order_of(request, application, "adapt")
        result = await self._learning.take(
            order, lambda: self._found("false_positive", self._in_range(request, application))
        )
        return feedback_pb2.AdaptResponse(result=result)

    async def list_anomalies(self, raw: bytes) -> anomaly_pb2.ListAnomaliesResponse:
        """``ListAnomalies``."""
        request = read_request(anomaly_pb2.ListAnomaliesRequest, raw)
        wanted, size = self._in_scope(filter_of(request.filter)), page_size(request.page_size)
        before = stored_number(request.page_token, "page_token") if request.page_token else None
        found = await self._learning.in_thread(lambda: self._store.page(wanted, before=before, limit=size + 1))
        shown = found[:size]
        token = verdict_id(shown[-1].number) if len(found) > size else ""
        return anomaly_pb2.ListAnomaliesResponse(anomalies=map(anomaly_message, shown), next_page_token=token)

    async def watch_anomalies(self, raw: bytes) -> AsyncIterator[anomaly_pb2.WatchAnomaliesResponse]:
        """``WatchAnomalies``: ends when the server stops."""
        request = read_request(anomaly_pb2.WatchAnomaliesRequest, raw)
        wanted = filter_of(request.filter)
        self._in_scope(wanted)
        given = request.after_verdict_id
        after = stored_number(given, "after_verdict_id") if given else self._recorder.last_number
        yield anomaly_pb2.WatchAnomaliesResponse(position=verdict_id(max(after, BEFORE_ALL)))
        while not self._stopping.is_set():
            last = self._recorder.last_number
            if after < last:
                found = await self._learning.in_thread(
                    partial(self._store.since, after, self._in_scope(wanted), limit=USUAL_PAGE)
                )
                for anomaly in found:
                    name = verdict_id(anomaly.number)
                    yield anomaly_pb2.WatchAnomaliesResponse(anomaly=anomaly_message(anomaly), position=name)
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
        request = read_request(anomaly_pb2.ListAnomalyGroupsRequest, raw)
        size, applications = page_size(request.page_size), self._applications_in_scope(request.application)
        before = stored_number(request.page_token, "page_token") if request.page_token else None
        found = await self._learning.in_thread(
            lambda: self._store.groups(
                application=request.application,
                applications=applications,
                states=states_of(request.states, "states"),
                exclude_muted=request.exclude_muted,
                before=before,
                limit=size + 1,
            )
        )
        shown = found[:size]
        token = verdict_id(shown[-1].last_number) if len(found) > size else ""
        return anomaly_pb2.ListAnomalyGroupsResponse(groups=map(group_message, shown), next_page_token=token)

    async def mute_group(self, raw: bytes) -> anomaly_pb2.MuteAnomalyGroupResponse:
        """``MuteAnomalyGroup``."""
        request = read_request(anomaly_pb2.MuteAnomalyGroupRequest, raw)
        known = await self._learning.in_thread(lambda: self._store.group(request.group_id))
        if known is not None:
            check_scope(known.application, field="group_id")
        group = await self._learning.in_thread(
            lambda: self._store.mute(request.group_id, request.muted_until_unix_nano)
        )
        return anomaly_pb2.MuteAnomalyGroupResponse(group=group_message(group))

    async def list_versions(self, raw: bytes) -> model_pb2.ListModelVersionsResponse:
        """``ListModelVersions``."""
        application = self._application(read_request(model_pb2.ListModelVersionsRequest, raw).application)
        return model_pb2.ListModelVersionsResponse(versions=await self._versions(application))

    async def roll_back(self, raw: bytes) -> model_pb2.RollbackModelResponse:
        """``RollbackModel``."""
        request = read_request(model_pb2.RollbackModelRequest, raw)
        application = self._application(request.application)
        order = order_of(request, application, "rollback")
        answer = await self._learning.take(order, lambda: self._kept(request.version, application))
        if answer.outcome == feedback_pb2.FEEDBACK_OUTCOME_REFUSED:
            raise InputError(answer.message, field="version")
        made = {version.version: version for version in await self._versions(application)}[answer.model_version]
        return model_pb2.RollbackModelResponse(version=made)

    async def drift(self, raw: bytes) -> model_pb2.GetDriftResponse:
        """``GetDrift``."""
        application = self._application(read_request(model_pb2.GetDriftRequest, raw).application)
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

    async def workflow(self, raw: bytes) -> workflow_pb2.GetWorkflowResponse:
        """``GetWorkflow``."""
        request = read_request(workflow_pb2.GetWorkflowRequest, raw)
        return await self._workflows.get(self._application(request.application), request)

    async def list_applications(self, raw: bytes) -> application_pb2.ListApplicationsResponse:
        """``ListApplications``."""
        wanted = read_request(application_pb2.ListApplicationsRequest, raw).application
        return self._of_applications.found([self._served(wanted)] if wanted else list(self._applications.names))

    async def train_application(self, raw: bytes) -> application_pb2.TrainApplicationResponse:
        """``TrainApplication``."""
        wanted = read_request(application_pb2.TrainApplicationRequest, raw).application
        return self._of_applications.train(self._served(wanted))

    def _in_scope(self, wanted: AnomalyFilter) -> AnomalyFilter:
        """A filter that lets nothing pass of what the caller's token is not for."""
        return replace(wanted, applications=self._applications_in_scope(wanted.application))

    def _applications_in_scope(self, named: str) -> tuple[str, ...] | None:
        """The applications that the caller's token is for; None = all, or the one that is named."""
        if named:
            check_scope(named, field="application")
            return None
        return tuple(self._applications.names) if current_grant.get().applications else None

    def _served(self, name: str) -> str:
        """An application, whether or not it has a model."""
        if name:
            check_scope(name, field="application")
        names = self._applications.names
        if not name and len(names) == 1:
            return names[0]
        if name not in names:
            what = f"'{name[:80]}' is not served" if name else "must be given"
            raise InputError(f"{what}: give one of {', '.join(sorted(names)[:MAX_NAMED])}", field="application")
        return name

    def _application(self, name: str) -> str:
        """An application that has a model."""
        served = self._served(name)
        self._of_applications.check_has_model(served)
        return served

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
        if found:
            check_scope(found, field=str(request.WhichOneof("target")))
        if found and request.application and found != request.application:
            raise InputError(f"what is named belongs to '{found}'", field="application")
        named = found or request.application
        if not named and len(self._applications.names) > 1:
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
                meant = updater.lineage.meant([self._stored(request.verdict_id)], anywhere=False)
            case "session":
                found = self._store.of_session(application, request.session, limit=MAX_ADAPTED)
                if not found:
                    raise InputError(f"no anomaly of session {request.session[:80]!r} is stored", field="session")
                meant = updater.lineage.meant(found, anywhere=False)
            case "group_id":
                self._group(request.group_id)
                still_open = AnomalyFilter(group_id=request.group_id, states=(AnomalyState.OPEN,))
                found = self._store.page(still_open, limit=MAX_ADAPTED)
                found = found or self._store.of_group(request.group_id, limit=1)
                if not found:
                    raise InputError("none of its anomalies is stored any more", field="group_id")
                meant = updater.lineage.meant(found, anywhere=True)
            case "step":
                return Meant(numbers=(), lessons=(step_lesson(request.step, updater.history),))
            case _:
                return Meant(numbers=(), lessons=(vector_lesson(request.vector, updater.model.value_model),))
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
        cases = {lesson.case for lesson in updater.lineage.meant(confirmed, anywhere=True).lessons}
        chosen = [
            one
            for one in found
            if one.session not in sessions
            and not cases.intersection(lesson.case for lesson in updater.lineage.meant([one], anywhere=True).lessons)
        ]
        meant = updater.lineage.meant(chosen, anywhere=True)
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
        templates = {key: "" for lesson in meant.lessons for key in keys_of(lesson) if key >= 0}
        for number in meant.numbers[:MAX_LOOKED_AT]:
            stored = self._store.get(number)
            if stored is not None and self._updaters[stored.application].lineage.is_of_bundle(stored):
                verdict = evidence_of(stored).verdict
                templates.update({verdict.key: verdict.template} if verdict.key in templates else {})
        return Found(content={"label": label, **meant.to_json()}, templates=templates)

    async def _versions(self, application: str) -> list[model_pb2.ModelVersion]:
        return await self._learning.in_thread(lambda: self._read_versions(application))

    def _read_versions(self, application: str) -> list[model_pb2.ModelVersion]:
        records = {record.sequence: record for record in self._journal.records(application)}
        versions = self._journal.versions(application)
        current = versions[0]
        return [version_message(version, records.get(version.sequence or 0), current) for version in versions]


MAX_NAMED = 20
"""Applications that an error names."""

MAX_LOOKED_AT = 1_000
"""Anomalies of one order whose templates are compared with those of now."""

MAX_ADAPTED = 100_000
"""Stored anomalies that one `Adapt` looks at."""
