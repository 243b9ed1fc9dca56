"""Recorded traffic of real shippers, sent to a real server."""

import asyncio
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.integration.receiver_harness import Receiving, receiving
from tests.integration.server_harness import BOUND_S

CAPTURES = Path(__file__).parents[1] / "data" / "captures"
HANDSHAKES = {"handshake_refused", "handshake_user_password"}  # a recorded proof is of a recorded nonce
FORWARD = sorted({path.parent.name for path in CAPTURES.glob("forward/*/conn001.rx.bin")} - HANDSHAKES)
REQUESTS = sorted(str(path.relative_to(CAPTURES)) for path in CAPTURES.glob("otlp/*/req*.bin"))
HTTP_REQUESTS = sorted(str(path.relative_to(CAPTURES)) for path in CAPTURES.glob("otlp/*/req*.http"))


async def forwarded(up: Receiving, raw: bytes) -> bytes:
    """All that the server answers on a connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["forward"])
    writer.write(raw)
    writer.write_eof()
    async with asyncio.timeout(BOUND_S):
        answers = await reader.read()
    writer.close()
    return answers


def unpacked(raw: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(raw)
    return list(unpacker)


@pytest.mark.parametrize("case", FORWARD)
async def test_forward_is_answered_as_its_sender_had_it(case: str) -> None:
    recorded = CAPTURES / "forward" / case / "conn001.tx.bin"
    acks = unpacked(recorded.read_bytes()) if recorded.exists() else []
    async with receiving() as up:
        raw = (CAPTURES / "forward" / case / "conn001.rx.bin").read_bytes()
        assert unpacked(await forwarded(up, raw)) == acks
        count = len(up.bodies)
        assert count > 0
        if acks:  # sent again, it is known
            assert unpacked(await forwarded(up, raw)) == acks
            assert len(up.bodies) == count


@pytest.mark.parametrize("name", ["fluentd_packedforward_gzip.bin", "fluentd_packedforward_text.bin"])
async def test_fluentd_is_answered(name: str) -> None:
    async with receiving() as up:
        answers = unpacked(await forwarded(up, (CAPTURES / "synthetic" / name).read_bytes()))
        assert [set(answer) for answer in answers] == [{b"ack"}]
        assert up.bodies


@pytest.mark.parametrize("name", REQUESTS)
async def test_otlp_requests_are_scored(name: str) -> None:
    async with receiving() as up:
        for _ in range(2):
            response = await up.export((CAPTURES / name).read_bytes())
            assert not response.HasField("partial_success")
        assert up.bodies
        assert len(up.bodies) == up.detectors["app"].batch_sizes[0]


@pytest.mark.parametrize("name", HTTP_REQUESTS)
async def test_http_requests_are_scored(name: str) -> None:
    async with receiving() as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["otlp_http"])
        writer.write((CAPTURES / name).read_bytes())
        async with asyncio.timeout(BOUND_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert up.bodies


async def test_vector_is_scored() -> None:
    async with receiving() as up:
        raw = (CAPTURES / "synthetic" / "vector_push_vector_namespace_1.bin").read_bytes()
        assert await up.call("/vector.Vector/PushEvents", raw) == b""
        assert up.bodies


async def test_the_same_lines_are_the_same_however_they_come() -> None:
    """Fluent Bit's five lines of a file, by OTLP and by Forward."""
    found = []
    for path in ("otlp/grpc_default_body/req0001.bin", "forward/forward_default/conn001.rx.bin"):
        async with receiving() as up:
            raw = (CAPTURES / path).read_bytes()
            if path.startswith("otlp"):
                await up.export(raw)
            else:
                await forwarded(up, raw)
            found.append(up.bodies)
    assert found[0] == found[1]
    assert found[0]
