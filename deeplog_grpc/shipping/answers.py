"""Answers of the server put beside the entries that they are about."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplog_grpc.ingest import LenientDecoder, LenientMessage
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import verdict_pb2

_decode = LenientDecoder("EntryBatch")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to a payload, or of itself."""

    sequence: int
    """Of the payload; 0 = it answers none, and tells late ends."""
    payload: bytes
    result: pb.BatchResult


@dataclass(frozen=True, slots=True)
class AnsweredEntry:
    """An entry, or the end of a session, and what the server said of it."""

    fields: Mapping[str, Any]
    """Of the entry, as JSON names them."""
    verdict: Mapping[str, Any]
    """The verdict, or `error` and `message` where the entry was refused."""
    is_anomaly: bool
    is_refused: bool = False


def answered_entries(answer: Answer) -> Iterator[AnsweredEntry]:
    """The entries that an answer says something of, in their order, and then abnormal ends of sessions."""
    result = answer.result
    response = result.response
    verdicts = {verdict.index: verdict for verdict in response.verdicts}
    errors = {error.index: (error.reason, error.message) for error in response.errors}
    whole = ("BATCH_REFUSED", result.status.message) if result.status.code else None
    if verdicts or errors or whole:
        batch = _decode(answer.payload)
        times = _times([entry.time_unix_nano for entry in batch.entries])
        for index, (entry, time) in enumerate(zip(batch.entries, times, strict=True)):
            verdict, error = verdicts.get(index), errors.get(index, whole)
            if verdict is not None:
                yield AnsweredEntry(_fields(entry, time), _verdict(verdict), verdict.kind != verdict_pb2.KIND_NORMAL)
            elif error is not None:
                refusal = {"error": error[0], "message": error[1]}
                yield AnsweredEntry(_fields(entry, time), refusal, is_anomaly=False, is_refused=True)
    ends = [end for end in response.session_ends if end.kind != verdict_pb2.KIND_NORMAL]
    for end, time in zip(ends, _times([end.time_unix_nano for end in ends]), strict=True):
        reason = verdict_pb2.SessionEndReason.Name(end.session_end).removeprefix("SESSION_END_REASON_").lower()
        yield AnsweredEntry({"time": time, "session_end": reason}, _verdict(end), is_anomaly=True)


def _fields(entry: LenientMessage, time: str) -> dict[str, Any]:
    given = {
        "source": _text(entry.source),
        "application": _text(entry.application),
        "session": _text(entry.session),
        "attributes": {_text(pair.key): _text(pair.value) for pair in entry.attributes},
    }
    return {"time": time, "body": _text(entry.body), **{name: value for name, value in given.items() if value}}


def _verdict(verdict: verdict_pb2.Verdict) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": verdict_pb2.Kind.Name(verdict.kind).removeprefix("KIND_").lower(),
        "score": round(verdict.score, 6),
        "key": verdict.key,
        "application": verdict.application,
        "session": verdict.session,
    }
    if verdict.kind != verdict_pb2.KIND_NORMAL:
        found |= {"verdict_id": verdict.verdict_id, "reason": verdict.reason, "template": verdict.template}
    return found


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _times(times_ns: list[int]) -> list[str]:
    """ISO 8601 in UTC."""
    texts = np.datetime_as_string(np.array(times_ns, np.int64).view("datetime64[ns]"), timezone="UTC")
    return [str(text) for text in texts]
