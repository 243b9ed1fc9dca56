"""The same log lines by every way into a server, each as its clients write them.

Used to see that all routes give the same verdicts. Nothing here uses the server's own decoders.
"""

import asyncio
import gzip
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import msgpack
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as otlp

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.foreign import vector_pb2
from deeplog_grpc.shipping import ShipConfig, Shipper
from deeplog_grpc.shipping.config import ForwardInputConfig
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.plugin import DELIVERED, event, hosted

BATCH = 500
"""Lines of a message. An odd number of batches is under way when sessions go from one to the next."""

END_S = 600.0
"""After which a shipper is taken to be stuck."""
NS = 1_000_000_000
SOURCE = "host-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A log line as a shipper reads it."""

    text: str
    """With the time stamp at its head."""
    body: str
    """Without."""
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a server listens, as HOST:PORT."""

    grpc: str
    otlp_http: str
    forward: str


Route = Callable[[Addresses, Sequence[Line]], Awaitable[None]]


def _batches(lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    for start in range(0, len(lines), BATCH):
        yield lines[start : start + BATCH]


def _entries(lines: Sequence[Line]) -> list[LogEntry]:
    return [LogEntry(body=line.body, time_unix_nano=line.time_ns, source=SOURCE) for line in lines]


async def score(server: Addresses, lines: Sequence[Line]) -> None:
    """``Score``, a call a batch."""
    async with AsyncDeepLogClient(server.grpc) as client:
        for batch in _batches(lines):
            await client.score(_entries(batch))


async def stream_score(server: Addresses, lines: Sequence[Line]) -> None:
    """``StreamScore``, all batches on one stream."""

    async def batches() -> Any:
        for batch in _batches(lines):
            yield _entries(batch)

    async with AsyncDeepLogClient(server.grpc) as client:
        async for result in client.stream(batches()):
            if result.status.code:
                raise RuntimeError(result.status.message)


def _export(lines: Sequence[Line]) -> otlp.ExportLogsServiceRequest:
    request = otlp.ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="host.name").value.string_value = SOURCE
    records = resource.scope_logs.add().log_records
    for line in lines:
        record = records.add(time_unix_nano=line.time_ns, severity_text="INFO")
        record.body.string_value = line.text
    return request


async def otlp_grpc(server: Addresses, lines: Sequence[Line]) -> None:
    """OTLP over gRPC, as Fluent Bit and the OpenTelemetry Collector send it."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        export: Any = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
        for batch in _batches(lines):
            answer = otlp.ExportLogsServiceResponse.FromString(await export(_export(batch).SerializeToString()))
            if answer.HasField("partial_success"):
                raise RuntimeError(answer.partial_success.error_message)


async def _post(
    server: Addresses, lines: Sequence[Line], encode: Callable[[Sequence[Line]], bytes], **headers: str
) -> None:
    async with aiohttp.ClientSession() as session:
        for batch in _batches(lines):
            url = f"http://{server.otlp_http}/v1/logs"
            async with session.post(url, data=encode(batch), headers=headers) as answer:
                answer.raise_for_status()


async def otlp_http(server: Addresses, lines: Sequence[Line]) -> None:
    """OTLP over HTTP, protobuf with gzip."""

    def encode(batch: Sequence[Line]) -> bytes:
        return gzip.compress(_export(batch).SerializeToString(), 1)

    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    await _post(server, lines, encode, **headers)


async def otlp_json(server: Addresses, lines: Sequence[Line]) -> None:
    """OTLP over HTTP, JSON."""

    def encode(batch: Sequence[Line]) -> bytes:
        resource = {"attributes": [{"key": "host.name", "value": {"stringValue": SOURCE}}]}
        records = [{"timeUnixNano": str(line.time_ns), "body": {"stringValue": line.text}} for line in batch]
        scopes = [{"scope": {}, "logRecords": records}]
        return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": scopes}]}).encode()

    await _post(server, lines, encode, **{"Content-Type": "application/json"})


async def vector(server: Addresses, lines: Sequence[Line]) -> None:
    """Vector's protocol, as its ``vector`` sink sends it."""
    async with grpc.aio.insecure_channel(server.grpc, compression=grpc.Compression.Gzip) as channel:
        push: Any = channel.unary_unary("/vector.Vector/PushEvents")
        for batch in _batches(lines):
            request = vector_pb2.PushEventsRequest()
            for line in batch:
                log = request.events.add().log
                log.fields.add(key=b"message").value.text = line.text.encode()
                log.fields.add(key=b"host").value.text = SOURCE.encode()
                log.fields.add(key=b"timestamp").value.time.FromNanoseconds(line.time_ns)
            await push(request.SerializeToString())


def _event_time(time_ns: int) -> msgpack.ExtType:
    return msgpack.ExtType(0, (time_ns // NS).to_bytes(4, "big") + (time_ns % NS).to_bytes(4, "big"))


def _record(line: Line) -> dict[str, str]:
    return {"log": line.text, "host": SOURCE}


def _plain(batch: Sequence[Line], chunk: str) -> list[Any]:
    """Forward mode: entries as a list."""
    return ["app", [[_event_time(line.time_ns), _record(line)] for line in batch], {"chunk": chunk}]


def _with_metadata(batch: Sequence[Line], chunk: str) -> list[Any]:
    """Forward mode as Fluent Bit writes it since 2.1."""
    return ["app", [[[_event_time(line.time_ns), {}], _record(line)] for line in batch], {"chunk": chunk}]


def _packed(batch: Sequence[Line], chunk: str) -> list[Any]:
    """PackedForward mode: entries one after the other in a text of bytes."""
    packed = b"".join(msgpack.packb([_event_time(line.time_ns), _record(line)]) for line in batch)
    return ["app", packed, {"chunk": chunk, "size": len(batch)}]


def _compressed(batch: Sequence[Line], chunk: str) -> list[Any]:
    """CompressedPackedForward mode."""
    tag, packed, option = _packed(batch, chunk)
    return [tag, gzip.compress(packed, 1), {**option, "compressed": "gzip"}]


def _forward(encode: Callable[[Sequence[Line], str], list[Any]], size: int = BATCH) -> Route:
    """A mode of the Forward protocol with acknowledgements."""

    async def route(server: Addresses, lines: Sequence[Line]) -> None:
        host, _, port = server.forward.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        acknowledged = msgpack.Unpacker()
        for number, start in enumerate(range(0, len(lines), size)):
            writer.write(msgpack.packb(encode(lines[start : start + size], f"chunk-{number}")))
            await writer.drain()
            while not (answers := list(acknowledged)):
                if not (data := await reader.read(65_536)):
                    raise ConnectionError("the server closed the connection without an acknowledgement")
                acknowledged.feed(data)
            if answers != [{"ack": f"chunk-{number}"}]:
                raise RuntimeError(f"{answers} is not the acknowledgement of chunk {number}")
        writer.close()
        await writer.wait_closed()

    return route


def _message(batch: Sequence[Line], chunk: str) -> list[Any]:
    """Message mode: one entry."""
    (line,) = batch
    return ["app", _event_time(line.time_ns), _record(line), {"chunk": chunk}]


async def shipped_file(server: Addresses, lines: Sequence[Line]) -> None:
    """The shipper, from a file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.log").write_text("".join(f"{line.text}\n" for line in lines))
        config = ShipConfig(
            files=(str(folder / "app.log"),), server=server.grpc, spool=folder / "spool", batch_entries=BATCH
        )
        shipper = Shipper(config, is_once=True)
        if not await shipper.run(asyncio.Event()):
            raise RuntimeError("the shipper has not sent all lines")
        shipper.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(END_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def shipped_forward(server: Addresses, lines: Sequence[Line]) -> None:
    """The Forward protocol through the shipper."""
    with tempfile.TemporaryDirectory() as name:
        forward = ForwardInputConfig(listen="127.0.0.1:0")
        shipper = Shipper(ShipConfig(forward=forward, server=server.grpc, spool=Path(name) / "spool"))
        stopping = asyncio.Event()
        running = asyncio.create_task(shipper.run(stopping))
        await _until(lambda: shipper.forward_port > 0)
        address = f"127.0.0.1:{shipper.forward_port}"
        await _forward(_packed)(Addresses(grpc="", otlp_http="", forward=address), lines)
        await _until(lambda: shipper.counts.entries_acknowledged >= len(lines))
        stopping.set()
        await running
        shipper.close()


def native_plugin(library: Path) -> Route:
    """Fluent Bit's native output plugin, driven as Fluent Bit drives it."""

    async def route(server: Addresses, lines: Sequence[Line]) -> None:
        async with hosted(library) as host:
            instance = await host.open(server.grpc, source=SOURCE)
            for batch in _batches(lines):
                chunk = b"".join(event({"log": line.text}, line.time_ns) for line in batch)
                if (verdict := await host.flush(instance, chunk)) != DELIVERED:
                    raise RuntimeError(f"the plugin says {verdict} of a chunk")
            await host.ask("exit", instance)

    return route


ROUTES: Mapping[str, Route] = {
    "Score": score,
    "StreamScore": stream_score,
    "OTLP/gRPC": otlp_grpc,
    "OTLP/HTTP protobuf": otlp_http,
    "OTLP/HTTP JSON": otlp_json,
    "Vector": vector,
    "Forward": _forward(_plain),
    "Forward with metadata": _forward(_with_metadata),
    "PackedForward": _forward(_packed),
    "CompressedPackedForward": _forward(_compressed),
    "Message": _forward(_message, 1),
    "Shipper": shipped_file,
    "Forward, Shipper": shipped_forward,
}
"""By name, but for the native plugin, which has to be built."""
