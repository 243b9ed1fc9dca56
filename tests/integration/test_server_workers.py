"""A server with several processes says what one says, and outlives them; they do not outlive it."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig, serve
from deeplog_grpc.serving.shards import MAX_DEATHS, ShardLostError
from deeplog_grpc.testing import Fault, simulate_log
from deeplog_grpc.v1 import application_pb2, feedback_pb2, verdict_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.learns import learning, orders, streamed, until_state
from tests.integration.served import FULL, Served, opened, order_of, port_of, probed, served, started
from tests.integration.server_harness import BOUND_S, until
from tests.trained import LATER_S, entries_of

TWO: dict[str, Any] = {"workers": 2}


def shards_of(process: psutil.Process) -> list[psutil.Process]:
    """The scoring processes of a server, in their order."""
    found = [child for child in process.children() if any("shard_process" in word for word in child.cmdline())]
    return sorted(found, key=psutil.Process.create_time)


async def faulty_log(up: Served) -> list[bytes]:
    """All that is said of many sessions at once, some with faults, in requests of several sizes."""
    batch = entries_of(simulate_log(60, seed=5, start_s=LATER_S, fault_rate=0.3).lines)
    entries = [
        LogEntry(body=body, time_unix_nano=time_ns)
        for body, time_ns in zip(batch.bodies, batch.times_ns.tolist(), strict=True)
    ]
    found, start, normal = [], 0, 0
    for size in (1, 7, 200, len(entries)):
        response = await up.client.score(entries[start : start + size], options=FULL)
        start += size
        for verdict in (*response.verdicts, *response.session_ends):
            normal += verdict.kind == verdict_pb2.KIND_NORMAL
            verdict.verdict_id = ""
            found.append(verdict.SerializeToString(deterministic=True))
    flushed = await up.client.score([], options=FULL, flush=pb.Flush())
    for verdict in flushed.session_ends:
        verdict.verdict_id = ""
    assert 0 < normal < len(found)
    ends = sorted(end.SerializeToString(deterministic=True) for end in flushed.session_ends)
    assert len(ends) == 60
    return [*found, *ends]


async def test_verdicts_are_those_of_a_server_without_workers(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path / "one") as up:
        expected = [await probed(up, "a"), await faulty_log(up)]
        parsed = await up.client.parse(["disk 7 is on fire", "disk 8 is on fire"])
    async with served(small_bundle, tmp_path / "two", state=TWO) as up:
        found = [await probed(up, "a"), await faulty_log(up)]
        assert await up.client.parse(["disk 7 is on fire", "disk 8 is on fire"]) == parsed
        assert len(shards_of(psutil.Process())) == 2
    assert found == expected
    assert not shards_of(psutil.Process())


async def test_feedback_comes_into_force_in_all_workers(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path, state=TWO) as up:
        alarms = [await up.alarm(Fault.UNSEEN_KEY, session=f"before-{number}") for number in range(4)]
        assert all(alarms)
        answer = await up.client.feedback(feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE, group_id=await group(up))
        assert answer.outcome == feedback_pb2.FEEDBACK_OUTCOME_LEARNED
        after = [await up.alarm(Fault.UNSEEN_KEY, session=f"after-{number}") for number in range(4)]
        verdicts = await up.score(order_of(None))
    assert after == [[]] * 4
    assert {verdict.model_version for verdict in verdicts} == {answer.model_version} == {4}
    async with served(small_bundle, tmp_path, state=TWO) as up:
        assert not await up.alarm(Fault.UNSEEN_KEY)


async def group(up: Served) -> str:
    """The group of the latest anomaly."""
    return (await up.stored())[0].group_id


async def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost_but_its_sessions(
    small_bundle: Path, tmp_path: Path
) -> None:
    async with served(small_bundle, tmp_path, state=TWO) as up:
        shards = up.state.shards
        assert shards is not None
        other = next(
            name for name in map("order-{}".format, range(1, 99)) if shards.shard_of(name) != shards.shard_of("a")
        )
        first, second = (order_of(None, session=name, at_s=LATER_S) for name in ("a", other))
        middle = next(row for row, entry in enumerate(first) if "payment accepted" in entry.body)  # no beginning
        for entries in (first, second):
            await up.score(entries[:middle])
        victim = shards_of(psutil.Process())[shards.shard_of("a")]
        victim.kill()
        await until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)
        there = await up.score(second[middle:], flush=True)
        gone = await up.score(first[middle:])
        assert {verdict.kind for verdict in [*there, *gone]} == {verdict_pb2.KIND_NORMAL}
        assert gone[0].rank == 0 < there[0].rank  # the one is tracked from its middle on, the other went on
        assert await up.alarm(Fault.UNSEEN_KEY, session="a")
        assert len(shards_of(psutil.Process())) == 2


async def test_a_model_that_is_learned_is_divided_over_the_workers(tmp_path: Path) -> None:
    async with learning(tmp_path, workers=2) as up:
        await streamed(up, orders(250, seed=1))
        await until_state(up, application_pb2.APPLICATION_STATE_DETECTING)
        _, false_alarms = await streamed(up, orders(100, seed=2, start_s=LATER_S + 600))
        _, alarms = await streamed(up, orders(100, seed=3, start_s=LATER_S + 1_200, fault_rate=0.3))
    assert false_alarms <= 5
    assert alarms >= 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_workers_end_with_the_server(small_bundle: Path, tmp_path: Path, number: int) -> None:
    process = await started(small_bundle, tmp_path, "--workers", "2")
    try:
        port, _ = await asyncio.wait_for(port_of(process), 3 * BOUND_S)
        workers = shards_of(psutil.Process(process.pid))
        assert len(workers) == 2
        async with AsyncDeepLogClient(f"127.0.0.1:{port}", timeout_s=BOUND_S) as client:
            response = await client.score(order_of(Fault.UNSEEN_KEY))
            assert response.anomaly_count
        process.send_signal(number)
        code = await asyncio.wait_for(process.wait(), 3 * BOUND_S)
        assert code == (0 if number == signal.SIGTERM else -number)
        await until(lambda: not any(worker.is_running() for worker in workers))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_server_whose_workers_die_again_and_again_stops(small_bundle: Path, tmp_path: Path) -> None:
    kept = opened(small_bundle, tmp_path, **TWO)

    def ready(_: int) -> None:
        asyncio.get_running_loop().run_in_executor(None, exhaust)

    def exhaust() -> None:
        with suppress(ShardLostError):
            for _ in range(MAX_DEATHS):
                for worker in shards_of(psutil.Process()):
                    worker.kill()
                kept.detectors["orders"].flush()

    try:
        server = Server(kept.detectors, ServerConfig(listen="127.0.0.1:0"), IngestConfig(), state=kept)
        with pytest.raises(ShardLostError, match="again and again"):
            async with asyncio.timeout(6 * BOUND_S):
                await serve(server, ready=ready)
    finally:
        kept.close()
    assert not shards_of(psutil.Process())
