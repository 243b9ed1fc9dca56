"""From the sources into the spool, in a thread of its own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import structlog

from deeplog_grpc.errors import SpoolFullError
from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.followed import Portion
from deeplog_grpc.storage import Spool

_log: Any = structlog.get_logger()
_FULL_RETRY_S = 0.1


class Source(Protocol):
    """Where entries come from."""

    is_finished: bool
    """Whether nothing more will come."""

    def portions(self) -> Iterator[Portion]:
        """What is new."""
        ...

    def take_gone(self) -> list[str]:
        """Names of positions that are no longer needed once all portions given so far are kept."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Filler:
    """Reads sources and puts payloads of entries into a spool, each with the positions that it was read up to.

    Nothing is read while the spool has no room: files wait, and a pipe holds up its writer.

    Parameters
    ----------
    spool : Spool
    sources : sequence of Source
    counts : Counts
    batch_entries, batch_bytes : int
        Bounds of a payload; one entry always fits.
    poll_s : float
        Seconds between two looks while nothing is new.
    on_payloads : callable
        Is told, in this thread, that the spool has more.
    """

    def __init__(
        self,
        spool: Spool,
        sources: Sequence[Source],
        counts: Counts,
        *,
        batch_entries: int,
        batch_bytes: int,
        poll_s: float,
        on_payloads: Callable[[], None],
    ) -> None:
        self._spool = spool
        self._sources = sources
        self._counts = counts
        self._batch_entries = batch_entries
        self._batch_bytes = batch_bytes
        self._poll_s = poll_s
        self._on_payloads = on_payloads
        self._stopping = threading.Event()
        self._given_up = threading.Event()
        self._entries: list[bytes] = []
        self._size = 0
        self._positions: dict[str, bytes] = {}

    def stop(self) -> None:
        """Read nothing more; what is read goes into the spool if there is room."""
        self._stopping.set()

    def give_up(self) -> None:
        """Wait for room in the spool no longer."""
        self._stopping.set()
        self._given_up.set()

    def run(self) -> None:
        """Read until all sources are at their end, or until told to stop."""
        try:
            while not self._stopping.is_set() and not all(source.is_finished for source in self._sources):
                if not self._look():
                    self._stopping.wait(self._poll_s)
        finally:
            for source in self._sources:
                source.close()

    def _look(self) -> bool:
        """Read what is new in all sources; whether anything was."""
        has_more = False
        for source in self._sources:
            if source.is_finished:
                continue
            for portion in source.portions():
                has_more = True
                self._add(portion)
                if self._stopping.is_set():
                    break
            self._keep()
            if gone := source.take_gone():
                self._spool.forget(gone)
        return has_more

    def _add(self, portion: Portion) -> None:
        self._entries += portion.entries
        self._size += sum(map(len, portion.entries))
        if portion.name:
            self._positions[portion.name] = portion.position
        if len(self._entries) >= self._batch_entries or self._size >= self._batch_bytes:
            self._keep()

    def _keep(self) -> None:
        """Put what was read into the spool, as soon as there is room."""
        payloads = list(batches(self._entries, max_count=self._batch_entries, max_bytes=self._batch_bytes))
        is_told = False
        while payloads or self._positions:
            try:
                self._spool.append(payloads, self._positions)
                break
            except SpoolFullError as error:
                if not is_told:
                    _log.warning("spool full", reason=str(error))
                    is_told = True
                if self._given_up.wait(_FULL_RETRY_S):
                    # Files are read again from the position that is kept; what came by a pipe is gone.
                    self._counts.lines_lost += 0 if self._positions else len(self._entries)
                    break
        if is_told:
            _log.info("spool has room again")
        if payloads:
            self._on_payloads()
        self._entries, self._size, self._positions = [], 0, {}


def batches(entries: Sequence[bytes], *, max_count: int, max_bytes: int) -> Iterator[bytes]:
    """Entries put together to payloads, in order; one that is larger than a payload is one of its own.

    Examples
    --------
    >>> list(batches([b"aa", b"b", b"cccc", b"d"], max_count=2, max_bytes=3))
    [b'aab', b'cccc', b'd']
    """
    start, size = 0, 0
    for place, entry in enumerate(entries):
        if place > start and (place - start >= max_count or size + len(entry) > max_bytes):
            yield b"".join(entries[start:place])
            start, size = place, 0
        size += len(entry)
    if start < len(entries):
        yield b"".join(entries[start:])
