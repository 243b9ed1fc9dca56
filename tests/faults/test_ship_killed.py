"""kill -9 of the shipper and of the server while a log is written and rotated: each line is annotated exactly once."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from tests.integration.served import port_of, started

BOUND_S = 45.0
LINES = 12_000
ROTATED_AT = 700
KILLS = 4


async def shipper(directory: Path, address: str, *options: str) -> asyncio.subprocess.Process:
    """A shipper in a process of its own."""
    program = "from deeplog_grpc.cli import main; main()"
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", program, "ship", str(directory / "app.log*"), "--server", address),
        *("--spool", str(directory / "ship.spool"), "--annotate", str(directory / "out.jsonl")),
        *("--set", "ship.batch_entries=50", "--set", "ship.poll_s=0.01", "--set", "ship.max_backoff_s=0.5"),
        *options,
        stderr=asyncio.subprocess.PIPE,
    )


async def connected(process: asyncio.subprocess.Process) -> None:
    """Wait until a shipper has a stream."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        if orjson.loads(line)["event"] == "connected":
            return
    raise AssertionError("the shipper has ended")


async def drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.readline():
        pass


async def killed(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


async def write(log: Path, generator: random.Random) -> None:
    """Write numbered lines, in pieces that need not end with a line, and rotate now and then by renaming."""
    file = log.open("ab")
    for number in range(LINES):
        line = b"order %d is paid\n" % number
        cut = generator.randrange(len(line))
        file.write(line[:cut])
        if generator.random() < 0.05:
            file.flush()
            await asyncio.sleep(0.001)
        file.write(line[cut:])
        if number % 40 == 0:
            file.flush()
            await asyncio.sleep(generator.uniform(0, 0.06))
        if number % ROTATED_AT == ROTATED_AT - 1:
            file.flush()
            for place in range(LINES // ROTATED_AT, 0, -1):
                if (before := log.with_name(f"app.log.{place}")).exists():
                    before.rename(log.with_name(f"app.log.{place + 1}"))
            log.rename(log.with_name("app.log.1"))
            file.close()
            file = log.open("ab")
    file.close()


@asynccontextmanager
async def server(bundle: Path, directory: Path, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    process = await started(bundle, directory, "--listen", f"127.0.0.1:{port}")
    try:
        found, _ = await port_of(process)
        yield process, found
    finally:
        if process.returncode is None:
            await killed(process)


@pytest.mark.timeout(200)
async def test_every_line_is_annotated_exactly_once(small_bundle: Path, tmp_path: Path) -> None:
    generator = random.Random(11)
    log = tmp_path / "app.log"
    log.touch()
    kills = repeated = 0
    async with asyncio.timeout(BOUND_S * 2), server(small_bundle, tmp_path / "state", 0) as (first, port):
        address = f"127.0.0.1:{port}"
        writing = asyncio.create_task(write(log, generator))
        for _ in range(KILLS):
            process = await shipper(tmp_path, address)
            await connected(process)
            draining = asyncio.create_task(drain(process))
            await asyncio.sleep(generator.uniform(0, 0.4))
            await killed(process)
            await draining
            kills += 1
        await killed(first)
        process = await shipper(tmp_path, address)
        async with server(small_bundle, tmp_path / "state", port):
            await connected(process)
            draining = asyncio.create_task(drain(process))
            await writing
            process.terminate()
            assert await process.wait() == 0
            await draining
            last = await shipper(tmp_path, address, "--once")
            _, said = await last.communicate()
            assert last.returncode == 0
            repeated += orjson.loads(said.splitlines()[-1])["entries_repeated"]
    rows = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    bodies = [row["body"] for row in rows if "session_end" not in row]
    assert bodies == [f"order {number} is paid" for number in range(LINES)]
    assert kills == KILLS
    assert not (tmp_path / "ship.spool.dead.jsonl").exists()
