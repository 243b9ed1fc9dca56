"""Traces of calls: spans, their parents and links, what the log says meanwhile, and their export."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.serving.logs import LogsConfig, configure_logging
from deeplog_grpc.serving.tracing import Tracing
from deeplog_grpc.serving.tracing_config import TracingConfig, start_tracing
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.server_harness import BOUND_S, entries, request, until
from tests.unit.serving.fake_detector import FakeDetector

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
SCORE, STREAM = "/deeplog_grpc.v1.DeepLogService/Score", "/deeplog_grpc.v1.DeepLogService/StreamScore"


@pytest.fixture(autouse=True)
def _logger_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("opentelemetry")
    handlers, propagate = logger.handlers, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate


@asynccontextmanager
async def traced(tracing: Tracing) -> AsyncIterator[tuple[Server, Any]]:
    """A server whose calls are traced, and a channel to it."""
    server = Server(
        {"app": FakeDetector("app")}, ServerConfig(listen="127.0.0.1:0"), IngestConfig(), interceptors=[tracing]
    )
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_retries", 0)]) as channel:
        yield server, channel
    await server.stop()


async def scored(channel: Any, *bodies: str, metadata: Any = SAMPLED) -> None:
    raw = request(bodies).SerializeToString()
    await channel.unary_unary(SCORE)(raw, metadata=metadata, timeout=BOUND_S)


def finished(tracing: Tracing, kept: InMemorySpanExporter) -> list[Any]:
    """The spans; of no type, for theirs says that everything in them may be missing."""
    tracing.close()
    return list(kept.get_finished_spans())


async def test_a_call_has_spans_under_that_of_its_client() -> None:
    kept = InMemorySpanExporter()
    tracing = Tracing(kept, sample_share=0.0)
    async with traced(tracing) as (_, channel):
        await scored(channel, "open", "write")
    spans = {span.name: span for span in finished(tracing, kept)}
    call = spans.pop("deeplog_grpc.v1.DeepLogService/Score")
    assert list(spans) == ["decode", "queue wait", "scoring run", "answer"]
    assert (call.kind, f"{call.context.trace_id:032x}", f"{call.parent.span_id:016x}") == (
        SpanKind.SERVER,
        *(TRACE, PARENT),
    )
    assert call.attributes["rpc.grpc.status_code"] == 0
    assert spans["scoring run"].attributes == {"entries": 2, "jobs": 1}
    times = [call.start_time]
    for span in spans.values():
        assert span.parent.span_id == call.context.span_id
        times += [span.start_time, span.end_time]
    assert times == sorted(times)
    assert times[-1] <= call.end_time


async def test_calls_of_one_run_are_linked() -> None:
    kept = InMemorySpanExporter()
    tracing = Tracing(kept, sample_share=1.0)
    async with traced(tracing) as (server, channel):
        with server.queue.hold():
            calls = [asyncio.create_task(scored(channel, "open", metadata=())) for _ in range(3)]
            await until(lambda: server.queue.waiting_entries == 3)
        await asyncio.gather(*calls)
    runs = [span for span in finished(tracing, kept) if span.name == "scoring run"]
    first, *others = sorted(runs, key=lambda span: len(span.links))
    assert not first.links
    assert [link.context for span in others for link in span.links] == [first.context] * 2
    assert len({span.context.trace_id for span in runs}) == 3


async def test_a_stream_is_one_span_with_its_messages_runs() -> None:
    kept = InMemorySpanExporter()
    tracing = Tracing(kept, sample_share=0.0)
    async with traced(tracing) as (_, channel):
        stream = channel.stream_stream(STREAM)(metadata=SAMPLED, timeout=BOUND_S)
        await stream.write(pb.StreamScoreRequest(config=pb.StreamConfig()).SerializeToString())
        await stream.read()
        for sequence in (1, 2):
            batch = pb.EntryBatch(sequence=sequence, entries=entries(["open"]))
            await stream.write(pb.StreamScoreRequest(batch=batch).SerializeToString())
            await stream.read()
        await stream.done_writing()
        assert await stream.read() == grpc.aio.EOF
    names = sorted(span.name for span in finished(tracing, kept))
    assert names == ["deeplog_grpc.v1.DeepLogService/StreamScore", *["queue wait"] * 2, *["scoring run"] * 2]


async def test_errors_and_those_who_do_not_want_it() -> None:
    kept = InMemorySpanExporter()
    tracing = Tracing(kept, sample_share=0.0)
    async with traced(tracing) as (_, channel):
        await scored(channel, "open", metadata=())
        await scored(channel, "open", metadata=(("traceparent", "no such thing"),))
        for body in ("crash", ""):
            with pytest.raises(grpc.aio.AioRpcError):
                await scored(channel, body)
        await channel.unary_unary("/grpc.health.v1.Health/Check")(b"", metadata=SAMPLED, timeout=BOUND_S)
    calls = [span for span in finished(tracing, kept) if span.kind is SpanKind.SERVER]
    assert [(span.attributes["rpc.grpc.status_code"], span.status.is_ok) for span in calls] == [(14, False), (3, True)]
    assert "crash" not in str([span.to_json() for span in calls])


async def test_what_is_logged_during_a_call_has_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    tracing = Tracing(InMemorySpanExporter(), sample_share=0.0)
    before = structlog.get_config()
    configure_logging(LogsConfig(format="json"))
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stdout))
    try:
        async with traced(tracing) as (_, channel):
            with pytest.raises(grpc.aio.AioRpcError):
                await scored(channel, "crash")
    finally:
        structlog.configure(**before)
        tracing.close()
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (error,) = [event for event in logged if event["level"] == "error"]
    assert error["trace_id"] == TRACE
    assert len(error["span_id"]) == 16
    assert all("trace_id" not in event for event in logged if event["event"] == "serving")


async def test_spans_arrive_at_a_collector_with_the_headers_of_the_file(tmp_path: Path) -> None:
    taken: list[tuple[ExportTraceServiceRequest, dict[str, Any]]] = []

    async def export(raw: bytes, context: Any) -> bytes:
        taken.append((ExportTraceServiceRequest.FromString(raw), dict(context.invocation_metadata())))
        return b""

    collector = grpc.aio.server()
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    methods: dict[str, Any] = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    collector.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = collector.add_insecure_port("127.0.0.1:0")
    await collector.start()
    headers = tmp_path / "headers"
    headers.write_text("# of the collector\nAuthorization: Bearer abc\n")
    tracing = start_tracing(TracingConfig(endpoint=f"http://127.0.0.1:{port}", headers_file=headers))
    assert tracing is not None
    async with traced(tracing) as (_, channel):
        await scored(channel, "open")
    await asyncio.to_thread(tracing.close)
    await collector.stop(None)
    (resource,) = taken[0][0].resource_spans
    attributes = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert attributes["service.name"] == "deeplog-grpc"
    assert len(resource.scope_spans[0].spans) == 5
    assert taken[0][1]["authorization"] == "Bearer abc"


async def test_a_collector_that_is_away_is_said_without_what_it_was_sent() -> None:
    tracing = start_tracing(TracingConfig(endpoint="http://127.0.0.1:1", sample_share=1.0))
    assert tracing is not None
    with structlog.testing.capture_logs() as logs:
        logging.getLogger("opentelemetry.exporter").error("failed to export %s", "a secret")
    tracing.close()
    assert [(one["event"], one["where"]) for one in logs] == [
        ("traces are not exported as they should be", "opentelemetry.exporter")
    ]


def test_no_endpoint_no_traces() -> None:
    assert start_tracing(TracingConfig()) is None


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deeplog_grpc.serving.tracing", None)
    with pytest.raises(ConfigError, match=r"^tracing\.endpoint: .*pip install 'deeplog-grpc\[tracing\]'"):
        start_tracing(TracingConfig(endpoint="http://127.0.0.1:4317"))


def test_bad_endpoints_and_headers_are_told_without_their_content(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^tracing\.endpoint: 'collector:4317' is not http"):
        start_tracing(TracingConfig(endpoint="collector:4317"))
    with pytest.raises(ConfigError, match=r"^tracing\.headers_file: .* cannot be read: No such file"):
        start_tracing(TracingConfig(endpoint="http://c:1", headers_file=tmp_path / "none"))
    (tmp_path / "bad").write_text("\nsecret-token\n")
    with pytest.raises(ConfigError, match=r"line 2 of .* is not 'name: value'") as caught:
        start_tracing(TracingConfig(endpoint="http://c:1", headers_file=tmp_path / "bad"))
    assert "secret" not in str(caught.value)
