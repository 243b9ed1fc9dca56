"""The shards of a server: orders out, replies back, and what is done when one of them dies.

A shard that dies is started again, and gets the order that it died of once more: what it knew of open sessions is lost,
as after a restart of the server, and so they are tracked from their middle on. The other shards keep their answers:
their entries are judged once. Where it dies again, the entries are refused, and the client sends them again. After
:data:`MAX_DEATHS` deaths in :data:`DEATHS_S` seconds the server stops, for whoever runs it to look and start it anew.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakSet
from zlib import crc32

import numpy as np
import structlog
from numpy.typing import NDArray

from deeplog_grpc.errors import RefusedError
from deeplog_grpc.serving.shard_codec import Message, packed, shard_of, unpacked
from deeplog_grpc.serving.shard_links import Link

MAX_DEATHS = 5
DEATHS_S = 600.0
_RETRY_AFTER_S = 5.0

_log = structlog.get_logger("deeplog_grpc.serving")

Order = Callable[[], Message]
"""Makes an order; called again when it has to be given to another process."""


class ShardLostError(RefusedError):
    """A scoring process has died, and could not be replaced in time."""

    reason = "SCORING_PROCESS_LOST"


class ShardError(Exception):
    """An order failed in a scoring process; the error there is logged."""


@dataclass(slots=True, eq=False)
class Pending:
    """Orders under way."""

    orders: Mapping[int, Order]
    given: Sequence[int]
    """The shards that took them."""
    is_repeatable: bool
    _replies: "Callable[[Pending], dict[int, Message]]"
    found: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The replies, as far as they are there."""

    def replies(self) -> dict[int, Message]:
        """Wait for them; see :meth:`Shards.replies`."""
        return self._replies(self)


class Tenant(Protocol):
    """Whose sessions the shards track."""

    def reopen(self, shard: int) -> None:
        """Begin anew in a shard that knows nothing."""
        ...


class Shards:
    """The shards of a server; several threads may give orders.

    Parameters
    ----------
    count : int
        How many.
    start : callable
        Starts one.
    clock : callable
        Seconds that never run backwards.
    """

    def __init__(self, count: int, start: Callable[[], Link], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._start = start
        self._is_closed = False
        self._links: list[Link] = []
        try:
            for _ in range(count):
                self._links.append(start())
        except BaseException:
            self.close()
            raise
        self._clock = clock
        self._lock = threading.RLock()
        """Held while orders are given, and while replies are taken."""
        self._under_way: Pending | None = None
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        self._tenants: WeakSet[Tenant] = WeakSet()
        self._last_number = 0
        self._forgotten: list[int] = []
        self.restarts = 0
        """Times that a process was started in the place of another."""
        self.has_failed = False
        """Whether they died too often."""
        self.on_failure: Callable[[], object] = lambda: None
        """Called once when they have; in any thread."""

    def __len__(self) -> int:
        return len(self._links)

    def shard_of(self, identifier: str) -> int:
        """Where the session of an identifier is, always and everywhere."""
        return shard_of(identifier, len(self._links))

    def shards_of(self, identifiers: Sequence[str]) -> NDArray[np.int64]:
        """Where the sessions of identifiers are. Shape [n]."""
        numbers = [crc32(identifier.encode()) for identifier in identifiers]
        return np.array(numbers, np.int64) % len(self._links)

    def enter(self, tenant: Tenant) -> int:
        """A number for somebody whose sessions are tracked, until :meth:`leave`; he is asked to :meth:`Tenant.reopen`.

        Returns
        -------
        int
            What his orders name him by.
        """
        with self._lock:
            self._last_number += 1
            self._tenants.add(tenant)
            return self._last_number

    def leave(self, number: int) -> None:
        """Nobody asks for these sessions any more; the shards forget them before the next order."""
        self._forgotten.append(number)

    def ask_beside(self, shard: int, order: Message) -> Message:
        """Have an order done beside the scoring.

        Raises
        ------
        ShardLostError
            If the shard is gone.
        ShardError
            If it fails there.
        """
        link = self._links[shard]
        try:
            return _checked(unpacked(link.ask(packed(order))))
        except OSError as error:
            link.close()  # an answer that comes late would be taken for the next one
            raise _lost() from error

    def begin(self, orders: Mapping[int, Order], *, is_repeatable: bool = True) -> "Pending":
        """Give orders; those given before are done by then.

        Parameters
        ----------
        orders : mapping of int to callable
            By shard.
        is_repeatable : bool
            Whether a shard that knows of nothing before can do them too.
        """
        with self._lock:
            self._collect()
            if self._forgotten:
                self._forget()
            # All are made before the first is given: a reply that nobody takes would be taken for the next one.
            contents = {shard: packed(order()) for shard, order in orders.items()}
            given = [shard for shard, content in contents.items() if self._gave(shard, content)]
            self._under_way = Pending(orders, given, is_repeatable, self.replies)
            return self._under_way

    def replies(self, pending: "Pending") -> dict[int, Message]:
        """Wait until orders are done.

        Raises
        ------
        ShardLostError
            If a shard is gone and the order cannot be done by another process.
        ShardError
            If an order fails.
        """
        with self._lock:
            if self._under_way is pending:
                self._collect()
        if pending.orders.keys() - pending.found.keys():
            raise _lost()
        return {shard: _checked(reply) for shard, reply in pending.found.items()}

    def exchange(self, orders: Mapping[int, Order], *, is_repeatable: bool = True) -> dict[int, Message]:
        """Give orders and wait until they are done; see :meth:`begin` and :meth:`replies`."""
        return self.begin(orders, is_repeatable=is_repeatable).replies()

    def _collect(self) -> None:
        """Take the replies to what is under way."""
        pending, self._under_way = self._under_way, None
        if pending is None:
            return
        orders, found = pending.orders, pending.found
        found.update({shard: reply for shard in pending.given if (reply := self._reply(shard)) is not None})
        with suppress(ShardLostError):  # told to who asks for the replies
            for shard in orders.keys() - found.keys():
                self._replace(shard)
                given_again = pending.is_repeatable and self._gave(shard, packed(orders[shard]()))
                if given_again and (reply := self._reply(shard)) is not None:
                    found[shard] = reply

    def close(self) -> None:
        """End them all."""
        self._is_closed = True
        for link in self._links:
            link.close()

    def _gave(self, shard: int, content: bytes) -> bool:
        try:
            self._links[shard].send(content)
        except OSError:
            return False
        return True

    def _reply(self, shard: int) -> dict[str, Any] | None:
        try:
            return unpacked(self._links[shard].receive())
        except OSError:
            return None

    def _replace(self, shard: int) -> None:
        """Start another process in the place of one that is gone, or does not answer."""
        if self._is_closed:
            raise _lost()
        now_s = self._clock()
        self._deaths.append(now_s)
        if len(self._deaths) == MAX_DEATHS and now_s - self._deaths[0] < DEATHS_S and not self.has_failed:
            self.has_failed = True
            _log.error("scoring processes die again and again: the server stops", deaths=MAX_DEATHS)
            self.on_failure()
        if self.has_failed:
            raise _lost()
        _log.error("a scoring process died: it is started again, without its open sessions", shard=shard)
        self._links[shard].close()
        self.restarts += 1
        try:
            self._links[shard] = self._start()
            for tenant in self._tenants:
                tenant.reopen(shard)
        except Exception as error:
            self._links[shard].close()  # else it would be asked for what it does not have
            raise _lost() from error

    def _forget(self) -> None:
        numbers, self._forgotten = self._forgotten, []
        for link in self._links:
            try:
                link.send(packed({"order": "forget", "detectors": numbers}))
                link.receive()
            except OSError:  # the next order will miss it
                link.close()


def _checked(reply: dict[str, Any]) -> Message:
    if "error" in reply:
        _log.error("unexpected error in a scoring process", error_type=reply["error"], where=reply["where"])
        raise ShardError(reply["error"])
    return reply


def _lost() -> ShardLostError:
    return ShardLostError("a scoring process died: send it again", retry_after_s=_RETRY_AFTER_S)
