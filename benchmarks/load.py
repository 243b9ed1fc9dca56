"""Load on a server: batches of entries, serialised before the clock starts, so that the client is not the limit.

As a program it measures one way of calling and prints seconds, so that it can have a core of its own::

    python -m benchmarks.load ADDRESS LINES_FILE --style stream --batch 1000
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc

from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import log_entry_pb2

SERVICE = "/deeplog_grpc.v1.DeepLogService/"
WINDOW = 8
"""Messages under way on the stream."""
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


def entries_of(lines: Sequence[str]) -> list[log_entry_pb2.LogEntry]:
    """Raw lines as messages."""
    batch = LineReader(source="benchmark").read(lines).batch
    return [
        log_entry_pb2.LogEntry(body=body, time_unix_nano=time_ns, source=source)
        for body, time_ns, source in zip(batch.bodies, batch.times_ns.tolist(), batch.sources, strict=True)
    ]


async def unary(address: str, entries: Sequence[Any], size: int, options: pb.ScoreOptions) -> tuple[float, list[float]]:
    """Call Score once a batch, one after the other; seconds in all, and of each call."""
    requests = [
        pb.ScoreRequest(entries=entries[at : at + size], options=options).SerializeToString()
        for at in range(0, len(entries), size)
    ]
    latencies = []
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call: Any = channel.unary_unary(SERVICE + "Score")
        await channel.channel_ready()
        started = time.perf_counter()
        for request in requests:
            sent = time.perf_counter()
            await call(request)
            latencies.append(time.perf_counter() - sent)
        return time.perf_counter() - started, latencies


async def stream(
    address: str, entries: Sequence[Any], size: int, options: pb.ScoreOptions
) -> tuple[float, list[float]]:
    """Send all batches on one StreamScore call with some under way; seconds in all, and from sending to answer."""
    requests = [
        pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=n, entries=entries[at : at + size])).SerializeToString()
        for n, at in enumerate(range(0, len(entries), size))
    ]
    config = pb.StreamScoreRequest(config=pb.StreamConfig(options=options)).SerializeToString()
    sent: list[float] = []
    latencies: list[float] = []
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
        method: Any = channel.stream_stream(SERVICE + "StreamScore")
        answers = aiter(method(messages()))
        await anext(answers)  # the server's limits
        async for _ in answers:
            latencies.append(time.perf_counter() - sent[len(latencies)])
            slots.release()
        return time.perf_counter() - started, latencies


def main() -> None:
    """Measure one way of calling."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("address")
    parser.add_argument("lines", type=Path)
    parser.add_argument("--style", choices=("unary", "stream"), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--limit", type=int, default=None, help="entries at most")
    parser.add_argument("--all", action="store_true", help="verdicts of normal entries too")
    arguments = parser.parse_args()
    entries = entries_of(arguments.lines.read_text().splitlines()[: arguments.limit])
    selection = pb.VERDICT_SELECTION_ALL if arguments.all else pb.VERDICT_SELECTION_ANOMALIES
    measure = stream if arguments.style == "stream" else unary
    options = pb.ScoreOptions(selection=selection)
    seconds, latencies = asyncio.run(measure(arguments.address, entries, arguments.batch, options))
    latencies.sort()
    print(
        json.dumps(
            {
                "entries_per_s": len(entries) / seconds,
                "p50_ms": 1e3 * latencies[len(latencies) // 2],
                "p99_ms": 1e3 * latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)],
            }
        )
    )


if __name__ == "__main__":
    main()
