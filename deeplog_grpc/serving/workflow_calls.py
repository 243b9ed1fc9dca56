"""``GetWorkflow``: looks up what is meant, and draws it beside the event loop and the scoring thread."""

import asyncio

from deeplog_grpc.drawing import NOTHING, Highlight, View, dot, mermaid, svg, view
from deeplog_grpc.errors import InputError, NotFoundError, PreconditionError
from deeplog_grpc.serving.evidence import evidence_of
from deeplog_grpc.serving.learning import Learning
from deeplog_grpc.serving.operator_messages import stored_number
from deeplog_grpc.serving.state import ServerState
from deeplog_grpc.serving.workflow_messages import highlight_of, workflow_json, workflow_message
from deeplog_grpc.storage import StoredAnomaly
from deeplog_grpc.v1 import workflow_pb2

PICTURES_AT_ONCE = 1
"""Each takes a core and some memory for as long as it is made."""
LOOKED_AT = 100
"""Anomalies of a session, at most, among which the latest with a diagnosis is looked for."""


class WorkflowCalls:
    """Answers ``GetWorkflow``.

    Parameters
    ----------
    state : ServerState
    learning : Learning
    """

    def __init__(self, state: ServerState, learning: Learning) -> None:
        self._store = state.anomalies
        self._updaters = state.updaters
        self._learning = learning
        self._pictures = asyncio.Semaphore(PICTURES_AT_ONCE)

    async def get(self, application: str, request: workflow_pb2.GetWorkflowRequest) -> workflow_pb2.GetWorkflowResponse:
        """The workflow of an application that is served.

        Raises
        ------
        InputError
            If a field is wrong, what it names is not there, or a picture cannot be drawn.
        """
        if request.format not in workflow_pb2.WorkflowFormat.values():
            raise InputError(f"{request.format} is none", field="format")
        model = self._updaters[application].model
        if not model.workflow.tasks:
            raise PreconditionError(
                f"'{application}' has no workflow: train it anew from its normal sessions", field="application"
            )
        highlight = await self._highlight(application, request)
        chosen = await asyncio.to_thread(
            lambda: view(
                model.workflow,
                task=request.task if request.HasField("task") else None,
                min_probability=float(f"{request.min_probability:.7g}"),  # 0.1, not what single precision makes of it
                highlight=highlight,
            )
        )
        response = await self._written(chosen, request.format)
        response.application, response.model_version = application, model.version
        return response

    async def _written(self, chosen: View, form: int) -> workflow_pb2.GetWorkflowResponse:
        """The answer in the language asked for."""
        match form:
            case workflow_pb2.WORKFLOW_FORMAT_DOT:
                text = await asyncio.to_thread(dot, chosen)
            case workflow_pb2.WORKFLOW_FORMAT_MERMAID:
                text = await asyncio.to_thread(mermaid, chosen)
            case workflow_pb2.WORKFLOW_FORMAT_JSON:
                text = await asyncio.to_thread(lambda: workflow_json(workflow_message(chosen)))
            case workflow_pb2.WORKFLOW_FORMAT_SVG:
                async with self._pictures:
                    text = await asyncio.to_thread(svg, chosen)
            case _:
                message = await asyncio.to_thread(workflow_message, chosen)
                return workflow_pb2.GetWorkflowResponse(workflow=message)
        return workflow_pb2.GetWorkflowResponse(text=text)

    async def _highlight(self, application: str, request: workflow_pb2.GetWorkflowRequest) -> Highlight:
        match request.WhichOneof("highlight"):
            case "verdict_id":
                return await self._learning.in_thread(lambda: self._of_anomaly(application, request.verdict_id))
            case "session":
                return await self._of_session(application, request.session)
            case _:
                return NOTHING

    def _of_anomaly(self, application: str, name: str) -> Highlight:
        stored = self._store.get(stored_number(name, "verdict_id"))
        if stored is None or stored.application != application:
            of = "" if stored is None else f" of '{application}'"
            raise NotFoundError(f"{name[:80]!r} is no stored anomaly{of}, or no longer", field="verdict_id")
        if not self._has_diagnosis(application, stored):
            raise PreconditionError(
                f"{name[:80]!r} has no place in this workflow: it was found before the model in force was trained; "
                "name a newer anomaly",
                field="verdict_id",
            )
        return highlight_of(evidence_of(stored).verdict)

    async def _of_session(self, application: str, session: str) -> Highlight:
        """By its latest stored anomaly, else as far as it has come."""
        found = await self._learning.in_thread(lambda: self._latest(application, session)) if session else None
        if found is not None:
            return highlight_of(evidence_of(found).verdict)
        path = (await self._learning.inspect(application, session=session)).path if session else None
        if path is None:
            raise NotFoundError(
                f"{session[:80]!r} is neither an open session nor one with a stored anomaly that has a diagnosis",
                field="session",
            )
        return Highlight(path=path)

    def _latest(self, application: str, session: str) -> StoredAnomaly | None:
        stored = self._store.of_session(application, session, limit=LOOKED_AT)
        return next((one for one in stored if self._has_diagnosis(application, one)), None)

    def _has_diagnosis(self, application: str, stored: StoredAnomaly) -> bool:
        """Whether it tells states, and those of the workflow of now."""
        is_told = evidence_of(stored).verdict.HasField("diagnosis")
        return is_told and self._updaters[application].lineage.is_of_bundle(stored)
