"""A real server in a thread of its own, with a trained application, everything it can listen to, and a watch on it."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import structlog
from google.rpc import code_pb2, error_details_pb2, status_pb2

from deeplog_grpc.detection import DetectorConfig
from deeplog_grpc.feedback import DriftConfig, FeedbackConfig
from deeplog_grpc.ingest import IngestConfig, RecordIngest, RoutingConfig
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig, attach
from deeplog_grpc.serving import Server, ServerConfig, ServerState
from deeplog_grpc.storage import StateConfig, bundle_checksum, load_bundle
from deeplog_grpc.training import LearningConfig
from deeplog_grpc.v1 import anomaly_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.fuzz.hostile import CANARY
from tests.integration.served import FULL, order_of, with_message
from tests.trained import LATER_S

DEEPLOG = "deeplog_grpc.v1.DeepLogService"
APPLICATION = "orders"
CALL_S = 60.0
"""No call takes longer, on the most loaded of machines."""
MAX_BLOCKED_S = 2.0
"""Processor time that one step of the event loop may take: what waits behind it waits as long. A message of the largest
size that is sent here takes a fifth of it."""
MAX_MESSAGE_BYTES = 4 << 20
_TICK_S = 0.02

_DOCUMENTED = {
    grpc.StatusCode.INVALID_ARGUMENT: code_pb2.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND: code_pb2.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION: code_pb2.FAILED_PRECONDITION,
    grpc.StatusCode.UNAVAILABLE: code_pb2.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: code_pb2.DEADLINE_EXCEEDED,
}
_NAMES_ARE_LOGGED = {"feedback_id": "", "application": ""}
"""What operators call their orders, and clients their applications: to be found in the log, and never log text."""
_NEVER = ("INTERNAL", "INTERNAL_RETRY", "CANNOT_BE_JUDGED")
"""Reasons for what is the server's fault."""


@dataclass(slots=True)
class Watched:
    """What a server did while it was fuzzed."""

    events: list[dict[str, Any]] = field(default_factory=list)
    """Its log."""
    blocked_s: float = 0.0
    """The longest processor time between two looks of the event loop."""
    loop_errors: list[str] = field(default_factory=list)
    """What ended in the event loop's own handler, which nobody foresaw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzedServer:
    """The server under test, seen from a client's thread."""

    port: int
    ports: dict[str, int]
    channel: grpc.Channel
    """Without retries."""
    watched: Watched
    good: dict[str, list[str]]
    """Field -> texts that mean something to this server."""

    def call(self, path: str, raw: bytes, *, metadata: Sequence[tuple[str, str]] = ()) -> bytes | status_pb2.Status:
        """Answer of a unary method, or the status that it was refused with: a documented one, or this fails."""
        try:
            method: Any = self.channel.unary_unary(path)
            answer: bytes = method(raw, timeout=CALL_S, metadata=metadata)
        except grpc.RpcError as error:
            return documented(error)
        return answer

    def check_well(self) -> None:
        """Fail if the server does not answer a good request, or something happened that nobody foresaw."""
        entries = order_of(None)
        request = pb.ScoreRequest(entries=entries, options=FULL)
        answer = self.call(f"/{DEEPLOG}/Score", request.SerializeToString())
        assert isinstance(answer, bytes), answer
        assert len(pb.ScoreResponse.FromString(answer).verdicts) == len(entries)
        self.check_watched()

    def check_watched(self) -> None:
        """Fail if the log says of something unexpected, or says what was in a log entry, or the event loop stood."""
        watched = self.watched
        bad = [event for event in watched.events if event.get("log_level") in ("error", "critical")]
        assert not bad, bad[0]
        leaks = [event for event in watched.events if CANARY in repr({**event, **_NAMES_ARE_LOGGED})]
        assert not leaks, leaks[0]
        assert not watched.loop_errors, watched.loop_errors[0]
        assert watched.blocked_s < MAX_BLOCKED_S, f"the event loop stood for {watched.blocked_s:.2f} s"


def documented(error: grpc.RpcError) -> status_pb2.Status:
    """The rich status of a refusal that docs/server.md knows; fails for any other."""
    failed: Any = error  # what a call raises is the call too
    code, metadata = failed.code(), dict(failed.trailing_metadata() or ())
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:  # an oversize message: gRPC itself answers
        return status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED)
    assert code in _DOCUMENTED, f"{code}: {failed.details()}"
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    assert status.code == _DOCUMENTED[code]
    check_status(status)
    return status


def check_status(status: status_pb2.Status) -> None:
    """Fail if a status blames the server, or is not of the form that is documented."""
    assert reason_of(status) not in _NEVER, status
    assert "Traceback" not in status.message
    assert "Error(" not in status.message, status.message
    assert len(status.SerializeToString()) < 8_192


def reason_of(status: status_pb2.Status) -> str:
    """The reason in a status's details."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "deeplog-grpc"
    reason: str = info.reason
    return reason


@contextmanager
def fuzzed_server(bundle: Path, directory: Path) -> Iterator[FuzzedServer]:
    """A server that runs meanwhile, and is well at the end."""
    watched = Watched()
    structlog.configure(processors=[structlog.processors.add_log_level, _record_in(watched)])
    started: Future[tuple[int, dict[str, int]]] = Future()
    stop = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(bundle, directory, watched, started, stop)), name="fuzzed server"
    )
    thread.start()
    try:
        port, ports = started.result(CALL_S)
        options = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            server = FuzzedServer(port=port, ports=ports, channel=channel, watched=watched, good={})
            server.good.update(_what_is_known(server))
            watched.events.clear()
            yield server
    finally:
        stop.set()
        thread.join(CALL_S)
        structlog.reset_defaults()
    assert not thread.is_alive()


def _note_loop_error(watched: Watched, context: str) -> None:
    # gRPC has one poller for all event loops of a process: what it has left for a loop of a test before ends here.
    if "PollerCompletionQueue" not in context or "Event loop is closed" not in context:
        watched.loop_errors.append(context)


async def _serve(
    bundle: Path,
    directory: Path,
    watched: Watched,
    started: "Future[tuple[int, dict[str, int]]]",
    stop: threading.Event,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: _note_loop_error(watched, repr(context)))
    model = load_bundle(bundle)
    state = ServerState(
        directory,
        {model.application: (model, bundle_checksum(bundle))},
        state=StateConfig(),
        feedback=FeedbackConfig(margin=0.05),
        drift=DriftConfig(),
        detector=DetectorConfig(cold_start_s=0.0, cache_mb=8),
        # Trained on request only: that takes a process of its own.
        learning=LearningConfig(max_applications=20, min_entries=10**9, max_s=1e9),
    )
    config = ServerConfig(listen="127.0.0.1:0", max_message_bytes=MAX_MESSAGE_BYTES)
    server = Server(state.detectors, config, IngestConfig(), state=state)
    receivers = ReceiversConfig(
        otlp_http=OtlpHttpConfig(listen="127.0.0.1:0"), forward=ForwardConfig(listen="127.0.0.1:0")
    )
    attach(server, receivers, RecordIngest(server.applications, IngestConfig(), RoutingConfig()))
    started.set_result((await server.start(), server.ports))
    before_s = time.thread_time()
    while not stop.is_set():
        await asyncio.sleep(_TICK_S)
        now_s = time.thread_time()
        watched.blocked_s, before_s = max(watched.blocked_s, now_s - before_s), now_s
    await server.stop()
    state.close()


def _record_in(watched: Watched) -> Any:
    def record(logger: Any, method: str, event: Any) -> Any:
        watched.events.append({**event, "log_level": method})
        raise structlog.DropEvent

    return record


def _what_is_known(server: FuzzedServer) -> dict[str, list[str]]:
    """Names of things that are there, after some anomalies have been found."""
    bodies = ["order accepted 17 EUR", f"payment of {CANARY} refused", "disk full"]
    entries = [*with_message("a valve stuck at nowhere", session="hostile-1"), *with_message(bodies[0], session="s-2")]
    request = pb.ScoreRequest(entries=[*entries, *_stray(bodies)], options=FULL, flush=pb.Flush())
    server.call(f"/{DEEPLOG}/Score", request.SerializeToString())
    found = server.call(f"/{DEEPLOG}/ListAnomalies", b"")
    assert isinstance(found, bytes)
    anomalies = anomaly_pb2.ListAnomaliesResponse.FromString(found).anomalies
    assert anomalies
    names = [one.verdict.verdict_id for one in anomalies]
    return {
        "application": [APPLICATION, APPLICATION, "", "billing"],
        "session": ["", "hostile-1", "s-2", "s-3"],
        "verdict_id": names,
        "verdict_ids": names,
        "after_verdict_id": names,
        "page_token": names,
        "group_id": [one.group_id for one in anomalies],
        "feedback_id": ["", "f-1", "f-2"],
        "batch_id": ["", "b-1", "b-2"],
        "body": [entry.body for entry in entries],
    }


def _stray(bodies: list[str]) -> list[LogEntry]:
    start_ns = int((LATER_S + 500) * 1e9)
    return [LogEntry(body=body, session="s-3", time_unix_nano=start_ns + place) for place, body in enumerate(bodies)]
