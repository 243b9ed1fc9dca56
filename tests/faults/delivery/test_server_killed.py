"""A real ``serve`` is killed, stopped and frozen at moments that a seed gives, while all routes send.

``FAULT_RUNS=200`` asks for so many kills; the figures are printed (``pytest -s``).
"""

import asyncio
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.storage import save_bundle
from deeplog_grpc.testing import FaultPlan
from deeplog_grpc.training import Trainer
from tests.faults.conservation import assert_conserved, balance_at
from tests.faults.delivery.clients import APPLICATION, ROUTES
from tests.faults.delivery.feed import Habits, Timing
from tests.faults.delivery.network import Network, feeds, network, probe, send_all
from tests.faults.delivery.oracle import IDS_OF_A_SOURCE, Oracle
from tests.faults.delivery.processes import ServerProcesses, server_processes
from tests.faults.extent import SEED, SESSIONS_SURVIVE, runs
from tests.trained import small_config

KILLS = runs(8)
STOPS = 5
NATIVE = {"score", "stream_score"}
"""Routes whose answers have the verdicts: their entries are not passed through."""


@pytest.fixture(scope="module")
def oracle_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the lines that oracles issue."""
    oracle = Oracle()
    lines = oracle.issue(oracle.source(), 1_200)
    trainer = Trainer()
    trainer.add(
        EntryBatch(
            bodies=[line.body for line in lines],
            times_ns=np.array([line.time_ns for line in lines], np.int64),
            sessions=[line.session for line in lines],
            sources=[line.source for line in lines],
        )
    )
    model, _ = trainer.fit(application=APPLICATION, version=1, seed=1, config=small_config())
    directory = tmp_path_factory.mktemp("oracle") / "model"
    save_bundle(model, directory, report={"entries": len(lines)})
    return directory


@dataclass(slots=True)
class Killer:
    """Brings trouble to a server until it was killed so often."""

    servers: ServerProcesses
    lines: Network
    oracle: Oracle
    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)
    metrics_port: int = 0
    """Of the server that runs."""

    async def stop(self, times: int) -> None:
        """Order the server to stop so often, and start another each time."""
        for _ in range(times):
            await self._stopped("")

    async def run(self, kills: int) -> None:
        """Leave a server that runs."""
        troubles: list[str] = []
        while self.done["killed"] + self.done["killed at start"] < kills:
            # Each comes before any comes again too often.
            troubles = troubles or self.rng.sample(["killed"] * 5 + ["killed at start", "stopped", "frozen"], 8)
            trouble = troubles.pop()
            await getattr(self, f"_{trouble.partition(' ')[0]}")(trouble)
            self.done[trouble] += 1

    async def start(self) -> None:
        await self.servers.launch()
        ports = await self.servers.ports()
        self.metrics_port = ports["metrics"]
        self.lines.lead_to(ports)

    async def _killed(self, trouble: str) -> None:
        if trouble == "killed at start":
            await self._ended(signal.SIGKILL, -signal.SIGKILL)
            await self.servers.launch()
        await asyncio.sleep(self.rng.uniform(0.02, 0.6))
        await self._ended(signal.SIGKILL, -signal.SIGKILL)
        await self.start()

    async def _stopped(self, _: str) -> None:
        await asyncio.sleep(self.rng.uniform(0.02, 0.6))
        await self._ended(signal.SIGTERM, 0)
        await self.start()

    async def _frozen(self, _: str) -> None:
        """Long enough that clients try again."""
        await asyncio.sleep(self.rng.uniform(0.02, 0.4))
        self.servers.signal(signal.SIGSTOP)
        await asyncio.sleep(self.rng.uniform(0.5, 1.5))
        self.servers.signal(signal.SIGCONT)

    async def _ended(self, number: signal.Signals, code: int) -> None:
        self.servers.signal(number)
        assert await self.servers.ended() == code
        self.oracle.stopped()


async def test_servers_that_take_turns_judge_nothing_twice(oracle_bundle: Path, tmp_path: Path) -> None:
    """What a server had accepted when it was told to stop is answered, so that its successor is not sent it."""
    oracle = Oracle()
    stopping = asyncio.Event()
    async with server_processes(oracle_bundle, tmp_path) as servers:
        await servers.launch()
        async with network(await servers.ports()) as lines:
            killer = Killer(servers, lines, oracle, random.Random(SEED))
            habits = Habits(most_pause_s=0.01, timing=Timing(timeout_s=20.0))
            clients = feeds(oracle, habits, seed=SEED, stopping=stopping)
            async with asyncio.TaskGroup() as group:
                group.create_task(send_all(lines, clients))
                await group.create_task(killer.stop(STOPS))
                stopping.set()
            await probe(lines, oracle)
            assert_conserved(await balance_at(killer.metrics_port))
            servers.signal(signal.SIGTERM)
            assert await servers.ended() == 0
    findings = oracle.findings(servers.record)
    print(f"\n{findings}")
    assert findings.is_sound, findings
    # A write to a stream that the server has ended costs a client in Python the answers that it has not read yet.
    assert {number // IDS_OF_A_SOURCE for number in findings.doubled} <= {list(ROUTES).index("stream_score")}
    assert findings.acknowledged == findings.judged == findings.issued
    assert findings.stops == STOPS
    assert findings.resent > 0
    assert not servers.errors, servers.errors
    assert not servers.noise, servers.noise


@pytest.mark.timeout(60 + 10 * KILLS)
async def test_what_was_acknowledged_was_judged_however_the_server_ends(oracle_bundle: Path, tmp_path: Path) -> None:
    oracle = Oracle()
    stopping = asyncio.Event()
    rng = random.Random(SEED)
    plan = FaultPlan(
        seed=SEED,
        total_s=1e6,
        sound_s=(0.1, 0.8),
        fault_s=(0.05, 0.3),
        names=("cut", "delay", "swallow", "slow_reader"),
    )
    async with server_processes(oracle_bundle, tmp_path) as servers:
        await servers.launch()
        async with network(await servers.ports()) as lines:
            killer = Killer(servers, lines, oracle, rng)
            clients = feeds(oracle, Habits(copies=0.05), seed=SEED, stopping=stopping)
            async with asyncio.TaskGroup() as group:  # the failure of one ends all
                group.create_task(send_all(lines, clients))
                playing = group.create_task(lines.play(plan))
                await group.create_task(killer.run(KILLS))
                playing.cancel()
                lines.repair()
                stopping.set()
            await probe(lines, oracle)
            assert_conserved(await balance_at(killer.metrics_port))
            servers.signal(signal.SIGTERM)
            assert await servers.ended() == 0

    findings = oracle.findings(servers.record)
    foreign = [number for number, name in enumerate(name for name, _ in [*clients, *clients]) if name not in NATIVE]
    passed = oracle.findings(servers.passed_through)
    print(f"\n{dict(killer.done)}, cut {lines.cuts}; judged: {findings}; passed through: {passed}")
    assert findings.is_sound, findings
    assert findings.acknowledged == findings.judged == findings.issued

    # The file of scored records has all that its routes were answered for; after a kill a batch of it may come again.
    assert not passed.unknown
    assert not passed.changed
    assert {number // IDS_OF_A_SOURCE for number in passed.lost}.isdisjoint(foreign)
    assert passed.judged == findings.judged - len(passed.lost)

    # The troubles were there.
    assert killer.done["killed"] >= KILLS // 2
    assert findings.stops >= KILLS
    assert findings.resent > 10 * KILLS
    assert findings.doubled or SESSIONS_SURVIVE
    assert {name for name, feed in clients if feed.retries} == set(ROUTES)
    assert not servers.errors, servers.errors
    assert not servers.noise, servers.noise
