"""A real server with all receivers on free ports, with fake detectors, for the tests beside."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from deeplog_grpc.ingest import IngestConfig, RecordIngest, Records, RoutingConfig
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig, attach
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.serving.detectors import Scorer
from deeplog_grpc.serving.intake import Intake, RecordSink
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.server_harness import BOUND_S
from tests.unit.serving.fake_detector import FakeDetector

EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
TIME_NS = 1_714_557_600_000_000_001


class RecordedDetector(FakeDetector):
    """Remembers all that it was given."""

    def __init__(self, application: str) -> None:
        super().__init__(application)
        self.bodies: list[str] = []

    def score(self, batch: Any) -> Any:
        scored = super().score(batch)
        self.bodies += batch.bodies
        return scored


class ListSink:
    """Keeps what is passed on."""

    def __init__(self) -> None:
        self.taken: list[tuple[Records, pb.ScoreResponse]] = []
        self.error: Exception | None = None

    def add(self, records: Records, response: pb.ScoreResponse) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append((records, response))


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiving:
    """A server under test."""

    server: Server
    detectors: dict[str, RecordedDetector]
    port: int
    channel: grpc.aio.Channel
    """Without retries."""
    intake: Intake

    @property
    def ports(self) -> dict[str, int]:
        """Of the listeners."""
        return self.server.ports

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[str]:
        """All that was scored, of the first application."""
        return next(iter(self.detectors.values())).bodies

    async def call(self, path: str, raw: bytes, **call: Any) -> bytes:
        method: Any = self.channel.unary_unary(path)
        answer: bytes = await method(raw, **{"timeout": BOUND_S, **call})
        return answer

    async def export(self, raw: bytes, **call: Any) -> ExportLogsServiceResponse:
        return ExportLogsServiceResponse.FromString(await self.call(EXPORT, raw, **call))


@asynccontextmanager
async def receiving(
    *applications: str,
    ingest: IngestConfig | None = None,
    peers: LimitsConfig | None = None,
    http: dict[str, Any] | None = None,
    forward: dict[str, Any] | None = None,
    sink: RecordSink | None = None,
    stop: bool = True,
    **config: Any,
) -> AsyncIterator[Receiving]:
    detectors = {name: RecordedDetector(name) for name in applications or ("app",)}
    limits = ingest or IngestConfig()
    scorers: dict[str, Scorer] = {**detectors}
    server = Server(scorers, ServerConfig(listen="127.0.0.1:0", **config), limits, limits=peers)
    receivers = ReceiversConfig(
        otlp_http=OtlpHttpConfig(**{"listen": "127.0.0.1:0", **(http or {})}),
        forward=ForwardConfig(**{"listen": "127.0.0.1:0", **(forward or {})}),
    )
    records = RecordIngest(server.applications, limits, RoutingConfig())
    intake = attach(server, receivers, records, sink=sink)
    port = await server.start()
    options = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield Receiving(
            server=server,
            detectors=detectors,
            port=port,
            channel=channel,
            intake=intake,
        )
    if stop:
        await server.stop()


def export_request(
    bodies: Iterable[str],
    *,
    attributes: dict[str, str] | None = None,
    resource: dict[str, str] | None = None,
    **fields: Any,
) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    for key, value in (resource or {}).items():
        resource_logs.resource.attributes.add(key=key).value.string_value = value
    scope_logs = resource_logs.scope_logs.add()
    for place, body in enumerate(bodies):
        record = scope_logs.log_records.add(**{"time_unix_nano": TIME_NS + place, **fields})
        record.body.string_value = body
        for key, value in {"trace_id": "s", **(attributes or {})}.items():
            record.attributes.add(key=key).value.string_value = value
    return request


def raw_request(bodies: Sequence[str], **fields: Any) -> bytes:
    return export_request(bodies, **fields).SerializeToString()
