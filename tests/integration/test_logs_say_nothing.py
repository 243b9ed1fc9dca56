"""Whatever comes in, and at whatever level: no text of a log entry and no token is logged."""

import asyncio
import random
import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
import grpc
import msgpack
import pytest
import structlog

from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving.logs import LogsConfig, configure_logging
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.receiver_harness import EXPORT, Receiving, raw_request, receiving
from tests.integration.server_harness import BOUND_S, until

BODY, TOKEN = "SECRETBODY", "SECRETTOKEN"
METADATA = (("authorization", f"Bearer {TOKEN}"),)
SCORE, PARSE = "/deeplog_grpc.v1.DeepLogService/Score", "/deeplog_grpc.v1.DeepLogService/Parse"
ROUNDS = 40


@pytest.fixture(autouse=True)
def _all_is_logged() -> Iterator[None]:
    before = structlog.get_config()
    configure_logging(LogsConfig(level="debug", format="json"))
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stdout))
    yield
    structlog.configure(**before)


def broken(raw: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, cut off, or put in."""
    content = bytearray(raw)
    for _ in range(chance.randint(0, 4)):
        place = chance.randrange(len(content))
        content[place] = chance.randrange(256)
    return bytes(content[: chance.randint(1, len(content))]) if chance.random() < 0.3 else bytes(content)


def scored(chance: random.Random) -> bytes:
    bodies = [chance.choice(["crash", "odd", "open", ""]) + f" {BODY}" * chance.randint(1, 3) for _ in range(3)]
    name = chance.choice(["app", BODY, ""])
    return pb.ScoreRequest(
        entries=[LogEntry(body=body, session=BODY, application=name, entry_id=BODY) for body in bodies],
        flush=pb.Flush(application=chance.choice(["app", BODY]), sessions=[BODY]),
        batch_id=chance.choice(["", BODY]),
    ).SerializeToString()


async def test_no_body_and_no_token_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(4)
    async with receiving("app", "other", ingest=IngestConfig(max_entries_per_request=4), max_queue_entries=4) as up:
        records = raw_request([f"crash {BODY}", BODY], resource={"service.name": BODY}, attributes={"a": BODY})
        for _ in range(ROUNDS):
            for path, raw in ((SCORE, scored(chance)), (PARSE, scored(chance)), (EXPORT, records)):
                await _called(up, path, broken(raw, chance))
            await _called(up, "/vector.Vector/PushEvents", broken(records, chance))
            await _posted(up, broken(records, chance))
            await _forwarded(up, broken(_message(), chance))
        await until(lambda: up.server.queue.waiting_entries == 0)
        counts = up.server.receiver_counts["forward"]
        assert counts.closed["input"] > 0  # there was something to log
    logged = capsys.readouterr().out
    assert logged.count("\n") > 5
    assert BODY not in logged
    assert TOKEN not in logged


async def _called(up: Receiving, path: str, raw: bytes) -> None:
    method: Any = up.channel.unary_unary(path)
    assert await method(raw, metadata=METADATA, timeout=BOUND_S).code() is not grpc.StatusCode.UNKNOWN


async def _posted(up: Receiving, raw: bytes) -> None:
    headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {TOKEN}"}
    url = f"http://127.0.0.1:{up.ports['otlp_http']}/v1/logs?token={TOKEN}"
    async with aiohttp.ClientSession() as http, http.post(url, data=raw, headers=headers) as response:
        assert response.status in (200, 400, 503)


def _message() -> bytes:
    packed: bytes = msgpack.packb([BODY, [[1_714_557_600, {"log": f"crash {BODY}"}]], {"chunk": TOKEN}])
    return packed


async def _forwarded(up: Receiving, raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["forward"])
    writer.write(raw)
    writer.write_eof()
    async with asyncio.timeout(BOUND_S):
        await reader.read()
    writer.close()
