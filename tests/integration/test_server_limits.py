"""Limits of peers and of memory, over a real socket."""

import asyncio
from typing import Any

import grpc
import pytest

from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving.admission import Admission
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.server_harness import BOUND_S, Running, details, entries, request, running, status_in, until

LARGE = 200
"""Entries of a request that is not small."""


async def refused(answer: Any) -> dict[str, Any]:
    """Details of the refusal with which a call must end."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(answer, BOUND_S)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    found = details(status_in(caught.value))
    assert found["RetryInfo"].retry_delay.ToNanoseconds() > 0
    return found


async def opened(up: Running) -> Any:
    """A stream whose configuration was answered."""
    stream = up.stream()
    await stream.write(pb.StreamScoreRequest(config=pb.StreamConfig()))
    assert (await stream.read()).HasField("ready")
    return stream


async def test_streams_of_a_peer_are_limited() -> None:
    async with running(limits=LimitsConfig(max_streams=1)) as up:
        first = await opened(up)
        assert (await refused(up.stream().read()))["ErrorInfo"].reason == "PEER_LIMIT"
        assert (await up.score(request(["open"]))).entry_count == 1  # calls have a limit of their own
        await first.done_writing()
        assert await first.read() is grpc.aio.EOF
        await (await opened(up)).done_writing()


async def test_calls_of_a_peer_are_limited() -> None:
    async with running(limits=LimitsConfig(max_calls=1)) as up:
        with up.server.queue.hold():
            waiting = asyncio.create_task(up.score(request(["open"])))
            await until(lambda: up.server.queue.waiting_entries == 1)
            assert (await refused(up.score(request(["open"]))))["ErrorInfo"].reason == "PEER_LIMIT"
        assert (await waiting).entry_count == 1


async def test_a_stream_ends_at_its_age_after_the_answers_and_can_be_opened_again() -> None:
    async with running(limits=LimitsConfig(max_connection_age_s=0.3)) as up:
        stream = await opened(up)
        await stream.write(pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=7, entries=entries(["open"]))))
        assert (await stream.read()).result.sequence == 7
        assert (await refused(stream.read()))["ErrorInfo"].reason == "STREAM_AGE"
        await opened(up)
        assert (await up.client.score(entries(["open"]))).entry_count == 1


async def test_while_calls_are_refused_their_messages_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    early: list[object] = []
    likely_refusal = Admission.likely_refusal

    def watched(self: Admission, peer: str, **named: float) -> Any:
        early.append(found := likely_refusal(self, peer, **named))
        return found

    monkeypatch.setattr(Admission, "likely_refusal", watched)
    async with running(ingest=IngestConfig(max_entries_per_request=LARGE), max_queue_entries=LARGE) as up:
        with up.server.queue.hold():
            waiting = asyncio.create_task(up.score(request(["open"] * LARGE)))
            await until(lambda: up.server.queue.waiting_entries == LARGE)
            for _ in range(2):
                assert (await refused(up.score(request(["open"] * LARGE))))["ErrorInfo"].reason == "QUEUE_FULL"
            assert len(early) == 1
            assert early[0] is not None
        assert (await waiting).entry_count == LARGE
        assert (await up.score(request(["open"] * LARGE))).entry_count == LARGE  # read, as it is not refused
        assert early[1] is None


async def test_a_server_short_of_memory_refuses_new_work_and_says_so() -> None:
    limits = LimitsConfig(memory_mb=64, memory_soft_share=0.1, memory_hard_share=0.2)  # it has more already
    async with running(limits=limits) as up:
        memory = up.server.memory
        assert memory is not None
        await until(lambda: memory.held_bytes > 0)
        for _ in range(2):
            assert (await refused(up.score(request(["open"]))))["ErrorInfo"].reason == "MEMORY"


async def test_a_flood_of_calls_on_one_connection_is_answered_by_the_server_itself() -> None:
    """More than the 1,000 that gRPC lets wait by itself; beyond them it says CANCELLED."""
    limits = LimitsConfig(max_calls=100)
    async with running(limits=limits) as up:
        calls = [up.score(request(["open"])) for _ in range(3_000)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    codes = {end.code() for end in ends if isinstance(end, grpc.aio.AioRpcError)}
    assert codes <= {grpc.StatusCode.UNAVAILABLE}
    assert any(isinstance(end, pb.ScoreResponse) for end in ends)
