"""Load on a server: batches of entries, serialised before the clock starts, so that the client is not the limit.

As a program it measures one way of calling and prints a line of JSON, so that it can have a core of its own::

    python -m benchmarks.load ADDRESS LINES_FILE --style stream --batch 1000
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as otlp

from benchmarks.hdfs import repeated
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import log_entry_pb2

SERVICE = "deeplog_grpc.v1.DeepLogService"
OTLP_SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"
SCORE = f"/{SERVICE}/Score"
STREAM_SCORE = f"/{SERVICE}/StreamScore"
EXPORT = f"/{OTLP_SERVICE}/Export"
MESSAGE_ENTRIES = 1_000
WINDOW = 8
"""Messages under way on the stream; requests of an OTLP exporter."""
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
STYLES = ("unary", "stream", "otlp", "otlp_http")
SOURCE = "benchmark"
_LATE = b"\x1a"
"""What a serialised ``StreamScoreResponse.late`` begins with: the tag of field 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of the requests."""

    seconds: float
    """From the first request to the last answer."""
    latencies_s: list[float]
    """From sending to the answer, in the order of the answers."""
    answers: list[bytes]


def entries_of(lines: Sequence[str], *, raw: bool = False) -> list[log_entry_pb2.LogEntry]:
    """Raw lines as messages; with ``raw`` as they were written, the time stamp still in the body."""
    if raw:
        return [log_entry_pb2.LogEntry(body=line, source=SOURCE) for line in lines]
    batch = LineReader(source=SOURCE).read(lines).batch
    return [
        log_entry_pb2.LogEntry(body=body, time_unix_nano=time_ns, source=source)
        for body, time_ns, source in zip(batch.bodies, batch.times_ns.tolist(), batch.sources, strict=True)
    ]


def score_requests(
    entries: Sequence[log_entry_pb2.LogEntry], size: int, options: pb.ScoreOptions | None = None
) -> list[bytes]:
    """Serialised ``ScoreRequest`` messages."""
    return [
        pb.ScoreRequest(entries=entries[at : at + size], options=options).SerializeToString()
        for at in range(0, len(entries), size)
    ]


def stream_requests(entries: Sequence[log_entry_pb2.LogEntry], size: int) -> list[bytes]:
    """Serialised ``StreamScoreRequest`` messages that follow the first one."""
    return [
        pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=n, entries=entries[at : at + size])).SerializeToString()
        for n, at in enumerate(range(0, len(entries), size))
    ]


def export_requests(entries: Sequence[log_entry_pb2.LogEntry], size: int) -> list[bytes]:
    """The entries as OTLP log records, as a collector sends them: serialised ``ExportLogsServiceRequest`` messages."""
    requests = []
    for at in range(0, len(entries), size):
        request = otlp.ExportLogsServiceRequest()
        resource_logs = request.resource_logs.add()
        for name, value in (("host.name", SOURCE), ("os.type", "linux"), ("log.file.path", "/var/log/benchmark.log")):
            resource_logs.resource.attributes.add(key=name).value.string_value = value
        records = resource_logs.scope_logs.add().log_records
        for entry in entries[at : at + size]:
            records.add(time_unix_nano=entry.time_unix_nano).body.string_value = entry.body
        requests.append(request.SerializeToString())
    return requests


async def unary(address: str, method: str, requests: Sequence[bytes], *, under_way: int = 1) -> Answered:
    """Call a method once a request, so many at once."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call: Any = channel.unary_unary(method)
        await channel.channel_ready()
        return await _answered(call, requests, under_way)


async def posts(address: str, requests: Sequence[bytes], *, under_way: int = WINDOW) -> Answered:
    """Post OTLP requests, so many at once."""
    url, headers = f"http://{address}/v1/logs", {"Content-Type": "application/x-protobuf"}
    async with aiohttp.ClientSession() as session:

        async def call(request: bytes) -> bytes:
            async with session.post(url, data=request, headers=headers) as answer:
                answer.raise_for_status()
                return await answer.read()

        return await _answered(call, requests, under_way)


async def _answered(call: Callable[[bytes], Awaitable[bytes]], requests: Sequence[bytes], under_way: int) -> Answered:
    waiting = iter(requests)
    latencies_s: list[float] = []
    answers: list[bytes] = []

    async def caller() -> None:
        for request in waiting:
            sent = time.perf_counter()
            answers.append(await call(request))
            latencies_s.append(time.perf_counter() - sent)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(under_way):
            tasks.create_task(caller())
    return Answered(seconds=time.perf_counter() - started, latencies_s=latencies_s, answers=answers)


async def stream(address: str, requests: Sequence[bytes], options: pb.ScoreOptions) -> Answered:
    """Send all batches on one StreamScore call with some under way."""
    config = pb.StreamScoreRequest(config=pb.StreamConfig(options=options)).SerializeToString()
    sent: list[float] = []
    latencies_s: list[float] = []
    answers: list[bytes] = []
    slots = asyncio.Semaphore(WINDOW)

    async def messages() -> AsyncIterator[bytes]:
        yield config
        for request in requests:
            await slots.acquire()
            sent.append(time.perf_counter())
            yield request

    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        await channel.channel_ready()
        started = time.perf_counter()
        method: Any = channel.stream_stream(STREAM_SCORE)
        received = aiter(method(messages()))
        await anext(received)  # the server's limits
        async for answer in received:
            if is_late(answer):
                continue
            latencies_s.append(time.perf_counter() - sent[len(latencies_s)])
            answers.append(answer)
            slots.release()
        return Answered(seconds=time.perf_counter() - started, latencies_s=latencies_s, answers=answers)


def is_late(answer: bytes) -> bool:
    """Whether a message on a stream tells of ends of sessions that answer nothing; without decoding it."""
    return answer[:1] == _LATE


def refused_count(style: str, answers: Sequence[bytes], count: int) -> int:
    """How many of ``count`` entries the answers do not speak of as judged, or as taken, if they came by OTLP."""
    if style == "unary":
        return count - sum(pb.ScoreResponse.FromString(answer).entry_count for answer in answers)
    if style == "stream":
        return count - sum(pb.StreamScoreResponse.FromString(answer).result.response.entry_count for answer in answers)
    exports = map(otlp.ExportLogsServiceResponse.FromString, answers)
    return sum(answer.partial_success.rejected_log_records for answer in exports)


def percentile_ms(latencies_s: Sequence[float], share: float) -> float:
    """The latency that this share of the calls do not exceed, in milliseconds.

    Examples
    --------
    >>> percentile_ms([0.004, 0.001, 0.003, 0.002], 0.75)
    3.0
    """
    rank = -int(-share * len(latencies_s) // 1)  # rounded up
    return 1e3 * sorted(latencies_s)[max(0, rank - 1)]


def main() -> None:
    """Measure one way of calling."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("address")
    parser.add_argument("lines", type=Path)
    parser.add_argument("--style", choices=STYLES, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--limit", type=int, default=None, help="entries at most")
    parser.add_argument("--all", action="store_true", help="verdicts of normal entries too")
    parser.add_argument("--raw", action="store_true", help="bodies as they were written, with their time stamps")
    parser.add_argument("--anew", type=int, default=0, help="number of this repetition, for new sessions")
    parser.add_argument("--passes", type=int, default=1, help="how often the same messages are sent")
    parser.add_argument("--judged", action="store_true", help="fail unless every entry was judged")
    given = parser.parse_args()
    lines = given.lines.read_text().splitlines()
    lines = repeated(lines, 1, first=given.anew) if given.anew else lines
    entries = entries_of(lines[: given.limit], raw=given.raw)
    selection = pb.VERDICT_SELECTION_ALL if given.all else pb.VERDICT_SELECTION_ANOMALIES
    options = pb.ScoreOptions(selection=selection, raw_bodies=given.raw)
    requests = _requests(given.style, entries, given.batch, options) * given.passes
    found = asyncio.run(_sent(given.style, given.address, requests, options))
    count = given.passes * len(entries)
    if given.judged and (refused := refused_count(given.style, found.answers, count)):
        raise SystemExit(f"the server has not judged every entry: {refused} of {count} are missing")
    print(
        json.dumps(
            {
                "entries_per_s": count / found.seconds,
                "p50_ms": percentile_ms(found.latencies_s, 0.5),
                "p99_ms": percentile_ms(found.latencies_s, 0.99),
                "entries": count,
            }
        )
    )


def _requests(
    style: str, entries: Sequence[log_entry_pb2.LogEntry], size: int, options: pb.ScoreOptions
) -> list[bytes]:
    if style == "unary":
        return score_requests(entries, size, options)
    return stream_requests(entries, size) if style == "stream" else export_requests(entries, size)


async def _sent(style: str, address: str, requests: Sequence[bytes], options: pb.ScoreOptions) -> Answered:
    if style == "stream":
        return await stream(address, requests, options)
    if style == "otlp_http":
        return await posts(address, requests)
    return (
        await unary(address, SCORE, requests)
        if style == "unary"
        else await unary(address, EXPORT, requests, under_way=WINDOW)
    )


if __name__ == "__main__":
    main()
