"""Request messages -> jobs: every check that a request has to pass before it may wait in the queue."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import (
    Applications,
    Defaults,
    IngestConfig,
    LenientDecoder,
    LenientMessage,
    NativeIngest,
    RoutingConfig,
    text,
)
from deeplog_grpc.serving.answers import AnswerOptions
from deeplog_grpc.serving.scoring import FlushOrder, ParseJob, ScoreJob
from deeplog_grpc.serving.status import EntriesRejectedError, check_any_in_scope
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

_NOTHING = b"\0"


MAX_NAME_BYTES = 256
"""Of the name of a delivery or a client: a UUID and more, and little to remember."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """A ``ScoreOptions`` message, checked."""

    answer: AnswerOptions
    defaults: Defaults


class RequestReader:
    """Reads and checks requests for the applications of a server.

    All methods raise :class:`~deeplog_grpc.errors.InputError` for what is wrong with a request as a whole.

    Parameters
    ----------
    applications : Applications
        Say which applications take entries.
    config : IngestConfig
        Limits.
    routing : RoutingConfig
        What attributes of entries say.
    """

    def __init__(self, applications: Applications, config: IngestConfig, routing: RoutingConfig) -> None:
        self._ingest = NativeIngest(applications, config, routing)
        self._score_request = LenientDecoder("ScoreRequest")
        self._parse_request = LenientDecoder("ParseRequest")

    def parse_job(self, raw: bytes) -> ParseJob:
        """Read a ``ParseRequest``."""
        request = self._parse_request(raw)
        application = self._ingest.application(text(request.application), field="application")
        if not request.bodies:
            raise InputError("must not be empty: send the bodies to parse", field="bodies")
        self._ingest.check_count(len(request.bodies), field="bodies")
        for index, body in enumerate(request.bodies):
            self._ingest.check_body(body, field=f"bodies[{index}]")
        return ParseJob(application=application, bodies=tuple(text(body) for body in request.bodies))

    def score_job(self, raw: bytes) -> ScoreJob:
        """Read a ``ScoreRequest``."""
        return self.job_of(self.score_request(raw), raw)

    def score_request(self, raw: bytes) -> LenientMessage:
        """Decode a ``ScoreRequest``."""
        return self._score_request(raw)

    def job_of(self, request: LenientMessage, raw: bytes) -> ScoreJob:
        """Make the job of a lenient ``ScoreRequest``, given its bytes too."""
        flush = request.flush if request.HasField("flush") else None
        options = self.options(request.options, field="options")
        return self.job(request.entries, options, flush, plain=self._score_request.plain(raw).entries)

    def options(self, options: Any, *, field: str) -> RequestOptions:
        """Read a lenient ``ScoreOptions``; ``field`` is where it stands in its request."""
        for name, known in (("selection", pb.VerdictSelection), ("detail", pb.VerdictDetail)):
            value = getattr(options, name)
            if value not in known.values():
                raise InputError(f"{value} is not one of {', '.join(known.keys())}", field=f"{field}.{name}")
        answer = AnswerOptions(
            anomalies_only=options.selection == pb.VERDICT_SELECTION_ANOMALIES,
            full=options.detail == pb.VERDICT_DETAIL_FULL,
        )
        return RequestOptions(answer=answer, defaults=self._ingest.defaults(options, field=field))

    def job(
        self, entries: Sequence[Any], options: RequestOptions, flush: Any | None, *, plain: Sequence[Any] = ()
    ) -> ScoreJob:
        """Make a job of lenient ``LogEntry`` messages [n], as plain ones too, and a lenient ``Flush`` or None."""
        if not entries and flush is None:
            raise InputError("must not be empty: send log entries", field="entries")
        self._ingest.check_count(len(entries), field="entries")
        order = None if flush is None else self._flush_order(flush, options.defaults)
        ingested = self._ingest.ingest(entries, options.defaults, arrival_ns=time.time_ns(), plain=plain)
        if entries and not ingested.parts:
            check_any_in_scope(ingested.faults)
            raise EntriesRejectedError(ingested.faults)
        return ScoreJob(
            parts=ingested.parts,
            faults=ingested.faults,
            flush=order,
            options=options.answer,
            entry_count=len(entries),
        )

    def _flush_order(self, flush: Any, defaults: Defaults) -> FlushOrder:
        name = text(flush.application) or defaults.application
        self._ingest.check_count(len(flush.sessions), field="flush.sessions")
        return FlushOrder(
            application=self._ingest.application(name, field="flush.application"),
            sessions=tuple(text(session) for session in flush.sessions),
        )


def content_digest(entries: Sequence[Any], flush: Any | None) -> bytes:
    """Digest of lenient ``LogEntry`` messages [n] and a lenient ``Flush``, to tell one delivery from another.

    Of texts, sessions and ids only: the same attributes are encoded in another order each time by some senders.
    """
    digest = hashlib.sha256(_NOTHING if flush is None else flush.SerializeToString(deterministic=True))
    for name in ("body", "session", "entry_id"):
        cells = [getattr(entry, name) for entry in entries]
        digest.update(f"{name} {len(cells)} {','.join(map(str, map(len, cells)))} ".encode())
        digest.update(b"".join(cells))
    return digest.digest()


def check_name(name: bytes, *, field: str) -> None:
    """Refuse a name of a delivery or a client that is too long to be remembered.

    Raises
    ------
    InputError
        If it has more than ``MAX_NAME_BYTES``.
    """
    if len(name) > MAX_NAME_BYTES:
        raise InputError(f"{len(name)} bytes are more than {MAX_NAME_BYTES}: shorten it", field=field)
