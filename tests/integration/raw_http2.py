"""A gRPC client of raw HTTP/2 frames with the headers of Vector's sink: no gRPC library is in between."""

import asyncio
import gzip
import struct
from dataclasses import dataclass
from types import TracebackType

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.integration.server_harness import BOUND_S

GZIP, IDENTITY = "gzip", "identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a call."""

    headers: dict[str, str]
    trailers: dict[str, str]
    message: bytes

    @property
    def status(self) -> int:
        return int({**self.headers, **self.trailers}["grpc-status"])


class RawGrpc:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))

    async def __aenter__(self) -> "RawGrpc":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._state.initiate_connection()
        await self._flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def call(self, path: str, message: bytes, *, encoding: str = IDENTITY, **headers: str) -> Reply:
        """A unary call."""
        stream = self._state.get_next_available_stream_id()
        sent = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": f"127.0.0.1:{self._port}",
            "te": "trailers",
            "content-type": "application/grpc",
            "user-agent": "tonic/0.12.3",
            "grpc-encoding": encoding,
            "grpc-accept-encoding": "gzip",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        self._state.send_headers(stream, list(sent.items()))
        await self._send(stream, _frame(message, encoding))
        async with asyncio.timeout(BOUND_S):
            return await self._reply(stream)

    async def _send(self, stream: int, data: bytes) -> None:
        while data:
            size = min(self._state.local_flow_control_window(stream), self._state.max_outbound_frame_size, len(data))
            if not size:
                await self._receive()
                continue
            self._state.send_data(stream, data[:size])
            data = data[size:]
            await self._flush()
        self._state.end_stream(stream)
        await self._flush()

    async def _reply(self, stream: int) -> Reply:
        headers: dict[str, str] = {}
        trailers: dict[str, str] = {}
        body = b""
        while True:
            for event in await self._receive():
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return Reply(headers=headers, trailers=trailers, message=_unframed(body))
                elif isinstance(event, h2.events.StreamReset):
                    raise ConnectionError(f"reset: {event.error_code}")

    async def _receive(self) -> list[h2.events.Event]:
        data = await self._reader.read(2**16)
        if not data:
            raise ConnectionError("closed")
        events = self._state.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        await self._flush()
        return events

    async def _flush(self) -> None:
        self._writer.write(self._state.data_to_send())
        await self._writer.drain()


def _frame(message: bytes, encoding: str) -> bytes:
    if encoding == GZIP:
        message = gzip.compress(message)
    return struct.pack(">?I", encoding == GZIP, len(message)) + message


def _unframed(body: bytes) -> bytes:
    if not body:
        return b""
    is_compressed, size = struct.unpack(">?I", body[:5])
    message = body[5 : 5 + size]
    return gzip.decompress(message) if is_compressed else message
