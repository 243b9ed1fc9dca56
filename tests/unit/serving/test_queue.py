"""The rules of the queue, one by one, with a worker that only notes what it gets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deeplog_grpc.errors import (
    DrainingError,
    ExpiredError,
    MemoryPressureError,
    PeerLimitError,
    QueueFullError,
    RefusedError,
)
from deeplog_grpc.serving.config import ServerConfig
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.serving.peers import working_for
from deeplog_grpc.serving.queue import ScoringQueue, Size
from deeplog_grpc.serving.waiting_line import Order

ONE = Size(entries=1, size_bytes=1)


class Worker:
    def __init__(self) -> None:
        self.runs: list[list[str]] = []

    def __call__(self, jobs: Sequence[str]) -> list[str | Exception]:
        self.runs.append(list(jobs))
        return [ValueError(job) if job == "bad" else job.upper() for job in jobs]


@asynccontextmanager
async def queue(**config: Any) -> AsyncIterator[tuple[ScoringQueue[str, str], Worker]]:
    worker = Worker()
    scoring: ScoringQueue[str, str] = ScoringQueue(worker, ServerConfig(**config))
    scoring.start()
    async with asyncio.timeout(20):
        yield scoring, worker
    await scoring.close()


async def test_replies_and_errors_reach_their_jobs_in_one_run() -> None:
    async with queue() as (scoring, worker):
        with scoring.hold():
            replies = [scoring.offer(job, ONE) for job in ("a", "bad", "c")]
        assert await replies[0] == "A"
        assert await replies[2] == "C"
        with pytest.raises(ValueError, match="bad"):
            await replies[1]
    assert worker.runs == [["a", "bad", "c"]]


async def test_a_run_ends_before_the_job_that_would_pass_its_limit() -> None:
    async with queue(max_batch_entries=10) as (scoring, worker):
        with scoring.hold():
            sizes = {"a": 6, "b": 4, "c": 1, "d": 30, "e": 9}
            replies = [scoring.offer(job, Size(entries=n, size_bytes=1)) for job, n in sizes.items()]
        await asyncio.gather(*replies)
    assert worker.runs == [["a", "b"], ["c"], ["d"], ["e"]]


async def test_small_requests_go_first_and_the_line_gets_every_other_run() -> None:
    async with queue(max_batch_entries=10, small_request_entries=2) as (scoring, worker):
        with scoring.hold():
            replies = [scoring.offer(job, Size(entries=10, size_bytes=1)) for job in ("A", "B")]
            replies += [scoring.offer(job, Size(entries=2, size_bytes=1), order=Order.SMALL_FIRST) for job in "abcdefg"]
        await asyncio.gather(*replies)
    assert worker.runs == [list("abcde"), ["A"], ["f", "g"], ["B"]]


async def test_a_small_request_does_not_pass_an_order_of_the_servers_own() -> None:
    async with queue() as (scoring, worker):
        with scoring.hold():
            large = scoring.offer("large", Size(entries=500, size_bytes=1))
            installed = scoring.add("install")
            small = scoring.offer("small", ONE, order=Order.SMALL_FIRST)
        await asyncio.gather(large, installed, small)
    assert worker.runs == [["large", "install"], ["small"]]


async def test_an_expired_small_request_does_not_hold_up_what_waits_for_it() -> None:
    async with queue() as (scoring, worker):
        with scoring.hold():
            large = scoring.offer("large", Size(entries=500, size_bytes=1))
            expired = scoring.offer("gone", ONE, timeout_s=0.0, order=Order.SMALL_FIRST)
            installed = scoring.add("install")
        await asyncio.gather(large, installed)
        with pytest.raises(ExpiredError):
            await expired
    assert [job for run in worker.runs for job in run] == ["large", "install"]


async def test_without_room_an_offer_is_refused_and_a_put_waits_its_turn() -> None:
    async with queue(max_queue_entries=2) as (scoring, worker):
        with scoring.hold():
            first = [scoring.offer(job, ONE) for job in "ab"]
            with pytest.raises(QueueFullError):
                scoring.offer("x", ONE)
            waiting = [asyncio.create_task(scoring.put(job, ONE)) for job in "cde"]
            await asyncio.sleep(0)
            assert [task.done() for task in waiting] == [False] * 3
            assert scoring.waiting_entries == 2
        assert [await (await task) for task in waiting] == ["C", "D", "E"]
        assert [reply.result() for reply in first] == ["A", "B"]
        await scoring.drain()
        assert scoring.waiting_entries == 0
    assert [job for run in worker.runs for job in run] == list("abcde")


async def test_nobody_overtakes_those_at_the_door() -> None:
    async with queue(max_queue_entries=4) as (scoring, worker):
        with scoring.hold():
            first = scoring.offer("a", Size(entries=3, size_bytes=1))
            large = asyncio.create_task(scoring.put("large", Size(entries=4, size_bytes=1)))
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError):
                scoring.offer("small", ONE)  # it would fit, but another came before
        assert await first == "A"
        assert await (await large) == "LARGE"
    assert worker.runs == [["a"], ["large"]]


async def test_the_cancelled_and_the_expired_give_their_room_back_unscored() -> None:
    async with queue(max_queue_entries=3) as (scoring, worker):
        with scoring.hold():
            cancelled, expired = scoring.offer("a", ONE), scoring.offer("b", ONE, timeout_s=0.0)
            kept = scoring.offer("c", ONE)
            gone = asyncio.create_task(scoring.put("d", ONE))
            later = asyncio.create_task(scoring.put("e", ONE))
            await asyncio.sleep(0)
            cancelled.cancel()
            gone.cancel()
        assert await kept == "C"
        assert await (await later) == "E"
        with pytest.raises(ExpiredError):
            await expired
    assert sorted(job for run in worker.runs for job in run) == ["c", "e"]


async def test_a_drain_refuses_the_new_and_the_waiting_and_finishes_the_accepted() -> None:
    async with queue(max_queue_entries=1) as (scoring, worker):
        with scoring.hold():
            accepted = scoring.offer("a", ONE)
            at_the_door = asyncio.create_task(scoring.put("b", ONE))
            await asyncio.sleep(0)
            draining = asyncio.create_task(scoring.drain())
            with pytest.raises(DrainingError):
                await at_the_door
            with pytest.raises(DrainingError):
                scoring.offer("c", ONE)
            with pytest.raises(DrainingError):
                await scoring.put("d", ONE)
            assert not draining.done()
        await draining
        assert accepted.result() == "A"
    assert worker.runs == [["a"]]


async def test_an_idle_queue_drains_at_once() -> None:
    async with queue() as (scoring, _):
        await scoring.drain()
        assert scoring.draining


async def test_a_worker_that_raises_fails_its_jobs_and_serves_the_next() -> None:
    class Broken(Worker):
        def __call__(self, jobs: Sequence[str]) -> list[str | Exception]:
            if not self.runs:
                self.runs.append([])
                raise RuntimeError("defect")
            return super().__call__(jobs)

    scoring: ScoringQueue[str, str] = ScoringQueue(Broken(), ServerConfig())
    scoring.start()
    async with asyncio.timeout(20):
        with pytest.raises(RuntimeError, match="defect"):
            await scoring.offer("a", ONE)
        assert await scoring.offer("b", ONE) == "B"
    await scoring.close()


async def test_closing_cancels_what_was_not_started() -> None:
    worker = Worker()
    scoring: ScoringQueue[str, str] = ScoringQueue(worker, ServerConfig())
    scoring.start()
    with scoring.hold():
        reply = scoring.offer("a", ONE)
        await scoring.close()
    assert reply.cancelled()
    assert worker.runs == []


@asynccontextmanager
async def limited(
    limits: LimitsConfig, too_little_memory: Callable[[], RefusedError | None] = lambda: None, **config: Any
) -> AsyncIterator[tuple[ScoringQueue[str, str], Worker]]:
    worker = Worker()
    scoring: ScoringQueue[str, str] = ScoringQueue(
        worker, ServerConfig(**config), limits=limits, too_little_memory=too_little_memory
    )
    scoring.start()
    async with asyncio.timeout(20):
        yield scoring, worker
    await scoring.close()


async def test_peers_take_turns_and_what_one_sent_keeps_its_order() -> None:
    async with limited(LimitsConfig(), max_batch_entries=1_000) as (scoring, worker):
        with scoring.hold():
            replies = []
            for job, peer in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b")):
                with working_for(peer):
                    replies.append(scoring.offer(job, Size(entries=1_000, size_bytes=1)))
        await asyncio.gather(*replies)
    assert worker.runs == [["a1"], ["b1"], ["a2"], ["b2"], ["a3"]]


async def test_a_tick_runs_behind_what_was_there_before_it_of_all_peers() -> None:
    async with limited(LimitsConfig(), max_batch_entries=1_000) as (scoring, worker):
        with scoring.hold():
            replies = []
            for job, peer in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("tick", ""), ("c1", "c")):
                with working_for(peer):
                    if job == "tick":
                        replies.append(scoring.add(job, order=Order.BEHIND_LINE))
                    else:
                        replies.append(scoring.offer(job, Size(entries=1_000, size_bytes=1)))
        await asyncio.gather(*replies)
    assert [job for run in worker.runs for job in run] == ["a1", "b1", "a2", "tick", "c1"]


async def test_one_peer_leaves_room_for_others_and_waits_for_its_share_without_holding_them_up() -> None:
    async with limited(LimitsConfig(queue_share=0.5), max_queue_entries=12) as (scoring, _):
        with scoring.hold():
            with working_for("greedy"):
                replies = [scoring.offer("g", Size(entries=3, size_bytes=1)) for _ in range(2)]
                with pytest.raises(QueueFullError):  # nobody else is there: it is told what it always was
                    scoring.offer("g", ONE)
                at_the_door = asyncio.create_task(scoring.put("g", ONE))
                await asyncio.sleep(0)
            with working_for("light"):
                replies.append(scoring.offer("l", Size(entries=2, size_bytes=1)))
            with working_for("greedy"), pytest.raises(QueueFullError):
                scoring.offer("g", ONE)  # its own comes first
            assert not at_the_door.done()
            with working_for("other"):
                replies.append(scoring.offer("o", Size(entries=1, size_bytes=1)))
        await asyncio.gather(*replies)
        assert await (await at_the_door) == "G"
        with scoring.hold(), working_for("greedy"):
            kept = [scoring.offer("g", Size(entries=6, size_bytes=1))]
            with working_for("light"):
                kept.append(scoring.offer("l", ONE))
            with pytest.raises(PeerLimitError, match=r"limits\.queue_share"):
                scoring.offer("g", ONE)
        await asyncio.gather(*kept)


async def test_a_peer_that_sends_too_fast_is_refused_or_waits_in_its_order() -> None:
    async with limited(LimitsConfig(entries_per_s=20, burst_s=0.05)) as (scoring, worker):
        with working_for("fast"):
            first = scoring.offer("a", Size(entries=3, size_bytes=1))
            with pytest.raises(PeerLimitError, match=r"limits\.entries_per_s"):
                scoring.offer("x", ONE)
            waiting = [asyncio.create_task(scoring.put(job, Size(entries=0, size_bytes=1))) for job in "bcd"]
            await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
        with working_for("slow"):
            assert await scoring.offer("s", ONE) == "S"
        assert await first == "A"
        assert [await (await task) for task in waiting] == ["B", "C", "D"]
    assert [job for run in worker.runs for job in run if job != "s"] == list("abcd")


async def test_without_memory_calls_are_refused_and_streams_wait() -> None:
    lack: list[RefusedError] = [MemoryPressureError("no", retry_after_s=600.0)]
    async with limited(LimitsConfig(), lambda: lack[0] if lack else None) as (scoring, _):
        with working_for("a"):
            with pytest.raises(MemoryPressureError):
                scoring.offer("x", ONE)
            with pytest.raises(MemoryPressureError):
                scoring.check_room(1)
            waiting = asyncio.create_task(scoring.put("y", ONE))
            await asyncio.sleep(0)
        assert await scoring.add("own") == "OWN"  # the server's own work goes on
        lack.clear()
        scoring.let_in()
        assert await (await waiting) == "Y"


async def test_what_would_wait_in_vain_is_refused_at_once_but_not_small_requests() -> None:
    async with limited(LimitsConfig(), small_request_entries=10) as (scoring, _):
        with scoring.hold(), working_for("a"):
            replies = [scoring.offer("a", Size(entries=5_000, size_bytes=5_000))]
            with pytest.raises(QueueFullError):  # 10,000 a second are assumed at first
                scoring.offer("b", Size(entries=11, size_bytes=11), timeout_s=1.0)
            with pytest.raises(QueueFullError):
                scoring.check_room(1_000, timeout_s=1.0)
            scoring.check_room(5, timeout_s=1.0)
            replies.append(scoring.offer("c", ONE, timeout_s=10.0))
            replies.append(scoring.offer("d", Size(entries=11, size_bytes=11), timeout_s=10.0))
        await asyncio.gather(*replies)
