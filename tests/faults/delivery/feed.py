"""What a client sends, at its pace, and how long it waits: everything that routes have in common."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.delivery.oracle import Line, Oracle, Source


class TryAgainError(Exception):
    """The server has not taken a batch, and may later."""


class RefusedForGoodError(Exception):
    """The server will never take a batch: its client would drop it, so nothing may bring this about here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How a client waits; that of real ones is about five times as slow."""

    timeout_s: float = 1.0
    """For an answer. The Collector's is 5 s."""
    first_retry_s: float = 0.05
    max_retry_s: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Lines that are sent together."""

    number: int
    lines: list[Line]
    bad: frozenset[int]
    """Places of lines of an application that is not served."""

    @property
    def name(self) -> str:
        """One that no other has."""
        return f"{self.lines[0].source}.{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a client sends."""

    batches: int | None = None
    """Batches after which it ends; None = when it is told to."""
    most_lines: int = 12
    """Of a batch; it has two at least."""
    most_pause_s: float = 0.03
    """Between two batches."""
    copies: float = 0.0
    """Share of batches that are sent twice at once."""
    late_copies: float = 0.0
    """Share of batches that are sent again when they have long been acknowledged."""
    bad: float = 0.0
    """Share of batches with a line that cannot be judged, on routes that say so."""
    timing: Timing = Timing()


class Feed:
    """The batches of one client.

    Parameters
    ----------
    oracle : Oracle
    source : Source
        Of the client's lines.
    habits : Habits
    seed : int
    stopping : Event, optional
        No further batch when it is set.
    """

    def __init__(
        self, oracle: Oracle, source: Source, habits: Habits, *, seed: int, stopping: asyncio.Event | None = None
    ) -> None:
        self.oracle = oracle
        self.habits = habits
        self.timing = habits.timing
        self.retries = 0
        self._source = source
        self._rng = random.Random(f"feed {source.number} {seed}")
        self._stopping = stopping or asyncio.Event()
        self._batches = 0

    @property
    def name(self) -> str:
        """Of the client."""
        return f"client-{self._source.number}"

    async def next(self) -> Batch | None:
        """The next batch; None = there is none."""
        if self._stopping.is_set() or self._batches == self.habits.batches:
            return None
        number, self._batches = self._batches, self._batches + 1
        await asyncio.sleep(self._rng.uniform(0, self.habits.most_pause_s))
        lines = self.oracle.issue(self._source, self._rng.randint(2, self.habits.most_lines))
        bad = frozenset({self._rng.randrange(len(lines))} if self._chance(self.habits.bad) else ())
        return Batch(number=number, lines=lines, bad=bad)

    async def deliver(self, batch: Batch, send: Callable[[], Awaitable[int]]) -> None:
        """Send a batch until it is taken, now and then twice; ``send`` says how many lines were rejected."""
        copies = 2 if self._chance(self.habits.copies) else 1
        await self._take(batch, await asyncio.gather(*(self._insist(batch, send) for _ in range(copies))))
        if self._chance(self.habits.late_copies):
            await self._take(batch, [await self._insist(batch, send)])

    async def pause(self, tries: int) -> None:
        """Wait before the next try."""
        self.retries += 1
        longest_s = min(self.timing.max_retry_s, self.timing.first_retry_s * 2**tries)
        await asyncio.sleep(longest_s * self._rng.uniform(0.5, 1))

    async def _insist(self, batch: Batch, send: Callable[[], Awaitable[int]]) -> int:
        tries = 0
        while True:
            self.oracle.sent(batch.lines)
            try:
                async with asyncio.timeout(self.timing.timeout_s):
                    return await send()
            except (TryAgainError, OSError, TimeoutError, EOFError):
                await self.pause(tries)
                tries += 1

    async def _take(self, batch: Batch, rejected: list[int]) -> None:
        if set(rejected) != {len(batch.bad)}:
            raise RefusedForGoodError(f"{rejected} lines of {batch.name} were rejected, and {len(batch.bad)} were bad")
        self.oracle.acknowledged(batch.lines, rejected=batch.bad)

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share
