"""The wall clock of a server is stepped by hours and years: nothing that it says changes."""

import random
import signal
from pathlib import Path

import pytest

from deeplog_grpc.client import AsyncDeepLogClient
from tests.faults.conservation import assert_conserved, balance_at
from tests.faults.delivery.processes import server_processes
from tests.faults.delivery.serving_process import CLOCK
from tests.faults.extent import SEED, runs
from tests.faults.verdicts import FULL, by_stream, deliveries, no_trouble, said, stored, stored_anomalies

STEPS_S = (3_600, -3_600, 86_400, -86_400, 31_536_000, -31_536_000)
SESSIONS = 40 * runs(2)
QUIET = {"server": {"tick_s": None}, "state": {"max_age_s": None}}
"""No session ends by a clock, not even the monotonic one: a slow machine would end others than a fast one. And no
anomaly goes for its age, which is told by the wall clock: a step of a year makes all of them old."""


@pytest.mark.timeout(300)
async def test_steps_of_the_wall_clock_change_nothing_that_is_said(small_bundle: Path, tmp_path: Path) -> None:
    sent = deliveries(SESSIONS, seed=SEED)
    clock = tmp_path / "clock"
    clock.write_text("0")
    steps = dict(zip(random.Random(SEED).sample(range(1, len(sent)), len(STEPS_S)), STEPS_S, strict=True))
    stepped: list[int] = []

    async def step(delivery: int) -> None:
        if delivery in steps:
            stepped.append(steps[delivery])
            clock.write_text(str(steps[delivery]))

    found = []
    async with server_processes(small_bundle, tmp_path, settings=QUIET, first=[CLOCK, str(clock)]) as servers:
        for name, trouble in (("still", no_trouble), ("stepped", step)):
            await servers.launch("--state", str(tmp_path / name))
            ports = await servers.ports()
            address = f"127.0.0.1:{ports['grpc']}"
            answers = await by_stream(address, sent, trouble)
            found.append((said(answers), stored(await stored_anomalies(address))))
            async with AsyncDeepLogClient(address) as client:
                first = await client.score(sent[0], batch_id="named", options=FULL)
                clock.write_text(str(STEPS_S[-1]))
                again = await client.score(sent[0], batch_id="named", options=FULL)
                clock.write_text(str(STEPS_S[-2]))
                later = await client.score(sent[0], batch_id="named", options=FULL)
            assert [one.is_repeat for one in (first, again, later)] == [False, True, True]
            assert_conserved(await balance_at(ports["metrics"]))
            servers.signal(signal.SIGTERM)
            assert await servers.ended() == 0
            clock.write_text("0")
    assert found[0] == found[1]
    assert found[0][1]
    assert sorted(stepped) == sorted(STEPS_S)
    assert not servers.errors, servers.errors
    assert not servers.noise, servers.noise
