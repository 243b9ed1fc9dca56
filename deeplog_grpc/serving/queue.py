"""The bounded queue between the calls and the one scoring thread.

Rules:

1. Jobs of a peer run in the order in which they were accepted, but that small ones may go first and share the worker's
   runs with the others by turns; peers take turns: the rules are those of :mod:`~deeplog_grpc.serving.waiting_line`.
2. An idle worker starts at once: there is no delay to collect a batch. What arrives while it runs forms the next runs,
   of up to ``max_batch_entries`` each.
3. Room is counted until a job is answered. Without room, :meth:`ScoringQueue.offer` refuses (a unary call) and
   :meth:`ScoringQueue.put` waits (a stream, which then reads no further); those of a peer that wait are admitted in
   order and before any newcomer of it, a small one too. So it is with a peer that has its share of the room, or sends
   faster than it may, but that others pass it by; and with all while there is too little memory.
4. A job whose future was cancelled or whose time is up never reaches the worker.
5. The worker gets one list of jobs at a time, in its own thread: nothing that it touches needs a lock.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from deeplog_grpc.errors import DrainingError, ExpiredError, RefusedError
from deeplog_grpc.serving.admission import Admission
from deeplog_grpc.serving.config import ServerConfig
from deeplog_grpc.serving.door import Door
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.serving.metrics import Metrics
from deeplog_grpc.serving.peers import NOBODY, current_peer
from deeplog_grpc.serving.right_of_way import RightOfWay
from deeplog_grpc.serving.traces import Run, Trace, current_trace
from deeplog_grpc.serving.waiting_line import Order, WaitingLine

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
    accepted_at: float
    """Event loop time in seconds, as the next."""
    expires_at: float
    reply: "asyncio.Future[Reply]"
    order: Order
    peer: str
    trace: Trace | None
    """Of the call that it belongs to."""
    is_admitted: bool = False


@dataclass(slots=True, eq=False)
class _AtTheDoor(Generic[Job, Reply]):
    ticket: _Ticket[Job, Reply]
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
    metrics : Metrics, optional
        Take how long jobs wait and runs last.
    limits : LimitsConfig, optional
        What a peer may have.
    too_little_memory : callable, optional
        Returns why nothing new can be taken for lack of memory, or None.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Reply | Exception]],
        config: ServerConfig,
        right_of_way: RightOfWay | None = None,
        metrics: Metrics | None = None,
        limits: LimitsConfig | None = None,
        too_little_memory: Callable[[], RefusedError | None] = lambda: None,
    ) -> None:
        self._work = work
        self._right_of_way = right_of_way or RightOfWay()
        self._metrics = metrics or Metrics()
        self._book = self._metrics.entries
        self.admission = Admission(config, limits or LimitsConfig(), too_little_memory)
        """Decides what may enter."""
        self._backlog = self.admission.backlog
        self._accepted: WaitingLine[_Ticket[Job, Reply]] = WaitingLine(
            max_run_entries=config.max_batch_entries,
            short_run_entries=config.short_batch_entries,
            small_entries=config.small_request_entries,
        )
        self._door: Door[_AtTheDoor[Job, Reply]] = Door()
        self._room_is_awaited = False
        """Whether one at the door waits for nothing but room, so that no newcomer may have what there is."""
        self._next_look: asyncio.TimerHandle | None = None
        self._holds = 0
        self._is_closed = False
        self.draining = False
        """Whether new jobs are refused for good."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.run_began_at: float | None = None
        """Event loop time at which the run under way began; None = there is none."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to serve jobs; needs a running event loop."""
        self._runner = asyncio.create_task(self._run(), name="scoring queue")

    @property
    def waiting_entries(self) -> int:
        """Entries that were accepted and are not answered."""
        return self._backlog.entries

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the requests that were accepted and are not answered."""
        return self._backlog.size_bytes

    def is_beyond(self, size: Size) -> bool:
        """Whether a job has room only when nothing else is there: :meth:`offer` may refuse it again and again."""
        return self._backlog.is_beyond(entries=size.entries, size_bytes=size.size_bytes)

    def offer(
        self, job: Job, size: Size, *, timeout_s: float = math.inf, order: Order = Order.IN_LINE
    ) -> "asyncio.Future[Reply]":
        """Accept a job now, or refuse it.

        Parameters
        ----------
        job : Job
            Goes to the worker.
        size : Size
            The room that it takes.
        timeout_s : float
            Seconds after which it need not be started any more.
        order : Order
            Whether it may overtake others.

        Raises
        ------
        QueueFullError
            If there is no room.
        PeerLimitError
            If the peer has its share already, or sends too fast.
        MemoryPressureError
            If there is too little memory.
        DrainingError
            If the server is stopping.
        """
        ticket = self._ticket(job, size, timeout_s, order)
        if (obstacle := self._obstacle(ticket.peer, size, timeout_s)) is not None:
            self._book.turned_away(job, obstacle)
            raise self._noted(obstacle, ticket.peer, size)
        self._admit(ticket)
        return ticket.reply

    def check_room(self, size_bytes: int, *, timeout_s: float = math.inf) -> None:
        """Refuse a request that is not decoded yet, where :meth:`offer` most likely would: that costs the least.

        Parameters
        ----------
        size_bytes : int
            Of the request.
        timeout_s : float
            Seconds that its caller waits.

        Raises
        ------
        RefusedError
            As :meth:`offer`.
        """
        if self.draining:
            raise self.unread(_draining())
        size = Size(entries=self._backlog.likely_entries(size_bytes), size_bytes=size_bytes)
        if not self.is_beyond(size) and (obstacle := self._obstacle(current_peer(), size, timeout_s)) is not None:
            raise self.unread(self._noted(obstacle, current_peer(), size))

    def unread(self, error: RefusedError) -> RefusedError:
        """Count a delivery that is refused unread, with this error."""
        self._book.unread_deliveries[error.reason] += 1
        return error

    def add(self, job: Job, *, order: Order = Order.FENCE) -> "asyncio.Future[Reply]":
        """Accept a job of the server's own: it takes no room, and is never refused but by a server that stops.

        Parameters
        ----------
        job : Job
            Goes to the worker.
        order : Order
            Whether others may overtake it.

        Raises
        ------
        DrainingError
            If the server is stopping.
        """
        ticket = self._ticket(job, Size(entries=0, size_bytes=0), math.inf, order, peer=NOBODY)
        self._admit(ticket)
        return ticket.reply

    async def put(self, job: Job, size: Size) -> "asyncio.Future[Reply]":
        """Accept a job as soon as there is room; returns once it is accepted, with its reply to come.

        Raises
        ------
        DrainingError
            If the server is stopping.
        """
        ticket = self._ticket(job, size, math.inf, Order.IN_LINE)
        if self._obstacle(ticket.peer, size) is None:
            self._admit(ticket)
        else:
            waiting = _AtTheDoor(ticket, asyncio.get_running_loop().create_future())
            self._door.add(ticket.peer, waiting)
            self.let_in()
            try:
                await waiting.admitted
            except BaseException as error:
                ticket.reply.cancel()
                if not ticket.is_admitted:  # it may have been in this very moment
                    self._book.turned_away(job, error)
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
        for waiting in self._door.clear():
            if not waiting.admitted.done():
                waiting.admitted.set_exception(_draining())
        await self._idle.wait()

    async def after_all(self, do: Callable[[], None]) -> None:
        """Do something in the worker's thread, after all that it has begun; not after :meth:`close`."""
        if self._is_closed:
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, do)

    async def close(self) -> None:
        """Stop the worker; jobs that were not started are cancelled."""
        self._is_closed = True
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])
        for ticket in self._accepted.items():
            self._book.settled(ticket.job, asyncio.CancelledError())
            ticket.reply.cancel()
        for waiting in self._door.clear():
            waiting.ticket.reply.cancel()
            waiting.admitted.cancel()
        if self._next_look is not None:
            self._next_look.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ticket(
        self, job: Job, size: Size, timeout_s: float, order: Order, peer: str | None = None
    ) -> _Ticket[Job, Reply]:
        if self.draining:
            error = _draining()
            self._book.turned_away(job, error)
            raise error
        loop = asyncio.get_running_loop()
        now = loop.time()
        peer = current_peer() if peer is None else peer
        return _Ticket(job, size, now, now + timeout_s, loop.create_future(), order, peer, current_trace())

    def _obstacle(self, peer: str, size: Size, timeout_s: float = math.inf) -> RefusedError | None:
        """Why a newcomer is not taken now."""
        if self._room_is_awaited or self._door.is_awaited_by(peer):
            return self.admission.full()
        return self.admission.refusal(peer, entries=size.entries, size_bytes=size.size_bytes, timeout_s=timeout_s)

    def _noted(self, refusal: RefusedError, peer: str, size: Size) -> RefusedError:
        self.admission.note_refused(peer, entries=size.entries, size_bytes=size.size_bytes)
        return refusal

    def _admit(self, ticket: _Ticket[Job, Reply]) -> None:
        ticket.is_admitted = True
        self._book.accepted(ticket.job)
        self.admission.enter(ticket.peer, entries=ticket.size.entries, size_bytes=ticket.size.size_bytes)
        self._accepted.add(ticket, ticket.size.entries, ticket.order, ticket.peer)
        self._idle.clear()
        self._right_of_way.take()
        self._wake.set()

    def _release(self, ticket: _Ticket[Job, Reply]) -> None:
        """Give back the room of an answered ticket."""
        self.admission.leave(ticket.peer, entries=ticket.size.entries, size_bytes=ticket.size.size_bytes)

    def let_in(self) -> None:
        """Admit those at the door who can be now; to be called when what they wait for may be there."""
        self._room_is_awaited = False
        wait_s = math.inf

        def try_admit(waiting: _AtTheDoor[Job, Reply]) -> bool:
            nonlocal wait_s
            if waiting.admitted.done():  # cancelled by its caller
                return True
            ticket = waiting.ticket
            peer, size = ticket.peer, {"entries": ticket.size.entries, "size_bytes": ticket.size.size_bytes}
            if (obstacle := self.admission.refusal(peer, **size)) is not None:
                self._room_is_awaited = self.admission.lacks_room(peer, **size)
                wait_s = min(wait_s, obstacle.retry_after_s)
                return False
            self._admit(ticket)
            waiting.admitted.set_result(None)
            return True

        self._door.let_in(try_admit, lambda: self._room_is_awaited)
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if self._door:  # for room they wait until a run ends, but for memory or their rate just for some time
            self._next_look = asyncio.get_running_loop().call_later(wait_s, self.let_in)

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
            if not self._accepted and not self._door:
                self._idle.set()

    def _take(self) -> list[_Ticket[Job, Reply]]:
        """The next run, of live tickets."""
        if self._holds:
            return []
        now = asyncio.get_running_loop().time()

        def is_live(ticket: _Ticket[Job, Reply]) -> bool:
            if not ticket.reply.cancelled() and ticket.expires_at > now:
                return True
            is_cancelled = ticket.reply.cancelled()
            error = ExpiredError("the request waited in the queue until its deadline")
            self._book.settled(ticket.job, asyncio.CancelledError() if is_cancelled else error)
            _answer(ticket, error)
            self._release(ticket)
            return False

        run = self._accepted.take(is_live)
        if self._door:
            self.let_in()
        return run

    async def _score(self, batch: list[_Ticket[Job, Reply]]) -> None:
        loop = asyncio.get_running_loop()
        self.run_began_at = started = loop.time()
        for ticket in batch:
            self._metrics.queue_wait.observe(started - ticket.accepted_at)
        replies: Sequence[Reply | Exception]
        try:
            replies = await loop.run_in_executor(self._thread, self._work, [ticket.job for ticket in batch])
        except Exception as error:  # a defect of the worker must not stop the queue: the callers get it
            replies = [error] * len(batch)
        self.run_began_at, ended = None, loop.time()
        elapsed_s, entries = ended - started, sum(ticket.size.entries for ticket in batch)
        self._metrics.scoring_run.observe(elapsed_s)
        self._metrics.scoring_run_entries.observe(entries)
        self._backlog.measure(entries=entries, elapsed_s=elapsed_s)
        run = Run(started_at=started, ended_at=ended, entries=entries, jobs=len(batch))
        for ticket, reply in zip(batch, replies, strict=True):
            if ticket.trace is not None:
                ticket.trace.scored(run, accepted_at=ticket.accepted_at)
            self._book.settled(ticket.job, reply)
            _answer(ticket, reply)
            self._release(ticket)
        if self._door:
            self.let_in()


def _answer(ticket: _Ticket[Job, Reply], reply: Reply | Exception) -> None:
    if ticket.reply.done():  # cancelled by its caller
        return
    if isinstance(reply, Exception):
        ticket.reply.set_exception(reply)
    else:
        ticket.reply.set_result(reply)


def _draining() -> DrainingError:
    return DrainingError("the server is stopping: send the request to another, or again when it is back")
