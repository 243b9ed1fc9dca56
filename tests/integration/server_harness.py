"""A real server on a free port, with fake detectors, for the tests beside."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.unit.serving.fake_detector import FakeDetector

BOUND_S = 20.0
"""No wait of a test takes longer; a sound run needs milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server under test."""

    server: Server
    detectors: dict[str, FakeDetector]
    address: str
    channel: grpc.aio.Channel
    """Without retries, so that a test sees each refusal."""
    client: AsyncDeepLogClient
    methods: dict[str, Any] = field(default_factory=dict)

    def raw(self, method: str) -> Any:
        """A unary method that takes and returns bytes."""
        return self.channel.unary_unary(f"/deeplog_grpc.v1.DeepLogService/{method}")

    async def score(self, request: pb.ScoreRequest, **call: Any) -> pb.ScoreResponse:
        reply = await self.raw("Score")(request.SerializeToString(), **{"timeout": BOUND_S, **call})
        return pb.ScoreResponse.FromString(reply)

    def stream(self) -> Any:
        return self.channel.stream_stream(
            "/deeplog_grpc.v1.DeepLogService/StreamScore",
            request_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
            response_deserializer=pb.StreamScoreResponse.FromString,
        )(timeout=BOUND_S)


@asynccontextmanager
async def running(
    *applications: str,
    ingest: IngestConfig | None = None,
    limits: LimitsConfig | None = None,
    stop: bool = True,
    timeout_ns: int = 0,
    **config: Any,
) -> AsyncIterator[Running]:
    detectors = {name: FakeDetector(name, timeout_ns=timeout_ns) for name in applications or ("app",)}
    settings = ServerConfig(**{"listen": "127.0.0.1:0", **config})
    server = Server(detectors, settings, ingest or IngestConfig(), limits=limits)
    address = f"127.0.0.1:{await server.start()}"
    options = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel, AsyncDeepLogClient(address) as client:
        yield Running(server=server, detectors=detectors, address=address, channel=channel, client=client)
    if stop:
        await server.stop()


def entries(bodies: Iterable[str], **fields: Any) -> list[LogEntry]:
    return [LogEntry(body=body, **{"session": "s", **fields}) for body in bodies]


def request(bodies: Iterable[str], **fields: Any) -> pb.ScoreRequest:
    return pb.ScoreRequest(entries=entries(bodies), **fields)


def status_in(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The rich status of a failed call."""
    metadata = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(metadata["grpc-status-details-bin"])


def details(status: status_pb2.Status) -> dict[str, Any]:
    """The details of a status, by the name of their type."""
    found: dict[str, Any] = {}
    for packed in status.details:
        detail = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])()
        assert packed.Unpack(detail)
        found[type(detail).__name__] = detail
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait, within the bound, for something that happens elsewhere."""
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)
