"""OTLP logs over HTTP, over a real socket."""

import asyncio
import gzip
import json
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import zstandard
from google.protobuf import json_format
from google.rpc import code_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from structlog.testing import capture_logs

from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving.limits_config import LimitsConfig
from tests.integration.receiver_harness import Receiving, export_request, raw_request, receiving
from tests.integration.server_harness import BOUND_S, until

BODIES = ["open a", "write b", "odd c", "end d"]
PROTOBUF, JSON = "application/x-protobuf", "application/json"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def json_request(bodies: list[str], **fields: Any) -> bytes:
    return json_format.MessageToJson(export_request(bodies, **fields)).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Any
    body: bytes


@asynccontextmanager
async def http(*applications: str, **options: Any) -> AsyncIterator[tuple[Receiving, Callable[..., Any]]]:
    """A server, and a way to send it requests."""
    async with receiving(*applications, **options) as up, aiohttp.ClientSession() as session:

        async def send(
            body: bytes, *, kind: str = PROTOBUF, method: str = "POST", path: str = "/v1/logs", **headers: str
        ) -> Answer:
            sent = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
            url = f"http://127.0.0.1:{up.ports['otlp_http']}{path}"
            timeout = aiohttp.ClientTimeout(BOUND_S)
            async with session.request(method, url, data=body, headers=sent, timeout=timeout) as response:
                return Answer(response.status, response.headers, await response.read())

        yield up, send


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
@pytest.mark.parametrize("encoding", COMPRESS)
async def test_each_form_is_scored_and_answered_in_kind(kind: str, encoding: str) -> None:
    raw = raw_request(BODIES) if kind == PROTOBUF else json_request(BODIES)
    async with http() as (up, send):
        answer = await send(COMPRESS[encoding](raw), kind=kind, Content_Encoding=encoding)
        assert up.bodies == BODIES
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert answer.body == (b"" if kind == PROTOBUF else b"{}")


async def test_rejected_records_are_told_in_the_answer() -> None:
    fields = {"resource": {"service.name": "three"}}
    async with http("one", "two") as (_, send):
        with capture_logs():
            told = ExportLogsServiceResponse.FromString((await send(raw_request(["open"], **fields))).body)
            told_in_json = json.loads((await send(json_request(["open"], **fields), kind=JSON)).body)
    assert told.partial_success.rejected_log_records == 1
    assert "three" in told.partial_success.error_message
    assert told_in_json["partialSuccess"]["rejectedLogRecords"] == "1"


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, {"body": b"\xff\xff"}),
        (400, {"body": b"{", "kind": JSON}),
        (400, {"body": b"no gzip", "Content_Encoding": "gzip"}),
        (400, {"body": b"no deflate", "Content_Encoding": "deflate"}),
        (400, {"body": zlib.compress(b"abc")[:-3], "Content_Encoding": "deflate"}),
        (400, {"body": gzip.compress(bytes(2**20)), "Content_Encoding": "gzip"}),
        (400, {"body": zlib.compress(bytes(2**20)), "Content_Encoding": "deflate"}),
        (400, {"body": zstandard.compress(bytes(2**20)), "Content_Encoding": "zstd"}),
        (404, {"body": b"", "path": "/v1/traces"}),
        (405, {"body": b"", "method": "PUT"}),
        (413, {"body": bytes(2**17)}),
        (415, {"body": b"", "kind": "text/plain"}),
        (415, {"body": b"", "Content_Encoding": "snappy"}),
    ],
)
async def test_what_is_refused_for_good(status: int, request_: dict[str, Any]) -> None:
    async with http(max_message_bytes=2**16) as (up, send):
        answer = await send(**request_)
        assert up.bodies == []
    assert answer.status == status
    assert "Retry-After" not in answer.headers
    if request_.get("kind") == JSON:
        assert json.loads(answer.body)["code"] == code_pb2.INVALID_ARGUMENT
    else:
        assert status_pb2.Status.FromString(answer.body).message


async def test_a_body_of_unknown_length_has_the_same_bound() -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(2**12)

    async with http(max_message_bytes=2**16) as (_, send):
        assert (await send(blocks())).status == 413


async def test_a_full_queue_asks_to_come_again() -> None:
    async with http(max_queue_entries=4, ingest=IngestConfig(max_entries_per_request=4)) as (up, send):
        with up.server.queue.hold():
            first = asyncio.create_task(send(raw_request(BODIES)))
            await until(lambda: up.server.queue.waiting_entries == 4)
            for kind, raw in ((PROTOBUF, raw_request(["open"])), (JSON, json_request(["open"]))):
                answer = await send(raw, kind=kind)
                assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (503, True)
                assert answer.headers["Content-Type"] == kind
        assert (await first).status == 200


async def test_a_peer_with_too_many_requests_is_told_that_it_is_the_reason() -> None:
    async with http(peers=LimitsConfig(max_calls=1)) as (up, send):
        with up.server.queue.hold():
            first = asyncio.create_task(send(raw_request(BODIES)))
            await until(lambda: up.server.queue.waiting_entries == len(BODIES))
            answer = await send(raw_request(["open"]))
            assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (429, True)
        assert (await first).status == 200
        assert (await send(raw_request(["open"]))).status == 200


async def test_a_detector_that_fails_asks_to_come_again_and_leaks_no_text() -> None:
    async with http() as (_, send):
        with capture_logs():
            answer = await send(raw_request(["crash"]))
    assert answer.status == 503
    assert b"secret" not in answer.body


async def test_what_was_scored_over_grpc_is_known_here() -> None:
    async with http() as (up, send):
        await up.export(raw_request(BODIES))
        assert (await send(raw_request(BODIES))).status == 200
        assert (await send(gzip.compress(raw_request(BODIES)), Content_Encoding="gzip")).status == 200
        assert up.bodies == BODIES


async def test_connections_are_kept_and_bounded() -> None:
    async with http(http={"max_connections": 1}) as (up, send):
        assert [(await send(raw_request(["open"]))).status for _ in range(3)] == [200] * 3
        reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["otlp_http"])
        async with asyncio.timeout(BOUND_S):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("sent", [b"Content-Length: secret\r\n\r\n", b"A: " + b"secret" * 10_000 + b"\r\n\r\n"])
async def test_what_is_no_http_is_refused_and_not_logged(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as logs:
        async with http() as (up, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["otlp_http"])
            writer.write(b"POST /v1/logs HTTP/1.1\r\nHost: a\r\n" + sent)
            async with asyncio.timeout(BOUND_S):
                assert b" 400 " in await reader.readline()
            writer.close()
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["a request was no HTTP"]
    assert "secret" not in str(logs) + caplog.text


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/logs HT", b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"]
)
async def test_a_head_that_does_not_come_ends_the_connection(sent: bytes) -> None:
    async with http(http={"receive_timeout_s": 0.1}) as (up, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["otlp_http"])
        writer.write(sent)
        async with asyncio.timeout(BOUND_S):
            assert await reader.read() == b""
        writer.close()


async def test_a_body_that_does_not_come_is_a_time_out() -> None:
    head = b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    async with http(http={"receive_timeout_s": 0.2}) as (up, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["otlp_http"])
        writer.write(head)
        async with asyncio.timeout(BOUND_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_server_that_stops_answers_what_has_come() -> None:
    async with http(stop=False) as (up, send):
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", up.ports["otlp_http"])
        with up.server.queue.hold():
            call = asyncio.create_task(send(raw_request(BODIES)))
            await until(lambda: up.server.queue.waiting_entries == 4)
            stopping = asyncio.create_task(up.server.stop())
            async with asyncio.timeout(BOUND_S):
                assert await idle_reader.read() == b""
            assert not stopping.done()
        assert (await call).status == 200
        await stopping
        idle_writer.close()
        with pytest.raises(aiohttp.ClientConnectionError):
            await send(raw_request(BODIES))


@pytest.mark.parametrize("way", ["reset", "close"])
async def test_a_sender_that_goes_away_in_the_middle_of_a_body_is_no_error(way: str) -> None:
    with capture_logs() as logs:
        async with http() as (up, send):
            _, writer = await asyncio.open_connection("127.0.0.1", up.ports["otlp_http"])
            writer.write(b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n")
            writer.write(b"Content-Length: 100\r\n\r\npart")
            await writer.drain()
            assert (await send(raw_request(["open"]))).status == 200  # by then it waits for the rest
            if way == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close()
            assert (await send(raw_request(["open"]))).status == 200
    assert [log for log in logs if log["log_level"] in ("warning", "error")] == []
