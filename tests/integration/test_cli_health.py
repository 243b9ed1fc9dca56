"""``deeplog-grpc health`` against a real server: its exit code is what checks read."""

import asyncio

from typer.testing import CliRunner

from deeplog_grpc.cli.app import app
from tests.integration.server_harness import BOUND_S, running


async def health(address: str, *options: str) -> tuple[int, str]:
    """Exit code and all that was printed."""
    arguments = ["health", "--server", address, "--timeout", str(BOUND_S), *options]
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    return done.exit_code, " ".join(done.output.split())


async def test_a_server_that_takes_entries_is_healthy() -> None:
    async with running() as up:
        assert await health(up.address) == (0, "SERVING")
        assert await health(up.address, "--service", "") == (0, "SERVING")


async def test_what_the_server_does_not_know_is_not_healthy() -> None:
    async with running() as up:
        code, said = await health(up.address, "--service", "shop")
    assert code == 1
    assert "NOT_FOUND" in said


async def test_a_server_that_stops_is_not_healthy() -> None:
    async with running(stop=False, drain_delay_s=5.0) as up:
        assert (await health(up.address))[0] == 0  # all is imported: the next one is quick
        stopping = asyncio.create_task(up.server.stop())
        await asyncio.sleep(0)  # it says so first
        assert await health(up.address) == (1, "NOT_SERVING")
        await stopping


async def test_no_answer_is_not_healthy() -> None:
    code, said = await health("127.0.0.1:1")
    assert code == 1
    assert "cannot reach the server" in said


async def test_the_help_has_an_example() -> None:
    code, said = await health("", "--help")
    assert code == 0
    assert "Example: deeplog-grpc health" in said
