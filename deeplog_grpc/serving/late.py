"""Late ends: ends of sessions that came with the clock, not with a request, until a client is told.

Bounded. Where there is no room the oldest is dropped; normal ones do not push out abnormal ones.
"""

from collections import deque
from collections.abc import Iterable
from itertools import chain

from deeplog_grpc.detection.verdicts import Verdict

MAX_IN_MESSAGE = 1_000
"""Ends in one message at most: with 1 KB each it stays far below gRPC's default of 4 MiB."""


class LateEnds:
    """The late ends of all applications.

    Parameters
    ----------
    max_ends : int
        Normal ones, and abnormal ones, to keep for an application; > 0.
    """

    def __init__(self, *, max_ends: int) -> None:
        self._max_ends = max_ends
        self._kept: dict[str, tuple[deque[Verdict], deque[Verdict]]] = {}
        self.dropped = 0
        """Ends that nobody was or will be told of."""

    def __len__(self) -> int:
        return sum(map(len, chain.from_iterable(self._kept.values())))

    @property
    def applications(self) -> list[str]:
        """Those with late ends."""
        return list(self._kept)

    def keep(self, application: str, ends: Iterable[Verdict]) -> None:
        """Add ends, in the order of their time."""
        for end in ends:
            kept = self._kept.setdefault(application, (deque(), deque()))[end.is_anomaly]
            kept.append(end)
            if len(kept) > self._max_ends:
                kept.popleft()
                self.dropped += 1

    def take(self, application: str, count: int = MAX_IN_MESSAGE) -> list[Verdict]:
        """Take out up to ``count``, abnormal ones before normal ones; in the order of their time."""
        taken: list[Verdict] = []
        if application in self._kept:
            normal, abnormal = self._kept[application]
            for kept in (abnormal, normal):
                taken += [kept.popleft() for _ in range(min(count - len(taken), len(kept)))]
            if not normal and not abnormal:
                del self._kept[application]
        return sorted(taken, key=lambda end: end.ended_ns)
