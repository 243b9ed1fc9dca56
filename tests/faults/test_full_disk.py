"""The disk of the state is full for a while: what is answered meanwhile is true, and all goes on when there is room.

The disk is a small tmpfs; where none can be mounted, the test is skipped.
"""

import errno
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults_kill import fill
from tests.faults.conservation import assert_conserved, balance_at
from tests.faults.delivery.processes import server_processes
from tests.faults.extent import SEED
from tests.faults.verdicts import by_score, deliveries, no_trouble, once, stored_anomalies, verdict_ids

DISK_MB = 24
TRIES = 12
"""Deliveries that are sent once while the disk is full."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.timeout(300)
async def test_a_full_disk_costs_no_answer_that_was_given(small_bundle: Path, tmp_path: Path, disk: Path) -> None:
    sent = deliveries(150, seed=SEED)
    third = len(sent) // 3
    async with server_processes(small_bundle, tmp_path) as servers:
        await servers.launch("--state", str(disk / "state"))
        ports = await servers.ports()
        address = f"127.0.0.1:{ports['grpc']}"
        answers = await by_score(address, sent[:third], no_trouble)
        ballast = fill(disk)
        with pytest.raises(OSError, match="No space") as full:
            (disk / "more").write_bytes(b"x")
        assert full.value.errno == errno.ENOSPC
        during = [await once(address, entries) for entries in sent[third : third + TRIES]]
        ballast.unlink()
        answers += [answer for answer in during if answer is not None]
        refused = [entries for entries, answer in zip(sent[third:], during, strict=False) if answer is None]
        answers += await by_score(address, [*refused, *sent[third + TRIES :]], no_trouble)
        assert_conserved(await balance_at(ports["metrics"]))
        names = [one.verdict.verdict_id for one in await stored_anomalies(address)]
        servers.signal(signal.SIGTERM)
        assert await servers.ended() == 0

        # The next server finds a whole state, and what was answered.
        await servers.launch("--state", str(disk / "state"))
        ports = await servers.ports()
        address = f"127.0.0.1:{ports['grpc']}"
        later = [one.verdict.verdict_id for one in await stored_anomalies(address)]
        probe = await by_score(address, deliveries(4, seed=SEED + 1), no_trouble)
        servers.signal(signal.SIGTERM)
        assert await servers.ended() == 0
    assert sum(answer.entry_count for answer in answers) == sum(map(len, sent))
    assert verdict_ids(answers) <= set(names) <= set(later)
    assert len(set(later)) == len(later)
    assert all(answer.entry_count for answer in probe)
    assert servers.errors or refused  # it was told
    assert not servers.noise, servers.noise
