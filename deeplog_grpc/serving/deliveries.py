"""Deliveries that have a name: what was answered before is answered from memory, and nothing is applied twice.

Whoever sends at least once sends some things again: because an answer was lost, came too late, or the connection broke
while the work was under way. A sender that gives each delivery a name gets each applied once.

What is remembered lives in memory, as the open sessions that it protects do; both come back after a restart (see
:mod:`~deeplog_grpc.serving.recovery`). Where open sessions are not kept both are gone, and to feed a repetition to the
sessions is then right.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog

from deeplog_grpc.errors import InputError
from deeplog_grpc.serving.config import DeliveriesConfig
from deeplog_grpc.serving.delivery import Key

Answer = TypeVar("Answer")

_OVERHEAD_BYTES = 512
"""What a remembered delivery takes beside its name and answer."""

_log = structlog.get_logger("deeplog_grpc.serving")


@dataclass(frozen=True, slots=True)
class _UnderWay:
    digest: bytes
    task: "asyncio.Task[Any]"


@dataclass(frozen=True, slots=True)
class _Kept:
    digest: bytes
    answer: Any
    size_bytes: int
    kept_at: float


class Deliveries:
    """Remembers the answers to deliveries, within bounds of age, number and bytes; the oldest are forgotten first.

    Belongs to one event loop.

    Parameters
    ----------
    config : DeliveriesConfig
        The bounds.
    clock : callable
        Seconds that never run backwards.

    Examples
    --------
    >>> async def main():
    ...     deliveries = Deliveries(DeliveriesConfig())
    ...     async def work():
    ...         return "done"
    ...     first = await deliveries.once(("score", "batch-1"), b"digest", work, len)
    ...     return first, await deliveries.once(("score", "batch-1"), b"digest", work, len)
    >>> asyncio.run(main())
    (('done', False), ('done', True))
    """

    def __init__(self, config: DeliveriesConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._under_way: dict[Key, _UnderWay] = {}
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self.size_bytes = 0
        """Estimate of what the remembered answers take."""
        self.repeats = 0
        """Deliveries that were not applied again."""
        self.forgotten_by_age = 0
        """Answers that reached their age."""
        self.forgotten_early = 0
        """Answers that had to make room: a repetition of them would be applied again."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def under_way(self) -> int:
        """Deliveries that are not answered yet."""
        return len(self._under_way)

    def remember(self, key: Key, digest: bytes, answer: Any, size_bytes: int) -> None:
        """Take up an answer that was given before the process was started."""
        self._keep(key, digest, answer, size_bytes)

    async def once(
        self,
        key: Key,
        digest: bytes,
        work: Callable[[], Awaitable[Answer]],
        size_of: Callable[[Answer], int],
        *,
        field: str = "",
    ) -> tuple[Answer, bool]:
        """Answer a delivery; see :meth:`begin`.

        Returns
        -------
        Answer
            What ``work`` returned, for this delivery or the one that it repeats.
        bool
            Whether it repeats one.
        """
        answer, is_repeat = self.begin(key, digest, work, size_of, field=field)
        return await answer, is_repeat

    def begin(
        self,
        key: Key,
        digest: bytes,
        work: Callable[[], Awaitable[Answer]],
        size_of: Callable[[Answer], int],
        *,
        field: str = "",
    ) -> "tuple[asyncio.Future[Answer], bool]":
        """Have a delivery's work done, unless it is under way or remembered.

        The work runs in a task of its own, which starts in the order of the calls: that the returned future is
        cancelled, since a client went away, does not undo it. A work that raises is not remembered, so that its
        delivery can be sent again at once; those that wait for it get its exception.

        Parameters
        ----------
        key : tuple
            Name of the delivery.
        digest : bytes
            Of its content.
        work : callable
            Does it.
        size_of : callable
            Bytes of an answer.
        field : str
            Where the name stands in a request.

        Returns
        -------
        future
            The answer to come.
        bool
            Whether the delivery repeats an earlier one.

        Raises
        ------
        InputError
            If another delivery has this name.
        """
        self._forget_aged()
        known = self._kept.get(key) or self._under_way.get(key)
        if known is None:
            return self._start(key, digest, work, size_of), False
        if known.digest != digest:
            message = "names a delivery that was sent before with other content: give each delivery its own name"
            raise InputError(message, field=field)
        self.repeats += 1
        if isinstance(known, _UnderWay):
            return asyncio.shield(known.task), True
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(known.answer)
        return answer, True

    def forget_older_half(self) -> None:
        """Forget half of the answers, the oldest, since memory is short: a repetition of them is applied again."""
        for _ in range((len(self._kept) + 1) // 2):
            self._forget_oldest()
            self.forgotten_early += 1

    def _start(
        self, key: Key, digest: bytes, work: Callable[[], Awaitable[Answer]], size_of: Callable[[Answer], int]
    ) -> "asyncio.Future[Answer]":
        async def do() -> Answer:
            return await work()

        task = asyncio.create_task(do(), name="delivery")
        self._under_way[key] = _UnderWay(digest, task)
        # Before any waiter is woken: one that sends a failed delivery again finds it forgotten.
        task.add_done_callback(partial(self._finished, key, size_of))
        return asyncio.shield(task)

    def _finished(self, key: Key, size_of: Callable[[Any], int], task: "asyncio.Task[Any]") -> None:
        digest = self._under_way.pop(key).digest
        if task.cancelled() or task.exception() is not None:
            return
        self._keep(key, digest, task.result(), size_of(task.result()))

    def _keep(self, key: Key, digest: bytes, answer: Any, size_bytes: int) -> None:
        size_bytes += _OVERHEAD_BYTES + sum(_length(part) for part in key)
        if (known := self._kept.pop(key, None)) is not None:
            self.size_bytes -= known.size_bytes
        self._kept[key] = _Kept(digest, answer, size_bytes, self._clock())
        self.size_bytes += size_bytes
        self._make_room()

    def _forget_aged(self) -> None:
        limit = self._clock() - self._config.max_age_s
        while self._kept and next(iter(self._kept.values())).kept_at <= limit:
            self._forget_oldest()
            self.forgotten_by_age += 1

    def _make_room(self) -> None:
        self._forget_aged()
        while len(self._kept) > self._config.max_count or self.size_bytes > self._config.max_mb * 2**20:
            if not self.forgotten_early:
                _log.warning(
                    "answers are forgotten before deliveries.max_age_s: allow more (deliveries.max_mb, max_count)",
                    answers=len(self._kept),
                    mb=self.size_bytes >> 20,
                )
            self._forget_oldest()
            self.forgotten_early += 1

    def _forget_oldest(self) -> None:
        _, kept = self._kept.popitem(last=False)
        self.size_bytes -= kept.size_bytes


def _length(part: str | int | bytes) -> int:
    return 8 if isinstance(part, int) else len(part)
