"""OTLP logs over HTTP: ``POST /v1/logs``, in protobuf and JSON, at an address of its own.

Answers as the OTLP specification has them: an ``ExportLogsServiceResponse``, or a ``google.rpc.Status``, in the form of
the request. 400, 401, 403, 413 and 415 are for good; after 429 and 503 the sender tries again.
"""

import asyncio
import logging
import math
import zlib
from collections.abc import Callable, Mapping

import structlog
from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from deeplog_grpc.access.certificates import Certificates
from deeplog_grpc.access.roles import Role
from deeplog_grpc.errors import AccessError, InputError, PeerLimitError, RefusedError
from deeplog_grpc.ingest import Records
from deeplog_grpc.ingest.compression import decompress
from deeplog_grpc.ingest.otlp import decode_logs
from deeplog_grpc.ingest.otlp_json import decode_logs_json
from deeplog_grpc.receivers.config import OtlpHttpConfig
from deeplog_grpc.receivers.decoding import decoded
from deeplog_grpc.receivers.identity import content_key, deeplog_headers
from deeplog_grpc.receivers.otlp_grpc import export_response
from deeplog_grpc.serving.address import bound_socket
from deeplog_grpc.serving.http_guard import UNAUTHORISED, HttpGuard, http_status
from deeplog_grpc.serving.intake import Intake
from deeplog_grpc.serving.peers import PeerCalls, working_for
from deeplog_grpc.serving.receiver_counts import ReceiverCounts
from deeplog_grpc.serving.scarce_log import ScarceLog
from deeplog_grpc.serving.status import status_of

_PATH = "/v1/logs"
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_DECODERS: Mapping[str, Callable[[bytes, Mapping[str, str]], Records]] = {
    _PROTOBUF: decode_logs,
    _JSON: decode_logs_json,
}
_IDLE_S = 75.0
"""Seconds between two requests on a connection; the last ones wait no longer for their head either."""
_STATUSES = {
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DEADLINE_EXCEEDED: 503,
    code_pb2.PERMISSION_DENIED: 403,
}
_GRPC_CODES = {
    200: "OK",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
"""Under what requests are counted."""
_log = structlog.get_logger("deeplog_grpc.receivers")
_CODES = {408: code_pb2.DEADLINE_EXCEEDED, 404: code_pb2.NOT_FOUND}


class _Refusal(Exception):
    """A request that HTTP itself has a status for."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class OtlpHttpListener:
    """The receiver; a :class:`~deeplog_grpc.serving.listener.Listener`.

    Parameters
    ----------
    intake : Intake
        Takes the records.
    peers : PeerCalls
        How many requests a peer may have under way.
    config : OtlpHttpConfig
        With an address.
    max_bytes : int
        Of a request, as it comes and when it is not compressed any more.
    max_wait_s : float
        Seconds in which a request must be scored.
    certificates : Certificates, optional
        With them it speaks TLS.
    guard : HttpGuard, optional
        Asks callers for tokens.
    """

    name = "otlp_http"

    def __init__(
        self,
        intake: Intake,
        peers: PeerCalls,
        config: OtlpHttpConfig,
        *,
        max_bytes: int,
        max_wait_s: float,
        certificates: Certificates | None = None,
        guard: HttpGuard | None = None,
    ) -> None:
        self._certificates = certificates
        self._guard = guard or HttpGuard(None)
        self._intake = intake
        self._peers = peers
        self._config = config
        self._max_bytes = max_bytes
        self._max_wait_s = max_wait_s
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        """Connections without a whole request head so far, and what will close them."""
        self.counts = ReceiverCounts(lambda: 0 if self._http is None else len(self._http.connections))
        """Of connections and requests."""
        self._http: web.Server | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Begin to listen; returns the port.

        Raises
        ------
        InputError
            If the address cannot be bound.
        """
        remedy = "choose another, or null to take no OTLP over HTTP"
        listening = bound_socket(self._config.listen or "", field="receivers.otlp_http.listen", remedy=remedy)
        # Bodies come as they are: what aiohttp unpacks has no bound until it is unpacked.
        self._http = web.Server(
            self._answer, auto_decompress=False, access_log=None, logger=_no_http_log(), keepalive_timeout=_IDLE_S
        )
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            sock=listening,
            ssl=None if self._certificates is None else self._certificates.context(),
            ssl_handshake_timeout=None if self._certificates is None else self._config.receive_timeout_s,
        )
        port: int = listening.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listen no more, answer what has come, and close."""
        if self._server is not None and self._http is not None:
            self._server.close()
            await asyncio.sleep(0)  # what has come begins to be handled
            self._server = None
            self._http.pre_shutdown()
            try:
                await self._http.shutdown(None)
            finally:
                for connection in self._http.connections:
                    connection.force_close()
                for timer in self._silent.values():
                    timer.cancel()

    def _connection(self) -> asyncio.BaseProtocol:
        if self._http is None or len(self._http.connections) >= self._config.max_connections:
            self.counts.closed["limit"] += 1
            return _Closing()
        connection = self._http()
        loop, timeout_s = asyncio.get_running_loop(), self._config.receive_timeout_s
        self._silent[connection] = loop.call_later(timeout_s, self._close_silent, connection)
        return connection

    def _close_silent(self, connection: web.RequestHandler) -> None:
        """The head of a first request has not come in time; those after it have aiohttp's own bound."""
        del self._silent[connection]
        connection.force_close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._answered(request)
        except asyncio.CancelledError:  # the sender has gone
            self.counts.requests["CANCELLED"] += 1
            raise
        self.counts.requests[_GRPC_CODES.get(response.status, "INVALID_ARGUMENT")] += 1
        return response

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        if (timer := self._silent.pop(request.protocol, None)) is not None:
            timer.cancel()
        is_json = request.content_type == _JSON
        try:
            peer = request.remote or ""
            with self._peers.call(peer, is_stream=False), working_for(peer):
                response: Message = await self._export(request)
            return _response(200, response, is_json=is_json)
        except _Refusal as refusal:
            status = status_pb2.Status(code=_CODES.get(refusal.status, code_pb2.INVALID_ARGUMENT), message=str(refusal))
            return _response(refusal.status, status, is_json=is_json, headers=refusal.headers)
        except AccessError as error:
            code = http_status(error)
            return _response(code, status_of(error), is_json=is_json, headers=UNAUTHORISED if code == 401 else {})
        except Exception as error:
            status = status_of(error)
            delay_s = error.retry_after_s if isinstance(error, RefusedError) else 1.0
            code = 429 if isinstance(error, PeerLimitError) else _STATUSES.get(status.code, 400)
            headers = {"Retry-After": str(math.ceil(delay_s))} if code in (429, 503) else {}
            return _response(code, status, is_json=is_json, headers=headers)

    async def _export(self, request: web.BaseRequest) -> Message:
        if request.path != _PATH:
            raise _Refusal(404, f"there is only {_PATH} here: logs, no traces or metrics")
        if request.method != "POST":
            raise _Refusal(405, "send logs with POST", Allow="POST")
        self._guard.check(request, Role.INGEST)
        if (decode := _DECODERS.get(request.content_type)) is None:
            raise _Refusal(415, f"{request.content_type[:64]} is not one of {', '.join(_DECODERS)}")
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        self._intake.check_room(request.content_length or 0, timeout_s=self._max_wait_s)
        raw = await decoded(lambda body: self._unpacked(body, encoding), await self._body(request))
        headers = deeplog_headers(request.headers.items())
        records = await decoded(lambda raw: decode(raw, headers), raw)
        key = content_key("otlp", raw, records, headers, request.remote or "")
        accepted = await self._intake.accept(records, size_bytes=len(raw), key=key, timeout_s=self._max_wait_s)
        return export_response(accepted)

    async def _body(self, request: web.BaseRequest) -> bytes:
        too_large = _Refusal(413, f"more than {self._max_bytes} bytes (server.max_message_bytes): send smaller batches")
        if (request.content_length or 0) > self._max_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._config.receive_timeout_s):
                async for block in request.content.iter_any():
                    body += block
                    if len(body) > self._max_bytes:
                        raise too_large
        except TimeoutError:
            raise _Refusal(408, f"the body has not come within {self._config.receive_timeout_s:g} s") from None
        except ConnectionError:  # nobody is left to read this; that senders go away is no error of the server's
            raise _Refusal(408, "the connection has ended before the body") from None
        return bytes(body)

    def _unpacked(self, body: bytes, encoding: str) -> bytes:
        if encoding in ("", "identity"):
            return body
        if encoding == "deflate":
            return _inflate(body, self._max_bytes)
        if encoding not in ("gzip", "zstd"):
            raise _Refusal(415, f"Content-Encoding {encoding[:32]} is not one of gzip, zstd, deflate, identity")
        return decompress(body, encoding, max_bytes=self._max_bytes)


class _NoHttp(logging.Handler):
    """Says what aiohttp would log with a traceback and what was sent: that something else than HTTP has come."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._faults = ScarceLog(_log)

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        self._faults.warning("a request was no HTTP", kind=kind.__name__ if kind else "")


def _no_http_log() -> logging.Logger:
    logger = logging.Logger(__name__, logging.ERROR)
    logger.addHandler(_NoHttp())
    return logger


class _Closing(asyncio.Protocol):
    """Of a connection for which there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _inflate(body: bytes, max_bytes: int) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InputError(f"the {len(body)} bytes received are not deflate: {error}") from None
    if len(content) > max_bytes:
        raise InputError(f"the content is longer than {max_bytes} bytes: send it in several")
    if not unpacking.eof:
        raise InputError(f"the {len(body)} bytes received are not deflate: the end is missing")
    return content


def _response(
    status: int, message: Message, *, is_json: bool, headers: Mapping[str, str] | None = None
) -> web.Response:
    body = json_format.MessageToJson(message).encode() if is_json else message.SerializeToString()
    return web.Response(status=status, body=body, content_type=_JSON if is_json else _PROTOBUF, headers=headers)
