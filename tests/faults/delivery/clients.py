"""Clients of every route that send until they are told that all was taken, as the real ones do."""

import asyncio
import contextlib
import gzip
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import msgpack
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as otlp

from deeplog_grpc.foreign import vector_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.faults.delivery.feed import Batch, Feed, RefusedForGoodError, TryAgainError
from tests.faults.delivery.oracle import Line

APPLICATION = "orders"
NOWHERE = "nowhere"
"""An application that is not served."""
OUTSTANDING = 4
"""Messages without an answer on a stream, and requests of a client that keeps no order."""

_Code = grpc.StatusCode
_RETRIED = {_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED, _Code.CANCELLED, _Code.ABORTED}
"""By all exporters of OTLP: OpenTelemetry's Collector, its SDKs, Fluent Bit."""
_DROPPED_BY_VECTOR = {
    *(_Code.NOT_FOUND, _Code.INVALID_ARGUMENT, _Code.ALREADY_EXISTS, _Code.PERMISSION_DENIED, _Code.OUT_OF_RANGE),
    *(_Code.UNIMPLEMENTED, _Code.UNAUTHENTICATED, _Code.DATA_LOSS),
}
_RETRIED_HTTP = {429, 502, 503, 504}
_BROKEN_WRITE = "Internal error from Core"
"""What gRPC in Python makes of a write to a stream that is over: the code, INTERNAL, is not the server's."""
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a server is reached, as HOST:PORT."""

    grpc: str
    otlp_http: str
    forward: str


Send = Callable[[bytes], Awaitable[int]]
"""Sends a message and returns how many of its lines were rejected."""
Connect = Callable[[Addresses], AbstractAsyncContextManager[Send]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A way into the server."""

    connect: Connect | None
    """None = a stream."""
    encode: Callable[[Batch], bytes]
    is_ordered: bool
    tells_rejected: bool


async def run(route: Route, addresses: Addresses, feed: Feed) -> None:
    """Send all batches of a feed, each until it is acknowledged."""
    if route.connect is None:
        await _stream_score(addresses, feed)
        return
    async with route.connect(addresses) as send, asyncio.TaskGroup() as senders:
        for _ in range(1 if route.is_ordered else OUTSTANDING):
            senders.create_task(_send_all(route, feed, send))


async def _send_all(route: Route, feed: Feed, send: Send) -> None:
    while (batch := await feed.next()) is not None:
        message = route.encode(batch)
        await feed.deliver(batch, lambda message=message: send(message))  # type: ignore[misc]  # bound now


@asynccontextmanager
async def _channel(address: str, **options: int) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that leaves trying again to its user, and connects again soon."""
    settings = {
        "grpc.enable_retries": 0,
        "grpc.use_local_subchannel_pool": 1,
        "grpc.initial_reconnect_backoff_ms": 50,
        "grpc.min_reconnect_backoff_ms": 50,
        "grpc.max_reconnect_backoff_ms": 200,
        **options,
    }
    async with grpc.aio.insecure_channel(address, options=list(settings.items())) as channel:
        yield channel


def _unary(path: str, is_retried: Callable[[grpc.StatusCode], bool], rejected: Callable[[bytes], int]) -> Connect:
    @asynccontextmanager
    async def connect(addresses: Addresses) -> AsyncIterator[Send]:
        async with _channel(addresses.grpc) as channel:
            method: Any = channel.unary_unary(path)

            async def send(message: bytes) -> int:
                try:
                    return rejected(await method(message))
                except grpc.aio.AioRpcError as error:
                    raise _verdict(error, is_retried(error.code())) from error

            yield send

    return connect


def _verdict(error: grpc.aio.AioRpcError, is_retried: bool) -> Exception:
    text = f"{error.code().name}: {error.details()}"
    return TryAgainError(text) if is_retried else RefusedForGoodError(text)


def _entries(batch: Batch) -> list[LogEntry]:
    return [
        LogEntry(
            application=_application(batch, place),
            body=line.body,
            session=line.session,
            source=line.source,
            time_unix_nano=line.time_ns,
        )
        for place, line in enumerate(batch.lines)
    ]


def _application(batch: Batch, place: int) -> str:
    return NOWHERE if place in batch.bad else APPLICATION


def _score_request(batch: Batch) -> bytes:
    return pb.ScoreRequest(entries=_entries(batch), batch_id=batch.name).SerializeToString()


def _errors(answer: bytes) -> int:
    return len(pb.ScoreResponse.FromString(answer).errors)


def _export_request(batch: Batch) -> bytes:
    request = otlp.ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="host.name").value.string_value = batch.lines[0].source
    records = resource.scope_logs.add().log_records
    for place, line in enumerate(batch.lines):
        record = records.add(time_unix_nano=line.time_ns, severity_text="INFO")
        record.body.string_value = line.body
        record.attributes.add(key="request_id").value.string_value = line.session
        record.attributes.add(key="service.name").value.string_value = _application(batch, place)
    return request.SerializeToString()


def _partial_success(answer: bytes) -> int:
    return int(otlp.ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records)


def _push_request(batch: Batch) -> bytes:
    request = vector_pb2.PushEventsRequest()
    for line in batch.lines:
        log = request.events.add().log
        for key, text in _record(line).items():
            log.fields.add(key=key.encode()).value.text = text.encode()
        log.fields.add(key=b"timestamp").value.time.FromNanoseconds(line.time_ns)
    return request.SerializeToString()


def _record(line: Line) -> dict[str, str]:
    """A record as Fluent Bit, Fluentd and Vector have it."""
    return {"message": line.body, "host": line.source, "request_id": line.session, "service.name": APPLICATION}


@asynccontextmanager
async def _otlp_http(addresses: Addresses) -> AsyncIterator[Send]:
    url = f"http://{addresses.otlp_http}/v1/logs"
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    async with aiohttp.ClientSession() as session:

        async def send(message: bytes) -> int:
            try:
                async with session.post(url, data=gzip.compress(message, 1), headers=headers) as answer:
                    if answer.status in _RETRIED_HTTP:
                        raise TryAgainError(str(answer.status))
                    if answer.status != 200:
                        raise RefusedForGoodError(f"{answer.status}: {await answer.text()}")
                    return _partial_success(await answer.read())
            except aiohttp.ClientError as error:
                raise TryAgainError(type(error).__name__) from error

        yield send


class _ForwardConnection:
    """A connection with acknowledgements, made again when it breaks."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, message: bytes) -> int:
        async with self._turn:
            try:
                return await self._exchange(message)
            except BaseException:
                self.close()
                raise

    async def _exchange(self, message: bytes) -> int:
        if self._streams is None:
            host, _, port = self._address.rpartition(":")
            self._streams = await asyncio.open_connection(host, int(port))
        reader, writer = self._streams
        writer.write(message)
        await writer.drain()
        acknowledged = msgpack.Unpacker()
        while not (answers := list(acknowledged)):
            if not (data := await reader.read(4096)):
                raise EOFError
            acknowledged.feed(data)
        chunk = msgpack.unpackb(message)[-1]["chunk"]
        if answers != [{"ack": chunk}]:
            raise RefusedForGoodError(f"{answers} is not the acknowledgement of {chunk}")
        return 0

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@asynccontextmanager
async def _forward(addresses: Addresses) -> AsyncIterator[Send]:
    connection = _ForwardConnection(addresses.forward)
    try:
        yield connection.send
    finally:
        connection.close()


def _chunk(batch: Batch) -> bytes:
    """A chunk, in the modes of the protocol by turns."""
    entries = [[_event_time(line.time_ns), _record(line)] for line in batch.lines]
    option: dict[str, Any] = {"chunk": batch.name, "size": len(entries)}
    packed = b"".join(map(msgpack.packb, entries))
    match batch.number % 3:
        case 0:
            return bytes(msgpack.packb([APPLICATION, entries, option]))
        case 1:
            return bytes(msgpack.packb([APPLICATION, packed, option]))
        case _:
            return bytes(msgpack.packb([APPLICATION, gzip.compress(packed, 1), {**option, "compressed": "gzip"}]))


def _event_time(time_ns: int) -> msgpack.ExtType:
    return msgpack.ExtType(0, (time_ns // _NS).to_bytes(4, "big") + (time_ns % _NS).to_bytes(4, "big"))


async def _stream_score(addresses: Addresses, feed: Feed) -> None:
    """Several batches under way on a stream; on a new one, those without an answer come again."""
    waiting: deque[Batch] = deque()
    tries = 0
    async with _channel(addresses.grpc) as channel:
        while True:
            answered = len(waiting)
            try:
                await _stream_until_broken(channel, feed, waiting)
            except (TryAgainError, TimeoutError, asyncio.InvalidStateError):
                tries = tries + 1 if len(waiting) >= answered else 0
                await feed.pause(tries)
            else:
                return


async def _stream_until_broken(channel: grpc.aio.Channel, feed: Feed, waiting: deque[Batch]) -> None:
    open_stream: Any = channel.stream_stream(
        "/deeplog_grpc.v1.DeepLogService/StreamScore",
        request_serializer=pb.StreamScoreRequest.SerializeToString,
        response_deserializer=pb.StreamScoreResponse.FromString,
    )
    call = open_stream()

    progress = asyncio.Event()

    async def read() -> Any:
        try:
            return await asyncio.wait_for(call.read(), feed.timing.timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _verdict(error, error.code() in _RETRIED or error.details() == _BROKEN_WRITE) from error

    async def read_all() -> None:
        while (answer := await read()) is not grpc.aio.EOF:
            _answered(answer, feed, waiting)
            progress.set()

    async def write(message: pb.StreamScoreRequest) -> None:
        try:
            await asyncio.wait_for(call.write(message), feed.timing.timeout_s)
        except grpc.aio.AioRpcError as error:
            raise TryAgainError("the stream takes no more") from error

    async def send(batch: Batch) -> None:
        feed.oracle.sent(batch.lines)
        message = pb.EntryBatch(sequence=batch.number, entries=_entries(batch))
        await write(pb.StreamScoreRequest(batch=message))

    async def room() -> None:
        while len(waiting) > OUTSTANDING:
            progress.clear()
            await asyncio.wait_for(progress.wait(), feed.timing.timeout_s)

    reading: asyncio.Task[None] | None = None
    try:
        await write(pb.StreamScoreRequest(config=pb.StreamConfig(client_id=feed.name)))
        if (ready := await read()) is grpc.aio.EOF or not ready.HasField("ready"):
            raise TryAgainError("the stream was not opened")
        reading = asyncio.create_task(read_all())
        for batch in list(waiting):
            await send(batch)
        while not reading.done() and (fresh := await feed.next()) is not None:
            waiting.append(fresh)
            await room()
            await send(fresh)
        if not reading.done():
            await asyncio.wait_for(call.done_writing(), feed.timing.timeout_s)
        await reading
        if waiting:
            raise TryAgainError("the stream has ended")
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled() and isinstance(error := reading.exception(), RefusedForGoodError):
                raise error
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call.code()


def _answered(answer: Any, feed: Feed, waiting: deque[Batch]) -> None:
    if answer.WhichOneof("message") != "result":
        return
    result, batch = answer.result, waiting[0]
    if result.sequence != batch.number:
        raise RefusedForGoodError(f"answer {result.sequence} came where {batch.number} was due")
    if result.status.code in {code.value[0] for code in _RETRIED}:
        raise TryAgainError(result.status.message)
    if result.status.code or len(result.response.errors) != len(batch.bad):
        raise RefusedForGoodError(result.status.message or f"{len(result.response.errors)} lines were rejected")
    waiting.popleft()
    feed.oracle.acknowledged(batch.lines, rejected=batch.bad)


def _unary_otlp() -> Connect:
    path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
    return _unary(path, _RETRIED.__contains__, _partial_success)


ROUTES: Mapping[str, Route] = {
    "score": Route(
        connect=_unary("/deeplog_grpc.v1.DeepLogService/Score", _RETRIED.__contains__, _errors),
        encode=_score_request,
        is_ordered=True,
        tells_rejected=True,
    ),
    "stream_score": Route(connect=None, encode=_score_request, is_ordered=True, tells_rejected=True),
    "otlp_grpc": Route(connect=_unary_otlp(), encode=_export_request, is_ordered=False, tells_rejected=True),
    "otlp_http": Route(connect=_otlp_http, encode=_export_request, is_ordered=True, tells_rejected=True),
    "vector": Route(
        connect=_unary("/vector.Vector/PushEvents", lambda code: code not in _DROPPED_BY_VECTOR, lambda _: 0),
        encode=_push_request,
        is_ordered=True,
        tells_rejected=False,
    ),
    "forward": Route(connect=_forward, encode=_chunk, is_ordered=True, tells_rejected=False),
}
"""By name."""
