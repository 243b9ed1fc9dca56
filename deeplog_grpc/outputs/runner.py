"""One task for each output: look for what is new, send it, remember how far it came.

An output that fails waits and tries again, and nothing else waits for it: each has a task, a thread for the disk and a
position of its own. The position moves only when what is before it was sent or refused for ever, so that everything is
sent at least once, whatever is killed.
"""

import asyncio
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import structlog

from deeplog_grpc.errors import StateError
from deeplog_grpc.outputs.config import Output
from deeplog_grpc.outputs.dead_letters import DeadLetters
from deeplog_grpc.outputs.failures import NotTakenError, TryAgainError
from deeplog_grpc.outputs.rates import Backoff, TokenBucket
from deeplog_grpc.outputs.senders import Sender
from deeplog_grpc.serving.status import log_unexpected

LOOK_S = 0.2
"""Seconds between two looks for something new; a look is one comparison of numbers."""
_BURST_S = 1.0
"""Seconds' worth of a limit that may go at once."""

T = TypeVar("T")
Result = TypeVar("Result")

_log = structlog.get_logger("deeplog_grpc.outputs")


class OutputRunner(ABC, Generic[T]):
    """The task of an output.

    Parameters
    ----------
    name : str
    config : Output
    sender : Sender
        Of the items.
    thread : ThreadPoolExecutor
        Its own; closed with it.
    dead_letters : DeadLetters
    max_per_s : float, optional
        Items a second; None = no limit.
    """

    def __init__(
        self,
        name: str,
        config: Output,
        sender: Sender[T],
        *,
        thread: ThreadPoolExecutor,
        dead_letters: DeadLetters,
        max_per_s: float | None = None,
    ) -> None:
        self.name = name
        self.sent = 0
        """Items that the other side took."""
        self.refused = 0
        """Items that became dead letters."""
        self.retries = 0
        """Tries that failed, and were or will be made again."""
        self._sender = sender
        self._timeout_s = config.timeout_s
        self._thread = thread
        self._dead_letters = dead_letters
        self._backoff = Backoff(config.retry_min_s, config.retry_max_s)
        self._bucket = None if max_per_s is None else TokenBucket(per_s=max_per_s, burst=max(1, max_per_s * _BURST_S))
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_failing(self) -> bool:
        """Whether the last try failed."""
        return self._backoff.failures > 0

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=f"output {self.name}")

    async def stop(self, grace_s: float) -> None:
        """Send what is there, as far as it goes at the first try and within a time; what is left stays on disk."""
        self._stopping.set()
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=grace_s)
            if late:
                self._task.cancel()
                await asyncio.wait([self._task])
        await self._sender.close()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    @property
    @abstractmethod
    def waiting(self) -> int:
        """What is still to be looked at or sent, as far as it is known without a look at the disk."""

    @abstractmethod
    async def step(self) -> bool:
        """Send the next items; whether there were any.

        Raises
        ------
        TryAgainError
            If they were not sent.
        """

    async def deliver(self, items: Sequence[T]) -> None:
        """Send items; those that are refused for ever become dead letters, whatever their neighbours are.

        Raises
        ------
        TryAgainError
            If the other side is away or busy. Some of the items may have been sent.
        """
        for first in range(0, len(items), self._sender.batch):
            await self._deliver(items[first : first + self._sender.batch])

    async def in_thread(self, function: Callable[[], Result]) -> Result:
        """What waits for the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    @abstractmethod
    def letter(self, item: T) -> dict[str, Any]:
        """An item as plain data."""

    async def _deliver(self, items: Sequence[T]) -> None:
        await self._wait_for_rate(len(items))
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._sender.send(items)
        except TimeoutError:
            raise TryAgainError(f"no answer within {self._timeout_s:g} s") from None
        except NotTakenError as error:
            if len(items) > 1:  # which of them it is, the other side does not say
                half = len(items) // 2
                await self._deliver(items[:half])
                await self._deliver(items[half:])
                return
            await self._bury(items[0], error)
        else:
            self.sent += len(items)

    async def _bury(self, item: T, error: NotTakenError) -> None:
        letter = self.letter(item)
        try:
            await self.in_thread(
                lambda: self._dead_letters.add(letter, output=self.name, error=str(error), answer=error.answer)
            )
        except OSError as failure:
            raise TryAgainError(f"the dead letter cannot be written: {failure.strerror}") from failure
        self.refused += 1
        _log.warning("refused by the other side: see the dead letters", output=self.name, error=str(error))

    async def _run(self) -> None:
        while True:
            try:
                had_items = await self.step()
            except (TryAgainError, sqlite3.Error, StateError) as error:
                if self._stopping.is_set():
                    return
                await self._pause(self._failed(error))
                continue
            except Exception as error:
                log_unexpected(error)  # an output never ends by itself
                if self._stopping.is_set():
                    return
                await self._pause(self._failed(error))
                continue
            if self.is_failing:
                _log.info("output works again", output=self.name, failures=self._backoff.failures)
                self._backoff.reset()
            if not had_items:
                if self._stopping.is_set():
                    return
                await self._pause(LOOK_S)

    def _failed(self, error: Exception) -> float:
        self.retries += 1
        wait_s = self._backoff.next_s(error.retry_after_s if isinstance(error, TryAgainError) else 0.0)
        if self._backoff.failures == 1:
            text = str(error) if isinstance(error, TryAgainError) else type(error).__name__
            _log.warning("output fails: tried again until it works", output=self.name, error=text)
        return wait_s

    async def _wait_for_rate(self, count: int) -> None:
        if self._bucket is None:
            return
        await asyncio.sleep(self._bucket.wait_s(count, now=time.monotonic()))
        self._bucket.take(count, now=time.monotonic())

    async def _pause(self, seconds: float) -> None:
        """Wait, or until the output is to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
