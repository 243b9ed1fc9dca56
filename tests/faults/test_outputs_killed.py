"""kill -9 in the middle of sending: every anomaly goes out at least once, and alerts count each of them once."""

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

from deeplog_grpc.outputs.positions import Positions
from tests.faults import killed_outputs
from tests.integration.output_harness import Collector, Web, until
from tests.kept_anomalies import open_store

KILLS = 6
AT_THE_END = 10


async def test_killed_at_any_time_all_go_out_and_are_counted_once(tmp_path: Path) -> None:
    chance = random.Random(5)
    stored: list[str] = []
    async with Collector().serving() as collector, Web().serving() as web:
        for _ in range(KILLS):
            stored += await run(tmp_path, collector, web, kill_after=chance.randint(5, 150))
        stored += await run(tmp_path, collector, web)
        await until(lambda: set(stored) <= set(collector.bodies))
    sent = list(dict.fromkeys(collector.bodies))
    assert sent == sorted(sent, key=int)
    assert set(stored) <= set(sent)
    # What was stored just before a kill may have been sent and not printed.
    assert len(set(sent) - set(stored)) <= KILLS
    assert len(collector.bodies) - len(sent) <= KILLS * 7  # a batch that was under way comes twice, and no more

    store = open_store(tmp_path)
    positions = Positions(tmp_path / "outputs.sqlite", last_number=store.last_number())
    counted = {alert.group_id: alert.count for alert in positions.alerts("alerts")}
    assert counted == Counter(f"g-{int(number) % killed_outputs.GROUPS}" for number in sent)
    assert positions.get("records") == positions.get("alerts") == store.last_number() == int(stored[-1])
    assert {said["group_id"] for said in web.bodies} == set(counted)
    positions.close()
    store.close()


async def run(directory: Path, collector: Collector, web: Web, *, kill_after: int = 0) -> list[str]:
    """Numbers that a process stored until it was killed, or to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        killed_outputs.__file__,
        str(directory),
        collector.target,
        web.url,
        str(0 if kill_after else AT_THE_END),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    found = []
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if line.strip().isdigit():
                found.append(line.decode().strip())
            if kill_after and len(found) == kill_after:
                process.kill()
        await process.wait()
    assert process.returncode == (-9 if kill_after else 0)
    return found
