"""Anomalies and scored records as log records: what each says, whatever the protocol.

==========================  ==============================================================================
attribute                   what it says
==========================  ==============================================================================
``deeplog.output``          Name of the output. On every record; also on its resource.
``deeplog.application``     The application.
``deeplog.kind``            Kind of the verdict, such as ``unseen_key``; ``normal`` on scored records.
``deeplog.score``           How surprising, in [0, 1].
``deeplog.key``             The log key; -1 = the end of a session.
``deeplog.session``         The session.
``deeplog.model_version``   Version of the model that judged.
``deeplog.verdict_id``      The stored anomaly. Anomalies only.
``deeplog.reason``          One sentence. Anomalies only.
``deeplog.template``        The log key's text with ``<*>`` at its parameters. Anomalies only.
``deeplog.diagnosis``       Where the session left its workflow, one sentence. Where there is one.
``deeplog.entry_id``        Name that the sender gave the entry. Where it gave one.
``deeplog.group_id``        The group of anomalies alike. Not on scored records.
``deeplog.state``           ``open``, ``false_positive``, ``confirmed`` or ``explained``. Not on scored records.
``deeplog.is_muted``        Whether the group is muted. Not on scored records.
``deeplog.session_end``     Why the session ended: ``marker``, ``timeout`` or ``flush``. Ends of sessions only.
==========================  ==============================================================================

The record of an anomaly has the entry's text as its body (the reason, where the end of a session is meant), the entry's
time, and the severity WARN. A scored record keeps its own body, time, severity, attributes and resource.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deeplog_grpc.ingest.own import OUTPUT_ATTRIBUTE
from deeplog_grpc.ingest.records import Records
from deeplog_grpc.outputs.config import kind_name
from deeplog_grpc.serving.evidence import evidence_of
from deeplog_grpc.storage import StoredAnomaly, verdict_id
from deeplog_grpc.storage.redaction import Redactor
from deeplog_grpc.v1 import verdict_pb2

SEVERITY = "WARN"
_NAMES = frozenset({"deeplog.application", "deeplog.session", "deeplog.entry_id", "deeplog.verdict_id"})
"""Attributes by which one asks for what is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutRecord:
    """A log record that goes out."""

    body: str
    time_ns: int
    """Nanoseconds since 1970-01-01 UTC; 0 = not known."""
    severity: str = ""
    """Empty = what its attributes say."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""
    tag: str = ""
    """Of the Forward protocol; empty = that of the output."""


def anomaly_record(stored: StoredAnomaly, output: str) -> OutRecord:
    """The record of an anomaly."""
    evidence = evidence_of(stored)
    verdict = evidence.verdict
    attributes = {
        **verdict_attributes(verdict),
        "deeplog.verdict_id": verdict_id(stored.number),
        "deeplog.group_id": stored.group_id,
        "deeplog.state": stored.state.name.lower(),
        "deeplog.is_muted": stored.is_muted,
        OUTPUT_ATTRIBUTE: output,
    }
    if verdict.session_end != verdict_pb2.SESSION_END_REASON_UNSPECIFIED:
        name = verdict_pb2.SessionEndReason.Name(verdict.session_end)
        attributes["deeplog.session_end"] = name.removeprefix("SESSION_END_REASON_").lower()
    return OutRecord(
        body=evidence.body or verdict.reason,
        time_ns=stored.time_ns,
        severity=SEVERITY,
        attributes=attributes,
        resource={"service.name": stored.application, OUTPUT_ATTRIBUTE: output},
        scope="deeplog-grpc",
    )


def scored_record(
    records: Records,
    place: int,
    verdict: verdict_pb2.Verdict | None,
    output: str,
    resource: Mapping[str, Any],
) -> OutRecord:
    """A record with what was said of it; with nothing but the name of the output where it was not judged.

    Parameters
    ----------
    records : Records
    place : int
        Of the record.
    verdict : Verdict, optional
    output : str
    resource : mapping
        That of its origin, with the name of the output; one object for all records of an origin.
    """
    origin = records.origins[place]
    said = {} if verdict is None else verdict_attributes(verdict)
    return OutRecord(
        body=records.bodies[place],
        time_ns=records.times_ns[place],
        attributes={**records.attributes[place], **said, OUTPUT_ATTRIBUTE: output},
        resource=resource,
        scope=origin.scope,
        tag=origin.tag,
    )


def redacted_record(record: OutRecord, redactor: Redactor) -> OutRecord:
    """A record without secrets in its body and in texts of its attributes, but for those that this project gives names.

    A secret of the body is sought in the attributes too, where the words beside it may be missing.
    """
    body, hidden = redactor.with_hidden(record.body)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for secret, shown in hidden.items():
                value = shown if value == secret else value
            return redactor.text(value)
        if isinstance(value, Mapping):
            return {name: clean(inner) for name, inner in value.items()}
        return [clean(inner) for inner in value] if isinstance(value, list) else value

    attributes = {name: value if name in _NAMES else clean(value) for name, value in record.attributes.items()}
    return replace(record, body=body, attributes=attributes)


def verdict_attributes(verdict: verdict_pb2.Verdict) -> dict[str, Any]:
    """What a verdict says, as attributes; what it leaves empty is left out."""
    attributes: dict[str, Any] = {
        "deeplog.kind": kind_name(verdict.kind),
        "deeplog.score": round(verdict.score, 6),
        "deeplog.key": verdict.key,
        "deeplog.model_version": verdict.model_version,
        "deeplog.application": verdict.application,
        "deeplog.session": verdict.session,
        "deeplog.entry_id": verdict.entry_id,
    }
    if verdict.kind != verdict_pb2.KIND_NORMAL:
        attributes |= {
            "deeplog.verdict_id": verdict.verdict_id,
            "deeplog.reason": verdict.reason,
            "deeplog.template": verdict.template,
            "deeplog.diagnosis": verdict.diagnosis.text,
        }
    return {name: value for name, value in attributes.items() if value != ""}
