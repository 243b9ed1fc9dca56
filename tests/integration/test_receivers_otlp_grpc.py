"""OTLP logs over gRPC, over a real socket."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from deeplog_grpc.errors import QueueFullError
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.receivers import otlp_grpc
from tests.integration.receiver_harness import ListSink, Receiving, raw_request, receiving
from tests.integration.server_harness import BOUND_S, details, status_in, until

BODIES = ["open a", "write b", "odd c", "end d"]


async def refused(up: Receiving, raw: bytes, code: grpc.StatusCode, **call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await up.export(raw, **call)
    assert refusal.value.code() is code
    return refusal.value


async def test_records_are_scored_before_the_answer() -> None:
    async with receiving() as up:
        response = await up.export(raw_request(BODIES))
        assert up.bodies == BODIES
    assert not response.HasField("partial_success")


async def test_an_empty_request_is_good() -> None:
    async with receiving() as up:
        assert await up.export(b"") == await up.export(raw_request([]))
        assert up.detectors["app"].calls == []


async def test_a_chunk_larger_than_a_request_of_our_own_is_taken_as_one() -> None:
    async with receiving(ingest=IngestConfig(max_entries_per_request=100)) as up:
        await up.export(raw_request(["open"] * 12_000))
        assert up.detectors["app"].batch_sizes == [12_000]


async def test_a_request_larger_than_the_queue_is_not_refused_for_ever() -> None:
    limits = IngestConfig(max_entries_per_request=10)
    async with receiving(ingest=limits, max_queue_entries=10) as up:
        with up.server.queue.hold():
            small = asyncio.create_task(up.export(raw_request(["open"] * 5)))
            await until(lambda: up.server.queue.waiting_entries == 5)
            large = asyncio.create_task(up.export(raw_request(["write"] * 50)))
            await until(lambda: up.server.deliveries.under_way == 2)
            error = await refused(up, raw_request(["odd"] * 50), grpc.StatusCode.UNAVAILABLE)
            assert "larger than the queue" in str(error.details())
        await asyncio.gather(small, large)
        assert up.bodies == ["open"] * 5 + ["write"] * 50


async def test_records_of_unknown_applications_are_told_in_the_answer() -> None:
    async with receiving("one", "two") as up:
        good = raw_request(["open"], resource={"service.name": "one"})
        bad = raw_request(["open", "write"], resource={"service.name": "three"})
        with capture_logs() as logs:
            response = await up.export(good + bad)
        assert up.bodies == ["open"]
    assert response.partial_success.rejected_log_records == 2
    assert "three" in response.partial_success.error_message
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["records rejected"]


async def test_one_byte_that_is_no_text_costs_nothing() -> None:
    async with receiving() as up:
        await up.export(raw_request(["open E", "write"]).replace(b"E", b"\xff"))
        assert up.bodies == ["open \ufffd", "write"]


async def test_what_cannot_be_decoded_is_invalid_argument() -> None:
    async with receiving() as up:
        error = await refused(up, b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT)
        assert "ExportLogsServiceRequest" in str(error.details())


async def test_a_full_queue_is_unavailable_with_a_delay() -> None:
    async with receiving(max_queue_entries=4, ingest=IngestConfig(max_entries_per_request=4)) as up:
        with up.server.queue.hold():
            first = asyncio.create_task(up.export(raw_request(BODIES)))
            await until(lambda: up.server.queue.waiting_entries == 4)
            error = await refused(up, raw_request(["open"]), grpc.StatusCode.UNAVAILABLE)
        found = details(status_in(error))
        assert found["ErrorInfo"].reason == "QUEUE_FULL"
        assert found["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
        await first


async def test_a_detector_that_fails_is_unavailable_and_leaks_no_text() -> None:
    async with receiving() as up:
        with capture_logs():
            error = await refused(up, raw_request(["crash"]), grpc.StatusCode.UNAVAILABLE)
        assert "RetryInfo" in details(status_in(error))
        assert "secret" not in str(error.details())
        await up.export(raw_request(["open"]))


async def test_a_request_sent_again_is_not_scored_again() -> None:
    async with receiving() as up:
        for _ in range(2):
            await up.export(raw_request(BODIES))
        assert up.bodies == BODIES
        for source in ("node-1", "node-2"):
            await up.export(raw_request(BODIES), metadata=(("x-deeplog-source", source),))
        assert up.bodies == BODIES * 3


async def test_without_times_equal_requests_are_not_the_same() -> None:
    async with receiving() as up:
        for _ in range(2):
            await up.export(raw_request(BODIES, time_unix_nano=0))
        assert up.bodies == BODIES * 2


async def test_what_a_client_gave_up_is_done_when_it_comes_again() -> None:
    async with receiving() as up:
        with up.server.queue.hold():
            call = asyncio.create_task(up.export(raw_request(BODIES)))
            await until(lambda: up.server.queue.waiting_entries == 4)
            call.cancel()
            await asyncio.wait([call])
        await up.export(raw_request(BODIES))
        assert up.bodies == BODIES


async def test_a_sink_gets_each_record_with_its_verdict_and_one_that_fails_has_it_sent_again() -> None:
    sink = ListSink()
    async with receiving(sink=sink) as up:
        sink.error = OSError("secret")
        with capture_logs():
            await refused(up, raw_request(BODIES), grpc.StatusCode.UNAVAILABLE)
        sink.error = None
        await up.export(raw_request(BODIES))
        await up.export(raw_request(BODIES))
    [(records, response)] = sink.taken
    assert [verdict.index for verdict in response.verdicts] == [0, 1, 2, 3]
    assert list(records.bodies) == BODIES


async def test_what_a_sink_has_no_room_for_is_scored_once_and_nothing_after_it_until_there_is_room() -> None:
    sink = ListSink()
    async with receiving(sink=sink) as up:
        sink.error = QueueFullError("full", retry_after_s=0.05)
        first = asyncio.create_task(up.export(raw_request(BODIES)))
        await until(lambda: up.bodies == BODIES)
        await until(lambda: up.intake.is_blocked)
        other = raw_request(["open"])
        assert "no room on its way out" in str((await refused(up, other, grpc.StatusCode.UNAVAILABLE)).details())
        again = asyncio.create_task(up.export(raw_request(BODIES)))
        await until(lambda: up.server.deliveries.repeats == 1)
        sink.error = None
        await asyncio.gather(first, again)
        await up.export(other)
        assert up.bodies == [*BODIES, "open"]
    assert [len(records) for records, _ in sink.taken] == [4, 1]


async def test_health_says_that_it_is_served() -> None:
    async with receiving() as up:
        stub: Any = health_pb2_grpc.HealthStub(up.channel)
        for service in (otlp_grpc.SERVICE, "vector.Vector"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=BOUND_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_calls_beyond_the_limit_are_told_to_come_again() -> None:
    async with receiving(max_concurrent_rpcs=2) as up:
        with up.server.queue.hold():
            first = [asyncio.create_task(up.export(raw_request([body]))) for body in BODIES[:2]]
            await until(lambda: up.server.queue.waiting_entries == 2)
            error = await refused(up, raw_request(BODIES[2:3]), grpc.StatusCode.UNAVAILABLE)
            assert "RetryInfo" in details(status_in(error))
        await asyncio.gather(*first)
