"""A server, and a client that has a stream open, stand still for a while (SIGSTOP) and go on."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.faults import stalled_client
from tests.faults.conservation import assert_conserved, balance_at
from tests.faults.delivery.processes import server_processes
from tests.faults.extent import SEED, runs
from tests.faults.verdicts import by_score, by_stream, deliveries, no_trouble, said, stored_anomalies, verdict_ids

PAUSES = runs(3)
SESSIONS = 60 * PAUSES
STALLED_SESSIONS = 2_000
"""Their verdicts are several times what buffers of connections hold."""
GROWTH_MB = 100
BOUND_S = 60.0


@pytest.mark.timeout(300)
async def test_a_server_that_stood_still_says_the_same_to_its_clients(small_bundle: Path, tmp_path: Path) -> None:
    sent = deliveries(SESSIONS, seed=SEED)
    rng = random.Random(SEED)
    at = set(rng.sample(range(1, len(sent)), PAUSES))
    pausing: list[asyncio.Task[None]] = []

    async def pause() -> None:
        servers.signal(signal.SIGSTOP)
        # Now and then for longer than a client waits for its answer.
        await asyncio.sleep(rng.choice([0.2, 0.5, 5.5]) if len(pausing) > 1 else 5.5)
        servers.signal(signal.SIGCONT)

    async def trouble(delivery: int) -> None:
        if delivery in at:
            if pausing:
                await pausing[-1]
            pausing.append(asyncio.create_task(pause()))

    found = []
    async with server_processes(small_bundle, tmp_path, settings={"server": {"tick_s": None}}) as servers:
        for name, how in (("still", no_trouble), ("paused", trouble)):
            await servers.launch("--state", str(tmp_path / name))
            ports = await servers.ports()
            address = f"127.0.0.1:{ports['grpc']}"
            answers = await by_stream(address, sent, how)
            await asyncio.gather(*pausing)
            assert_conserved(await balance_at(ports["metrics"]))
            names = {one.verdict.verdict_id for one in await stored_anomalies(address)}
            assert names == verdict_ids(answers)
            found.append(said(answers))
            servers.signal(signal.SIGTERM)
            assert await servers.ended() == 0
    assert found[0] == found[1]
    assert len(pausing) == PAUSES
    assert not servers.errors, servers.errors
    assert not servers.noise, servers.noise


@pytest.mark.timeout(300)
async def test_a_client_that_stands_still_costs_neither_memory_nor_others_their_answers(
    small_bundle: Path, tmp_path: Path
) -> None:
    sent = deliveries(60, seed=SEED)
    async with server_processes(small_bundle, tmp_path) as servers:
        await servers.launch()
        ports = await servers.ports()
        address = f"127.0.0.1:{ports['grpc']}"
        await by_score(address, sent[:10], no_trouble)
        before = psutil.Process(servers.process_id).memory_info().rss
        arguments = [stalled_client.__file__, address, str(STALLED_SESSIONS), str(SEED + 1)]
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            assert client.stdout is not None
            async with asyncio.timeout(BOUND_S):
                assert await client.stdout.readline() == b"begun\n"
                client.send_signal(signal.SIGSTOP)
                answers = await by_score(address, sent[10:], no_trouble)
                grown_mb = (psutil.Process(servers.process_id).memory_info().rss - before) / 2**20
                client.send_signal(signal.SIGCONT)
                answered = int(await client.stdout.readline())
                assert await client.wait() == 0
        finally:
            if client.returncode is None:
                client.kill()
                await client.wait()
        assert_conserved(await balance_at(ports["metrics"]))
        assert (await by_score(address, deliveries(2, seed=SEED + 2), no_trouble))[0].entry_count
        servers.signal(signal.SIGTERM)
        assert await servers.ended() == 0
    assert sum(answer.entry_count for answer in answers) == sum(map(len, sent[10:]))
    assert answered == sum(map(len, deliveries(STALLED_SESSIONS, seed=SEED + 1)))
    assert grown_mb < GROWTH_MB
    assert not servers.errors, servers.errors
