"""The two clients of benchmarks/speed_latency.py, each a process of its own so that neither is the other's noise.

    python -m benchmarks.latency_clients single ADDRESS LINES_FILE --per-s 500 --seconds 10 --first 1
    python -m benchmarks.latency_clients bulk ADDRESS LINES_FILE --per-s 100 --seconds 10 --first 2

Both serialise their messages, print an empty line, and wait for a line that holds the time to begin, on the clock that
all processes of a machine share. Both send by the clock, whatever the server does; each prints a line of JSON.
"""

import argparse
import asyncio
import gc
import json
import selectors
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import grpc

from benchmarks.hdfs import repeated
from benchmarks.load import (
    MESSAGE_ENTRIES,
    OPTIONS,
    SCORE,
    STREAM_SCORE,
    WINDOW,
    entries_of,
    is_late,
    score_requests,
    stream_requests,
)
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

AGAIN_S = 0.05
"""After which an entry is sent again that was refused."""
_NOT_NOW = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""What a server says that has too much to do; the second is gRPC's own word, for calls that no handler has seen yet."""
_ANOMALIES = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When each message should be sent: so many a second from a time on."""

    start_s: float
    """On :func:`time.monotonic`."""
    per_s: float

    def due_s(self, number: int) -> float:
        """When a message should be sent, by its number from 0.

        Examples
        --------
        >>> Pace(start_s=100.0, per_s=500).due_s(250)
        100.5
        """
        return self.start_s + number / self.per_s

    async def wait(self, number: int) -> float:
        """Wait until a message should be sent, not at all if that has passed; when it should have been."""
        due_s = self.due_s(number)
        await asyncio.sleep(due_s - time.monotonic())
        return due_s


async def single(address: str, requests: Sequence[bytes], pace: Pace) -> dict[str, Any]:
    """Send requests by the clock, each whether or not those before it are answered.

    A latency counts from the time at which its request should have been sent: one that has to wait because the server
    or the client is held up waits in the figures too. So does one that is refused and sent again.

    Returns
    -------
    dict
        ``sent``: of each request in the order of the answers, when it was due in seconds after the start, its latency
        and how late it was sent, in seconds. ``refused``: answers that said "not now".
    """
    refused = 0
    sent: list[tuple[float, float, float]] = []
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call: Any = channel.unary_unary(SCORE)
        await channel.channel_ready()

        async def send(request: bytes, due_s: float) -> None:
            nonlocal refused
            late_s = time.monotonic() - due_s
            while not await _is_taken(call, request):
                refused += 1
                await asyncio.sleep(AGAIN_S)
            sent.append((due_s - pace.start_s, time.monotonic() - due_s, late_s))

        async with asyncio.TaskGroup() as tasks:
            for number, request in enumerate(requests):
                tasks.create_task(send(request, await pace.wait(number)))
    return {"sent": sent, "refused": refused}


async def _is_taken(call: Any, request: bytes) -> bool:
    try:
        await call(request)
    except grpc.aio.AioRpcError as error:
        if error.code() not in _NOT_NOW:
            raise
        return False
    return True


async def bulk(address: str, requests: Sequence[bytes], pace: Pace) -> dict[str, Any]:
    """Send messages on one stream by the clock, no more of them unanswered than the server allows.

    Returns
    -------
    dict
        ``messages_per_s``: from the start to the last answer.
    """
    slots = asyncio.Semaphore(WINDOW)

    async def messages() -> AsyncIterator[bytes]:
        yield pb.StreamScoreRequest(config=pb.StreamConfig(options=_ANOMALIES)).SerializeToString()
        for number, request in enumerate(requests):
            await pace.wait(number)
            await slots.acquire()
            yield request

    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        await channel.channel_ready()
        method: Any = channel.stream_stream(STREAM_SCORE)
        received = aiter(method(messages()))
        await anext(received)  # the server's limits
        async for answer in received:
            if not is_late(answer):
                slots.release()
    return {"messages_per_s": len(requests) / (time.monotonic() - pace.start_s)}


def _repetitions(lines: list[str], first: int) -> Iterator[list[str]]:
    """The lines over and over, as new sessions each time."""
    return (repeated(lines, 1, first=number) for number in count(first))


def _single_requests(lines: list[str], first: int) -> Iterator[bytes]:
    for repetition in _repetitions(lines, first):
        yield from score_requests(entries_of(repetition), 1, _ANOMALIES)


def _bulk_requests(lines: list[str], first: int) -> Iterator[bytes]:
    for repetition in _repetitions(lines, first):
        yield from stream_requests(entries_of(repetition), MESSAGE_ENTRIES)


def _exact_loop() -> asyncio.AbstractEventLoop:
    """An event loop that wakes up in microseconds; that of epoll waits whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("role", choices=("single", "bulk"))
    parser.add_argument("address")
    parser.add_argument("lines", type=Path)
    parser.add_argument("--per-s", type=float, required=True, help="messages a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--first", type=int, required=True, help="number of the first repetition of the lines")
    given = parser.parse_args()
    of_role, role = (_single_requests, single) if given.role == "single" else (_bulk_requests, bulk)
    lines = given.lines.read_text().splitlines()
    requests = list(islice(of_role(lines, given.first), int(given.per_s * given.seconds)))
    gc.collect()
    gc.disable()  # the client must not be the noise
    print(flush=True)
    pace = Pace(start_s=float(sys.stdin.readline()), per_s=given.per_s)
    with asyncio.Runner(loop_factory=_exact_loop) as runner:
        print(json.dumps(runner.run(role(given.address, requests, pace))))


if __name__ == "__main__":
    main()
