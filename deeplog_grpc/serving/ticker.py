"""Looks, now and then, whether the time-out of a session has passed while no entries came."""

import asyncio
import time
from collections.abc import Callable

import structlog

from deeplog_grpc.errors import DrainingError
from deeplog_grpc.serving.late import LateEnds
from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.scoring import Job, Reply, ScoringWorker, TickJob, TickReply
from deeplog_grpc.serving.status import log_unexpected
from deeplog_grpc.serving.waiting_line import Order

_log = structlog.get_logger("deeplog_grpc.serving")


class Ticker:
    """Orders a tick when one is due, keeps what it brought about, and has it told.

    Parameters
    ----------
    worker : ScoringWorker
        Knows when a tick is due. Asking it costs nothing: only a tick that will find something takes the queue's time.
    queue : ScoringQueue
        Where ticks wait their turn: behind the entries that were there before.
    late : LateEnds
        Takes what ticks bring about.
    tell : callable
        Called with an application that has late ends.
    tick_s : float or None
        Seconds between two looks; None = never.
    """

    def __init__(
        self,
        worker: ScoringWorker,
        queue: ScoringQueue[Job, Reply],
        late: LateEnds,
        tell: Callable[[str], None],
        tick_s: float | None,
    ) -> None:
        self._worker = worker
        self._queue = queue
        self._late = late
        self._tell = tell
        self._tick_s = tick_s
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; needs a running event loop."""
        if self._tick_s is not None:
            self._task = asyncio.create_task(self._run(self._tick_s), name="ticker")

    async def stop(self) -> None:
        """Stop, after the tick under way if there is one."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Stop at once."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, tick_s: float) -> None:
        while not self._stopping.is_set():
            if self._worker.tick_due_s <= time.monotonic():
                await self._tick()
            for application in self._late.applications:
                self._tell(application)
            try:
                async with asyncio.timeout(tick_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _tick(self) -> None:
        try:
            reply = await self._queue.add(TickJob(), order=Order.BEHIND_LINE)
        except DrainingError:
            return
        except Exception as error:  # a defect of the worker: the next tick may do better
            log_unexpected(error)
            return
        if not isinstance(reply, TickReply):
            raise TypeError(f"a tick was answered by {type(reply).__name__}")
        dropped = self._late.dropped
        for application, ends in reply.ends.items():
            self._late.keep(application, ends)
        for failure in reply.errors:
            log_unexpected(failure)
        if self._late.dropped > dropped:
            _log.warning("ends of sessions dropped: no client takes them", count=self._late.dropped - dropped)
