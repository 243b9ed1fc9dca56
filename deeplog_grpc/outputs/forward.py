"""Log records by the Forward protocol, each batch acknowledged."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgpack

from deeplog_grpc.access.trust import ssl_context
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.forward_handshake import check_pong, ping, read_hello
from deeplog_grpc.ingest.forward_messages import acknowledged, encode_forward
from deeplog_grpc.outputs.config import ForwardOutput, secret
from deeplog_grpc.outputs.encoding import tame
from deeplog_grpc.outputs.failures import TryAgainError
from deeplog_grpc.outputs.shapes import OutRecord

MESSAGE_FIELD = "message"
_MAX_ANSWER_BYTES = 65_536
_READ_BYTES = 4_096


class ForwardSender:
    """Sends records over one connection, opened anew when it breaks.

    Records of one tag are one message with a name of its own, which the other side acknowledges when they are safe.

    Parameters
    ----------
    config : ForwardOutput

    Raises
    ------
    ConfigError
        If a certificate cannot be read.
    """

    def __init__(self, config: ForwardOutput) -> None:
        self.batch = config.batch
        self._config = config
        self._tls = (
            ssl_context(config.ca_file, config.cert_file, config.key_file, field="outputs") if config.tls else None
        )
        self._connection: _Connection | None = None

    async def send(self, items: Sequence[OutRecord]) -> None:
        """See :class:`~deeplog_grpc.outputs.senders.Sender`."""
        messages = self._messages(items)
        async with self._connected() as connection:
            for raw in messages.values():
                connection.writer.write(raw)
            await connection.writer.drain()
            waiting: set[str | bytes] = set(messages)
            while waiting:
                waiting.discard(acknowledged(await connection.read_raw()))

    async def close(self) -> None:
        """See :class:`~deeplog_grpc.outputs.senders.Sender`."""
        if self._connection is not None:
            self._connection.writer.close()
            self._connection = None

    def _messages(self, items: Sequence[OutRecord]) -> dict[str, bytes]:
        """Messages by the names of their chunks."""
        by_tag: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for record in items:
            by_tag[record.tag or self._config.tag].append((record.time_ns, forward_record(record)))
        messages = {}
        for tag, entries in by_tag.items():
            chunk = os.urandom(16).hex()
            try:
                messages[chunk] = encode_forward(tag, entries, chunk=chunk)
            except (OverflowError, ValueError, TypeError):  # an integer beyond 64 bits, or a surrogate
                messages[chunk] = encode_forward(tag, [(time_ns, tame(one)) for time_ns, one in entries], chunk=chunk)
        return messages

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator["_Connection"]:
        """The connection; closed when anything goes wrong, so that a late acknowledgement is not taken for another."""
        try:
            if self._connection is None or self._connection.is_closed:
                self._connection = await self._connect()
            yield self._connection
        except (OSError, EOFError) as error:  # what ssl and asyncio raise among them
            await self.close()
            why = getattr(error, "strerror", None) or type(error).__name__
            raise TryAgainError(f"the connection failed: {why}") from error
        except InputError as error:
            await self.close()
            raise TryAgainError(f"no acknowledgement: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> "_Connection":
        host, _, port = self._config.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=self._tls)
        connection = _Connection(reader, writer)
        try:
            if key := secret(self._config.shared_key, self._config.shared_key_file):
                await self._shake_hands(connection, key)
        except BaseException:
            writer.close()
            raise
        return connection

    async def _shake_hands(self, connection: "_Connection", key: str) -> None:
        salt = os.urandom(16)
        try:
            hello = read_hello(await connection.read_raw())
            connection.writer.write(ping(hello, hostname=self._config.hostname, shared_key=key, salt=salt))
            await connection.writer.drain()
            check_pong(await connection.read_raw(), nonce=hello.nonce, salt=salt, shared_key=key)
        except (InputError, EOFError) as error:  # mended on either side, and nothing was sent yet
            why = "the other side closed the connection: is the key the same?" if isinstance(error, EOFError) else error
            raise TryAgainError(f"the handshake failed: {why}") from error


class _Connection:
    """A connection, and msgpack values read from it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=_MAX_ANSWER_BYTES)

    @property
    def is_closed(self) -> bool:
        """Whether either side has closed it."""
        return self._reader.at_eof() or self.writer.is_closing()

    async def read(self) -> Any:
        """The next value; raises EOFError where the connection ends, or what comes is no msgpack."""
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                pass
            except (ValueError, msgpack.UnpackException) as error:
                raise EOFError("not msgpack") from error
            try:
                self._unpacker.feed(await self._more())
            except msgpack.BufferFull as error:
                raise EOFError("an answer too long") from error

    async def read_raw(self) -> bytes:
        """The next value, packed again with all its bytes as text: most are."""
        packed: bytes = msgpack.packb(await self.read(), use_bin_type=False)
        return packed

    async def _more(self) -> bytes:
        found = await self._reader.read(_READ_BYTES)
        if not found:
            raise EOFError("closed")
        return found


def forward_record(record: OutRecord) -> dict[str, Any]:
    """A record as a map: its attributes with the text under :data:`MESSAGE_FIELD`, and the resource where it has one.

    Examples
    --------
    >>> forward_record(OutRecord(body="disk full", time_ns=1, attributes={"code": 3}))
    {'message': 'disk full', 'code': 3}
    """
    made: dict[str, Any] = {MESSAGE_FIELD: record.body}
    if record.severity:
        made["severity"] = record.severity
    made |= {key: value for key, value in record.attributes.items() if key != MESSAGE_FIELD}
    if record.resource:
        made["resource"] = record.resource
    return made
