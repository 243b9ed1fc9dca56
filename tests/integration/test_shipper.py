"""The shipper before a real server: what it sends, what it writes onward, and what it does when refused or stopped."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from deeplog_grpc.errors import ConfigError, InputError, StateError
from deeplog_grpc.shipping import ShipConfig, Shipper
from tests.integration.server_harness import BOUND_S, running, until


def config(directory: Path, server: str, *files: Path | str, **fields: Any) -> ShipConfig:
    given: dict[str, Any] = {
        "files": tuple(map(str, files)),
        "server": server,
        "spool": directory / "ship.spool",
        "annotate": str(directory / "out.jsonl"),
        "host": "h",
        "poll_s": 0.01,
        **fields,
    }
    return ShipConfig(**given)


async def ship_once(settings: ShipConfig) -> Shipper:
    """Ship all that is there."""
    shipper = Shipper(settings, is_once=True)
    try:
        async with asyncio.timeout(BOUND_S):
            assert await shipper.run(asyncio.Event())
    finally:
        shipper.close()
    return shipper


@asynccontextmanager
async def shipping(settings: ShipConfig) -> AsyncIterator[Shipper]:
    """A shipper that follows meanwhile."""
    shipper, stopping = Shipper(settings), asyncio.Event()
    run = asyncio.create_task(shipper.run(stopping))
    try:
        yield shipper
        stopping.set()
        async with asyncio.timeout(BOUND_S):
            await run
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        shipper.close()


def annotated(directory: Path) -> list[dict[str, Any]]:
    path = directory / "out.jsonl"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def bodies(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Of the entries; ends of sessions have none."""
    return [row["body"] for row in rows if "session_end" not in row]


async def test_lines_come_back_with_their_verdicts(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(
        b"2024-05-01 10:00:00.5 open\nwrite\n\n\xff odd\nstrange thing\n" + b'{"msg": "end", "session": "s1"}'
    )
    async with running() as up:
        shipper = await ship_once(config(tmp_path, up.address, log))
    rows = annotated(tmp_path)
    assert bodies(rows) == ["open", "write", "\ufffd odd", "strange thing", "end"]
    assert {row["source"] for row in rows if "body" in row} == {f"h:{log}"}
    assert rows[0]["time"] == "2024-05-01T10:00:00.500000000Z"
    assert rows[4]["session"] == rows[4]["deeplog"]["session"] == "s1"
    assert rows[0]["deeplog"]["kind"] == "normal"
    assert "verdict_id" not in rows[0]["deeplog"]
    anomaly = rows[3]["deeplog"]
    assert anomaly["kind"] == "unseen_key"
    assert anomaly["reason"]
    assert (shipper.counts.lines_read, shipper.counts.entries_acknowledged) == (6, 5)
    again = await ship_once(config(tmp_path, "127.0.0.1:1", log))
    assert again.counts.lines_read == 0, "nothing is new, and no server is needed to know that"
    assert shipper.status()["backlog_batches"] == 0


async def test_only_anomalies_and_a_second_run_sends_what_is_new(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("open\nstrange 1\nwrite\n")
    async with running() as up:
        settings = config(tmp_path, up.address, log, annotate_anomalies=True)
        await ship_once(settings)
        with log.open("a") as file:
            file.write("open\nstrange 2\n")
        log.rename(tmp_path / "app.log.1")
        log.write_text("strange 3\n")
        second = await ship_once(settings)
    assert bodies(annotated(tmp_path)) == ["strange 1", "strange 2", "strange 3"]
    assert second.counts.lines_read == 3


async def test_it_follows_while_the_server_goes_and_comes(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("line 0\n")
    written = ["line 0"]
    async with running() as first:
        settings = config(tmp_path, first.address, tmp_path / "*.log", max_backoff_s=0.2)
        async with shipping(settings) as shipper:
            await until(lambda: len(annotated(tmp_path)) == 1)
            await first.server.stop()
            for number in range(1, 40):
                written.append(f"line {number}")
                with log.open("a") as file:
                    file.write(f"line {number}\n")
                if number % 10 == 0:
                    log.rename(tmp_path / f"app.log.{number}")
                    log.touch()
                    await asyncio.sleep(0.05)
            await until(lambda: shipper.counts.lines_read == 40)
            assert shipper.counts.entries_acknowledged == 1
            async with running(listen=first.address):
                await until(lambda: len(annotated(tmp_path)) == 40)
            assert shipper.counts.connections == 2
    assert bodies(annotated(tmp_path)) == written


async def test_a_stop_keeps_what_is_not_answered(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("".join(f"line {number}\n" for number in range(50)))
    async with shipping(config(tmp_path, "127.0.0.1:1", log, stop_grace_s=0.5)) as shipper:
        await until(lambda: shipper.counts.lines_read == 50)
    assert annotated(tmp_path) == []
    async with running() as up:
        again = await ship_once(config(tmp_path, up.address, log))
    assert again.counts.lines_read == 0
    assert bodies(annotated(tmp_path)) == [f"line {number}" for number in range(50)]


async def test_refused_entries_are_dead_letters_and_hold_nothing_up(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text('open\n{"msg": "lost", "application": "unknown"}\n')
    async with running() as up:
        shipper = await ship_once(config(tmp_path, up.address, log))
        log.rename(tmp_path / "old")
        log.write_text('{"msg": "alone", "application": "unknown"}\n')
        await ship_once(config(tmp_path, up.address, log))
    letters = [orjson.loads(line) for line in (tmp_path / "ship.spool.dead.jsonl").read_bytes().splitlines()]
    assert [(letter["body"], letter["error"]) for letter in letters] == [
        ("lost", "UNKNOWN_APPLICATION"),
        ("alone", "UNKNOWN_APPLICATION"),
    ]
    assert shipper.counts.dead_lettered == 1
    assert [row["deeplog"].get("error", "") for row in annotated(tmp_path)] == [
        "",
        "UNKNOWN_APPLICATION",
        "UNKNOWN_APPLICATION",
    ]


async def test_a_batch_that_the_server_cannot_take_is_a_dead_letter(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("open\n" + "x" * 100_000 + "\nwrite\n")
    async with running(max_message_bytes=65_536) as up:
        shipper = await ship_once(config(tmp_path, up.address, log, batch_entries=1, max_line_bytes=2**18))
    assert [row["deeplog"].get("error", "") for row in annotated(tmp_path)] == ["", "BATCH_REFUSED", ""]
    assert shipper.counts.dead_lettered == 1


async def test_once_against_a_stream_that_is_refused_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("open\n")
    async with running() as up:
        with pytest.raises(InputError, match="application"):
            await ship_once(config(tmp_path, up.address, log, application="x" * 5000))


async def test_what_a_kill_left_in_the_annotated_file_is_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("open\nwrite\n")
    async with running() as up:
        await ship_once(config(tmp_path, up.address, log))
        with (tmp_path / "out.jsonl").open("ab") as file:
            file.write(b'{"body": "written and not acknowledged"}\n{"bo')
        with log.open("a") as file:
            file.write("end\n")
        await ship_once(config(tmp_path, up.address, log))
    assert bodies(annotated(tmp_path)) == ["open", "write", "end"]


async def test_a_pipe_is_shipped_until_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    saved = os.dup(0)
    os.dup2(read, 0)
    try:
        async with running() as up:
            shipper = Shipper(config(tmp_path, up.address, "-"))
            run = asyncio.create_task(shipper.run(asyncio.Event()))
            os.write(write, b"open\nwri")
            await until(lambda: len(annotated(tmp_path)) == 1)
            os.write(write, b"te\nend")
            os.close(write)
            async with asyncio.timeout(BOUND_S):
                assert await run
            shipper.close()
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(read)
    assert bodies(annotated(tmp_path)) == ["open", "write", "end"]
    assert {row["source"] for row in annotated(tmp_path)} == {"h:stdin"}


async def test_a_full_spool_holds_the_files_up(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    line = "x" * 1000 + "\n"
    log.write_text(line * 40_000)
    settings = config(tmp_path, "127.0.0.1:1", log, max_spool_mb=16, annotate="", stop_grace_s=0.1)
    async with shipping(settings) as shipper:
        await until(lambda: shipper.status()["backlog_bytes"] > 15 * 2**20)
        read = shipper.counts.lines_read
        assert read < 20_000
    assert shipper.counts.lines_lost == 0
    async with running(max_wait_s=60.0) as up:
        again = await ship_once(config(tmp_path, up.address, log, max_spool_mb=16, annotate=""))
    assert again.counts.entries_acknowledged == 40_000


@pytest.mark.parametrize("address", ["localhost", "localhost:x", ":50051", "::1:50051", "h:0", "h:70000"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match=r"ship\.server: .* is not HOST:PORT"):
        Shipper(config(tmp_path, address, "a.log"))


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ship\.files: nothing to ship"):
        Shipper(config(tmp_path, "h:1"))
    with pytest.raises(ConfigError, match="cannot be written"):
        Shipper(config(tmp_path, "h:1", "a.log", annotate=str(tmp_path / "no" / "folder")))
    first = Shipper(config(tmp_path, "h:1", "a.log"))
    with pytest.raises(StateError, match="in use by another process"):
        Shipper(config(tmp_path, "h:1", "a.log"))
    first.close()
