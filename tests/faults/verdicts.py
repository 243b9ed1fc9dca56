"""What a server says of a log that is sent to it delivery by delivery, whatever happens to it meanwhile.

Each delivery has a name and is sent until it is answered; its first answer is what counts. The routes are those with
verdicts in their answers.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.testing import simulate_log
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.trained import LATER_S, entries_of

FULL = pb.ScoreOptions(detail=pb.VERDICT_DETAIL_FULL)
DELIVERY_ENTRIES = 15
UNDER_WAY = 4
"""Deliveries without an answer on a stream."""
_TIMEOUT_S = 5.0
_RETRY_S = 0.05
_RETRIED = {
    *(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED),
    grpc.StatusCode.INTERNAL,  # what gRPC in Python makes of a write to a stream that is over
}

Deliveries = Sequence[Sequence[LogEntry]]
Trouble = Callable[[int], Awaitable[None]]
"""Told the number of the delivery that is about to be sent for the first time."""
Tell = Callable[[str, Deliveries, Trouble], Awaitable[list[pb.ScoreResponse]]]


def deliveries(sessions: int, *, seed: int) -> list[list[LogEntry]]:
    """A log of orders, some of them with a fault, many of them open at any time."""
    log = simulate_log(sessions, seed=seed, fault_rate=0.4, start_s=LATER_S)
    batch = entries_of(log.lines)
    entries = [
        LogEntry(body=body, time_unix_nano=time_ns, source="test")
        for body, time_ns in zip(batch.bodies, batch.times_ns.tolist(), strict=True)
    ]
    return [entries[at : at + DELIVERY_ENTRIES] for at in range(0, len(entries), DELIVERY_ENTRIES)]


async def by_score(address: str, sent: Deliveries, trouble: Trouble) -> list[pb.ScoreResponse]:
    """One call a delivery, one after the other."""
    answers = []
    async with _channel(address) as channel:
        method: Any = channel.unary_unary("/deeplog_grpc.v1.DeepLogService/Score")
        for number, entries in enumerate(sent):
            await trouble(number)
            answers.append(pb.ScoreResponse.FromString(await _insist(method, named(entries))))
    return answers


async def once(address: str, entries: Sequence[LogEntry]) -> pb.ScoreResponse | None:
    """One try at a delivery; None = it was not taken, and is to be sent again."""
    async with _channel(address) as channel:
        method: Any = channel.unary_unary("/deeplog_grpc.v1.DeepLogService/Score")
        try:
            return pb.ScoreResponse.FromString(await method(named(entries), timeout=_TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            if error.code() not in _RETRIED:
                raise
            return None


def named(entries: Sequence[LogEntry]) -> bytes:
    """A request whose name follows from its entries: whoever sends them again, they are the same delivery."""
    request = pb.ScoreRequest(entries=entries, options=FULL)
    request.batch_id = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
    return request.SerializeToString()


async def no_trouble(_: int) -> None:
    """Nothing happens."""


async def by_stream(address: str, sent: Deliveries, trouble: Trouble) -> list[pb.ScoreResponse]:
    """Some deliveries under way on a stream; on the next one those without an answer come again."""
    waiting = deque(enumerate(sent))
    answers: list[pb.ScoreResponse] = []
    troubled = 0
    async with _channel(address) as channel:
        while waiting:
            call = _stream(channel)
            try:
                await _exchange(call, pb.StreamScoreRequest(config=pb.StreamConfig(options=FULL, client_id="test")))
                written = 0
                while waiting:
                    while written < min(UNDER_WAY, len(waiting)):
                        number, entries = waiting[written]
                        if number >= troubled:
                            await trouble(number)
                            troubled = number + 1
                        batch = pb.EntryBatch(sequence=number, entries=entries)
                        await asyncio.wait_for(call.write(pb.StreamScoreRequest(batch=batch)), _TIMEOUT_S)
                        written += 1
                    answer = await asyncio.wait_for(call.read(), _TIMEOUT_S)
                    if answer is grpc.aio.EOF or answer.result.status.code:
                        break
                    if answer.HasField("result"):
                        assert answer.result.sequence == waiting.popleft()[0]
                        answers.append(answer.result.response)
                        written -= 1
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
                if isinstance(error, grpc.aio.AioRpcError) and error.code() not in _RETRIED:
                    raise
                await asyncio.sleep(_RETRY_S)
            finally:
                call.cancel()
    return answers


ROUTES: dict[str, Tell] = {"score": by_score, "stream": by_stream}


def said(answers: Sequence[pb.ScoreResponse]) -> list[list[bytes]]:
    """All that was said of each delivery, but for the names of anomalies and whether it was said before."""
    return [[_plain(verdict) for verdict in (*answer.verdicts, *answer.session_ends)] for answer in answers]


def stored(anomalies: Sequence[anomaly_pb2.Anomaly]) -> list[bytes]:
    """What is stored, in an order of its own, but for names and moments of storing."""
    return sorted(_plain(anomaly.verdict) for anomaly in anomalies)


def verdict_ids(answers: Sequence[pb.ScoreResponse]) -> set[str]:
    """The names of the anomalies that clients were told of."""
    return {
        verdict.verdict_id
        for answer in answers
        for verdict in (*answer.verdicts, *answer.session_ends)
        if verdict.verdict_id
    }


async def stored_anomalies(address: str) -> list[anomaly_pb2.Anomaly]:
    """All that a server has stored."""
    async with AsyncDeepLogClient(address) as client:
        return [one async for one in client.anomalies()]


def _plain(verdict: verdict_pb2.Verdict) -> bytes:
    plain = verdict_pb2.Verdict()
    plain.CopyFrom(verdict)
    plain.verdict_id = ""
    plain.entry_id = ""
    return plain.SerializeToString(deterministic=True)


async def _insist(method: Any, request: bytes) -> bytes:
    while True:
        try:
            return bytes(await method(request, timeout=_TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            if error.code() not in _RETRIED:
                raise
            await asyncio.sleep(_RETRY_S)


async def _exchange(call: Any, message: pb.StreamScoreRequest) -> None:
    await asyncio.wait_for(call.write(message), _TIMEOUT_S)
    ready = await asyncio.wait_for(call.read(), _TIMEOUT_S)
    if ready is grpc.aio.EOF:
        raise TimeoutError("the stream was not opened")


def _stream(channel: grpc.aio.Channel) -> Any:
    method: Any = channel.stream_stream(
        "/deeplog_grpc.v1.DeepLogService/StreamScore",
        request_serializer=pb.StreamScoreRequest.SerializeToString,
        response_deserializer=pb.StreamScoreResponse.FromString,
    )
    return method()


@asynccontextmanager
async def _channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    options = [
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel
