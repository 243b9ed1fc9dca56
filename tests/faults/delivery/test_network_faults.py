"""All routes over a network that delays, cuts, refuses, throws answers away and does not read: each line once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import generate_latest

from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.testing import FaultPlan
from tests.faults.conservation import Balance, assert_conserved
from tests.faults.delivery.clients import APPLICATION, ROUTES
from tests.faults.delivery.feed import Habits, Timing
from tests.faults.delivery.network import BOUND_S, Network, feeds, network, probe, send_all
from tests.faults.delivery.oracle import Findings, Judged, Oracle
from tests.integration.receiver_harness import Receiving, receiving

OTHER = "other"
"""A second application: with one alone, no line is rejected for its name."""


def recorded(up: Receiving) -> list[Judged]:
    """The record of all that the detectors are given from now on."""
    record: list[Judged] = []

    def recording(score: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def scored(batch: Any) -> Any:
            verdicts = score(batch)
            record.extend(map(Judged, batch.bodies, batch.sessions, batch.sources))
            return verdicts

        return scored

    for detector in up.detectors.values():
        setattr(detector, "score", recording(detector.score))  # noqa: B010 - what it is given is noted
    return record


def ports_of(up: Receiving) -> dict[str, int]:
    return {"grpc": up.port, **up.ports}


async def faulty(lines: Network, oracle: Oracle, plan: FaultPlan, habits: Habits, clients: int = 1) -> None:
    """Send on all routes while faults are in force, then deliver the rest and see that fresh lines pass."""
    stopping = asyncio.Event()
    sending = asyncio.create_task(
        send_all(lines, feeds(oracle, habits, seed=plan.seed, stopping=stopping, clients=clients))
    )
    playing = asyncio.create_task(lines.play(plan))
    await asyncio.wait([sending, playing], return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    async with asyncio.timeout(BOUND_S):
        await playing
        await sending
    await probe(lines, oracle)


def assert_all_told(findings: Findings) -> None:
    """Every line was judged, or its sender told that it will not be."""
    assert findings.issued == findings.acknowledged == findings.judged + findings.rejected


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_each_line_is_judged_once_in_order_and_whole_whatever_the_network_does(seed: int) -> None:
    oracle = Oracle()
    habits = Habits(copies=0.1, late_copies=0.1, bad=0.2)
    plan = FaultPlan(seed=seed, total_s=4.0, fault_s=(0.1, 0.4), sound_s=(0.05, 0.15))
    async with receiving(APPLICATION, OTHER) as up, network(ports_of(up)) as lines:
        record = recorded(up)
        await faulty(lines, oracle, plan, habits)
        assert_conserved(Balance.of(generate_latest(up.server.metrics.registry).decode()))
        repeats = up.server.deliveries.repeats
    findings = oracle.findings(record)
    assert findings.is_sound, findings
    assert_all_told(findings)
    assert set(lines.played) >= set(plan.names)
    assert findings.rejected > 10
    assert findings.resent > 300, findings
    assert repeats > 30
    assert lines.cuts > 10
    assert lines.swallowed_bytes > 1_000
    assert findings.judged > 1_000, findings


@pytest.mark.parametrize("route", ROUTES)
async def test_an_answer_that_never_arrives_costs_no_second_judgement(route: str) -> None:
    findings, repeats = await without_answers(route)
    assert findings.is_sound, findings
    assert_all_told(findings)
    assert repeats > 0
    assert findings.resent > 0


@pytest.mark.parametrize("route", ROUTES)
async def test_a_server_that_forgets_is_found_out(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(
        self: Deliveries, key: Any, digest: Any, work: Callable[[], Any], size_of: Any, *, field: str = ""
    ) -> Any:
        return asyncio.create_task(work()), False

    monkeypatch.setattr(Deliveries, "begin", forgetful)
    findings, _ = await without_answers(route)
    assert findings.doubled_wrongly
    assert not findings.lost + findings.changed
    assert not findings.unknown


async def without_answers(route: str) -> tuple[Findings, int]:
    """A run in which many answers of one route are thrown away; with the number of repetitions that were known."""
    oracle = Oracle()
    stopping = asyncio.Event()
    habits = Habits(timing=Timing(max_retry_s=0.1))
    plan = FaultPlan(seed=7, total_s=1.5, fault_s=(0.1, 0.15), sound_s=(0.2, 0.3), names=("swallow",))
    async with receiving(APPLICATION, OTHER) as up, network(ports_of(up)) as lines:
        record = recorded(up)
        clients = [client for client in feeds(oracle, habits, seed=7, stopping=stopping) if client[0] == route]
        sending = asyncio.create_task(send_all(lines, clients))
        await lines.play(plan)
        stopping.set()
        async with asyncio.timeout(BOUND_S):
            await sending
        repeats = up.server.deliveries.repeats
    return oracle.findings(record), repeats
