"""A real ``serve`` is killed and stopped while a log is sent to it: what it says is what one says that was left alone.

``FAULT_RUNS=200`` asks for so many ends of the server.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from deeplog_grpc.testing import FaultyProxy
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.faults.conservation import assert_conserved, balance_at
from tests.faults.delivery.processes import ServerProcesses, server_processes
from tests.faults.extent import SEED, SESSIONS_SURVIVE, runs
from tests.faults.verdicts import ROUTES, UNDER_WAY, Deliveries, deliveries, said, stored, stored_anomalies, verdict_ids

STOPS = runs(4)
SESSIONS = max(160, 40 * STOPS)
ENDS = ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0))
"""Ways to end a server, by turns."""
QUIET = {"server": {"tick_s": None}}
"""No session ends by the clock: a slow machine would end others than a fast one."""


class Run:
    """One run of the log through servers of one state that take turns."""

    def __init__(self, servers: ServerProcesses, proxy: FaultyProxy, *, state: Path, at: Sequence[int] = ()) -> None:
        self.ports: dict[str, int] = {}
        self.stops: list[range] = []
        """Deliveries that were sent from the order to stop to the end."""
        self._servers, self._proxy, self._state = servers, proxy, state
        self._at = set(at)
        self._sent = 0
        self._rng = random.Random(f"ends {SEED}")
        self._stopping: asyncio.Task[None] | None = None

    async def told(self, route: str, sent: Deliveries) -> tuple[list[pb.ScoreResponse], list[anomaly_pb2.Anomaly]]:
        """First answers, and what was stored."""
        await self._start()
        answers = await ROUTES[route](self._proxy.address, sent, self._trouble)
        await self._over()
        assert_conserved(await balance_at(self.ports["metrics"]))
        found = await stored_anomalies(f"127.0.0.1:{self.ports['grpc']}")
        self._servers.signal(signal.SIGTERM)
        assert await self._servers.ended() == 0
        return answers, found

    async def _start(self) -> None:
        await self._servers.launch("--state", str(self._state))
        self.ports = await self._servers.ports()
        self._proxy.upstream = ("127.0.0.1", self.ports["grpc"])

    async def _trouble(self, delivery: int) -> None:
        """End the server soon after this delivery is sent, if it is the turn of it."""
        self._sent = delivery
        if delivery in self._at:
            await self._over()
            self._stopping = asyncio.create_task(self._stop(self._rng.uniform(0.0, 0.02)))

    async def _over(self) -> None:
        """Wait for the end of the last trouble; if it failed, so does this."""
        if self._stopping is not None:
            await self._stopping

    async def _stop(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        number, code = ENDS[len(self.stops) % len(ENDS)]
        first = self._sent
        self._servers.signal(number)
        assert await self._servers.ended() == code
        self.stops.append(range(first - UNDER_WAY, self._sent + UNDER_WAY))
        await self._start()


@pytest.mark.timeout(120 + 20 * STOPS)
async def test_what_is_said_is_what_a_server_says_that_was_left_alone(small_bundle: Path, tmp_path: Path) -> None:
    sent = deliveries(SESSIONS, seed=SEED)
    quiet = server_processes(small_bundle, tmp_path, settings=QUIET)
    async with quiet as servers, FaultyProxy("127.0.0.1", 0) as proxy:
        expected, expected_stored = await Run(servers, proxy, state=tmp_path / "clean").told("score", sent)
        assert len(expected_stored) > 5
        for route in ROUTES:
            at = sorted(random.Random(f"{route} {SEED}").sample(range(2, len(sent) - 2), STOPS))
            run = Run(servers, proxy, state=tmp_path / route, at=at)
            answers, found_stored = await run.told(route, sent)
            assert len(run.stops) == len(at)
            assert [answer.entry_count for answer in answers] == [len(one) for one in sent]
            # What a client was told of can be asked for, and nothing is there twice.
            names = [one.verdict.verdict_id for one in found_stored]
            assert len(set(names)) == len(names)
            assert verdict_ids(answers) <= set(names)
            if SESSIONS_SURVIVE:
                assert said(answers) == said(expected)
                assert stored(found_stored) == stored(expected_stored)
            else:
                spanning = spanning_sessions(expected, run.stops)
                compared = judged(answers, but=spanning)
                assert compared == judged(expected, but=spanning)
                assert compared.total() > 50
    assert not servers.errors, servers.errors
    assert not servers.noise, servers.noise


def spanning_sessions(answers: Sequence[pb.ScoreResponse], stops: Sequence[range]) -> set[str]:
    """Sessions of which deliveries before and after an end of the server speak."""
    seen: dict[str, set[int]] = {}
    for number, answer in enumerate(answers):
        for verdict in answer.verdicts:
            seen.setdefault(verdict.session, set()).add(number)
    return {
        session
        for session, numbers in seen.items()
        if any(min(numbers) <= stop.stop and max(numbers) >= stop.start for stop in stops)
    }


def judged(answers: Sequence[pb.ScoreResponse], *, but: set[str]) -> Counter[tuple[str, int, int]]:
    """Verdicts on entries of all sessions but some, log keys left out: a kill forgets new ones, and renumbers them."""
    return Counter(
        (verdict.session, verdict.kind, verdict.time_unix_nano)
        for answer in answers
        for verdict in answer.verdicts
        if verdict.session not in but and verdict.kind != verdict_pb2.KIND_UNSEEN_KEY
    )
