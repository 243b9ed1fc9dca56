"""A server under half of its greatest load for a long time: what it holds must not grow.

The real server with the HDFS model on one core; the rest of the log comes again and again, each time as new sessions,
at half the rate that it can take. Every five seconds its memory (resident and proportional), open files and threads
are noted. After a warm-up, medians of half a minute are taken, for samples that follow each other closely are nearly
the same, and a line is laid through them that odd ones do not move (Theil and Sen); its slope comes with the interval
in which 95 % of such slopes lie. ``SOAK_MINUTES`` says how long it runs.
"""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import psutil
from rich.table import Table
from scipy import stats

from benchmarks.harness import ServerProcess, console, cores, measure, show_figures
from benchmarks.hdfs import repeated
from benchmarks.load import MESSAGE_ENTRIES, OPTIONS, STREAM_SCORE, entries_of, is_late, stream_requests
from benchmarks.served import deeplog, trained
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
SHARE = 0.5
"""Of the greatest rate."""
WARM_SHARE = 0.25
"""Of the time, which is left out: caches fill, and the allocator finds its size."""
SAMPLE_S = 5.0
BIN_S = 30.0
_HOUR_S = 3_600.0
_ANOMALIES = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A look at the server."""

    at_s: float
    rss_mb: float
    pss_mb: float
    handles: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Change an hour, and the interval of 95 %."""

    per_hour: float
    low: float
    high: float


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """The slope of a line through noisy values (Theil and Sen).

    Examples
    --------
    >>> slope([0, 1800, 3600, 5400], [1.0, 2.0, 3.0, 99.0]).per_hour
    2.0
    """
    found = stats.theilslopes(values, times_s, alpha=0.95)
    middle, low, high = (float(one) * _HOUR_S for one in (found[0], found[2], found[3]))
    return Slope(per_hour=middle, low=low, high=high)


def run(data: Path) -> dict[str, Any]:
    """All figures, flat."""
    material = trained(data)
    lines = material.rest.read_text().splitlines()
    core, _ = cores()
    with deeplog(material.bundle, core=core) as server:
        peak = measure(server.address, material.rest, style="stream", batch=MESSAGE_ENTRIES)["entries_per_s"]
        samples, sent, seconds = asyncio.run(_soak(server, lines, SHARE * peak))
    warm = [sample for sample in samples if sample.at_s > WARM_SHARE * seconds]
    rss, pss = (_slope_of(warm, name) for name in ("rss_mb", "pss_mb"))
    figures = {
        "soak_minutes": seconds / 60,
        "soak_peak_entries_per_s": peak,
        "soak_entries_per_s": sent / seconds,
        "soak_entries": sent,
        "soak_mb_per_hour": rss.per_hour,
        "soak_mb_per_hour_low": rss.low,
        "soak_mb_per_hour_high": rss.high,
        "soak_pss_mb_per_hour": pss.per_hour,
        "soak_begin_mb": warm[0].rss_mb,
        "soak_end_mb": warm[-1].rss_mb,
        "soak_handles_growth": warm[-1].handles - warm[0].handles,
        "soak_handles_max": max(sample.handles for sample in samples),
        "soak_threads_growth": warm[-1].threads - warm[0].threads,
    }
    table = Table("minutes", "entries/s", "MB an hour", "95 %", "MB at the end", "handles +", "threads +", title="soak")
    table.add_row(
        f"{seconds / 60:.1f}",
        f"{sent / seconds:,.0f}",
        f"{rss.per_hour:+.2f}",
        f"{rss.low:+.2f} to {rss.high:+.2f}",
        f"{warm[-1].rss_mb:.0f}",
        str(figures["soak_handles_growth"]),
        str(figures["soak_threads_growth"]),
    )
    console.print(table)
    return figures


def _slope_of(samples: Sequence[Sample], name: str) -> Slope:
    bins: dict[int, list[Sample]] = {}
    for sample in samples:
        bins.setdefault(int(sample.at_s // BIN_S), []).append(sample)
    values = [statistics.median(getattr(sample, name) for sample in own) for own in bins.values()]
    return slope([(number + 0.5) * BIN_S for number in bins], values)


async def _soak(server: ServerProcess, lines: list[str], rate: float) -> tuple[list[Sample], int, float]:
    """Samples, entries sent, seconds."""
    started = time.monotonic()
    looking = asyncio.create_task(_look(server, started))
    sent = 0
    with ProcessPoolExecutor(1) as making:
        async with grpc.aio.insecure_channel(server.address, options=OPTIONS) as channel:
            method: Any = channel.stream_stream(STREAM_SCORE)
            async for answer in method(_paced(making, lines, rate, started)):
                if not is_late(answer):
                    sent += pb.StreamScoreResponse.FromString(answer).result.response.entry_count
    looking.cancel()
    (samples,) = await asyncio.gather(looking)
    return samples, sent, time.monotonic() - started


async def _paced(making: ProcessPoolExecutor, lines: list[str], rate: float, started: float) -> AsyncIterator[bytes]:
    """Messages at a rate in entries a second, until the time is over; the next pass is made meanwhile."""
    yield pb.StreamScoreRequest(config=pb.StreamConfig(options=_ANOMALIES)).SerializeToString()
    loop = asyncio.get_running_loop()
    # The first repetition was sent to measure the greatest rate.
    coming = loop.run_in_executor(making, _pass, lines, 1)
    due = time.monotonic()
    for number in count(2):
        messages = await coming
        coming = loop.run_in_executor(making, _pass, lines, number)
        due = max(due, time.monotonic())
        for message in messages:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += MESSAGE_ENTRIES / rate
            if time.monotonic() - started > MINUTES * 60:
                return
            yield message


def _pass(lines: list[str], number: int) -> list[bytes]:
    """The messages of a repetition, all with sessions of their own."""
    return stream_requests(entries_of(repeated(lines, 1, first=number)), MESSAGE_ENTRIES)


async def _look(server: ServerProcess, started: float) -> list[Sample]:
    """Look at the server until cancelled."""
    process = psutil.Process(server.family()[0])
    samples: list[Sample] = []
    try:
        while True:
            memory = process.memory_full_info()
            samples.append(
                Sample(
                    at_s=time.monotonic() - started,
                    rss_mb=memory.rss / 2**20,
                    pss_mb=memory.pss / 2**20,
                    handles=process.num_fds(),
                    threads=process.num_threads(),
                )
            )
            await asyncio.sleep(SAMPLE_S)
    except asyncio.CancelledError:
        return samples


if __name__ == "__main__":
    show_figures(run)
