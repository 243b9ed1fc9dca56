"""Batches with a name, sent again: each is scored once."""

import asyncio
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.server_harness import BOUND_S, Running, details, entries, request, running, status_in, until


def scored(up: Running) -> int:
    """Entries that the detector was given."""
    return sum(up.detectors["app"].batch_sizes)


async def stream_of(up: Running, client_id: str) -> Any:
    call = up.stream()
    await call.write(pb.StreamScoreRequest(config=pb.StreamConfig(client_id=client_id)))
    await call.read()
    return call


def batch(sequence: int, *bodies: str) -> pb.StreamScoreRequest:
    return pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=sequence, entries=entries(bodies)))


async def test_a_batch_sent_again_is_answered_from_memory() -> None:
    async with running() as up:
        first = await up.score(request(["open", "odd"], batch_id="b1"))
        again = await up.score(request(["open", "odd"], batch_id="b1"))
        other = await up.score(request(["open", "odd"], batch_id="b2"))
        assert scored(up) == 4
    assert [answer.is_repeat for answer in (first, again, other)] == [False, True, False]
    again.is_repeat = False
    assert again == first
    assert other.verdicts[0].rank == 3


async def test_without_a_name_a_batch_is_scored_each_time() -> None:
    async with running() as up:
        answers = [await up.score(request(["open"])) for _ in range(2)]
        assert scored(up) == 2
        assert len(up.server.deliveries) == 0
    assert not any(answer.is_repeat for answer in answers)


async def test_a_name_with_other_content_is_refused() -> None:
    async with running() as up:
        await up.score(request(["open"], batch_id="b"))
        for other in (request(["write"], batch_id="b"), request(["open"], batch_id="b", flush=pb.Flush())):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await up.score(other)
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert details(status_in(refusal.value))["BadRequest"].field_violations[0].field == "batch_id"
        assert scored(up) == 1


async def test_attributes_encoded_in_another_order_are_the_same_content() -> None:
    pairs = {f"key{number}": "value" for number in range(4)}
    async with running() as up:
        for attributes in (pairs, dict(reversed(pairs.items()))):
            # As an encoder that does not sort maps: parts of a message one after the other are the message.
            parts = [LogEntry(body="open"), *(LogEntry(attributes={key: value}) for key, value in attributes.items())]
            entry = b"".join(part.SerializeToString() for part in parts)
            raw = pb.ScoreRequest(batch_id="b").SerializeToString() + b"\x0a" + bytes([len(entry)]) + entry
            answer = pb.ScoreResponse.FromString(await up.raw("Score")(raw, timeout=BOUND_S))
        assert answer.is_repeat


async def test_what_a_client_no_longer_waits_for_is_there_when_it_asks_again() -> None:
    async with running() as up:
        with up.server.queue.hold():
            call = asyncio.create_task(up.score(request(["open"], batch_id="b")))
            await until(lambda: up.server.queue.waiting_entries == 1)
            call.cancel()
            await asyncio.wait([call])
            again = asyncio.create_task(up.score(request(["open"], batch_id="b")))
            await until(lambda: up.server.deliveries.repeats == 1)
        assert (await again).is_repeat
        assert scored(up) == 1


async def test_a_refused_batch_can_be_sent_again_at_once() -> None:
    async with running(max_queue_entries=2, ingest=IngestConfig(max_entries_per_request=2)) as up:
        with up.server.queue.hold():
            waiting = asyncio.create_task(up.score(request(["open", "write"], batch_id="a")))
            await until(lambda: up.server.queue.waiting_entries == 2)
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await up.score(request(["open"], batch_id="b"))
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        await waiting
        assert not (await up.score(request(["open"], batch_id="b"))).is_repeat


async def test_a_batch_on_which_the_detector_failed_is_not_remembered() -> None:
    async with running() as up:
        for _ in range(2):
            with capture_logs(), pytest.raises(grpc.aio.AioRpcError) as refusal:
                await up.score(request(["crash"], batch_id="b"))
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        assert up.detectors["app"].calls == ["score", "score"]


async def test_names_have_a_bound() -> None:
    async with running() as up:
        with pytest.raises(grpc.aio.AioRpcError, match=r"batch_id: 257 bytes are more than 256: shorten it"):
            await up.score(request(["open"], batch_id="x" * 257))
        call = up.stream()
        await call.write(pb.StreamScoreRequest(config=pb.StreamConfig(client_id="x" * 257)))
        with pytest.raises(grpc.aio.AioRpcError, match=r"config\.client_id: 257 bytes are more"):
            await call.read()


async def test_a_client_that_connects_again_sends_what_was_not_answered() -> None:
    async with running() as up:
        with up.server.queue.hold():
            broken = await stream_of(up, "c")
            for sequence in range(3):
                await broken.write(batch(sequence, "open"))
            await until(lambda: up.server.queue.waiting_entries == 3)
            broken.cancel()
            await until(lambda: up.server.open_streams == 0)
            call = await stream_of(up, "c")
            for sequence in range(5):
                await call.write(batch(sequence, "open"))
            await until(lambda: up.server.queue.waiting_entries == 5)
        await call.done_writing()
        results = [(await call.read()).result for _ in range(5)]
        assert await call.read() is grpc.aio.EOF
        assert scored(up) == 5
    assert [result.sequence for result in results] == list(range(5))
    assert [result.response.is_repeat for result in results] == [True, True, True, False, False]
    assert [result.response.verdicts[0].rank for result in results] == [1, 2, 3, 4, 5]


async def test_a_flush_sent_again_ends_nothing_more() -> None:
    flush = pb.StreamScoreRequest(flush=pb.StreamFlush(sequence=1, flush=pb.Flush()))
    async with running() as up:
        call = await stream_of(up, "c")
        for message in (batch(0, "open"), flush, batch(2, "open"), flush, batch(1, "open")):
            await call.write(message)
        await call.done_writing()
        results = [(await call.read()).result for _ in range(5)]
    assert [len(result.response.session_ends) for result in results] == [0, 1, 0, 1, 0]
    assert [result.response.is_repeat for result in results] == [False, False, False, True, False]
    assert [result.status.code for result in results] == [0, 0, 0, 0, 3]
    assert results[4].status.message.startswith("batch.sequence: names a delivery that was sent before")


async def test_sequences_of_other_clients_and_of_none_are_their_own() -> None:
    async with running() as up:
        for client_id in ("one", "two", "", ""):
            call = await stream_of(up, client_id)
            await call.write(batch(0, "open"))
            await call.done_writing()
            assert not (await call.read()).result.response.is_repeat
        assert scored(up) == 4
