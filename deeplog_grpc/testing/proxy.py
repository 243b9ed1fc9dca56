"""A network that fails on order: a TCP proxy between a client and a server, whose conditions change while it runs."""

import asyncio
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, NamedTuple, Self

PIECE_BYTES = 16_384
"""Read and passed on at once at most."""

Way = Literal["requests", "answers"]
"""From the client to the server, or back."""
Cut = Literal["reset", "close"]
"""How a connection ends: at once and with what is under way lost (RST), or after it (FIN)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a proxy does to connections. The defaults do nothing.

    Examples
    --------
    >>> Conditions(swallow=True).is_fault, Conditions().is_fault
    (True, False)
    """

    delay_s: float = 0.0
    """Seconds for which each piece is held up, either way."""
    bytes_per_s: float | None = None
    """Bytes a second of a connection, either way; None = no limit."""
    cut_after_bytes: int | None = None
    """Bytes of requests after which a connection is cut, from now on; None = never."""
    cut: Cut = "reset"
    """How it is cut then."""
    swallow: bool = False
    """Whether answers are thrown away: requests arrive, and their client never learns of it."""
    stalled: tuple[Way, ...] = ()
    """Ways on which nothing is read: one that sends there is held up when its buffers are full."""
    refuse: bool = False
    """Whether new connections are reset."""

    @property
    def is_fault(self) -> bool:
        """Whether anything is wrong."""
        return self != _SOUND


_SOUND = Conditions()


@dataclass(slots=True)
class ProxyCounts:
    """What has happened to connections."""

    connections: int = 0
    refused: int = 0
    cut: int = 0
    unreachable: int = 0
    """Connections for which the server could not be reached."""
    swallowed_bytes: int = 0


@dataclass(eq=False, slots=True)
class _Link:
    """A client's connection and the one to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    conditions: Conditions
    request_bytes: int = 0
    """Passed on under the conditions."""

    def end(self, how: Cut) -> None:
        for writer in (self.client, self.server):
            _end(writer, how)


class FaultyProxy:
    r"""Passes TCP connections on to a server, with faults.

    Parameters
    ----------
    host, port : str, int
        Of the server; may be changed later (``upstream``), as when it is started again elsewhere.
    buffer_bytes : int, optional
        Size of the sockets' receive buffers: the smaller, the sooner a stall is felt. None = the system's.

    Examples
    --------
    >>> async def main():
    ...     async def shout(reader, writer):
    ...         writer.write((await reader.readline()).upper())
    ...         writer.close()
    ...     server = await asyncio.start_server(shout, "127.0.0.1", 0)
    ...     async with server, FaultyProxy(*server.sockets[0].getsockname()) as proxy:
    ...         proxy.set(Conditions(delay_s=0.01))
    ...         reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    ...         writer.write(b"hello\n")
    ...         answer = await reader.read()
    ...         writer.close()
    ...         return answer
    >>> asyncio.run(main())
    b'HELLO\n'
    """

    def __init__(self, host: str, port: int, *, buffer_bytes: int | None = None) -> None:
        self.upstream = (host, port)
        self.counts = ProxyCounts()
        self.port = 0
        """Where it listens, on 127.0.0.1."""
        self._buffer_bytes = buffer_bytes
        self._conditions = _SOUND
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=PIECE_BYTES)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        self.cut_all()
        self.set(_SOUND)
        await asyncio.gather(*self._tasks)

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def conditions(self) -> Conditions:
        """Those in force."""
        return self._conditions

    def set(self, conditions: Conditions) -> None:
        """Put other conditions in force, for open connections too."""
        self._conditions = conditions
        self._changed.set()
        self._changed = asyncio.Event()

    def cut_all(self, how: Cut = "reset") -> int:
        """Cut all connections; returns how many there were."""
        links, self._links = self._links, set()
        for link in links:
            link.end(how)
        self.counts.cut += len(links)
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.counts.connections += 1
        if self._conditions.refuse:
            self.counts.refused += 1
            _end(writer, "reset")
            return
        try:
            answers, server = await asyncio.open_connection(sock=await self._connected(), limit=PIECE_BYTES)
        except OSError:
            self.counts.unreachable += 1
            _end(writer, "reset")
            return
        link = _Link(writer, server, self._conditions)
        self._links.add(link)
        await asyncio.gather(
            self._pass_on(link, "requests", reader, server), self._pass_on(link, "answers", answers, writer)
        )
        self._links.discard(link)
        link.end("close")

    async def _connected(self) -> socket.socket:
        connection = socket.socket()
        try:
            if self._buffer_bytes is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, self.upstream)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _pass_on(self, link: _Link, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes on one way, until it ends or the connection breaks."""
        try:
            while piece := await reader.read(PIECE_BYTES):
                await self._hold_up(way, len(piece))
                if way == "answers" and self._conditions.swallow:
                    self.counts.swallowed_bytes += len(piece)
                    continue
                is_cut, piece = self._until_cut(link, piece) if way == "requests" else (False, piece)
                writer.write(piece)
                await writer.drain()
                if is_cut:
                    self._cut(link)
                    return
            writer.write_eof()
        except (OSError, RuntimeError):  # write_eof of a transport that is closed already raises the latter
            link.end("reset")

    async def _hold_up(self, way: Way, size_bytes: int) -> None:
        conditions = self._conditions
        seconds = conditions.delay_s + (size_bytes / conditions.bytes_per_s if conditions.bytes_per_s else 0.0)
        if seconds:
            with suppress(TimeoutError):  # other conditions end it
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
        while way in self._conditions.stalled:
            await self._changed.wait()

    def _until_cut(self, link: _Link, piece: bytes) -> tuple[bool, bytes]:
        """Whether the connection is to be cut in or after a piece, and what of it is still passed on."""
        if link.conditions is not self._conditions:
            link.conditions, link.request_bytes = self._conditions, 0
        limit = self._conditions.cut_after_bytes
        if limit is None:
            return False, piece
        left = limit - link.request_bytes
        link.request_bytes += len(piece)
        return len(piece) >= left, piece[: max(0, left)]

    def _cut(self, link: _Link) -> None:
        if link in self._links:
            self._links.discard(link)
            self.counts.cut += 1
            link.end(self._conditions.cut)


def _end(writer: asyncio.StreamWriter, how: Cut) -> None:
    if how == "close":
        writer.close()
        return
    connection = writer.get_extra_info("socket")
    with suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class PlannedFault(NamedTuple):
    """Conditions for a time."""

    name: str
    conditions: Conditions
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Faults one after the other, drawn by a seed, with sound times between.

    Examples
    --------
    >>> plan = list(FaultPlan(seed=1, total_s=10.0))
    >>> plan == list(FaultPlan(seed=1, total_s=10.0)), plan[0].conditions.is_fault, plan[1].conditions.is_fault
    (True, False, True)
    """

    seed: int
    total_s: float
    """Length of the plan."""
    fault_s: tuple[float, float] = (0.1, 0.6)
    """Shortest and longest time of a fault."""
    sound_s: tuple[float, float] = (0.05, 0.3)
    """Shortest and longest time between two."""
    names: tuple[str, ...] = field(default=("cut", "close", "delay", "throttle", "swallow", "slow_reader", "refuse"))
    """Faults that take turns, each in the plan before any comes again."""

    def __iter__(self) -> Iterator[PlannedFault]:
        rng = random.Random(f"plan {self.seed}")
        left_s = self.total_s
        waiting: list[str] = []
        while left_s > 0:
            waiting = waiting or rng.sample(self.names, len(self.names))
            name = waiting.pop()
            for step in (
                PlannedFault("sound", _SOUND, rng.uniform(*self.sound_s)),
                PlannedFault(name, _drawn(name, rng), rng.uniform(*self.fault_s)),
            ):
                left_s -= step.seconds
                yield step


def _drawn(name: str, rng: random.Random) -> Conditions:
    match name:
        case "cut":
            return Conditions(cut_after_bytes=rng.randint(1, 20_000), cut="reset")
        case "close":
            return Conditions(cut_after_bytes=rng.randint(1, 20_000), cut="close")
        case "delay":
            return Conditions(delay_s=rng.uniform(0.01, 0.1))
        case "throttle":
            return Conditions(bytes_per_s=rng.uniform(5_000, 100_000))
        case "swallow":
            return Conditions(swallow=True)
        case "slow_reader":
            return Conditions(stalled=("answers",))
        case "refuse":
            return Conditions(refuse=True)
        case _:
            raise ValueError(f"no such fault: {name!r}")


async def play(proxy: FaultyProxy, plan: FaultPlan) -> dict[str, int]:
    """Put the faults of a plan in force one after the other; returns how often each was.

    A fault that throws answers away or refuses connections begins or ends with all connections cut, else a client
    might wait longer for its answer than the plan lasts.
    """
    played: dict[str, int] = {}
    for name, conditions, seconds in plan:
        proxy.set(conditions)
        if conditions.refuse:
            proxy.cut_all()
        await asyncio.sleep(seconds)
        if conditions.swallow:
            proxy.cut_all()
        played[name] = played.get(name, 0) + 1
    proxy.set(_SOUND)
    return played
