"""Overload: the server is offered ten times what it can do for a minute, and a light probe says when it is over.

The server has one core, the clients the others. Its peak is found with some calls at a time; then clients send by the
clock, whatever it does, each call with a deadline. Messages are serialised beforehand and made of whole sessions, with
the identifiers changed in the bytes of each call, so that all sessions are new; a call that is refused is not sent
again, its sessions are left out as a whole. What the clients could really send is told as a ratio to the peak: beyond
``OUTSTANDING`` unanswered calls they do not, and those are not counted as sent.

    python -m benchmarks.faults_overload --data DIR [--seconds 60]
"""

import argparse
import asyncio
import gc
import json
import math
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from benchmarks.harness import ServerProcess, console, cores, on_client_cores
from benchmarks.hdfs import block_of
from benchmarks.latency_clients import Pace
from benchmarks.load import MESSAGE_ENTRIES, OPTIONS, SCORE, SOURCE, entries_of, percentile_ms, score_requests
from benchmarks.served import deeplog, trained
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import log_entry_pb2

TIMES = 10
SECONDS = 60.0
DEADLINE_S = 5.0
"""Of each call: what an OpenTelemetry Collector waits by default."""
MEMORY_MB = 1_024
OUTSTANDING = 1_500
"""Unanswered calls of each client at most; they take its memory."""
CLIENTS = 2
_PEAK_S = 8.0
_PEAK_CALLS = 8
_MESSAGES = 100
"""Different messages; they take turns."""
_PROBE_S = 0.05
_PROBES_BEFORE = 60
_PROBES_SOUND = 20
"""In a row, that say that it is over: a second."""
_SOUND_TIMES, _SOUND_MS = 2.0, 50.0
"""A probe is sound that takes no longer than so many times the p99 before, or than so many milliseconds."""
_GIVE_UP_S = 120.0
_MARK = b"blk_10000000"
"""What identifiers begin with, to be changed in each call."""
_ANOMALIES = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """What was found."""

    overload_peak_rate: float
    """Entries a second without overload."""
    overload_offered_ratio: float
    """Entries sent a second, to the peak."""
    overload_accepted_ratio: float
    """Entries answered a second, to the peak."""
    overload_calls: int
    overload_answered: int
    overload_refused: int
    """UNAVAILABLE with RetryInfo."""
    overload_expired: int
    """DEADLINE_EXCEEDED."""
    overload_other: int
    """Any other end of a call."""
    overload_unaccounted: int
    """Calls sent, less all those."""
    overload_refused_share: float
    overload_p50_ms: float
    """Of the calls that were answered."""
    overload_p99_ms: float
    overload_deadline_ms: float
    overload_peak_mb: float
    overload_limit_mb: int
    overload_probe_before_ms: float
    """p99 of the probe before."""
    overload_recovery_s: float
    """From the last call sent until the probe is sound."""


def run(data: Path, *, seconds: float = SECONDS, times: float = TIMES, memory_mb: int = MEMORY_MB) -> Overload:
    """Measure once.

    Parameters
    ----------
    data : Path
        Folder of the data sets.
    seconds : float
        Length of the overload.
    times : float
        What is offered, to the peak.
    memory_mb : int
        The server's limit.
    """
    material = trained(data)
    limit = ("--set", f"limits.memory_mb={memory_mb}")
    with deeplog(material.bundle, *limit, core=cores()[0]) as server:
        return _measured(server, material.rest, seconds=seconds, times=times, memory_mb=memory_mb)


def _measured(server: ServerProcess, lines: Path, *, seconds: float, times: float, memory_mb: int) -> Overload:
    address = server.address
    (peak,) = _drive(address, lines, ["--calls", str(_PEAK_CALLS)], seconds=_PEAK_S, clients=1)
    peak_rate = peak["entries"] / peak["seconds"]
    console.print(f"peak {peak_rate:,.0f} entries/s; overload for {seconds:g} s")
    per_s = times * peak_rate / peak["message_entries"] / CLIENTS
    flags = ["--per-s", str(per_s)]
    overload = partial(_drive, address, lines, flags, seconds=seconds, clients=CLIENTS)
    before_ms, found, recovery_s = asyncio.run(_observed(address, overload))
    ends = sum((Counter(one["ends"]) for one in found), Counter[str]())
    for end, number in ends.most_common():
        console.print(f"{number:8,} {end}", markup=False)
    sent = sum(one["sent"] for one in found)
    elapsed_s = max(one["seconds"] for one in found)
    latencies_s = [latency for one in found for latency in one["latencies_s"]]
    refused = sum(number for end, number in ends.items() if end.startswith("UNAVAILABLE "))
    expired = ends["DEADLINE_EXCEEDED"] + ends["DEADLINE_EXCEEDED EXPIRED"]
    return Overload(
        overload_peak_rate=peak_rate,
        overload_offered_ratio=sent * peak["message_entries"] / elapsed_s / peak_rate,
        overload_accepted_ratio=sum(one["entries"] for one in found) / elapsed_s / peak_rate,
        overload_calls=sent,
        overload_answered=ends["OK"],
        overload_refused=refused,
        overload_expired=expired,
        overload_other=ends.total() - ends["OK"] - refused - expired,
        overload_unaccounted=sent - ends.total(),
        overload_refused_share=refused / sent,
        overload_p50_ms=percentile_ms(latencies_s, 0.5),
        overload_p99_ms=percentile_ms(latencies_s, 0.99),
        overload_deadline_ms=1e3 * DEADLINE_S,
        overload_peak_mb=server.peak_mb(),
        overload_limit_mb=memory_mb,
        overload_probe_before_ms=before_ms,
        overload_recovery_s=recovery_s,
    )


def _drive(address: str, lines: Path, flags: list[str], *, seconds: float, clients: int) -> list[dict[str, Any]]:
    """Run clients side by side, each a process."""
    program = [*on_client_cores(), sys.executable, "-m", "benchmarks.faults_overload", "--drive", address, str(lines)]
    processes = [
        subprocess.Popen(
            [*program, *flags, "--seconds", str(seconds), "--first", f"{number}{time.time_ns() // 10**9 % 1000:03}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(1, clients + 1)
    ]
    for process in processes:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("the client's standard streams are not piped")
        process.stdout.readline()  # it is ready
    for process in processes:
        if process.stdin is not None:
            process.stdin.write("\n")
            process.stdin.flush()
    return [json.loads(process.communicate()[0]) for process in processes]


class Probe:
    """Single entries, one after the other, and how long each took."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.sent: list[tuple[float, float]] = []
        """Of each: when it was sent, and its latency in seconds; infinite if it was not answered."""

    async def run(self) -> None:
        """Send until cancelled."""
        async with grpc.aio.insecure_channel(self._address, options=[("grpc.enable_retries", 0)]) as channel:
            call: Any = channel.unary_unary(SCORE)
            for number in count():
                body = f"Receiving block blk_{time.time_ns()} src: /10.0.0.1:5 dest: /10.0.0.2:6"
                (request,) = score_requests([log_entry_pb2.LogEntry(body=body, source=f"probe-{number}")], 1)
                sent = time.monotonic()
                try:
                    await call(request, timeout=DEADLINE_S)
                    self.sent.append((sent, time.monotonic() - sent))
                except grpc.aio.AioRpcError:
                    self.sent.append((sent, math.inf))
                await asyncio.sleep(_PROBE_S)

    async def until(self, is_enough: Callable[[], bool], timeout_s: float) -> None:
        """Wait."""
        until = time.monotonic() + timeout_s
        while not is_enough() and time.monotonic() < until:  # noqa: ASYNC110 (bounded, and nothing to wait for)
            await asyncio.sleep(_PROBE_S)

    def sound_from(self, since: float, sound_s: float) -> float | None:
        """When the first of enough probes in a row that are all sound was answered; None = there are none yet."""
        in_a_row: list[float] = []
        for sent, latency_s in self.sent:
            if sent + latency_s >= since:
                in_a_row = [*in_a_row, sent + latency_s] if latency_s <= sound_s else []
            if len(in_a_row) == _PROBES_SOUND:
                return in_a_row[0]
        return None


async def _observed(
    address: str, overload: Callable[[], list[dict[str, Any]]]
) -> tuple[float, list[dict[str, Any]], float]:
    """Probe before, while and after; returns the p99 before in ms, what the clients found, and the recovery in s."""
    probe = Probe(address)
    probing = asyncio.create_task(probe.run())
    await probe.until(lambda: len(probe.sent) >= _PROBES_BEFORE, _GIVE_UP_S)
    before_ms = percentile_ms([latency_s for _, latency_s in probe.sent], 0.99)
    found = await asyncio.to_thread(overload)
    ended, sound_s = max(one["ended"] for one in found), max(_SOUND_TIMES * before_ms, _SOUND_MS) / 1e3
    await probe.until(lambda: probe.sound_from(ended, sound_s) is not None, _GIVE_UP_S)
    probing.cancel()
    sound_from = probe.sound_from(ended, sound_s)
    return before_ms, found, _GIVE_UP_S if sound_from is None else sound_from - ended


class Messages:
    """Requests of whole sessions, all of them new each time.

    Parameters
    ----------
    lines : sequence of str
        Of HDFS blocks.
    first : int
        Number of the client, so that no two have the same sessions.
    """

    def __init__(self, lines: Sequence[str], first: int) -> None:
        blocks: dict[str, list[str]] = defaultdict(list)
        for entry in entries_of(lines):
            blocks[block_of(entry.body)].append(entry.body)
        marked = [
            log_entry_pb2.LogEntry(body=body.replace(block, f"{_MARK.decode()}{number:05}"), source=SOURCE)
            for number, (block, own) in enumerate(blocks.items())
            for body in own
        ]
        self.entries = min(MESSAGE_ENTRIES, len(marked))
        """Of one message."""
        whole = marked[: len(marked) // self.entries * self.entries][: _MESSAGES * self.entries]
        self._messages = cycle(score_requests(whole, self.entries, _ANOMALIES))
        self._numbers = count(first * 10_000)

    def __iter__(self) -> Iterator[bytes]:
        for message in self._messages:
            yield message.replace(_MARK, b"blk_%08d" % next(self._numbers))


class Client:
    """Calls, and what became of them."""

    def __init__(self, call: Callable[..., Awaitable[bytes]], messages: Messages) -> None:
        self._call = call
        self._requests = iter(messages)
        self._message_entries = messages.entries
        self.sent = 0
        self.entries = 0
        """Answered."""
        self.ends: Counter[str] = Counter()
        self.latencies_s: list[float] = []

    async def send(self) -> None:
        """Send a message once."""
        request = next(self._requests)
        self.sent += 1
        sent = time.monotonic()
        try:
            await self._call(request, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            self.ends[_end(error)] += 1
            return
        self.ends["OK"] += 1
        self.entries += self._message_entries
        self.latencies_s.append(time.monotonic() - sent)

    async def closed(self, seconds: float, calls: int) -> None:
        """Send with so many calls at a time."""
        until = time.monotonic() + seconds

        async def caller() -> None:
            while time.monotonic() < until:
                await self.send()

        await asyncio.gather(*(caller() for _ in range(calls)))

    async def open(self, seconds: float, per_s: float) -> None:
        """Send by the clock."""
        pace = Pace(start_s=time.monotonic(), per_s=per_s)
        tasks: set[asyncio.Task[None]] = set()
        for number in count():
            if time.monotonic() - pace.start_s >= seconds:
                break
            if pace.due_s(number) - pace.start_s < seconds:
                await pace.wait(number)
            if len(tasks) >= OUTSTANDING:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self.send())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        self.ended = time.monotonic()
        await asyncio.gather(*tasks)


def _end(error: grpc.aio.AioRpcError) -> str:
    """Status and reason; a refusal counts as one only if it says when to come again."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            details = status_pb2.Status.FromString(value).details
            info = error_details_pb2.ErrorInfo()
            details[0].Unpack(info)
            return f"{error.code().name} {info.reason}"
    return error.code().name if error.code() is not grpc.StatusCode.UNAVAILABLE else f"UNAVAILABLE: {error.details()}"


async def _client(address: str, lines: Path, seconds: float, first: int, *, calls: int, per_s: float) -> dict[str, Any]:
    messages = Messages(lines.read_text().splitlines(), first)  # noqa: ASYNC240 (nothing else runs yet)
    gc.collect()
    gc.disable()  # the client must not be the noise
    async with grpc.aio.insecure_channel(address, options=[*OPTIONS, ("grpc.enable_retries", 0)]) as channel:
        client = Client(channel.unary_unary(SCORE), messages)
        await channel.channel_ready()
        print(flush=True)
        sys.stdin.readline()
        started = time.monotonic()
        await (client.closed(seconds, calls) if calls else client.open(seconds, per_s))
        return {
            "seconds": max(seconds, getattr(client, "ended", time.monotonic()) - started),
            "ended": getattr(client, "ended", time.monotonic()),
            "message_entries": messages.entries,
            "sent": client.sent,
            "entries": client.entries,
            "ends": client.ends,
            "latencies_s": client.latencies_s,
        }


def main() -> None:
    """Measure, or be one of the clients."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--drive", nargs=2, metavar=("ADDRESS", "LINES"), help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--per-s", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        address, lines = given.drive
        client = _client(address, Path(lines), given.seconds, given.first, calls=given.calls, per_s=given.per_s)
        print(json.dumps(asyncio.run(client)))
    elif given.data is None:
        parser.error("--data DIR must be given")
    else:
        for name, value in asdict(run(given.data, seconds=given.seconds)).items():
            console.print(f"{name:28} {value:,.3f}" if isinstance(value, float) else f"{name:28} {value:,}")


if __name__ == "__main__":
    main()
