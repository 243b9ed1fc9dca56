"""StreamScore over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from deeplog_grpc.client import StreamItem, error_of
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.server_harness import BOUND_S, details, entries, request, running, status_in, until

CONFIG = pb.StreamScoreRequest(config=pb.StreamConfig())


def batch(bodies: Iterable[str], sequence: int = 0, **fields: Any) -> pb.StreamScoreRequest:
    return pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=sequence, entries=entries(bodies, **fields)))


async def items(*batches: StreamItem) -> AsyncIterator[StreamItem]:
    for item in batches:
        yield item


async def test_a_stream_gives_the_verdicts_of_unary_calls() -> None:
    bodies = [("open", "write", "odd", "new", "end")[i * i % 5] for i in range(60)]
    async with running() as up:
        unary = await up.client.score(entries(bodies), flush=pb.Flush())
    async with running() as up:
        batches = items(*(entries(bodies[at : at + 7]) for at in range(0, 60, 7)), pb.Flush())
        results = [result async for result in up.client.stream(batches)]
    assert [result.sequence for result in results] == list(range(10))
    assert [result.status.code for result in results] == [0] * 10
    streamed = [verdict for result in results for verdict in result.response.verdicts]
    ends = [end for result in results for end in result.response.session_ends]
    for ours, theirs in ((streamed, unary.verdicts), (ends, unary.session_ends)):
        for verdict in (*ours, *theirs):
            verdict.ClearField("index")
            verdict.ClearField("time_unix_nano")  # of arrival
        assert list(ours) == list(theirs)
    assert len(streamed) == 60
    assert ends


async def test_the_first_answer_states_the_credits() -> None:
    ingest = IngestConfig(max_entries_per_request=5)
    async with running(ingest=ingest, max_outstanding_batches=3, max_message_bytes=2**17) as up:
        call = up.stream()
        await call.write(CONFIG)
        ready = (await call.read()).ready
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert ready == pb.StreamReady(max_outstanding_batches=3, max_batch_entries=5, max_message_bytes=2**17)


async def test_a_bad_batch_is_answered_in_its_place_and_the_stream_goes_on() -> None:
    ingest = IngestConfig(max_entries_per_request=3)
    sent = items(
        entries(["open"]), entries(["open"] * 4), entries(["", ""]), [], pb.Flush(application="no"), entries(["odd"])
    )
    async with running(ingest=ingest) as up:
        results = [result async for result in up.client.stream(sent)]
    assert [result.status.code for result in results] == [0, 3, 3, 3, 3, 0]
    too_many, all_bad, empty, flush = (error_of(result.status) for result in results[1:5])
    assert isinstance(too_many, InputError)
    fields = [getattr(error, "field", None) for error in (too_many, all_bad, empty, flush)]
    assert fields == ["entries", "entries[0].body", "entries", "flush.application"]
    assert [error.index for error in results[2].response.errors] == [0, 1]
    assert results[5].response.verdicts[0].rank == 2


async def test_a_detector_that_fails_is_answered_in_the_batch_and_leaks_no_text() -> None:
    async with running() as up:
        with capture_logs():
            sent = items(entries(["open"]), entries(["crash"]), entries(["write"]))
            results = [result async for result in up.client.stream(sent, window=1)]
    assert [result.status.code for result in results] == [0, grpc.StatusCode.UNAVAILABLE.value[0], 0]
    assert details(results[1].status)["ErrorInfo"].reason == "INTERNAL_RETRY"
    assert "secret" not in str(results[1])


async def test_broken_utf8_does_not_end_the_stream() -> None:
    raw = batch(["open MARK"], sequence=9, session="").SerializeToString().replace(b"MARK", b"\xff\xfe\xfd\xfc")
    async with running() as up:
        call = up.stream()
        for message in (CONFIG, raw):
            await call.write(message)
        await call.done_writing()
        await call.read()
        result = (await call.read()).result
    assert (result.sequence, result.status.code, result.response.entry_count) == (9, 0, 1)


@pytest.mark.parametrize(
    ("messages", "answers", "field"),
    [
        ([], 0, "config"),
        ([batch(["open"])], 0, "config"),
        ([pb.StreamScoreRequest()], 0, "config"),
        ([CONFIG, batch(["open"]), CONFIG], 2, "config"),
        ([CONFIG, batch(["open"]), pb.StreamScoreRequest()], 2, "message"),
        ([CONFIG, b"\x0a\xff"], 1, ""),
        (
            [pb.StreamScoreRequest(config=pb.StreamConfig(options=pb.ScoreOptions(application="no")))],
            0,
            "config.options.application",
        ),
    ],
)
async def test_misuse_ends_the_stream_after_the_answers_due(messages: list[Any], answers: int, field: str) -> None:
    async with running() as up:
        call = up.stream()
        for message in messages:
            await call.write(message)
        await call.done_writing()
        for _ in range(answers):
            assert (await call.read()).WhichOneof("message") in ("ready", "result")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(status_in(caught.value))["BadRequest"].field_violations[0].field == field


async def test_several_streams_are_scored_together_and_each_is_answered_in_its_order() -> None:
    async def one(up: Any, session: str) -> list[tuple[int, list[int]]]:
        sent = items(*(entries(["open"] * (1 + i % 3), session=session) for i in range(20)))
        return [
            (result.sequence, [verdict.rank for verdict in result.response.verdicts])
            async for result in up.client.stream(sent)
        ]

    async with running() as up:
        with up.server.queue.hold():
            streams = [asyncio.create_task(one(up, f"s{i}")) for i in range(4)]
            await until(lambda: up.server.queue.waiting_entries == 4 * (1 + 2 + 3 + 1 + 2 + 3 + 1 + 2))
        results = await asyncio.gather(*streams)
        assert up.detectors["app"].batch_sizes[0] == 60
    for result in results:
        assert [sequence for sequence, _ in result] == list(range(20))
        ranks = [rank for _, batch_ranks in result for rank in batch_ranks]
        assert ranks == list(range(1, len(ranks) + 1))


async def test_the_server_stops_reading_at_its_limit_and_loses_nothing() -> None:
    async with running(max_outstanding_batches=2) as up:
        call = up.stream()
        await call.write(CONFIG)
        await call.read()
        with up.server.queue.hold():
            for sequence in range(6):
                await call.write(batch(["open"], sequence))
            await call.done_writing()
            await until(lambda: up.server.queue.waiting_entries == 2)
            # A later unary call is answered by the loop (it is refused), so the stream had its chance to read on.
            with pytest.raises(grpc.aio.AioRpcError):
                await up.score(pb.ScoreRequest())
            assert up.server.queue.waiting_entries == 2
        assert [(await call.read()).result.sequence for _ in range(6)] == list(range(6))


async def test_a_stream_waits_for_room_where_a_unary_call_is_refused() -> None:
    ingest = IngestConfig(max_entries_per_request=4)
    async with running(ingest=ingest, max_queue_entries=4) as up:
        with up.server.queue.hold():
            sent = items(*(entries(["open"] * 3) for _ in range(5)))
            results: asyncio.Task[list[int]] = asyncio.create_task(_codes(up.client.stream(sent)))
            await until(lambda: up.server.queue.waiting_entries == 3)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await up.score(request(["open"] * 3))
        assert await results == [0] * 5
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def _codes(results: AsyncIterator[pb.BatchResult]) -> list[int]:
    return [result.status.code async for result in results]


async def test_what_an_aborted_stream_had_waiting_is_never_scored() -> None:
    async with running() as up:
        call = up.stream()
        await call.write(CONFIG)
        await call.read()
        with up.server.queue.hold():
            for sequence in range(3):
                await call.write(batch(["open"], sequence))
            await until(lambda: up.server.queue.waiting_entries == 3)
            call.cancel()
            last = asyncio.create_task(up.score(request(["write"])))
            await until(lambda: up.server.queue.waiting_entries == 4)
            await until(lambda: not up.server.open_streams)
        assert (await last).verdicts[0].rank == 1
        assert up.detectors["app"].batch_sizes == [1]


async def test_the_client_keeps_to_its_window() -> None:
    taken = 0

    async def counted() -> AsyncIterator[StreamItem]:
        nonlocal taken
        for _ in range(9):
            taken += 1
            yield entries(["open"])

    async with running() as up:
        with up.server.queue.hold():
            results = asyncio.create_task(_codes(up.client.stream(counted(), window=3)))
            await until(lambda: up.server.queue.waiting_entries == 3)
            assert taken <= 4  # the fourth is at hand, and not sent
        assert await results == [0] * 9
    assert taken == 9


async def test_an_error_of_the_batches_is_the_error_of_the_stream() -> None:
    async def broken() -> AsyncIterator[StreamItem]:
        yield entries(["open"])
        raise OSError("disk gone")

    async with running() as up:
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(OSError, match="disk gone"):
                await _codes(up.client.stream(broken()))


async def test_bad_options_are_the_error_of_the_stream() -> None:
    async with running() as up:
        with pytest.raises(InputError) as caught:
            await _codes(up.client.stream(items(entries(["open"])), options=pb.ScoreOptions(application="no")))
    assert caught.value.field == "config.options.application"


async def test_defaults_of_the_stream_fill_the_entries() -> None:
    options = pb.ScoreOptions(application="two", source="host", selection=pb.VERDICT_SELECTION_ANOMALIES)
    async with running("one", "two") as up:
        sent = items(entries(["open", "odd"], session=""), pb.Flush())
        results = [result async for result in up.client.stream(sent, options=options)]
    (verdict,) = results[0].response.verdicts
    assert (verdict.application, verdict.session, verdict.index) == ("two", "host", 1)
    assert [end.session for end in results[1].response.session_ends] == ["host"]
