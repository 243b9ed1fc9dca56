"""The arithmetic of the queue: how much waits, whether more fits, how long it will take.

Knows neither the event loop nor the clock: times come in as numbers.

Room is shared by dynamic thresholds (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
Switches", IEEE/ACM ToN 1998): a peer may hold so many times what is left free. One that is alone can fill the greater
part of the queue; the more hold much, the less each may; and some room is always left for one that holds nothing.
"""

import math
from dataclasses import dataclass

from deeplog_grpc.serving.peers import NOBODY

_MIN_RETRY_S = 0.1
_MAX_RETRY_S = 30.0
_FIRST_RATE = 10_000.0
"""Entries per second assumed before the first run; only the first refusals of a process rest on it."""
_SMOOTHING = 0.2
"""Weight of the newest run in the measured rate: the last handful of runs decide."""


@dataclass(slots=True)
class _Held:
    """What a peer holds of the queue."""

    jobs: int = 0
    entries: int = 0
    size_bytes: int = 0


class Backlog:
    """Counts the entries and bytes that wait or are under way.

    Parameters
    ----------
    max_entries, max_bytes : int
        Bounds, > 0. One request beyond a bound is taken when nothing else is there, so that it is not refused for ever.
    peer_share : float
        Share of either that a peer may hold when no other holds any, in (0, 1]; 1 = no limit.

    Examples
    --------
    >>> backlog = Backlog(max_entries=1000, max_bytes=10_000)
    >>> backlog.add(entries=900, size_bytes=500)
    >>> backlog.fits(entries=101, size_bytes=1), backlog.fits(entries=100, size_bytes=1)
    (False, True)
    >>> backlog.measure(entries=900, elapsed_s=0.45)
    >>> round(backlog.retry_after_s(jitter=1.2), 3)
    0.129
    """

    def __init__(self, *, max_entries: int, max_bytes: int, peer_share: float = 1.0) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._threshold = peer_share / (1 - peer_share) if peer_share < 1 else math.inf
        """Times what is free that a peer may hold."""
        self._held: dict[str, _Held] = {}
        """Only peers that hold any."""
        self._rate = _FIRST_RATE
        self.entries = 0
        self.size_bytes = 0

    def fits(self, *, entries: int, size_bytes: int) -> bool:
        """Whether a request of this size has room."""
        if not self.entries and not self.size_bytes:
            return True
        return self.entries + entries <= self._max_entries and self.size_bytes + size_bytes <= self._max_bytes

    def has_share(self, peer: str, *, entries: int, size_bytes: int) -> bool:
        """Whether a peer may hold so much more, given what is free now; one that holds nothing always may."""
        held = self._held.get(peer)
        if held is None or self._threshold == math.inf:
            return True
        free_entries = self._max_entries - self.entries - entries
        free_bytes = self._max_bytes - self.size_bytes - size_bytes
        return (
            held.entries + entries <= self._threshold * free_entries
            and held.size_bytes + size_bytes <= self._threshold * free_bytes
        )

    def is_alone(self, peer: str) -> bool:
        """Whether no other peer holds anything."""
        return len(self._held) <= (peer in self._held)

    def wait_s(self, peer: str, *, entries: int) -> float:
        """Seconds until so many entries more of a peer would be done, if peers take turns."""
        held = self._held.get(peer)
        others = len(self._held) - (held is not None)
        own = (0 if held is None else held.entries) + entries
        return min(self.entries + entries, own * (1 + others)) / self._rate

    def likely_entries(self, size_bytes: int) -> int:
        """Entries of a request that is not decoded yet, if it is like those that are there."""
        return round(size_bytes * self.entries / self.size_bytes) if self.size_bytes else 0

    def is_beyond(self, *, entries: int, size_bytes: int) -> bool:
        """Whether a request of this size exceeds a bound by itself."""
        return entries > self._max_entries or size_bytes > self._max_bytes

    def add(self, *, entries: int, size_bytes: int, peer: str = NOBODY) -> None:
        """Count a request in."""
        self.entries += entries
        self.size_bytes += size_bytes
        if peer != NOBODY:
            held = self._held.setdefault(peer, _Held())
            held.jobs += 1
            held.entries += entries
            held.size_bytes += size_bytes

    def remove(self, *, entries: int, size_bytes: int, peer: str = NOBODY) -> None:
        """Count a request out."""
        self.entries -= entries
        self.size_bytes -= size_bytes
        if peer != NOBODY:
            held = self._held[peer]
            held.jobs -= 1
            held.entries -= entries
            held.size_bytes -= size_bytes
            if not held.jobs:
                del self._held[peer]

    def measure(self, *, entries: int, elapsed_s: float) -> None:
        """Learn the speed from a run of the worker."""
        if entries and elapsed_s > 0:
            self._rate += _SMOOTHING * (entries / elapsed_s - self._rate)

    def retry_after_s(self, *, jitter: float) -> float:
        """Seconds until what waits now is done, in [0.1, 30] before the jitter.

        Parameters
        ----------
        jitter : float
            Factor drawn anew for each refusal, so that refused clients do not come back together.
        """
        return min(max(self.entries / self._rate, _MIN_RETRY_S), _MAX_RETRY_S) * jitter
