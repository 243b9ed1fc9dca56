"""Answers to feedback, and what the journal keeps of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format

from deeplog_grpc.feedback import CountsCase, Lesson, Update
from deeplog_grpc.storage import AnomalyState, Record
from deeplog_grpc.v1 import feedback_pb2 as pb

SHOWN_CASES = 100


def answer(
    record: Record,
    outcome: pb.FeedbackOutcome,
    lessons: Sequence[Lesson],
    message: str,
    *,
    version: int,
    update: Update | None = None,
) -> pb.FeedbackResponse:
    """The answer to a record.

    Parameters
    ----------
    version : int
        That contains it, or that stays.
    update : Update, optional
        What came of the lessons; None = the models were not asked.
    """
    response = pb.FeedbackResponse(
        feedback_id=record.feedback_id,
        outcome=outcome,
        model_version=version,
        case_count=len(lessons),
        message=message,
    )
    if update is not None:
        response.steps = update.steps
        pairs = zip(lessons, update.before, update.after, strict=True)
        for lesson, before, after in list(pairs)[:SHOWN_CASES]:
            response.cases.add(
                kind=int(lesson.kind),
                key=-1 if isinstance(lesson.case, CountsCase) else lesson.case.key,
                rank_before=before.rank,
                rank_after=after.rank,
                probability_before=before.probability,
                probability_after=after.probability,
                is_normal=after.is_normal,
            )
        if update.check is not None:
            response.check.CopyFrom(gate_check(update))
    return response


def gate_check(update: Update) -> pb.GateCheck:
    """What the gate found."""
    check = update.check
    if check is None:
        return pb.GateCheck()
    return pb.GateCheck(
        sessions=check.sessions,
        flagged_first=check.flagged_first,
        flagged_before=check.flagged_before,
        flagged_after=check.flagged_after,
        margin=check.margin,
        confirmed=check.confirmed,
        confirmed_flagged=check.confirmed_flagged,
        lessons=check.lessons,
        lessons_kept=check.lessons_kept,
    )


def outcome_of(response: pb.FeedbackResponse, states: Mapping[int, AnomalyState]) -> dict[str, Any]:
    """What the journal keeps: the answer, and the states that stored anomalies get."""
    return {
        "response": json_format.MessageToDict(response, preserving_proto_field_name=True),
        "states": [[number, int(state)] for number, state in states.items()],
    }


def states_of(outcome: Mapping[str, Any]) -> dict[int, AnomalyState]:
    """The states that stored anomalies get."""
    return {int(number): AnomalyState(state) for number, state in outcome["states"]}


def response_of(record: Record) -> pb.FeedbackResponse:
    """The answer that a finished record was given."""
    if record.outcome is None:
        raise ValueError(f"record {record.sequence} is not finished")
    response = json_format.ParseDict(dict(record.outcome["response"]), pb.FeedbackResponse())
    response.is_repeat = True
    return response
