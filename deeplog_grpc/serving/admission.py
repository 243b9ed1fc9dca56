"""Whether a job may enter the queue now, and if not, why: the first of these that is so.

1. There is too little memory.
2. The peer sends faster than it may.
3. The caller would most likely not wait long enough: work that nobody waits for any more takes the place of other work.
   Small requests, which go ahead of the line, are not asked.
4. The peer has its share of the room.
5. There is no room.

Work of the server's own is asked for room only.
"""

import math
import random
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from deeplog_grpc.errors import PeerLimitError, QueueFullError, RefusedError
from deeplog_grpc.serving.backlog import Backlog
from deeplog_grpc.serving.config import ServerConfig
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.serving.peers import NOBODY, EntryRates

_REMEMBERED_S = 1.0
"""Seconds for which the size of a refused request is taken for that of the next one of its peer."""
_MAX_REMEMBERED = 10_000
_HOPE = 0.25
"""Share of the time that a caller waits in which a request must be likely to be done: the speed is an estimate, the way
there and back takes its time, and what waits longer only makes all others wait."""


class Admission:
    """Keeps account of what is in the queue, and of who sent it.

    Parameters
    ----------
    config : ServerConfig
        Bounds of the queue.
    limits : LimitsConfig
        What a peer may have.
    too_little_memory : callable
        Returns why nothing new can be taken for lack of memory, or None.
    """

    def __init__(
        self, config: ServerConfig, limits: LimitsConfig, too_little_memory: Callable[[], RefusedError | None]
    ) -> None:
        self.backlog = Backlog(
            max_entries=config.max_queue_entries, max_bytes=config.max_queue_bytes, peer_share=limits.queue_share
        )
        """What is there."""
        self._small_entries = config.small_request_entries
        self._rates = EntryRates(limits.entries_per_s or math.inf, limits.burst_s)
        self._too_little_memory = too_little_memory
        self._refused: OrderedDict[str, tuple[int, int, float]] = OrderedDict()
        """Peer -> entries and bytes of the request that was refused last, and when; the latest are last."""

    @property
    def is_refusing(self) -> bool:
        """Whether :meth:`likely_refusal` may have something to say."""
        return bool(self._refused) or self._too_little_memory() is not None

    def note_refused(self, peer: str, *, entries: int, size_bytes: int) -> None:
        """A request of a peer was refused."""
        self._refused[peer] = (entries, size_bytes, monotonic())
        self._refused.move_to_end(peer)
        if len(self._refused) > _MAX_REMEMBERED:
            self._refused.popitem(last=False)

    def likely_refusal(self, peer: str, *, timeout_s: float) -> RefusedError | None:
        """Why a request that is not even received would most likely be refused: it is taken to be as the last one."""
        long_ago = monotonic() - _REMEMBERED_S
        while self._refused and next(iter(self._refused.values()))[2] < long_ago:
            self._refused.popitem(last=False)
        entries, size_bytes, _ = self._refused.get(peer, (0, 0, 0.0))
        error = self.refusal(peer, entries=entries, size_bytes=size_bytes, timeout_s=timeout_s)
        if error is None:
            self._refused.pop(peer, None)
        return error

    def refusal(self, peer: str, *, entries: int, size_bytes: int, timeout_s: float = math.inf) -> RefusedError | None:
        """Why a job of a peer cannot enter now; None = it can."""
        if peer != NOBODY:
            if (error := self._too_little_memory()) is not None:
                return error
            if (wait_s := self._rates.wait_s(peer)) > 0:
                return PeerLimitError("the peer has sent more entries than limits.entries_per_s", retry_after_s=wait_s)
            if self._waits_in_vain(peer, entries, timeout_s):
                return self.full()
            if not self.backlog.has_share(peer, entries=entries, size_bytes=size_bytes):
                if self.backlog.is_alone(peer):
                    return self.full()
                message = "the peer has its share of the queue already (limits.queue_share)"
                return PeerLimitError(message, retry_after_s=self._retry_after_s())
        return None if self.backlog.fits(entries=entries, size_bytes=size_bytes) else self.full()

    def lacks_room(self, peer: str, *, entries: int, size_bytes: int) -> bool:
        """Whether nothing but room is missing: it is kept for the first for whom that is so."""
        size = {"entries": entries, "size_bytes": size_bytes}
        return self.backlog.has_share(peer, **size) and not self.backlog.fits(**size)

    def full(self) -> QueueFullError:
        """The refusal of what comes too late for the room that there is."""
        message = f"{self.backlog.entries} entries are waiting already"
        return QueueFullError(message, retry_after_s=self._retry_after_s())

    def enter(self, peer: str, *, entries: int, size_bytes: int) -> None:
        """Count a job in."""
        self.backlog.add(entries=entries, size_bytes=size_bytes, peer=peer)
        if peer != NOBODY:
            self._rates.take(peer, entries)

    def leave(self, peer: str, *, entries: int, size_bytes: int) -> None:
        """Count a job out."""
        self.backlog.remove(entries=entries, size_bytes=size_bytes, peer=peer)

    def _waits_in_vain(self, peer: str, entries: int, timeout_s: float) -> bool:
        if entries <= self._small_entries or not self.backlog.entries:
            return False
        return self.backlog.wait_s(peer, entries=entries) > _HOPE * timeout_s

    def _retry_after_s(self) -> float:
        # Jitter is not a secret.
        return self.backlog.retry_after_s(jitter=random.uniform(0.8, 1.2))  # noqa: S311 (no secret)
