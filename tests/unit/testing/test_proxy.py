import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from deeplog_grpc.testing import Conditions, FaultPlan, FaultyProxy, play
from tests.integration.server_harness import BOUND_S, until


@dataclass
class Echo:
    """A server that sends back what it gets, and keeps it."""

    got: bytearray = field(default_factory=bytearray)
    ends: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(4096):
                self.got += piece
                writer.write(piece)
                await writer.drain()
            self.ends.append("close")
        except ConnectionError:
            self.ends.append("reset")
        writer.close()


@asynccontextmanager
async def echoed(buffer_bytes: int | None = None) -> AsyncIterator[tuple[Echo, FaultyProxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with (
        server,
        FaultyProxy(*server.sockets[0].getsockname()[:2], buffer_bytes=buffer_bytes) as proxy,
        asyncio.timeout(BOUND_S),
    ):
        yield echo, proxy


@asynccontextmanager
async def connected(proxy: FaultyProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def end_of(reader: asyncio.StreamReader) -> str:
    """How a connection ends, whatever comes before."""
    try:
        while await reader.read(100):
            pass
    except ConnectionError:
        return "reset"
    return "close"


async def test_without_faults_it_passes_all_on_both_ways() -> None:
    sent = bytes(range(256)) * 1000
    async with echoed() as (echo, proxy), connected(proxy) as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent
        assert bytes(echo.got) == sent
        assert echo.ends == ["close"]


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_it_cuts_after_so_many_bytes(how: str) -> None:
    async with echoed() as (echo, proxy), connected(proxy) as (reader, writer):
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        proxy.set(Conditions(cut_after_bytes=10, cut="reset" if how == "reset" else "close"))
        writer.write(b"0123456789later")
        assert await end_of(reader) == how
        await until(lambda: bool(echo.ends))
        assert bytes(echo.got) in (b"before0123456789", b"before")  # a reset may overtake what was sent
        assert proxy.counts.cut == 1


async def test_answers_are_swallowed_while_requests_arrive() -> None:
    async with echoed() as (echo, proxy), connected(proxy) as (reader, writer):
        proxy.set(Conditions(swallow=True))
        writer.write(b"lost")
        await until(lambda: proxy.counts.swallowed_bytes == 4)
        proxy.set(Conditions())
        writer.write(b"kept")
        assert await reader.readexactly(4) == b"kept"
        assert bytes(echo.got) == b"lostkept"


async def test_a_stalled_way_holds_the_sender_up_until_it_is_read_again() -> None:
    async with echoed(buffer_bytes=4096) as (echo, proxy), connected(proxy) as (reader, writer):
        proxy.set(Conditions(stalled=("requests",)))
        writer.write(b"waiting")
        await asyncio.sleep(0.05)
        assert not echo.got
        proxy.set(Conditions())
        assert await reader.readexactly(7) == b"waiting"


async def test_delays_and_rates_are_kept_and_end_with_the_conditions() -> None:
    loop = asyncio.get_running_loop()
    async with echoed() as (_, proxy), connected(proxy) as (reader, writer):
        proxy.set(Conditions(delay_s=0.05))
        started = loop.time()
        writer.write(b"slow")
        await reader.readexactly(4)
        assert loop.time() - started >= 0.1
        proxy.set(Conditions(bytes_per_s=0.001))
        writer.write(b"never")
        await asyncio.sleep(0.01)
        proxy.set(Conditions())
        assert await reader.readexactly(5) == b"never"


async def test_it_refuses_and_says_when_the_server_is_away() -> None:
    async with echoed() as (_, proxy):
        proxy.set(Conditions(refuse=True))
        async with connected(proxy) as (reader, _):
            assert await end_of(reader) == "reset"
        assert proxy.counts.refused == 1
        proxy.set(Conditions())
        proxy.upstream = ("127.0.0.1", 9)
        async with connected(proxy) as (reader, _):
            assert await end_of(reader) == "reset"
        assert proxy.counts.unreachable == 1


async def test_a_plan_plays_each_of_its_faults_and_leaves_the_proxy_sound() -> None:
    async with echoed() as (_, proxy):
        plan = FaultPlan(seed=3, total_s=0.5, fault_s=(0.01, 0.03), sound_s=(0.0, 0.01))
        played = await play(proxy, plan)
        assert set(plan.names) <= set(played)
        assert not proxy.conditions.is_fault
        async with connected(proxy) as (reader, writer):
            writer.write(b"fine")
            assert await reader.readexactly(4) == b"fine"


def test_other_seeds_draw_other_plans() -> None:
    assert list(FaultPlan(seed=1, total_s=2.0)) != list(FaultPlan(seed=2, total_s=2.0))
