"""Who sends: a name for whoever is behind a connection, and what one of them may have under way.

The name is set where a call, a request or a connection begins, and holds for all that is done for it: a task takes its
context along to those that it starts.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

from deeplog_grpc.errors import PeerLimitError
from deeplog_grpc.serving.limits_config import LimitsConfig

NOBODY = ""
"""Peer of the server's own work; it has no limits."""
MAX_RATES = 10_000
"""Peers whose rate is remembered. One that was silent for long is forgotten first; it would have a burst anyway."""
_BUSY_RETRY_S = 1.0

_current: ContextVar[str] = ContextVar("peer", default=NOBODY)


def current_peer() -> str:
    """The peer for whom the running task works."""
    return _current.get()


@contextmanager
def working_for(peer: str) -> Iterator[None]:
    """Let the running task, and those that it starts, work for a peer."""
    token = _current.set(peer)
    try:
        yield
    finally:
        _current.reset(token)


def host_of_peer(peer: str) -> str:
    """The address in what gRPC calls a peer.

    Examples
    --------
    >>> host_of_peer("ipv4:10.0.0.7:50112"), host_of_peer("ipv6:%5B::1%5D:50112")
    ('10.0.0.7', '%5B::1%5D')
    """
    return peer.partition(":")[2].rpartition(":")[0]


class PeerCalls:
    """Counts the calls and streams of each peer. Remembers only those with any.

    Parameters
    ----------
    config : LimitsConfig
        How many there may be.
    """

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._calls: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()

    @property
    def peers(self) -> int:
        """Peers with a call under way."""
        return len(self._calls)

    @contextmanager
    def call(self, peer: str, *, is_stream: bool) -> Iterator[None]:
        """Count a call for as long as it lasts.

        Raises
        ------
        PeerLimitError
            If the peer has as many already as one may.
        """
        kinds = [(self._calls, self._config.max_calls, "calls")]
        if is_stream:
            kinds.append((self._streams, self._config.max_streams, "streams"))
        for counted, limit, kind in kinds:
            if counted[peer] >= limit:
                message = f"{limit} {kind} of one peer are under way already (limits.max_{kind})"
                raise PeerLimitError(message, retry_after_s=_BUSY_RETRY_S)
        for counted, _, _ in kinds:
            counted[peer] += 1
        try:
            yield
        finally:
            for counted, _, _ in kinds:
                counted[peer] -= 1
                if not counted[peer]:
                    del counted[peer]


class EntryRates:
    """How many entries a second each peer sends: a token bucket for each, which may go into debt.

    A delivery is taken while anything is left, however large it is, and the next has to wait until its debt is paid: so
    none is too large to be ever taken.

    Parameters
    ----------
    per_s : float
        Entries a second; infinite = no limit.
    burst_s : float
        Seconds' worth that a full bucket holds.
    clock : callable
        Seconds that never run backwards.

    Examples
    --------
    >>> rates = EntryRates(100, 2, clock=lambda: 0.0)
    >>> rates.take("a", 250)
    >>> rates.wait_s("a"), rates.wait_s("b")
    (0.5, 0.0)
    """

    def __init__(self, per_s: float, burst_s: float, *, clock: Callable[[], float] = monotonic) -> None:
        self._per_s = per_s
        self._burst_s = burst_s
        self._clock = clock
        self._paid_at: OrderedDict[str, float] = OrderedDict()
        """Time at which the bucket is, or was, empty and free of debt; the peers used last are last."""

    def __len__(self) -> int:
        return len(self._paid_at)

    def wait_s(self, peer: str) -> float:
        """Seconds until entries of a peer are taken again; 0 = they are now."""
        return max(0.0, self._paid_at.get(peer, 0.0) - self._clock())

    def take(self, peer: str, entries: int) -> None:
        """Count entries that were taken."""
        if self._per_s == float("inf"):
            return
        now = self._clock()
        paid_at = max(self._paid_at.pop(peer, now - self._burst_s), now - self._burst_s)
        self._paid_at[peer] = paid_at + entries / self._per_s
        if len(self._paid_at) > MAX_RATES:
            self._paid_at.popitem(last=False)
