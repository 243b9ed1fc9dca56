"""Floods of names: sessions, sources, deliveries and applications without end. What a server holds stays bounded."""

import signal
from pathlib import Path

import psutil
import pytest

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.faults.conservation import assert_conserved, balance_at
from tests.faults.delivery.processes import server_processes
from tests.faults.extent import SEED, runs
from tests.faults.verdicts import by_score, deliveries, no_trouble
from tests.trained import LATER_S

ROUNDS = runs(4)
WARM_ROUNDS = 2
ROUND_ENTRIES = 10_000
"""Each with a session, a source and now and then an application that never came before."""
DELIVERY_ENTRIES = 200
MAX_SESSIONS = 2_000
MAX_APPLICATIONS = 5
GROWTH_MB = 24
"""Of the process after it has warmed up: half of what the sessions of four rounds would take if they stayed."""
ANOMALIES = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)
LIMITS = {
    "detector": {"max_open_sessions": MAX_SESSIONS, "cache_mb": 8},
    "deliveries": {"max_count": 100, "max_mb": 1},
    "learning": {"max_applications": MAX_APPLICATIONS, "keep_mb": 1},
    "state": {"max_mb": 1},
}


def flood(number: int) -> list[list[LogEntry]]:
    """The deliveries of a round; one entry in fifty names an application of its own."""
    first = number * ROUND_ENTRIES
    entries = [
        LogEntry(
            body=f"INFO order [req-{place:032x}] received from customer {place}",
            session=f"flood-{place}",
            source=f"host-{place}",
            time_unix_nano=int((LATER_S + place / 1_000) * 1e9),
            application=f"app-{place}" if place % 50 == 0 else "orders",
        )
        for place in range(first, first + ROUND_ENTRIES)
    ]
    return [entries[at : at + DELIVERY_ENTRIES] for at in range(0, len(entries), DELIVERY_ENTRIES)]


@pytest.mark.timeout(300)
async def test_names_without_end_do_not_grow_a_server(small_bundle: Path, tmp_path: Path) -> None:
    held_mb = []
    rejected = 0
    async with server_processes(small_bundle, tmp_path, settings=LIMITS) as servers:
        await servers.launch()
        ports = await servers.ports()
        address = f"127.0.0.1:{ports['grpc']}"
        async with AsyncDeepLogClient(address) as client:
            for number in range(WARM_ROUNDS + ROUNDS):
                for place, entries in enumerate(flood(number)):
                    answer = await client.score(entries, options=ANOMALIES, batch_id=f"flood-{number}-{place}")
                    rejected += len(answer.errors)
                held_mb.append(psutil.Process(servers.process_id).memory_info().rss / 2**20)
            applications = await client.applications()
            ended = await client.score([], flush=pb.Flush(application="orders"), options=ANOMALIES)
        probe = await by_score(address, deliveries(3, seed=SEED), no_trouble)
        assert_conserved(await balance_at(ports["metrics"]))
        servers.signal(signal.SIGTERM)
        assert await servers.ended() == 0
    assert len(applications) == MAX_APPLICATIONS
    assert rejected == (WARM_ROUNDS + ROUNDS) * ROUND_ENTRIES // 50 - (MAX_APPLICATIONS - 1)
    assert 0 < ended.session_end_count <= MAX_SESSIONS
    assert held_mb[-1] - held_mb[WARM_ROUNDS - 1] < GROWTH_MB, held_mb
    assert all(not answer.errors for answer in probe)
    assert not servers.errors, servers.errors
    assert not servers.noise, servers.noise
