"""Start, health, drain and stop, over a real socket and with real signals."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from deeplog_grpc.client import AsyncDeepLogClient, DeepLogClient, StreamItem
from deeplog_grpc.errors import ConfigError, InputError, RefusedError
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig, serve
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.served import opened, port_of, started
from tests.integration.server_harness import BOUND_S, details, entries, request, running, status_in, until
from tests.unit.serving.fake_detector import FakeDetector

SERVICE = "deeplog_grpc.v1.DeepLogService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("name", [SERVICE, f"{SERVICE}/app"])
async def test_health_follows_the_life_of_the_server(name: str) -> None:
    async with running(stop=False) as up:
        health: Any = health_pb2_grpc.HealthStub
        watch = health(up.channel).Watch(health_pb2.HealthCheckRequest(service=name), timeout=BOUND_S)
        assert (await watch.read()).status == SERVING
        with up.server.queue.hold():
            waiting = asyncio.create_task(up.score(request(["open"])))
            await until(lambda: up.server.queue.waiting_entries == 1)
            stopping = asyncio.create_task(up.server.stop())
            assert (await watch.read()).status == NOT_SERVING
            alive = await health(up.channel).Check(health_pb2.HealthCheckRequest(service=""), timeout=BOUND_S)
        assert alive.status == SERVING  # nobody should kill what still answers
        assert (await waiting).entry_count == 1
        async with asyncio.timeout(BOUND_S):
            await stopping  # the watch, still open, does not hold it for the grace time of 30 s


async def test_reflection_lists_the_service_and_its_messages() -> None:
    async with running() as up:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub
        call = stub(up.channel).ServerReflectionInfo(timeout=BOUND_S)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = {service.name for service in (await call.read()).list_services_response.service}
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE))
        files = (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()
    assert {SERVICE, "grpc.health.v1.Health"} <= listed
    descriptor = FileDescriptorProto.FromString(files[0])
    assert [method.name for method in descriptor.service[0].method][:4] == ["Parse", "Score", "StreamScore", "Feedback"]


async def test_a_drain_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    async with running(stop=False) as up:
        call = up.stream()
        await call.write(pb.StreamScoreRequest(config=pb.StreamConfig()))
        await call.read()
        idle = up.stream()
        await idle.write(pb.StreamScoreRequest(config=pb.StreamConfig()))
        await idle.read()
        with up.server.queue.hold():
            await call.write(pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=4, entries=entries(["open"]))))
            waiting = asyncio.create_task(up.score(request(["write", "odd"])))
            await until(lambda: up.server.queue.waiting_entries == 3)
            stopping = asyncio.create_task(up.server.stop())
            await until(lambda: up.server.queue.draining)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await up.score(request(["open"]))
            with pytest.raises(grpc.aio.AioRpcError) as idle_end:
                await idle.read()
        assert (await waiting).entry_count == 2
        assert (await call.read()).result.sequence == 4
        with pytest.raises(grpc.aio.AioRpcError) as stream_end:
            await call.read()
        async with asyncio.timeout(BOUND_S):
            await stopping
    for error in (refused.value, idle_end.value, stream_end.value):
        found = details(status_in(error))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert found["ErrorInfo"].reason == "DRAINING"
        assert found["RetryInfo"].retry_delay.seconds == 1


async def test_a_stream_that_waits_for_room_is_told_of_the_stop() -> None:
    ingest = IngestConfig(max_entries_per_request=2)
    async with running(stop=False, ingest=ingest, max_queue_entries=2) as up:

        async def batches() -> AsyncIterator[StreamItem]:
            for _ in range(3):
                yield entries(["open"] * 2)

        codes: list[int] = []

        async def consume() -> None:
            async for result in up.client.stream(batches()):
                codes.append(result.status.code)  # noqa: PERF401 - the stream fails half-way, and the first part counts

        with up.server.queue.hold():
            consuming = asyncio.create_task(consume())
            await until(lambda: up.server.queue.waiting_entries == 2)
            stopping = asyncio.create_task(up.server.stop())
            await until(lambda: up.server.queue.draining)
        with pytest.raises(RefusedError):
            await consuming
        await stopping
    assert codes == [0]


async def test_work_that_outlasts_the_grace_is_cut_off_and_logged() -> None:
    server = Server({"app": FakeDetector()}, ServerConfig(listen="127.0.0.1:0", grace_s=0.05), IngestConfig())
    address = f"127.0.0.1:{await server.start()}"
    async with AsyncDeepLogClient(address, timeout_s=BOUND_S) as client:
        with server.queue.hold(), capture_logs() as logs:
            waiting = asyncio.create_task(client.score(entries(["open"])))
            await until(lambda: server.queue.waiting_entries == 1)
            async with asyncio.timeout(BOUND_S):
                await server.stop()
        waiting.cancel()
    assert [entry["waiting_entries"] for entry in logs if entry["log_level"] == "warning"] == [1]


async def test_a_taken_port_is_one_clear_line(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server({"app": FakeDetector()}, ServerConfig(listen=listen), IngestConfig())
        with pytest.raises(InputError) as caught:
            await server.start()
        await server.queue.close()
    assert str(caught.value) == (
        f"server.listen: cannot listen on {listen} (Address already in use): choose another, or port 0 for any free one"
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("detectors", "config", "field"),
    [
        ({}, ServerConfig(), ""),
        ({"app": FakeDetector()}, ServerConfig(max_queue_entries=9), "server.max_queue_entries"),
    ],
)
async def test_a_server_that_could_serve_nothing_is_refused(
    detectors: dict[str, FakeDetector], config: ServerConfig, field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Server(detectors, config, IngestConfig())
    assert caught.value.field == field


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_process_cleanly(number: signal.Signals, small_bundle: Path, tmp_path: Path) -> None:
    process = await started(small_bundle, tmp_path)
    try:
        async with asyncio.timeout(60):
            port, first = await port_of(process)
            with DeepLogClient(f"127.0.0.1:{port}") as client:
                response = await asyncio.to_thread(client.score, entries(["open secret-text"]))
                parsed = await asyncio.to_thread(client.parse, ["write b"])
                process.send_signal(number)
            _, rest = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    logged = first + rest
    assert response.verdicts[0].application == "orders"
    assert parsed.bodies[0].is_new
    assert process.returncode == 0
    events = [json.loads(line) for line in logged.splitlines()]
    assert [event["event"] for event in events] == ["serving", "draining", "stopped"]
    assert events[0]["port"] == port
    assert b"secret-text" not in logged


async def test_a_signal_that_comes_as_soon_as_it_serves_stops_it_cleanly(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed: list[int] = []
    start = Server.start

    async def signalled(server: Server) -> int:
        port = await start(server)
        os.kill(os.getpid(), signal.SIGTERM)
        return port

    monkeypatch.setattr(Server, "start", signalled)
    kept = opened(small_bundle, tmp_path)
    before = signal.signal(signal.SIGTERM, lambda number, _: missed.append(number))
    try:
        async with asyncio.timeout(BOUND_S):
            with capture_logs() as logged:
                server = Server(kept.detectors, ServerConfig(listen="127.0.0.1:0"), IngestConfig(), state=kept)
                await serve(server)
    finally:
        signal.signal(signal.SIGTERM, before)
        kept.close()
    assert not missed
    assert [event["event"] for event in logged] == ["serving", "draining", "stopped"]


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with DeepLogClient(address) as client, pytest.raises(RefusedError, match="cannot reach the server"):
        client.score(entries(["open"]))
