"""The Forward protocol over TCP: Fluent Bit, Fluentd, Docker's fluentd driver and the fluent loggers.

An acknowledgement is written when a message's records are taken: in a server they are scored then, in a shipper they
are on the disk. There is none that says no: while there is no room, a connection is not read, which holds its sender
up, and if that lasts it is closed, so that the sender tries again. What arrives together is taken together, since some
senders make a message of every record.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import structlog

from deeplog_grpc.access.certificates import Certificates
from deeplog_grpc.errors import DrainingError, InputError, RefusedError
from deeplog_grpc.ingest.forward import ForwardDecoder, ForwardMessage
from deeplog_grpc.ingest.forward_handshake import SALT_BYTES, check_ping, hello
from deeplog_grpc.ingest.forward_messages import acknowledgement
from deeplog_grpc.receivers.config import ForwardConfig
from deeplog_grpc.receivers.decoding import decoded
from deeplog_grpc.serving.address import bound_socket
from deeplog_grpc.serving.delivery import Acceptor, Delivery, Key
from deeplog_grpc.serving.peers import PeerCalls, working_for
from deeplog_grpc.serving.receiver_counts import ReceiverCounts
from deeplog_grpc.serving.scarce_log import ScarceLog
from deeplog_grpc.serving.status import log_unexpected

_READ_BYTES = 1 << 18
_UNEXPECTED_TRIES = 3
_UNEXPECTED_DELAY_S = 1.0
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 4}
"""Seconds of silence, seconds between probes, and probes without an answer."""

_log = structlog.get_logger("deeplog_grpc.receivers")


@dataclass(slots=True, eq=False)
class _Connection:
    """What is known of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    decoder: ForwardDecoder
    task: "asyncio.Task[None] | None" = field(default_factory=asyncio.current_task)
    is_waiting: bool = False
    """For the sender; nothing that has come is unanswered."""
    pending_bytes: int = 0
    """Of a message that has come in part."""

    @property
    def peer(self) -> str:
        """Address of the sender."""
        name = self.writer.get_extra_info("peername")
        return str(name[0]) if name else ""


class ForwardListener:
    """The receiver; a :class:`~deeplog_grpc.serving.listener.Listener`.

    Parameters
    ----------
    acceptor : Acceptor
        Takes the records.
    config : ForwardConfig
        With an address.
    max_wait_s : float
        Seconds for which there may be no room before a connection is closed.
    peers : PeerCalls, optional
        How many streams a peer may have, of which a connection is one; None = as many as there are connections.

    Raises
    ------
    ConfigError
        If a certificate or key cannot be used.
    """

    name = "forward"

    def __init__(
        self, acceptor: Acceptor, config: ForwardConfig, *, max_wait_s: float, peers: PeerCalls | None = None
    ) -> None:
        self._peers = peers
        self._acceptor = acceptor
        self._config = config
        self._max_wait_s = max_wait_s
        self._tls = _tls(config)
        self._users = {name: password.get_secret_value() for name, password in config.users.items()}
        self._connections: set[_Connection] = set()
        self._is_stopping = False
        self._server: asyncio.Server | None = None
        self._faults = ScarceLog(_log)
        self.counts = ReceiverCounts(lambda: len(self._connections))
        """Of connections and messages."""

    async def start(self) -> int:
        """Begin to listen; returns the port.

        Raises
        ------
        InputError
            If the address cannot be bound.
        """
        remedy = "choose another, or null to take no Forward messages"
        listening = bound_socket(self._config.listen or "", field=f"{self._config.section}.listen", remedy=remedy)
        timeout_s = self._config.receive_timeout_s if self._tls else None
        self._server = await asyncio.start_server(
            self._serve, sock=listening, ssl=self._tls, ssl_handshake_timeout=timeout_s, limit=_READ_BYTES
        )
        port: int = listening.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listen and read no more, acknowledge what has come whole, and close."""
        self._is_stopping = True
        if self._server is not None:
            self._server.close()
        tasks = {connection.task for connection in self._connections if connection.task is not None}
        for connection in self._connections:
            if connection.is_waiting and connection.task is not None:
                connection.task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._config.max_connections:
            self._faults.warning(
                f"Forward connections are closed: there are {self._config.section}.max_connections already"
            )
            self.counts.closed["limit"] += 1
        if self._is_stopping or len(self._connections) >= self._config.max_connections:
            writer.close()
            return
        decoder = ForwardDecoder(
            max_message_bytes=self._config.max_message_bytes, max_records=self._config.max_message_entries
        )
        connection = _Connection(reader, writer, decoder)
        self._connections.add(connection)
        try:
            _keep_alive(writer)
            counted = nullcontext() if self._peers is None else self._peers.call(connection.peer, is_stream=True)
            with counted, working_for(connection.peer):
                await self._converse(connection)
        except InputError as error:
            self.counts.closed["input"] += 1
            self._faults.warning("a Forward connection was closed", peer=connection.peer, reason=error.message)
        except RefusedError as error:
            self.counts.closed["no_room"] += 1
            self._faults.warning("a Forward connection was closed: no room", peer=connection.peer, reason=str(error))
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the sender is gone, too slow, or the server stops: what is not acknowledged is sent again
        except Exception as error:
            self.counts.closed["error"] += 1
            log_unexpected(error, "unexpected error, a Forward connection was closed")
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _converse(self, connection: _Connection) -> None:
        first = await self._shake_hands(connection) if self._config.shared_key is not None else []
        await self._accept(connection, first)
        while not self._is_stopping and (data := await self._read(connection)):
            await self._accept(connection, self._split(connection, data))

    async def _shake_hands(self, connection: _Connection) -> list[bytes]:
        """Let the sender prove that it knows the key; returns the messages that came right after its proof.

        Raises
        ------
        InputError
            If it does not.
        """
        nonce = os.urandom(SALT_BYTES)
        auth_salt = os.urandom(SALT_BYTES) if self._users else b""
        connection.writer.write(hello(nonce, auth_salt))
        values: list[bytes] = []
        async with asyncio.timeout(self._config.receive_timeout_s):
            while not values:
                if not (data := await self._read(connection)):
                    return []
                values = list(self._split(connection, data))
        shared_key = "" if self._config.shared_key is None else self._config.shared_key.get_secret_value()
        ping = check_ping(
            values[0],
            nonce=nonce,
            auth_salt=auth_salt,
            shared_key=shared_key,
            users=self._users,
            hostname=self._config.self_hostname,
        )
        await self._write(connection, ping.pong)
        if not ping.ok:
            raise InputError(ping.reason)
        return values[1:]

    async def _read(self, connection: _Connection) -> bytes:
        """Bytes from the sender; none = it has closed. Between messages it may be silent for as long as it likes."""
        connection.is_waiting = True
        try:
            async with asyncio.timeout(self._config.receive_timeout_s if connection.pending_bytes else None):
                return await connection.reader.read(_READ_BYTES)
        finally:
            connection.is_waiting = False

    def _split(self, connection: _Connection, data: bytes) -> Iterator[bytes]:
        connection.pending_bytes += len(data)
        for raw in connection.decoder.split(data):
            connection.pending_bytes -= len(raw)
            yield raw

    async def _accept(self, connection: _Connection, values: "Iterator[bytes] | list[bytes]") -> None:
        """Have all that came together taken, and acknowledge it; what comes before a fault too."""
        deliveries: list[Delivery] = []
        chunks: list[str | bytes] = []
        fault: InputError | None = None
        try:
            for raw in values:
                if (message := await decoded(connection.decoder.decode, raw)) is not None:
                    deliveries.append(_delivery(message, len(raw), connection.peer))
                    if message.chunk is not None:
                        chunks.append(message.chunk)
        except InputError as error:
            fault = error
            self.counts.requests["INVALID_ARGUMENT"] += 1
        if deliveries:
            await self._hand_over(deliveries)
            await self._write(connection, *map(acknowledgement, chunks))
        if fault is not None:
            raise fault

    async def _hand_over(self, deliveries: list[Delivery]) -> None:
        """Try until there is room; senders of this protocol cannot be told to come back."""
        loop = asyncio.get_running_loop()
        until, unexpected = loop.time() + self._max_wait_s, 0
        while True:
            try:
                await self._acceptor.accept_together(deliveries, timeout_s=until - loop.time())
                self.counts.requests["OK"] += 1
                return
            except RefusedError as error:
                self.counts.requests["UNAVAILABLE"] += 1
                if isinstance(error, DrainingError) or loop.time() + error.retry_after_s >= until:
                    raise
                await asyncio.sleep(error.retry_after_s)
            except Exception:
                self.counts.requests["UNAVAILABLE"] += 1
                unexpected += 1
                if unexpected == _UNEXPECTED_TRIES:
                    raise
                await asyncio.sleep(_UNEXPECTED_DELAY_S)

    async def _write(self, connection: _Connection, *answers: bytes) -> None:
        """Write each answer whole: some senders read it with one call."""
        for answer in answers:
            connection.writer.write(answer)
        async with asyncio.timeout(self._config.receive_timeout_s):
            await connection.writer.drain()


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Find out about senders whose machine has gone without a word; silence alone says nothing."""
    connected: socket.socket = writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not everywhere
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _delivery(message: ForwardMessage, size_bytes: int, peer: str) -> Delivery:
    key: Key | None = None
    if message.chunk is not None and len(message.records):
        # Some chunks are named by their content only: the same from two senders, or with two tags, is not the same.
        origin = message.records.origins[0]
        key = ("forward", message.chunk, origin.tag, origin.headers.get("x-deeplog-source", ""), peer)
    return Delivery(records=message.records, size_bytes=size_bytes, key=key)


def _tls(config: ForwardConfig) -> ssl.SSLContext | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    fields = (f"{config.section}.tls_cert", f"{config.section}.tls_client_ca")
    return Certificates(config.tls_cert, config.tls_key, config.tls_client_ca, fields=fields).context()
