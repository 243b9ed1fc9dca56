"""Requests, built the same way by both clients."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from deeplog_grpc.errors import InputError
from deeplog_grpc.v1 import anomaly_pb2, feedback_pb2, log_entry_pb2, model_pb2, verdict_pb2, workflow_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

TARGETS = ("verdict_id", "session", "group_id", "step", "vector")
"""What feedback can be about: exactly one of them is given."""


class OrderFields(TypedDict, total=False):
    """What every order that makes a model version may say; limits are those of the contract."""

    application: str
    """Default: the only one of the server."""
    actor: str
    """Who orders it."""
    note: str
    """Why."""
    feedback_id: str
    """The same one again, with the same content, is done once. Default: the client makes one."""


class WorkflowFields(TypedDict, total=False):
    """Which workflow, how much of it, and how it is written; limits are those of the contract."""

    application: str
    """Default: the only one of the server."""
    task: int
    """Default: all."""
    format: workflow_pb2.WorkflowFormat
    """Default: as a message."""
    min_probability: float
    """Rarer edges of choices and loops are left out. Default: none."""
    session: str
    """Its way is marked; not together with ``verdict_id``."""
    verdict_id: str
    """A stored anomaly: the way of its session is marked, and where it left."""


class FeedbackFields(OrderFields, total=False):
    """What feedback may say besides its label: exactly one of the first five, which say what is meant."""

    verdict_id: str
    """One anomaly."""
    session: str
    """All stored anomalies of a session."""
    group_id: str
    """All open anomalies of a group."""
    step: feedback_pb2.LabelledStep
    """A log key, or an end, in its place."""
    vector: verdict_pb2.ValueVector
    """Values of an entry."""


class AdaptFields(OrderFields, total=False):
    """The range of event time to learn, in ns since 1970 UTC; 0 = no bound."""

    from_unix_nano: int
    to_unix_nano: int
    """Exclusive."""


def new_feedback_id() -> str:
    """A name for an order that no other order has."""
    return str(uuid.uuid4())


def score_request(
    entries: Iterable[log_entry_pb2.LogEntry],
    options: pb.ScoreOptions | None,
    flush: pb.Flush | None,
    batch_id: str = "",
) -> pb.ScoreRequest:
    """A batch to judge, with a name of its own: what the client sends again by itself is counted once.

    Examples
    --------
    >>> len(score_request([], None, pb.Flush()).batch_id), score_request([], None, None, "b-7").batch_id
    (36, 'b-7')
    """
    return pb.ScoreRequest(entries=entries, options=options, flush=flush, batch_id=batch_id or str(uuid.uuid4()))


def feedback_request(label: feedback_pb2.FeedbackLabel, fields: FeedbackFields) -> feedback_pb2.FeedbackRequest:
    """Feedback with a name of its own.

    Raises
    ------
    InputError
        If it is not about exactly one thing.

    Examples
    --------
    >>> request = feedback_request(feedback_pb2.FEEDBACK_LABEL_CONFIRMED, {"verdict_id": "3-128"})
    >>> request.WhichOneof("target"), len(request.feedback_id)
    ('verdict_id', 36)
    """
    if len([name for name in TARGETS if fields.get(name)]) != 1:
        raise InputError(f"give exactly one of {', '.join(TARGETS)}", field="target")
    return feedback_pb2.FeedbackRequest(label=label, **_named(fields))


def adapt_request(fields: AdaptFields) -> feedback_pb2.AdaptRequest:
    """An order to learn a range of time, with a name of its own."""
    return feedback_pb2.AdaptRequest(**_named(fields))


def rollback_request(version: int, fields: OrderFields) -> model_pb2.RollbackModelRequest:
    """An order to go back to a version, with a name of its own."""
    return model_pb2.RollbackModelRequest(version=version, **_named(fields))


def anomalies_request(filter: anomaly_pb2.AnomalyFilter | None, page_size: int) -> anomaly_pb2.ListAnomaliesRequest:
    """The first page of anomalies."""
    return anomaly_pb2.ListAnomaliesRequest(filter=filter, page_size=page_size)


def groups_request(
    application: str, states: Sequence[anomaly_pb2.AnomalyState], exclude_muted: bool, page_size: int
) -> anomaly_pb2.ListAnomalyGroupsRequest:
    """The first page of groups."""
    return anomaly_pb2.ListAnomalyGroupsRequest(
        application=application, states=states, exclude_muted=exclude_muted, page_size=page_size
    )


def workflow_request(fields: WorkflowFields) -> workflow_pb2.GetWorkflowRequest:
    """A question for a workflow.

    Raises
    ------
    InputError
        If two things are to be marked.

    Examples
    --------
    >>> workflow_request({"task": 0, "session": "job-1"}).HasField("task")
    True
    """
    if fields.get("session") and fields.get("verdict_id"):
        raise InputError("give at most one of session and verdict_id", field="highlight")
    given: dict[str, Any] = {name: value for name, value in fields.items() if value or name == "task"}
    return workflow_pb2.GetWorkflowRequest(**given)


def mute_request(group_id: str, muted_until_unix_nano: int) -> anomaly_pb2.MuteAnomalyGroupRequest:
    """An order to mute a group until a time; 0 = no longer."""
    return anomaly_pb2.MuteAnomalyGroupRequest(group_id=group_id, muted_until_unix_nano=muted_until_unix_nano)


def _named(fields: OrderFields) -> dict[str, Any]:
    """The fields that are given: an empty one of a choice would count as the one chosen."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    return {"feedback_id": new_feedback_id(), **given}
