"""What shippers send, over the wire: every listener answers as documented, and the server is well afterwards."""

import gzip
import http.client
import json
import socket
import zlib
from typing import Any

import msgpack
import pytest
import zstandard
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from deeplog_grpc.foreign.vector_pb2 import PushEventsRequest
from tests.fuzz.bounds import MIB, memory_within, tries
from tests.fuzz.fuzzed_server import CALL_S, MAX_MESSAGE_BYTES, FuzzedServer, check_status
from tests.fuzz.hostile import CANARY, Hostile, seeds

_EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_GRPC = {_EXPORT: ExportLogsServiceRequest, "/vector.Vector/PushEvents": PushEventsRequest}
_DOCUMENTED = {200, 400, 404, 405, 408, 411, 413, 415, 503}
_TYPES = (
    "application/x-protobuf",
    "application/json",
    "text/plain",
    "",
    "application/x-protobuf; charset=\xff",
    "a" * 500,
)
_ENCODINGS = ("", "gzip", "deflate", "zstd", "br", "gzip, gzip", "identity")
_PACK: dict[str, Any] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("path", _GRPC)
@tries(50)
@given(seed=seeds)
def test_hostile_messages_over_grpc(server: FuzzedServer, path: str, seed: int) -> None:
    hostile = Hostile(seed)
    raw = hostile.message(_GRPC[path])
    metadata = [("x-deeplog-application", hostile.random.choice(["orders", " ~{}", "a" * 3_000]))]
    for sent in (raw, hostile.bytes(raw)):
        server.call(path, sent)
        server.call(path, sent, metadata=metadata)
    server.check_watched()


def posted(server: FuzzedServer, body: bytes, *, chunked: bool = False, **headers: str) -> tuple[int, bytes]:
    """Status and body of the answer to a request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["otlp_http"], timeout=CALL_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        content = iter([body[:7], body[7:]]) if chunked else body
        connection.request("POST", "/v1/logs", body=content, headers=named, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def checked(answer: tuple[int, bytes]) -> None:
    """Fail for an answer that is not documented, or blames the server."""
    code, body = answer
    assert code in _DOCUMENTED, (code, body[:300])
    assert CANARY.encode() not in body
    if code == 200:
        return
    if body.startswith(b"{"):
        assert "code" in json.loads(body)
        return
    try:
        status = status_pb2.Status.FromString(body)
    except DecodeError:
        pytest.fail(f"no status: {body[:200]!r}")
    if status.details:
        check_status(status)


@tries(60)
@given(
    seed=seeds,
    kind=st.sampled_from(_TYPES[:2] * 3 + _TYPES),
    encoding=st.sampled_from(_ENCODINGS),
    chunked=st.booleans(),
    is_packed=st.booleans(),
)
def test_hostile_requests_over_http(
    server: FuzzedServer, seed: int, kind: str, encoding: str, chunked: bool, is_packed: bool
) -> None:
    hostile = Hostile(seed)
    raw = hostile.message(ExportLogsServiceRequest) if seed % 2 else hostile.bytes(b'{"resourceLogs": [{"a": 1}]}')
    if is_packed and encoding in _PACK:
        raw = _PACK[encoding](raw)
    try:
        checked(posted(server, raw, chunked=chunked, Content_Type=kind, Content_Encoding=encoding))
    except (ConnectionError, http.client.HTTPException):
        assert not kind.isascii()  # what is no header is no HTTP: the connection is closed
    server.check_watched()


@pytest.mark.parametrize("encoding", sorted(_PACK))
def test_bombs_over_http(well: FuzzedServer, encoding: str) -> None:
    bomb = _PACK[encoding](bytes(128 * MIB))
    with memory_within(MAX_MESSAGE_BYTES * 4 + 24 * MIB):
        code, _ = answer = posted(well, bomb, Content_Type="application/x-protobuf", Content_Encoding=encoding)
    checked(answer)
    assert code in (400, 413)


@tries(40)
@given(
    head=st.binary(max_size=200), path=st.sampled_from([b"/v1/logs", b"/" + b"a" * 9_000, b"/\xff", b"*", b"http://["])
)
def test_bytes_that_are_no_http(server: FuzzedServer, head: bytes, path: bytes) -> None:
    for sent in (head, b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n"):
        answered = _spoken(server.ports["otlp_http"], sent)
        assert b" 500 " not in answered[:20]
        assert b"Traceback" not in answered
    server.check_watched()


@tries(60)
@given(seed=seeds, raw=st.binary(max_size=200))
def test_hostile_connections_of_forward(server: FuzzedServer, seed: int, raw: bytes) -> None:
    hostile = Hostile(seed)
    text = hostile.random.choice([CANARY, "\0", "a" * 5_000, "9999-99-99 x"])
    good = msgpack.packb(["tag", [[5, {"log": text, "session": text}]], {"chunk": "c"}])
    for sent in (raw, hostile.bytes(good), good + raw, b"\x91" * 600 + b"\xc0"):
        answered = _spoken(server.ports["forward"], sent)
        assert CANARY.encode() not in answered
    server.check_watched()


def test_a_bomb_over_forward(well: FuzzedServer) -> None:
    bomb = gzip.compress(bytes(256 * MIB))
    with memory_within(200 * MIB):  # receivers.forward.max_message_bytes, and its copies
        assert _spoken(well.ports["forward"], msgpack.packb(["t", bomb, {"compressed": "gzip", "chunk": "c"}])) == b""


def _spoken(port: int, sent: bytes) -> bytes:
    """What a listener says to bytes after which nothing comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=CALL_S) as connection:
        answered = b""
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while got := connection.recv(65_536):
                answered += got
        except ConnectionError:
            pass  # closed before all was sent: so be it
        return answered
