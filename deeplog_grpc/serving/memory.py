"""Keeps the server below its limit of memory: new work is refused before the system ends the process.

Rules:

1. From the soft limit on, new work is taken only when nothing else is under way, until 5 % of the limit less are held.
2. From the hard limit on, none is taken.
3. Above either, garbage is collected and free memory is given back to the system; above the hard limit caches are
   emptied first. Each time that it does not suffice, the next try waits twice as long: it costs time, and what is in
   use stays.

What is held is read once a second: a burst between two looks has to fit between the soft limit and the limit itself.
The bounds of the queue (``server.max_queue_bytes``) are what keeps it small.
"""

import asyncio
import ctypes
import gc
from collections.abc import Awaitable, Callable
from enum import IntEnum

import structlog

from deeplog_grpc.errors import MemoryPressureError
from deeplog_grpc.serving.memory_reading import Memory
from deeplog_grpc.serving.status import log_unexpected

LOOK_S = 1.0
"""Seconds between two looks: reading costs some 50 us."""
_HYSTERESIS = 0.05
"""Share of the limit by which less must be held before refusing ends."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 120.0
"""Seconds between two tries to free memory."""
_RETRY_S = 2.0

_log = structlog.get_logger("deeplog_grpc.serving")


class Level(IntEnum):
    """How near the limit is."""

    LOW = 0
    SOFT = 1
    HARD = 2


class Pressure:
    """The level, given what is held; and when freeing is due. Pure.

    Parameters
    ----------
    limit_bytes : int
        Of all memory.
    soft_share, hard_share : float
        Of the limit.

    Examples
    --------
    >>> pressure = Pressure(1_000, soft_share=0.8, hard_share=0.9)
    >>> [pressure.look(held, now_s=0.0).name for held in (700, 810, 910, 870, 849, 760, 740)]
    ['LOW', 'SOFT', 'HARD', 'HARD', 'SOFT', 'SOFT', 'LOW']
    """

    def __init__(self, limit_bytes: int, *, soft_share: float, hard_share: float) -> None:
        self._limit_bytes = limit_bytes
        self._bounds = {Level.SOFT: soft_share * limit_bytes, Level.HARD: hard_share * limit_bytes}
        self._pause_s = _FIRST_PAUSE_S
        self._next_relief_s = 0.0
        self.level = Level.LOW
        """As of the last look."""

    def look(self, held_bytes: int, *, now_s: float) -> Level:
        """Take what is held now; returns the level."""
        before = self.level
        self.level = max(
            (
                level
                for level, bound in self._bounds.items()
                if held_bytes >= bound - (_HYSTERESIS * self._limit_bytes if before >= level else 0.0)
            ),
            default=Level.LOW,
        )
        if self.level > before:  # a new need does not wait for the end of an old pause
            self._next_relief_s, self._pause_s = now_s, _FIRST_PAUSE_S
        return self.level

    def relief_is_due(self, now_s: float) -> bool:
        """Whether memory is to be freed now; says so once, then after a pause that grows."""
        if self.level is Level.LOW or now_s < self._next_relief_s:
            return False
        self._next_relief_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return True


class MemoryGuard:
    """Watches the memory of a server while its event loop runs.

    Parameters
    ----------
    memory : Memory
        What is held, and the limit.
    pressure : Pressure
        Judges it.
    is_busy : callable
        Whether any work is under way.
    empty_caches : callable
        Awaited above the hard limit.
    relent : callable
        Called when the level has fallen: those that wait can be let in.
    """

    def __init__(
        self,
        memory: Memory,
        pressure: Pressure,
        *,
        is_busy: Callable[[], bool],
        empty_caches: Callable[[], Awaitable[None]],
        relent: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._pressure = pressure
        self._is_busy = is_busy
        self._empty_caches = empty_caches
        self._relent = relent
        self._task: asyncio.Task[None] | None = None
        self.held_bytes = 0
        """As of the last look."""

    @property
    def limit_bytes(self) -> int:
        """Of all memory."""
        return self._memory.limit_bytes

    @property
    def level(self) -> Level:
        """As of the last look."""
        return self._pressure.level

    def refusal(self) -> MemoryPressureError | None:
        """Why nothing new is taken now, or None."""
        level = self._pressure.level
        if level is Level.LOW or (level is Level.SOFT and not self._is_busy()):
            return None
        message = f"{self.held_bytes >> 20} MiB of the {self.limit_bytes >> 20} that the server may hold are in use"
        return MemoryPressureError(message, retry_after_s=_RETRY_S)

    def start(self) -> None:
        """Begin; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="memory guard")

    def stop(self) -> None:
        """End; before :meth:`start` it does nothing."""
        if self._task is not None:
            self._task.cancel()

    async def look(self) -> None:
        """Look once, and do what is due."""
        now_s = asyncio.get_running_loop().time()
        before = self._pressure.level
        self.held_bytes = self._memory.held_bytes()
        level = self._pressure.look(self.held_bytes, now_s=now_s)
        if level is not before:
            _log.warning("memory: " + _SAID[level], held_mb=self.held_bytes >> 20, limit_mb=self.limit_bytes >> 20)
        if level < before:
            self._relent()
        if self._pressure.relief_is_due(now_s):
            if level is Level.HARD:
                await self._empty_caches()
            free_memory()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # a file of the system that cannot be read, say: the next look may do better
                log_unexpected(error)
            await asyncio.sleep(LOOK_S)


_SAID = {
    Level.LOW: "enough again",
    Level.SOFT: "above the soft limit, new work is refused",
    Level.HARD: "above the hard limit, new work is refused and caches are emptied",
}


def free_memory() -> None:
    """Collect garbage, also what was set aside, and give what is free back to the system."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # of glibc only
        trim(0)
