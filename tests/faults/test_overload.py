"""Ten times what the server can do, for some seconds: early honest refusals, bounds kept, nothing lost.

In one process, with a detector that is as slow as the test wants it; `benchmarks/faults_overload.py` does it with a
real server for a minute.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.server_harness import BOUND_S, Running, details, request, running, status_in, until
from tests.unit.serving.fake_detector import FakeBatch, FakeDetector

ENTRIES = 50
"""Of a call."""
RUN_S = 0.02
"""A run of the detector, of up to ``RUN_ENTRIES``: 10,000 entries a second, as the queue assumes at first."""
RUN_ENTRIES = 200
QUEUE_ENTRIES = 2_000
OVERLOAD_S = 3.0
TIMES = 10
DEADLINE_S = 15.0
"""Of each call: generous, since the machine may be slow; the queue alone is 0.2 s long."""


async def end_of(up: Running, raw: bytes) -> str:
    """What became of one call: "OK", or the reason of a refusal that says when to come again."""
    try:
        answer = await up.raw("Score")(raw, timeout=DEADLINE_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            return error.code().name
        found = details(status_in(error))
        assert found["RetryInfo"].retry_delay.ToNanoseconds() > 0
        return str(found["ErrorInfo"].reason)
    assert pb.ScoreResponse.FromString(answer).entry_count == ENTRIES
    return "OK"


async def overloaded(up: Running, per_s: float, most_waiting: list[int]) -> Sequence[str]:
    """Send by the clock whatever the server does; returns the ends of all calls."""
    raw = request(["open"] * ENTRIES).SerializeToString()
    calls: list[asyncio.Task[str]] = []
    started = time.monotonic()
    while (elapsed_s := time.monotonic() - started) < OVERLOAD_S:
        while len(calls) < elapsed_s * per_s:
            calls.append(asyncio.create_task(end_of(up, raw)))
        most_waiting.append(up.server.queue.waiting_entries)
        await asyncio.sleep(0.005)
    return await asyncio.gather(*calls)


async def test_overload_is_refused_early_and_honestly_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, judged = FakeDetector.score, 0

    def slowly(detector: FakeDetector, batch: EntryBatch) -> FakeBatch:
        nonlocal judged
        time.sleep(RUN_S)
        judged += len(batch)
        return at_once(detector, batch)

    monkeypatch.setattr(FakeDetector, "score", slowly)
    bounds: dict[str, Any] = {
        "max_queue_entries": QUEUE_ENTRIES,
        "max_batch_entries": RUN_ENTRIES,
        "small_request_entries": 1,
    }
    async with running(ingest=IngestConfig(max_entries_per_request=RUN_ENTRIES), **bounds) as up:
        assert (await up.score(request(["open"]))).entry_count == 1
        most_waiting: list[int] = []
        ends = await overloaded(up, TIMES * RUN_ENTRIES / RUN_S / ENTRIES, most_waiting)
        found = Counter(ends)
        assert set(found) == {"OK", "QUEUE_FULL"}  # none expired, was cancelled or broke
        assert found.total() == len(ends)
        assert found["QUEUE_FULL"] > found["OK"]
        assert max(most_waiting) <= QUEUE_ENTRIES
        # What was accepted was judged once, and what was refused was not.
        assert judged == 1 + found["OK"] * ENTRIES
        await until(lambda: up.server.queue.waiting_entries == 0)
        async with asyncio.timeout(BOUND_S):
            assert (await up.score(request(["open"] * ENTRIES))).entry_count == ENTRIES
