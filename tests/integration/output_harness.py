"""Outputs of a store, and little servers that take what they send."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgpack
from aiohttp import web
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from pydantic import TypeAdapter

from deeplog_grpc.ingest.forward_handshake import check_ping, hello
from deeplog_grpc.outputs.config import OutputsConfig
from deeplog_grpc.outputs.otlp import METHOD
from deeplog_grpc.outputs.service import Outputs
from deeplog_grpc.storage import AnomalyStore

BOUND_S = 30.0
FAST = {"retry_min_s": 0.01, "retry_max_s": 0.05, "start": "beginning"}


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 (any condition, also on what no event tells of)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    store: AnomalyStore, directory: Path, *, grace_s: float = 5.0, **outputs: dict[str, Any]
) -> AsyncIterator[Outputs]:
    """Outputs that run."""
    config = TypeAdapter(OutputsConfig).validate_python({name: FAST | keys for name, keys in outputs.items()})
    made = Outputs(config, store, directory, newest=store.last_number, grace_s=grace_s)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


class Web:
    """An HTTP server that answers as it is told, then with 200."""

    def __init__(self, *answers: web.Response) -> None:
        self.bodies: list[Any] = []
        """Of all requests, also of those that were refused."""
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.url = ""
        self._answers = list(answers)

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Web"]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "localhost", 0, ssl_context=tls)
        await site.start()
        (address, *_) = runner.addresses
        self.url = f"http{'s' if tls else ''}://localhost:{address[1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.bodies.append(json.loads(await request.read()))
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        return self._answers.pop(0) if self._answers else web.Response()


class Collector:
    """A server of ``LogsService/Export`` that answers as it is told, then OK."""

    def __init__(self, *answers: grpc.StatusCode, refuse: str = "", retry_after_s: int | None = None) -> None:
        self.bodies: list[str] = []
        """Of the records that were taken."""
        self.requests: list[ExportLogsServiceRequest] = []
        """All that came."""
        self.metadata: list[dict[str, Any]] = []
        self.target = ""
        self._answers = list(answers)
        self._refuse = refuse
        self._retry_after_s = retry_after_s

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Collector"]:
        server = grpc.aio.server()
        _, service, method = METHOD.split("/")
        handler = grpc.unary_unary_rpc_method_handler(
            self._export,
            request_deserializer=ExportLogsServiceRequest.FromString,
            response_serializer=ExportLogsServiceResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        self.target = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(0)

    async def _export(self, request: ExportLogsServiceRequest, context: Any) -> ExportLogsServiceResponse:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        bodies = [
            log.body.string_value
            for logs in request.resource_logs
            for scope in logs.scope_logs
            for log in scope.log_records
        ]
        if self._answers:
            await context.abort(self._answers.pop(0), "no", trailing_metadata=self._trailers())
        if self._refuse and self._refuse in bodies:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"I do not like {self._refuse}")
        self.bodies += bodies
        return ExportLogsServiceResponse()

    def _trailers(self) -> tuple[tuple[str, bytes], ...]:
        if self._retry_after_s is None:
            return ()
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromSeconds(self._retry_after_s)
        return (("grpc-status-details-bin", _status(info)),)


def _status(detail: Message) -> bytes:
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="no")
    status.details.add().Pack(detail)
    packed: bytes = status.SerializeToString()
    return packed


class Receiver:
    """A Forward receiver that withholds the first acknowledgements."""

    def __init__(self, *, withhold: int = 0, shared_key: str = "") -> None:
        self.messages: list[tuple[str, list[Any]]] = []
        """Tag and entries, of all messages that came."""
        self.connections = 0
        self.address = ""
        self._withhold = withhold
        self._shared_key = shared_key

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Receiver"]:
        server = await asyncio.start_server(self._connected, "localhost", 0, ssl=tls)
        self.address = f"localhost:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if not self._shared_key or await self._shake_hands(reader, writer):
                await self._receive(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonce = b"n" * 16
        writer.write(hello(nonce))
        said = check_ping(
            await reader.read(65_536),
            nonce=nonce,
            auth_salt=b"",
            shared_key=self._shared_key,
            users={},
            hostname="receiver",
        )
        writer.write(said.pong)
        await writer.drain()
        return said.ok

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unpacker = msgpack.Unpacker(strict_map_key=False)
        while found := await reader.read(65_536):
            unpacker.feed(found)
            for tag, entries, option in unpacker:
                inner = msgpack.Unpacker(strict_map_key=False)
                inner.feed(entries)
                self.messages.append((tag, list(inner)))
                if self._withhold:
                    self._withhold -= 1
                    return
                writer.write(msgpack.packb({"ack": option["chunk"]}))
                await writer.drain()
