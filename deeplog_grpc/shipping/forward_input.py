"""The Forward protocol as a way into the spool: Fluent Bit, Fluentd, Docker and the fluent loggers beside a shipper.

A message is acknowledged when its records are in the spool. While the spool is full, connections are not read, and then
closed, so that senders keep what they have. A chunk that is sent again is known, also after a kill.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from deeplog_grpc.errors import InputError
from deeplog_grpc.receivers.forward import ForwardListener
from deeplog_grpc.serving.delivery import Delivery
from deeplog_grpc.shipping.chunks import Chunks
from deeplog_grpc.shipping.config import ForwardInputConfig
from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.filling import batches
from deeplog_grpc.shipping.record_entries import RecordEntryReader
from deeplog_grpc.storage import Spool

MAX_WAIT_S = 10.0
"""Seconds for which the spool may have no room before a connection is closed."""


class ForwardInput:
    """Listens, and puts what comes into a spool; an :class:`~deeplog_grpc.serving.delivery.Acceptor`.

    Parameters
    ----------
    config : ForwardInputConfig
        With an address.
    spool : Spool
    reader : RecordEntryReader
    counts : Counts
    positions : mapping of str to bytes
        What the spool keeps.
    batch_entries, batch_bytes : int
        Bounds of a payload; one entry always fits.
    on_payloads : callable
        Is told, in another thread, that the spool has more.

    Raises
    ------
    ConfigError
        If a certificate or key cannot be used.
    """

    def __init__(
        self,
        config: ForwardInputConfig,
        spool: Spool,
        reader: RecordEntryReader,
        counts: Counts,
        *,
        positions: Mapping[str, bytes],
        batch_entries: int,
        batch_bytes: int,
        on_payloads: Callable[[], None],
    ) -> None:
        self._listener = ForwardListener(self, config, max_wait_s=MAX_WAIT_S)
        self._spool = spool
        self._reader = reader
        self._counts = counts
        self._chunks = Chunks(positions)
        self._batch_entries = batch_entries
        self._batch_bytes = batch_bytes
        self._on_payloads = on_payloads
        self._keeping = ThreadPoolExecutor(1, "forward")
        """One thread: what two connections bring is kept one after the other, to its end, whoever goes away."""

    async def start(self) -> int:
        """Begin to listen; returns the port.

        Raises
        ------
        InputError
            If the address cannot be bound.
        """
        return await self._listener.start()

    async def stop(self) -> None:
        """Listen and read no more, acknowledge what has come whole, and close."""
        try:
            await self._listener.stop()
        finally:
            await asyncio.to_thread(self._keeping.shutdown)

    async def accept_together(self, deliveries: Sequence[Delivery], *, timeout_s: float) -> None:
        """Put deliveries into the spool, but for those that were put there before.

        Raises
        ------
        SpoolFullError
            If the spool has no room; nothing was kept.
        InputError
            If they would not fit into an empty spool either.
        """
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().run_in_executor(self._keeping, self._keep, deliveries)

    def _keep(self, deliveries: Sequence[Delivery]) -> None:
        fresh: list[Delivery] = []
        names: dict[str, None] = {}
        for delivery in deliveries:
            name = Chunks.name(delivery.key) if delivery.key is not None else ""
            if name in names or name in self._chunks:
                self._counts.chunks_repeated += 1
                continue
            fresh.append(delivery)
            if name:
                names[name] = None
        self._spool.check_room(sum(delivery.size_bytes for delivery in fresh))
        entries = [entry for delivery in fresh for entry in self._reader.read(delivery.records)]
        size = sum(map(len, entries))
        if size > self._spool.max_bytes:
            raise InputError(f"{size} bytes at once are more than the spool may hold: raise ship.max_spool_mb")
        payloads = list(batches(entries, max_count=self._batch_entries, max_bytes=self._batch_bytes))
        positions = self._chunks.positions(names)
        if not payloads and not positions:
            return
        self._spool.append(payloads, positions)
        self._chunks.add(positions)
        self._counts.records_received += sum(len(delivery.records) for delivery in fresh)
        self._on_payloads()
        if old := self._chunks.take_old():
            self._spool.forget(old)
