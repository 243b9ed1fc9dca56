"""The receivers with clients that nobody here wrote: exporters of the OpenTelemetry SDK, a collector, a logger."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import rotel
from fluent.sender import FluentSender
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from deeplog_grpc.ingest import IngestConfig
from tests.integration.receiver_harness import TIME_NS, Receiving, raw_request, receiving
from tests.integration.server_harness import BOUND_S, until

BODIES = ["open a", "write b", "odd c", "end d"]
Exporter = Callable[[Receiving], Any]
EXPORTERS: dict[str, Exporter] = {
    "grpc": lambda up: GrpcExporter(endpoint=up.address, insecure=True),
    "grpc, gzip": lambda up: GrpcExporter(
        endpoint=up.address, insecure=True, compression=grpc.Compression.Gzip, headers={"x-deeplog-source": "node-1"}
    ),
    "http": lambda up: HttpExporter(endpoint=f"http://127.0.0.1:{up.ports['otlp_http']}/v1/logs"),
    "http, gzip": lambda up: HttpExporter(
        endpoint=f"http://127.0.0.1:{up.ports['otlp_http']}/v1/logs", compression=Compression.Gzip
    ),
    "http, deflate": lambda up: HttpExporter(
        endpoint=f"http://127.0.0.1:{up.ports['otlp_http']}/v1/logs", compression=Compression.Deflate
    ),
}


def log_with(exporter: Any, messages: list[str], *, one_by_one: bool = True) -> None:
    """Write log messages as an application does."""
    provider = LoggerProvider(resource=Resource.create({"service.name": "app"}), shutdown_on_exit=False)
    provider.add_log_record_processor(
        SimpleLogRecordProcessor(exporter) if one_by_one else BatchLogRecordProcessor(exporter)
    )
    logger = provider.get_logger("app.checkout")
    for place, message in enumerate(messages):
        logger.emit(timestamp=TIME_NS + place, body=message, severity_number=SeverityNumber.WARN)
    provider.shutdown()


@pytest.mark.parametrize("kind", EXPORTERS)
async def test_the_exporters_of_the_sdk(kind: str) -> None:
    async with receiving() as up:
        await asyncio.to_thread(log_with, EXPORTERS[kind](up), BODIES)
        assert up.bodies == BODIES


@pytest.mark.parametrize("kind", ["grpc", "http"])
async def test_the_exporters_of_the_sdk_come_again_while_there_is_no_room(kind: str) -> None:
    async with receiving(max_queue_entries=4, ingest=IngestConfig(max_entries_per_request=4)) as up:
        with up.server.queue.hold():
            first = asyncio.create_task(up.export(raw_request(BODIES)))
            await until(lambda: up.server.queue.waiting_entries == 4)
            logging = asyncio.create_task(
                asyncio.to_thread(log_with, EXPORTERS[kind](up), ["new e", "new f"], one_by_one=False)
            )
            await until(lambda: up.intake.refused > 0)
        await asyncio.gather(first, logging)
        assert up.bodies == [*BODIES, "new e", "new f"]


@asynccontextmanager
async def rotel_agent(endpoint: str, protocol: str, folder: Path) -> AsyncIterator[str]:
    """A collector that sends on what it gets; the address of its gRPC receiver."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        grpc_address, http_address = (f"127.0.0.1:{taken.getsockname()[1]}" for taken in (one, other))
    options = {
        "pid-file": folder / "pid",
        "log-file": folder / "log",
        "otlp-grpc-endpoint": grpc_address,
        "otlp-http-endpoint": http_address,
        "exporter": "otlp",
        "otlp-exporter-endpoint": endpoint,
        "otlp-exporter-protocol": protocol,
        "batch-timeout": "20ms",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        Path(rotel.__file__).with_name("rotel-agent"), "start", *arguments, env={**os.environ, "ROTEL_TELEMETRY": "off"}
    )
    try:
        await _listens(int(grpc_address.rpartition(":")[2]))
        yield grpc_address
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), BOUND_S)


async def _listens(port: int) -> None:
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_collector_in_between(protocol: str, tmp_path: Path) -> None:
    async with receiving() as up:
        port = up.port if protocol == "grpc" else up.ports["otlp_http"]
        async with rotel_agent(f"http://127.0.0.1:{port}", protocol, tmp_path) as address:
            exporter = GrpcExporter(endpoint=address, insecure=True)
            await asyncio.to_thread(log_with, exporter, BODIES, one_by_one=False)
            await until(lambda: len(up.bodies) >= len(BODIES))
        assert up.bodies == BODIES


async def test_a_collector_comes_again_while_there_is_no_room(tmp_path: Path) -> None:
    async with receiving(max_queue_entries=4, ingest=IngestConfig(max_entries_per_request=4)) as up:
        async with rotel_agent(f"http://{up.address}", "grpc", tmp_path) as address:
            with up.server.queue.hold():
                first = asyncio.create_task(up.export(raw_request(BODIES)))
                await until(lambda: up.server.queue.waiting_entries == 4)
                exporter = GrpcExporter(endpoint=address, insecure=True)
                await asyncio.to_thread(log_with, exporter, ["new e"], one_by_one=False)
                await until(lambda: up.intake.refused > 0)
            await first
            await until(lambda: len(up.bodies) >= 5)
        assert up.bodies == [*BODIES, "new e"]


@pytest.mark.parametrize("nanoseconds", [False, True])
async def test_the_fluent_logger(nanoseconds: bool) -> None:
    def send(port: int) -> None:
        sender = FluentSender("shop", host="127.0.0.1", port=port, nanosecond_precision=nanoseconds)
        for body in BODIES:
            assert sender.emit("cart", {"log": body})
        sender.close()

    async with receiving() as up:
        await asyncio.to_thread(send, up.ports["forward"])
        await until(lambda: len(up.bodies) >= len(BODIES))
        assert up.bodies == BODIES
