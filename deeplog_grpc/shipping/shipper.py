"""The shipper put together: sources, spool, sender, and what it says of itself."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from deeplog_grpc.client.config import ClientConfig
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.serving.logs import configure_logging
from deeplog_grpc.shipping.annotated import AnnotatedFile
from deeplog_grpc.shipping.config import ShipConfig
from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.dead_letters import DeadLetters
from deeplog_grpc.shipping.entries import LineEntryReader
from deeplog_grpc.shipping.filling import Filler, Source
from deeplog_grpc.shipping.positions import PREFIX, Position
from deeplog_grpc.shipping.sender import Sender
from deeplog_grpc.shipping.settling import Settler
from deeplog_grpc.shipping.standard_input import StandardInput
from deeplog_grpc.shipping.tail import Tail, series_of
from deeplog_grpc.storage import Spool
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

if TYPE_CHECKING:
    from deeplog_grpc.shipping.forward_input import ForwardInput

_log: Any = structlog.get_logger()
STANDARD_INPUT = "-"


class Shipper:
    """Ships log lines to a server; make it, :meth:`run` it once, and :meth:`close` it.

    Parameters
    ----------
    config : ShipConfig
    is_once : bool
        Whether it ends when all that is there now is answered. Otherwise it follows files until it is told to stop.
    client : ClientConfig, optional
        Certificates and token for the server. Default: none, in plain text.

    Raises
    ------
    ConfigError
        If an address, the files or the file for annotated entries are wrong.
    StateError
        If another process holds the spool, or it is damaged.
    """

    def __init__(self, config: ShipConfig, *, is_once: bool = False, client: ClientConfig | None = None) -> None:
        check_address(config.server)
        if is_once and config.forward.listen is not None:
            raise ConfigError(
                "has no end at which --once could stop: leave out one of them", field="ship.forward.listen"
            )
        if not config.files and config.forward.listen is None:
            raise ConfigError("nothing to ship: give paths, quoted globs, or - for standard input", field="ship.files")
        self.counts = Counts()
        self._config = config
        self._client = client or ClientConfig()
        self._is_once = is_once
        self._spool = Spool(config.spool, max_bytes=config.max_spool_mb * 2**20, sync=config.sync)
        try:
            positions = self._spool.positions()
            self._annotated = None
            if config.annotate:
                self._annotated = AnnotatedFile(config.annotate, positions, is_synced=config.sync == "full")
        except BaseException:
            self._spool.close()
            raise
        self._positions = positions
        self.forward_port = 0
        """Where the Forward protocol is taken, once it runs; 0 = nowhere."""
        self._host = config.host or socket.gethostname()

    async def run(self, stopping: asyncio.Event) -> bool:
        """Ship until all is answered, or until told to stop; whether it came to its end, with all answered.

        Parameters
        ----------
        stopping : asyncio.Event
            Set = read nothing more, wait for answers within the grace, and keep the rest in the spool.

        Raises
        ------
        InputError
            With ``is_once``, if the server refuses the stream as wrong.
        StateError, sqlite3.Error
            If the spool fails.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "disk") as disk:
            sender = self._sender(disk)
            filler = self._filler(lambda: loop.call_soon_threadsafe(sender.wake))
            forward = self._forward(lambda: loop.call_soon_threadsafe(sender.wake))
            if forward is not None:
                self.forward_port = await forward.start()
                _log.info("listening", protocol="forward", port=self.forward_port)
            filling = asyncio.create_task(asyncio.to_thread(filler.run))
            filling.add_done_callback(partial(self._filled, sender))
            sending = asyncio.create_task(sender.run())
            status = asyncio.create_task(self._say_status())
            waiting = asyncio.create_task(stopping.wait())
            try:
                await asyncio.wait((waiting, sending), return_when=asyncio.FIRST_COMPLETED)
                filler.stop()
                if waiting.done():
                    await self._wind_up(forward, filling, sender, sending)
                    filler.give_up()  # it may wait for room in a spool that nobody empties any more
                else:
                    await sending
                await filling
            finally:
                filler.give_up()
                if forward is not None:
                    await forward.stop()
                for task in (status, waiting, sending):
                    task.cancel()
                await asyncio.gather(status, waiting, sending, filling, return_exceptions=True)
                _log.info("stopped", **self.status())
        return not stopping.is_set() and not self._spool.backlog_count

    def status(self) -> dict[str, Any]:
        """Figures since the start, and of the spool now."""
        figures = asdict(self.counts)
        return {
            **figures,
            "backlog_batches": self._spool.backlog_count,
            "backlog_bytes": self._spool.backlog_bytes,
        }

    def close(self) -> None:
        """Let go of the spool and of the file of annotated entries."""
        if self._annotated is not None:
            self._annotated.close()
        self._spool.close()

    def _filled(self, sender: Sender, filling: "asyncio.Task[None]") -> None:
        """Files and standard input are at their end; what listens has none, but all ends with a fault."""
        if self._config.forward.listen is None or filling.cancelled() or filling.exception() is not None:
            sender.complete()

    async def _wind_up(
        self,
        forward: "ForwardInput | None",
        filling: "asyncio.Task[None]",
        sender: Sender,
        sending: "asyncio.Task[None]",
    ) -> None:
        """Keep what is read, and wait for answers to what is under way, within the grace."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.stop_grace_s):
                if forward is not None:
                    await forward.stop()
                await asyncio.shield(filling)
                sender.stop()
                await asyncio.shield(sending)

    def _sender(self, disk: ThreadPoolExecutor) -> Sender:
        config = self._config
        letters = config.dead_letters or Path(f"{config.spool}.dead.jsonl")
        settler = Settler(
            self._spool,
            self.counts,
            DeadLetters(letters, max_bytes=config.max_dead_letters_mb * 2**20),
            self._annotated,
            anomalies_only=config.annotate_anomalies,
        )
        wants_all = self._annotated is not None and not config.annotate_anomalies
        selection = pb.VERDICT_SELECTION_ALL if wants_all else pb.VERDICT_SELECTION_ANOMALIES
        return Sender(
            config.server,
            pb.ScoreOptions(selection=selection, application=config.application),
            self._spool,
            settler,
            self.counts,
            disk,
            answer_timeout_s=config.answer_timeout_s,
            max_backoff_s=config.max_backoff_s,
            is_strict=self._is_once,
            client=self._client,
        )

    def _forward(self, on_payloads: Any) -> "ForwardInput | None":
        config = self._config
        if config.forward.listen is None:
            return None
        # Here, for most shippers do not listen.
        from deeplog_grpc.shipping.forward_input import ForwardInput
        from deeplog_grpc.shipping.record_entries import RecordEntryReader

        return ForwardInput(
            config.forward,
            self._spool,
            RecordEntryReader(max_body_bytes=config.max_line_bytes),
            self.counts,
            positions=self._positions,
            batch_entries=config.batch_entries,
            batch_bytes=round(config.batch_mb * 2**20),
            on_payloads=on_payloads,
        )

    def _filler(self, on_payloads: Any) -> Filler:
        config = self._config
        return Filler(
            self._spool,
            self._sources(),
            self.counts,
            batch_entries=config.batch_entries,
            batch_bytes=round(config.batch_mb * 2**20),
            poll_s=config.poll_s,
            on_payloads=on_payloads,
        )

    def _sources(self) -> Sequence[Source]:
        config = self._config
        sources: list[Source] = []
        if any(pattern != STANDARD_INPUT for pattern in config.files):
            files = {name: kept for name, kept in self._positions.items() if name.startswith(PREFIX)}
            sources.append(Tail(config, self._reader, files, self.counts, is_once=self._is_once))
        if STANDARD_INPUT in config.files:
            reader = self._reader(Position(path="stdin", device=0, inode=0))
            sources.append(
                StandardInput(
                    reader,
                    self.counts,
                    wait_s=0.0 if sources else config.poll_s,
                    batch_s=config.batch_s,
                    max_line_bytes=config.max_line_bytes,
                )
            )
        return sources

    def _reader(self, position: Position) -> LineEntryReader:
        # Entries without a session form one a source: a rotation must not begin a new one.
        path = position.path if position.path == "stdin" else os.path.abspath(series_of(position.path))
        return LineEntryReader(
            source=f"{self._host}:{path}",
            path=path,
            form=self._config.format,
            max_line_bytes=self._config.max_line_bytes,
            partials=position.partials,
        )

    async def _say_status(self) -> None:
        before, at = self.counts.entries_acknowledged, time.monotonic()
        while True:
            await asyncio.sleep(self._config.status_s)
            now, count = time.monotonic(), self.counts.entries_acknowledged
            _log.info("shipping", **self.status(), entries_per_s=round((count - before) / (now - at)))
            before, at = count, now


async def ship(config: ShipConfig, *, is_once: bool = False, client: ClientConfig | None = None) -> bool:
    """Ship until SIGTERM or SIGINT, or once; whether it came to its end, with all answered; see :class:`Shipper`."""
    configure_logging()
    shipper = Shipper(config, is_once=is_once, client=client)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stopping.set)
    try:
        return await shipper.run(stopping)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        shipper.close()


def check_address(address: str) -> None:
    """Refuse an address that is not ``HOST:PORT``.

    Raises
    ------
    ConfigError
        With an example.

    Examples
    --------
    >>> check_address("[::1]:50051")
    """
    host, found, port = address.rpartition(":")
    if not (found and host and port.isdecimal() and 0 < int(port) < 65_536) or (":" in host and host[:1] != "["):
        raise ConfigError(f"{address!r} is not HOST:PORT, for example 127.0.0.1:50051", field="ship.server")
