"""What became of the entries adds up, on every route, whatever was sent."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import grpc
import msgpack
import pytest

from deeplog_grpc.foreign.vector_pb2 import PushEventsRequest
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.metrics_harness import assert_adds_up, by_label, total
from tests.integration.receiver_harness import TIME_NS, Receiving, raw_request, receiving
from tests.integration.server_harness import BOUND_S, Running, entries, request, running, until

FEW = IngestConfig(max_entries_per_request=8)


async def refused_with(code: grpc.StatusCode, call: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == code


async def test_score() -> None:
    async with running("app", ingest=FEW, max_queue_entries=8, limits=LimitsConfig(queue_share=1)) as up:
        book = up.server.metrics.entries
        await up.score(request(["open", "write"]))
        partly = request(["open", "write", "end"])
        partly.entries[1].body = ""
        assert len((await up.score(partly)).errors) == 1
        await refused_with(grpc.StatusCode.INVALID_ARGUMENT, up.score(request(["", ""])))
        await refused_with(grpc.StatusCode.INVALID_ARGUMENT, up.score(request(["open"] * 9)))
        await refused_with(grpc.StatusCode.INVALID_ARGUMENT, up.raw("Score")(b"\xff", timeout=BOUND_S))
        await refused_with(grpc.StatusCode.UNAVAILABLE, up.score(request(["open", "crash"])))
        named = request(["open", "end"], batch_id="1")
        assert not (await up.score(named)).is_repeat
        assert (await up.score(named)).is_repeat
        await refused_with(grpc.StatusCode.INVALID_ARGUMENT, up.score(request(["write"], batch_id="1")))
        await up.client.parse(["open 1"])
        await _held(up)
        await until(lambda: up.server.queue.waiting_entries == 0)
        assert_adds_up(up.server)
        assert book.received == 2 + 3 + 2 + 9 + 2 + 2 + 1 + 8
        assert by_label(up.server, "deeplog_scored_entries_total") == {"app": 2 + 2 + 2}
        # gRPC cancels a call whose client's time is up.
        assert book.refused == {"INTERNAL_RETRY": 2, "CANCELLED": 5 + 3}
        assert book.unread_deliveries == {"QUEUE_FULL": 1}
        assert sum(book.rejected.values()) == 1 + 2 + 9 + 1
        assert book.repeated == 2


async def _held(up: Running) -> None:
    """Requests that wait: one is refused, one expires, one is given up by its sender."""
    with up.server.queue.hold():
        late = asyncio.create_task(up.score(request(["open"] * 5), timeout=0.2))
        given_up = asyncio.create_task(up.score(request(["open"] * 3)))
        await until(lambda: up.server.queue.waiting_entries == 8)
        assert total(up.server, "deeplog_queue_entries") == 8
        assert_adds_up(up.server)
        await refused_with(grpc.StatusCode.UNAVAILABLE, up.score(request(["open"])))
        given_up.cancel()
        await refused_with(grpc.StatusCode.DEADLINE_EXCEEDED, late)
        await until(lambda: up.server.metrics.calls.open == 0)


async def test_stream_score() -> None:
    async with running("app", ingest=FEW, max_queue_entries=8) as up:
        book = up.server.metrics.entries
        config = pb.StreamConfig(client_id="me")
        messages = [
            _batch(1, ["open", "write"]),
            _batch(2, ["", "open"]),
            _batch(3, [""]),
            _batch(4, ["open"] * 9),
            _batch(1, ["open", "write"]),
            _batch(2, ["other", "content", "here"]),
            _batch(5, ["crash"]),
        ]
        results = await _streamed(up, config, messages)
        assert [bool(result.status.code) for result in results] == [False, False, True, True, False, True, True]
        with up.server.queue.hold():
            stream = up.stream()
            await stream.write(pb.StreamScoreRequest(config=pb.StreamConfig()))
            for sequence, count in ((1, 6), (2, 4)):  # the second waits at the door
                await stream.write(_batch(sequence, ["open"] * count))
            await until(lambda: up.server.queue.waiting_entries == 6)
            assert_adds_up(up.server)
            stream.cancel()
            await until(lambda: up.server.open_streams == 0)
        await until(lambda: up.server.queue.waiting_entries == 0)
        assert_adds_up(up.server)
        assert by_label(up.server, "deeplog_scored_entries_total") == {"app": 2 + 1}
        assert book.rejected.total() == 1 + 1 + 9 + 3
        assert book.refused["INTERNAL_RETRY"] == 1
        assert book.refused["CANCELLED"] in (6, 10)  # the second may not have been read
        assert book.repeated == 2


def _batch(sequence: int, bodies: Sequence[str]) -> pb.StreamScoreRequest:
    return pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=sequence, entries=entries(bodies)))


async def _streamed(up: Running, config: pb.StreamConfig, messages: Sequence[Any]) -> list[pb.BatchResult]:
    stream = up.stream()
    await stream.write(pb.StreamScoreRequest(config=config))
    await stream.read()
    results = []
    for message in messages:
        await stream.write(message)
        results.append((await stream.read()).result)
    await stream.done_writing()
    return results


async def test_otlp_over_grpc() -> None:
    async with receiving("app", ingest=FEW, max_queue_entries=8) as up:
        await up.export(raw_request(["open", "", "write"]))
        await up.export(raw_request(["open", "", "write"]))
        await refused_with(grpc.StatusCode.INVALID_ARGUMENT, up.export(b"\xff\xff"))
        await refused_with(grpc.StatusCode.UNAVAILABLE, up.export(raw_request(["crash"])))
        with up.server.queue.hold():
            late = asyncio.create_task(up.export(raw_request(["open"] * 7), timeout=0.2))
            await until(lambda: up.server.queue.waiting_entries == 7)
            assert_adds_up(up.server)
            await refused_with(grpc.StatusCode.UNAVAILABLE, up.export(raw_request(["open"] * 2)))
            await refused_with(grpc.StatusCode.DEADLINE_EXCEEDED, late)
        await until(lambda: up.server.queue.waiting_entries == 0)
        _assert_records(up, received=3 + 1 + 7, scored=2 + 7, rejected=1, refused=1, repeated=3)
        assert up.server.metrics.entries.unread_deliveries == {"QUEUE_FULL": 1}


async def test_otlp_over_http() -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    async with receiving("app", ingest=FEW, max_queue_entries=8) as up, aiohttp.ClientSession(headers=headers) as http:
        url = f"http://127.0.0.1:{up.ports['otlp_http']}/v1/logs"

        async def post(raw: bytes) -> int:
            async with http.post(url, data=raw) as response:
                return response.status

        raw = raw_request(["open", "", "write"])
        assert [await post(raw), await post(raw), await post(b"\xff"), await post(raw_request(["crash"]))] == [
            *(200, 200),
            *(400, 503),
        ]
        with up.server.queue.hold():
            waiting = asyncio.create_task(post(raw_request(["open"] * 7)))
            await until(lambda: up.server.queue.waiting_entries == 7)
            assert await post(raw_request(["open"] * 2)) == 503
            assert_adds_up(up.server)
        assert await waiting == 200
        _assert_records(up, received=3 + 1 + 7, scored=2 + 7, rejected=1, refused=1, repeated=3)
        assert up.server.metrics.entries.unread_deliveries == {"QUEUE_FULL": 1}
        assert up.server.receiver_counts["otlp_http"].requests == {"OK": 3, "INVALID_ARGUMENT": 1, "UNAVAILABLE": 2}
        assert up.server.receiver_counts["otlp_http"].connections >= 1


async def test_vector() -> None:
    async with receiving("app", ingest=FEW, max_queue_entries=8) as up:

        async def push(bodies: Sequence[str]) -> bytes:
            return await up.call("/vector.Vector/PushEvents", _events(bodies))

        await push(["open", "write"])
        await push(["open", "write"])
        await refused_with(grpc.StatusCode.INVALID_ARGUMENT, up.call("/vector.Vector/PushEvents", b"\xff"))
        await refused_with(grpc.StatusCode.UNAVAILABLE, push(["crash"]))
        with up.server.queue.hold():
            waiting = asyncio.create_task(push(["open"] * 7))
            await until(lambda: up.server.queue.waiting_entries == 7)
            await refused_with(grpc.StatusCode.UNAVAILABLE, push(["write"] * 2))
            assert_adds_up(up.server)
        await waiting
        _assert_records(up, received=2 + 1 + 7, scored=2 + 7, rejected=0, refused=1, repeated=2)
        assert up.server.metrics.entries.unread_deliveries == {"QUEUE_FULL": 1}


def _events(bodies: Sequence[str]) -> bytes:
    push = PushEventsRequest()
    for body in bodies:
        fields = push.events.add().log.fields
        fields.add(key=b"message").value.text = body.encode()
        fields.add(key=b"timestamp").value.time.FromNanoseconds(TIME_NS)
    return push.SerializeToString()


async def test_forward() -> None:
    async with receiving("app", ingest=FEW, max_queue_entries=8) as up:
        writers = []

        async def send(raw: bytes) -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", up.ports["forward"])
            writers.append(writer)
            writer.write(raw)

        book, requests = up.server.metrics.entries, up.server.receiver_counts["forward"].requests
        await send(_forwarded(["open", "end", "write"], "a"))
        await until(lambda: requests["OK"] == 1)
        await send(_forwarded(["open", "end", "write"], "a"))
        await until(lambda: requests["OK"] == 2)
        await send(b"\xc1\xc1")
        await until(lambda: up.server.receiver_counts["forward"].closed["input"] == 1)
        with up.server.queue.hold():
            await send(_forwarded(["open"] * 7, "b"))
            await until(lambda: up.server.queue.waiting_entries == 7)
            await send(_forwarded(["write"] * 2, "c"))
            await until(lambda: book.refused["QUEUE_FULL"] >= 2)
            assert_adds_up(up.server)
        await until(lambda: requests["OK"] == 4)
        refused = book.refused.total()  # each try counts
        _assert_records(up, received=3 + 7 + 2 + refused, scored=3 + 7 + 2, rejected=0, refused=refused, repeated=3)
        for writer in writers:
            writer.close()


def _forwarded(bodies: Sequence[str], chunk: str) -> bytes:
    records = [[1_714_557_600 + place, {"log": body}] for place, body in enumerate(bodies)]
    packed: bytes = msgpack.packb(["tag", records, {"chunk": chunk}])
    return packed


def _assert_records(up: Receiving, *, received: int, scored: int, rejected: int, refused: int, repeated: int) -> None:
    book = up.server.metrics.entries
    assert_adds_up(up.server)
    found = (book.received, book.scored.total(), book.rejected.total(), book.refused.total(), book.repeated)
    assert found == (received, scored, rejected, refused, repeated), (book.rejected, book.refused)


async def test_a_server_that_stops_accounts_for_what_it_refuses() -> None:
    async with running("app") as up:
        await up.score(request(["open"]))
        await up.server.queue.drain()
        await refused_with(grpc.StatusCode.UNAVAILABLE, up.score(request(["open", "write"])))
        assert up.server.metrics.entries.unread_deliveries == {"DRAINING": 1}
        assert_adds_up(up.server)


async def test_what_waits_too_long_is_refused() -> None:
    async with running("app", max_wait_s=0.05) as up:
        with up.server.queue.hold():
            late = asyncio.create_task(up.score(request(["open", "write"])))
            await until(lambda: up.server.queue.waiting_entries == 2)
            began = asyncio.get_running_loop().time()
            await until(lambda: asyncio.get_running_loop().time() > began + 0.1)
        await refused_with(grpc.StatusCode.DEADLINE_EXCEEDED, late)
        assert up.server.metrics.entries.refused == {"EXPIRED": 2}
        assert_adds_up(up.server)


async def test_entries_at_which_the_detector_fails_for_good_are_rejected() -> None:
    async with running("app") as up:
        for _ in range(2):
            await refused_with(grpc.StatusCode.UNAVAILABLE, up.score(request(["open", "crash", "write"])))
        response = await up.score(request(["open", "crash", "write"]))
        assert [error.reason for error in response.errors] == ["CANNOT_BE_JUDGED"]
        book = up.server.metrics.entries
        assert (book.scored, book.rejected, book.refused) == (
            {"app": 2},
            {"CANNOT_BE_JUDGED": 1},
            {"INTERNAL_RETRY": 6},
        )
        assert_adds_up(up.server)


async def test_records_of_no_application_are_rejected() -> None:
    async with receiving("a", "b") as up:
        await up.export(raw_request(["open", "write"], resource={"service.name": "c"}))
        await up.export(raw_request(["open"], resource={"service.name": "b"}))
        book = up.server.metrics.entries
        assert (book.scored, book.rejected.total()) == ({"b": 1}, 2)
        assert_adds_up(up.server)
