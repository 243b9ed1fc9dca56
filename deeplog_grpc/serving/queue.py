"""The bounded queue between the calls and the one scoring thread.

Rules:

1. Jobs run in the order in which they were accepted.
2. An idle worker starts at once: there is no delay to collect a batch. What arrives while it runs forms the next run,
   up to ``max_batch_entries``.
3. Room is counted until a job is answered. Without room, :meth:`ScoringQueue.offer` refuses (a unary call) and
   :meth:`ScoringQueue.put` waits (a stream, which then reads no further); those that wait are admitted in order and
   before any newcomer.
4. A job whose future was cancelled or whose time is up never reaches the worker.
5. The worker gets one list of jobs at a time, in its own thread: nothing that it touches needs a lock.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from deeplog_grpc.errors import DrainingError, ExpiredError, QueueFullError
from deeplog_grpc.serving.backlog import Backlog
from deeplog_grpc.serving.config import ServerConfig
from deeplog_grpc.serving.right_of_way import RightOfWay

Job = TypeVar("Job")
Reply = TypeVar("Reply")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a job takes of the queue's room."""

    entries: int
    size_bytes: int


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Job, Reply]):
    job: Job
    size: Size
    expires_at: float
    """Event loop time in seconds."""
    reply: "asyncio.Future[Reply]"
    admitted: "asyncio.Future[None]"


class ScoringQueue(Generic[Job, Reply]):
    """Feeds jobs to a worker function in a thread of its own, and its replies back.

    Parameters
    ----------
    work : callable
        Jobs [n] -> replies or exceptions [n]; called in the worker's thread, one call at a time.
    config : ServerConfig
        Bounds.
    right_of_way : RightOfWay, optional
        Taken as long as a job waits or is under way.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Reply | Exception]],
        config: ServerConfig,
        right_of_way: RightOfWay | None = None,
    ) -> None:
        self._work = work
        self._right_of_way = right_of_way or RightOfWay()
        self._max_batch_entries = config.max_batch_entries
        self._backlog = Backlog(max_entries=config.max_queue_entries, max_bytes=config.max_queue_bytes)
        self._accepted: deque[_Ticket[Job, Reply]] = deque()
        self._at_the_door: deque[_Ticket[Job, Reply]] = deque()
        self._holds = 0
        self.draining = False
        """Whether new jobs are refused for good."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to serve jobs; needs a running event loop."""
        self._runner = asyncio.create_task(self._run(), name="scoring queue")

    @property
    def waiting_entries(self) -> int:
        """Entries that were accepted and are not answered."""
        return self._backlog.entries

    def is_beyond(self, size: Size) -> bool:
        """Whether a job has room only when nothing else is there: :meth:`offer` may refuse it again and again."""
        return self._backlog.is_beyond(entries=size.entries, size_bytes=size.size_bytes)

    def offer(self, job: Job, size: Size, *, timeout_s: float = math.inf) -> "asyncio.Future[Reply]":
        """Accept a job now, or refuse it.

        Parameters
        ----------
        job : Job
            Goes to the worker.
        size : Size
            The room that it takes.
        timeout_s : float
            Seconds after which it need not be started any more.

        Raises
        ------
        QueueFullError
            If there is no room.
        DrainingError
            If the server is stopping.
        """
        ticket = self._ticket(job, size, timeout_s)
        if not self._try_admit(ticket):
            # Jitter is not a secret.
            delay_s = self._backlog.retry_after_s(jitter=random.uniform(0.8, 1.2))  # noqa: S311 (no secret)
            raise QueueFullError(f"{self._backlog.entries} entries are waiting already", retry_after_s=delay_s)
        return ticket.reply

    def add(self, job: Job) -> "asyncio.Future[Reply]":
        """Accept a job of the server's own: it takes no room, and is never refused but by a server that stops.

        Raises
        ------
        DrainingError
            If the server is stopping.
        """
        ticket = self._ticket(job, Size(entries=0, size_bytes=0), math.inf)
        self._admit(ticket)
        return ticket.reply

    async def put(self, job: Job, size: Size) -> "asyncio.Future[Reply]":
        """Accept a job as soon as there is room; returns once it is accepted, with its reply to come.

        Raises
        ------
        DrainingError
            If the server is stopping.
        """
        ticket = self._ticket(job, size, math.inf)
        if not self._try_admit(ticket):
            self._at_the_door.append(ticket)
            try:
                await ticket.admitted
            except asyncio.CancelledError:
                ticket.reply.cancel()  # it may have been admitted in this very moment
                raise
        return ticket.reply

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the worker from starting a run, so that a test decides what waits together."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._wake.set()

    async def drain(self) -> None:
        """Refuse new jobs from now on, and return when the accepted ones are answered."""
        self.draining = True
        while self._at_the_door:
            ticket = self._at_the_door.popleft()
            if not ticket.admitted.done():
                ticket.admitted.set_exception(_draining())
        await self._idle.wait()

    async def close(self) -> None:
        """Stop the worker; jobs that were not started are cancelled."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])
        for ticket in (*self._accepted, *self._at_the_door):
            ticket.reply.cancel()
            ticket.admitted.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ticket(self, job: Job, size: Size, timeout_s: float) -> _Ticket[Job, Reply]:
        if self.draining:
            raise _draining()
        loop = asyncio.get_running_loop()
        return _Ticket(job, size, loop.time() + timeout_s, loop.create_future(), loop.create_future())

    def _try_admit(self, ticket: _Ticket[Job, Reply]) -> bool:
        if self._at_the_door or not self._backlog.fits(entries=ticket.size.entries, size_bytes=ticket.size.size_bytes):
            return False
        self._admit(ticket)
        return True

    def _admit(self, ticket: _Ticket[Job, Reply]) -> None:
        self._backlog.add(entries=ticket.size.entries, size_bytes=ticket.size.size_bytes)
        self._accepted.append(ticket)
        self._idle.clear()
        self._right_of_way.take()
        self._wake.set()

    def _release(self, ticket: _Ticket[Job, Reply]) -> None:
        """Give back the room of an answered ticket, and let in those who wait for it."""
        self._backlog.remove(entries=ticket.size.entries, size_bytes=ticket.size.size_bytes)
        while self._at_the_door:
            first = self._at_the_door[0]
            if not first.admitted.cancelled():
                if not self._backlog.fits(entries=first.size.entries, size_bytes=first.size.size_bytes):
                    return
                self._admit(first)
                first.admitted.set_result(None)
            self._at_the_door.popleft()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._take()
            if batch:
                await self._score(batch)
            else:
                self._wake.clear()
            if not self._accepted:
                self._right_of_way.give()
            if not self._accepted and not self._at_the_door:
                self._idle.set()

    def _take(self) -> list[_Ticket[Job, Reply]]:
        """The next run: live tickets in order until ``max_batch_entries``, at least one if there is any."""
        batch: list[_Ticket[Job, Reply]] = []
        now = asyncio.get_running_loop().time()
        room = self._max_batch_entries
        while self._accepted and not self._holds:
            ticket = self._accepted[0]
            if ticket.reply.cancelled() or ticket.expires_at <= now:
                self._accepted.popleft()
                _answer(ticket, ExpiredError("the request waited in the queue until its deadline"))
                self._release(ticket)
                continue
            if batch and ticket.size.entries > room:
                break
            batch.append(self._accepted.popleft())
            room -= ticket.size.entries
        return batch

    async def _score(self, batch: list[_Ticket[Job, Reply]]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        replies: Sequence[Reply | Exception]
        try:
            replies = await loop.run_in_executor(self._thread, self._work, [ticket.job for ticket in batch])
        except Exception as error:  # a defect of the worker must not stop the queue: the callers get it
            replies = [error] * len(batch)
        self._backlog.measure(entries=sum(t.size.entries for t in batch), elapsed_s=loop.time() - started)
        for ticket, reply in zip(batch, replies, strict=True):
            _answer(ticket, reply)
            self._release(ticket)


def _answer(ticket: _Ticket[Job, Reply], reply: Reply | Exception) -> None:
    if ticket.reply.done():  # cancelled by its caller
        return
    if isinstance(reply, Exception):
        ticket.reply.set_exception(reply)
    else:
        ticket.reply.set_result(reply)


def _draining() -> DrainingError:
    return DrainingError("the server is stopping: send the request to another, or again when it is back")
