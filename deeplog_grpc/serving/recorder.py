"""Stores anomalies with their evidence, in the scoring thread and before they are answered.

What a client was told of can be asked for, and learned from. A store that fails must not stop the scoring: the
anomalies are answered without a name, counted and logged.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.serving.evidence import group_of
from deeplog_grpc.serving.recent import RecentEntries, RecentEntry
from deeplog_grpc.serving.redacting import redact_evidence
from deeplog_grpc.storage import AnomalyStore, NewAnomaly, verdict_id
from deeplog_grpc.storage.redaction import Redactor
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2

KEPT_CHARACTERS = 1_024
"""Of a body in the evidence."""

LAST_ROW = 1 << 60
"""Past the last row of any batch: a session that ended after it."""

_log = structlog.get_logger("deeplog_grpc.serving")


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """An abnormal verdict of a batch."""

    message: verdict_pb2.Verdict
    row: int
    """The entry of the batch that it is about, or at whose time a session ended; :data:`LAST_ROW` = after all of it."""

    @property
    def is_entry(self) -> bool:
        """Whether it is about that entry."""
        return self.message.session_end == verdict_pb2.SESSION_END_REASON_UNSPECIFIED

    @property
    def has_ended_by_its_row(self) -> bool:
        """Whether that entry is the last of the session; one that a time-out ended may begin anew with it."""
        return self.message.session_end == verdict_pb2.SESSION_END_REASON_MARKER


class AnomalyRecorder:
    """Gives anomalies their names and stores them.

    Parameters
    ----------
    store : AnomalyStore
    context_entries : int
        Entries of its session before an anomaly that are stored with it.
    redactor : Redactor, optional
        Takes secrets out of what is stored; what is answered stays as it is.
    """

    def __init__(self, store: AnomalyStore, *, context_entries: int, redactor: Redactor | None = None) -> None:
        self._store = store
        self._context_entries = context_entries
        self._redactor = redactor
        self._recent: defaultdict[str, RecentEntries] = defaultdict(RecentEntries)
        self.last_number = store.last_number()
        """Of the latest anomaly stored. Other threads may read it."""
        self.lost = 0
        """Anomalies that could not be stored."""

    def seen(self, application: str, batch: EntryBatch, sessions: Sequence[str]) -> None:
        """Take note of the entries of a batch."""
        self._recent[application].add(batch, sessions)

    def record(self, application: str, noted: Sequence[Noted], *, now_ns: int) -> None:
        """Store anomalies of the batch that was seen last, or of no batch, and name them in their messages.

        Parameters
        ----------
        now_ns : int
            Event time of the application, for anomalies that have none of their own.
        """
        if not noted:
            return
        recent = self._recent[application]
        places = [(one.message.session, one.row + one.has_ended_by_its_row) for one in noted]
        contexts = recent.before(places, self._context_entries)
        numbers = self._store.reserve(len(noted))
        rows = []
        for one, number, context in zip(noted, numbers, contexts, strict=True):
            one.message.verdict_id = verdict_id(number)
            evidence = _evidence(one, context, recent.body(one.row) if one.is_entry else "", self._redactor)
            rows.append(_row(evidence, number, now_ns))
        try:
            self._store.add(rows)
        except sqlite3.Error as error:
            self.lost += len(rows)
            _log.error("anomalies not stored", count=len(rows), error=str(error))
            for one in noted:
                one.message.verdict_id = ""
            return
        self.last_number = numbers[-1]


def _evidence(
    noted: Noted, context: Sequence[RecentEntry], body: str, redactor: Redactor | None
) -> anomaly_pb2.Anomaly:
    """What is stored of an anomaly, without secrets and cut to size."""
    seen = None if redactor is not None else KEPT_CHARACTERS  # cut last: half a secret is not known for one
    evidence = anomaly_pb2.Anomaly(
        verdict=noted.message,
        body=body[:seen],
        context=[
            anomaly_pb2.ContextEntry(time_unix_nano=max(0, seen_entry.time_ns), body=seen_entry.body[:seen])
            for seen_entry in context
        ],
    )
    if redactor is not None:
        redact_evidence(evidence, redactor)
        evidence.body = evidence.body[:KEPT_CHARACTERS]
        for entry in evidence.context:
            entry.body = entry.body[:KEPT_CHARACTERS]
    return evidence


def _row(evidence: anomaly_pb2.Anomaly, number: int, now_ns: int) -> NewAnomaly:
    message = evidence.verdict
    return NewAnomaly(
        number=number,
        application=message.application,
        kind=message.kind,
        key=message.key,
        session=message.session,
        group_id=group_of(message),
        time_ns=message.time_unix_nano or now_ns,
        score=message.score,
        evidence=evidence.SerializeToString(),
        template=message.template,
        reason=message.reason,
    )
