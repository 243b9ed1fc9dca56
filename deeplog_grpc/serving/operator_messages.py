"""Messages of the operators' methods, read and written: every check that needs nothing but the message."""

import math
import uuid
from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.errors import InputError
from deeplog_grpc.feedback import CountsCase, Lesson, NewValueCase, StepCase, ValueCase
from deeplog_grpc.models import BEGIN_KEY, UNKNOWN_KEY, ValueModel, vector_of
from deeplog_grpc.serving.evidence import evidence_of
from deeplog_grpc.serving.learning import Order
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

Request = TypeVar("Request", bound=Message)


def read_request(kind: type[Request], raw: bytes) -> Request:
    """Read a message; raises :class:`InputError` for what is none."""
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise InputError(f"is not a {kind.DESCRIPTOR.name}") from error


def order_of(request: Any, application: str, kind: Any) -> Order:
    """What a request for a change asks for, with a name of its own if it has none."""
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


def keys_of(lesson: Lesson) -> tuple[int, ...]:
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


def step_lesson(step: feedback_pb2.LabelledStep, history: int) -> Lesson:
    """What a labelled step teaches."""
    window = tuple(step.window)
    if len(window) > history:
        raise InputError(f"has more log keys than the window of the model, {history}", field="step.window")
    bad = [key for key in (*window, step.key) if key < UNKNOWN_KEY] + [key for key in (step.key,) if key == UNKNOWN_KEY]
    if bad:
        raise InputError(f"{bad[0]} is not a log key", field="step")
    kind = Kind.INCOMPLETE_SESSION if step.key == BEGIN_KEY else Kind.EXECUTION_PATH
    return Lesson(kind=kind, case=StepCase(window=window, key=step.key))


def vector_lesson(vector: verdict_pb2.ValueVector, model: ValueModel) -> Lesson:
    """What a labelled vector teaches; units that are left out are those of the model."""
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


def stored_number(name: str, field: str) -> int:
    """The number that a name stands for, with the error at the field that has it."""
    try:
        return number_of(name)
    except InputError as error:
        raise InputError(error.message, field=field) from None


def stored_numbers(names: Sequence[str]) -> tuple[int, ...]:
    """Numbers of anomalies by their names."""
    if len(names) > MAX_PAGE:
        raise InputError(f"names {len(names)} anomalies, more than {MAX_PAGE}", field="filter.verdict_ids")
    return tuple(stored_number(name, f"filter.verdict_ids[{place}]") for place, name in enumerate(names))


def page_size(asked: int) -> int:
    """Rows of a page."""
    if asked > MAX_PAGE:
        raise InputError(f"{asked} is more than {MAX_PAGE}", field="page_size")
    return asked or USUAL_PAGE


def states_of(states: Sequence[int], field: str) -> tuple[AnomalyState, ...]:
    """States by their numbers."""
    try:
        return tuple(AnomalyState(state) for state in states)
    except ValueError as error:
        raise InputError(str(error), field=field) from error


def filter_of(message: anomaly_pb2.AnomalyFilter) -> AnomalyFilter:
    """Read a filter."""
    return AnomalyFilter(
        application=message.application,
        kinds=tuple(message.kinds),
        states=states_of(message.states, "filter.states"),
        session=message.session,
        group_id=message.group_id,
        from_ns=message.from_unix_nano,
        to_ns=message.to_unix_nano,
        min_score=message.min_score,
        numbers=stored_numbers(message.verdict_ids),
        exclude_muted=message.exclude_muted,
    )


def anomaly_message(stored: StoredAnomaly) -> anomaly_pb2.Anomaly:
    """A stored anomaly with what is known of it now."""
    message = evidence_of(stored)
    message.group_id = stored.group_id
    message.state = STATES[stored.state]
    message.feedback_id = stored.feedback_id
    message.stored_unix_nano = stored.stored_ns
    message.is_muted = stored.is_muted
    return message


def group_message(group: AnomalyGroup) -> anomaly_pb2.AnomalyGroup:
    """A group."""
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


def version_message(version: Version, record: Record | None, current: Version) -> model_pb2.ModelVersion:
    """A version; ``current`` is the one in force."""
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
