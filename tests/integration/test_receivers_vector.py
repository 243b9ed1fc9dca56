"""Vector's protocol, spoken frame by frame with the headers of its sink."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from deeplog_grpc.foreign.vector_pb2 import PushEventsRequest
from deeplog_grpc.ingest import IngestConfig
from tests.integration.raw_http2 import GZIP, IDENTITY, RawGrpc
from tests.integration.receiver_harness import TIME_NS, raw_request, receiving
from tests.integration.server_harness import until

PUSH, HEALTH = "/vector.Vector/PushEvents", "/vector.Vector/HealthCheck"
BODIES = ["open a", "write b", "odd c", "end d"]
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT.value[0]


def push(bodies: Sequence[str]) -> bytes:
    """As the sink sends lines of a file."""
    request = PushEventsRequest()
    for place, body in enumerate(bodies):
        fields = request.events.add().log.fields
        fields.add(key=b"message").value.text = body.encode()
        fields.add(key=b"request_id").value.text = b"s"
        time: Any = fields.add(key=b"timestamp").value.time
        time.FromNanoseconds(TIME_NS + place)
    return request.SerializeToString()


@pytest.mark.parametrize("encoding", [IDENTITY, GZIP])
async def test_events_are_scored_before_the_answer(encoding: str) -> None:
    async with receiving() as up, RawGrpc(up.port) as vector:
        reply = await vector.call(PUSH, push(BODIES), encoding=encoding)
        assert up.bodies == BODIES
        # beyond gRPC's own limit of 4 MiB
        large = await vector.call(PUSH, push(["open" + 400 * "x"] * 12_000), encoding=encoding)
        assert up.detectors["app"].batch_sizes == [4, 12_000]
    assert (reply.headers[":status"], reply.status, reply.message) == ("200", 0, b"")
    assert large.status == 0


async def test_metrics_and_traces_are_taken_and_left() -> None:
    request = PushEventsRequest.FromString(push(["open"]))
    request.events.add().metric.SetInParent()
    request.events.add().trace.SetInParent()
    async with receiving() as up, RawGrpc(up.port) as vector:
        assert (await vector.call(PUSH, request.SerializeToString())).status == 0
        assert (await vector.call(PUSH, b"")).status == 0
        assert up.bodies == ["open"]


async def test_a_push_sent_again_is_not_scored_again() -> None:
    async with receiving() as up, RawGrpc(up.port) as vector:
        for _ in range(2):
            assert (await vector.call(PUSH, push(BODIES))).status == 0
        assert (await vector.call(PUSH, push(BODIES), x_deeplog_source="node-2")).status == 0
        assert up.bodies == BODIES * 2


async def test_a_full_queue_is_unavailable_and_bad_bytes_are_invalid() -> None:
    async with (
        receiving(max_queue_entries=4, ingest=IngestConfig(max_entries_per_request=4)) as up,
        RawGrpc(up.port) as vector,
    ):
        with up.server.queue.hold():
            first = asyncio.create_task(up.export(raw_request(BODIES)))
            await until(lambda: up.server.queue.waiting_entries == 4)
            reply = await vector.call(PUSH, push(["open"]))
            assert reply.status == UNAVAILABLE
            assert "grpc-status-details-bin" in {**reply.headers, **reply.trailers}
        await first
        assert (await vector.call(PUSH, push(["open"]))).status == 0
        assert (await vector.call(PUSH, b"\xff\xff")).status == INVALID_ARGUMENT
        with capture_logs():
            assert (await vector.call(PUSH, push(["crash"]))).status == UNAVAILABLE


async def test_the_health_check_says_when_the_server_stops() -> None:
    async with receiving(stop=False, drain_delay_s=0.5) as up, RawGrpc(up.port) as vector:
        assert (await vector.call(HEALTH, b"")).message == b""
        stopping = asyncio.create_task(up.server.stop())
        await until(lambda: up.server.is_draining)
        assert (await vector.call(HEALTH, b"")).message == b"\x08\x01"
        await stopping
