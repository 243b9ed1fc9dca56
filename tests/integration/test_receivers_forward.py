"""The Forward protocol over a real socket."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trustme
from structlog.testing import capture_logs

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.ingest.forward_messages import encode_forward
from deeplog_grpc.receivers import ForwardConfig
from deeplog_grpc.receivers.forward import ForwardListener
from deeplog_grpc.serving.queue import Size
from deeplog_grpc.serving.scoring import TickJob
from tests.integration.receiver_harness import TIME_NS, Receiving, raw_request, receiving
from tests.integration.server_harness import BOUND_S, until

BODIES = ["open a", "write b", "odd c", "end d"]
SMALL: dict[str, Any] = {"max_queue_entries": 4, "ingest": IngestConfig(max_entries_per_request=4)}


class Sender:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unpacker = msgpack.Unpacker(raw=True)

    async def send(self, *messages: bytes) -> None:
        self._writer.write(b"".join(messages))
        await self._writer.drain()

    async def answer(self) -> Any:
        """The next value that the server sends."""
        async with asyncio.timeout(BOUND_S):
            while True:
                for value in self._unpacker:
                    return value
                if not (data := await self._reader.read(2**16)):
                    raise EOFError
                self._unpacker.feed(data)

    async def is_closed(self) -> bool:
        """Wait for the server to close, without an answer."""
        async with asyncio.timeout(BOUND_S):
            try:
                return await self._reader.read(2**16) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def sender(up: Receiving, **options: Any) -> AsyncIterator[Sender]:
    reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["forward"], **options)
    connection = Sender(reader, writer)
    try:
        yield connection
    finally:
        connection.close()


def message(bodies: list[str], chunk: str | None = None, **options: Any) -> bytes:
    entries = [(TIME_NS + place, {"log": body, "request_id": "s"}) for place, body in enumerate(bodies)]
    return encode_forward("shop.cart", entries, chunk=chunk, **options)


def record(body: str, chunk: str | None = None) -> bytes:
    """Message mode."""
    packed: bytes = msgpack.packb(["shop.cart", 1_714_557_600, {"log": body, "request_id": "s"}, {"chunk": chunk}])
    return packed


def refusals(logs: list[Any]) -> list[str]:
    return [log["reason"] for log in logs if log["event"].startswith("a Forward connection was closed")]


@pytest.mark.parametrize("compress", [False, True])
async def test_a_message_is_acknowledged_once_it_is_scored(compress: bool) -> None:
    async with receiving() as up, sender(up) as sends:
        with up.server.queue.hold():
            await sends.send(message(BODIES, "c1", compress=compress))
            await until(lambda: up.server.queue.waiting_entries == 4)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await sends.answer()
        assert await sends.answer() == {b"ack": b"c1"}
        assert up.bodies == BODIES


async def test_a_message_sent_again_is_acknowledged_and_not_scored_again() -> None:
    async with receiving() as up:
        for chunk in ("c1", "c1", "c2"):
            async with sender(up) as sends:
                await sends.send(message(BODIES, chunk))
                assert await sends.answer() == {b"ack": chunk.encode()}
        assert up.bodies == BODIES * 2


async def test_one_that_is_sent_again_while_it_is_under_way_waits_for_it() -> None:
    async with receiving() as up, sender(up) as first, sender(up) as second:
        with up.server.queue.hold():
            await first.send(message(BODIES, "c1"))
            await until(lambda: up.server.queue.waiting_entries == 4)
            first.close()
            await second.send(message(BODIES, "c1"))
            await until(lambda: up.server.deliveries.repeats == 1)
        assert await second.answer() == {b"ack": b"c1"}
        assert up.bodies == BODIES


async def test_records_that_come_together_are_scored_together_and_acknowledged_one_by_one() -> None:
    async with receiving() as up, sender(up) as sends:
        await sends.send(*(record(f"open {number}", f"c{number}") for number in range(100)))
        assert [await sends.answer() for _ in range(100)] == [{b"ack": f"c{n}".encode()} for n in range(100)]
        assert up.bodies == [f"open {number}" for number in range(100)]
        assert len(up.detectors["app"].batch_sizes) < 10
        # Sent again together with new ones: only those are new.
        await sends.send(record("open 99", "c99"), record("open 100", "c100"), record("open 98", "c98"))
        assert [await sends.answer() for _ in range(3)] == [{b"ack": f"c{n}".encode()} for n in (99, 100, 98)]
        assert len(up.bodies) == 101


async def test_a_message_in_pieces_is_whole_in_the_end() -> None:
    raw = message(BODIES, "c1")
    async with receiving() as up, sender(up) as sends:
        for place in range(len(raw)):
            await sends.send(raw[place : place + 1])
            await asyncio.sleep(0)
        assert await sends.answer() == {b"ack": b"c1"}


async def test_metrics_and_heartbeats_are_taken_and_left() -> None:
    async with receiving() as up:
        with capture_logs() as logs:
            for _ in range(3):
                async with sender(up):
                    pass
            async with sender(up) as sends:
                await sends.send(msgpack.packb(["m", b"metrics", {"fluent_signal": 1, "chunk": "c"}]), b"\xc0")
                assert await sends.answer() == {b"ack": b"c"}
            await until(lambda: not [task for task in asyncio.all_tasks() if "_serve" in repr(task.get_coro())])
        assert not logs
        assert up.bodies == []


@pytest.mark.parametrize(
    "raw", [b"\xc1", b'["tag", 1, {}]', b"GET / HTTP/1.1\r\n\r\n", msgpack.packb(["tag", b"\xc1"])]
)
async def test_what_is_not_the_protocol_ends_the_connection_after_what_came_before(raw: bytes) -> None:
    async with receiving() as up, sender(up) as sends:
        with capture_logs() as logs:
            await sends.send(message(BODIES, "c1"), raw)
            assert await sends.answer() == {b"ack": b"c1"}
            assert await sends.is_closed()
        assert len(refusals(logs)) == 1
        assert up.bodies == BODIES


async def test_a_message_has_a_bound() -> None:
    async with receiving(forward={"max_message_bytes": 2**10}) as up, sender(up) as sends:
        with capture_logs() as logs:
            await sends.send(message(["open"] * 100, "c1"))
            assert await sends.is_closed()
        assert "longer than 1024" in refusals(logs)[0]


async def test_a_sender_that_stops_in_a_message_is_let_go_and_one_that_is_silent_is_not() -> None:
    async with receiving(forward={"receive_timeout_s": 0.1}) as up, sender(up) as silent, sender(up) as broken:
        await broken.send(message(BODIES, "c1")[:-5])
        assert await broken.is_closed()
        await silent.send(message(BODIES, "c2"))
        assert await silent.answer() == {b"ack": b"c2"}


async def test_connections_have_a_bound() -> None:
    async with receiving(forward={"max_connections": 1}) as up, sender(up) as first:
        await first.send(message(BODIES, "c1"))
        await first.answer()
        with capture_logs() as logs:
            async with sender(up) as second:
                assert await second.is_closed()
    assert "max_connections" in logs[0]["event"]


async def test_a_sender_whose_machine_goes_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    set_option = socket.socket.setsockopt

    def noted(own: socket.socket, *option: Any) -> None:
        asked.append(option)
        set_option(own, *option)

    monkeypatch.setattr(socket.socket, "setsockopt", noted)
    async with receiving() as up, sender(up) as first:
        await first.send(message(BODIES, "c1"))
        await first.answer()
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in asked


async def test_without_room_nothing_is_read_and_nothing_lost() -> None:
    async with receiving(**SMALL) as up, sender(up) as sends:
        with up.server.queue.hold():
            waiting = asyncio.create_task(up.export(raw_request(BODIES)))
            await until(lambda: up.server.queue.waiting_entries == 4)
            await sends.send(message(["open e"], "c1"))
            await until(lambda: up.intake.refused > 0)
            await sends.send(message(["open f"], "c2"))
            await until(lambda: up.intake.refused > 1)
            assert up.server.deliveries.under_way <= 2
        await waiting
        assert [await sends.answer() for _ in range(2)] == [{b"ack": b"c1"}, {b"ack": b"c2"}]
        assert up.bodies == [*BODIES, "open e", "open f"]


async def test_where_there_is_no_room_for_long_the_connection_is_closed_without_an_answer() -> None:
    async with receiving(**SMALL, max_wait_s=0.3) as up, sender(up) as sends:
        with up.server.queue.hold(), capture_logs() as logs:
            held = up.server.queue.offer(TickJob(), Size(entries=4, size_bytes=1))
            await sends.send(message(["open e"], "c1"))
            assert await sends.is_closed()
            assert [log["event"] for log in logs] == ["a Forward connection was closed: no room"]
            held.cancel()
        async with sender(up) as again:
            await again.send(message(["open e"], "c1"))
            assert await again.answer() == {b"ack": b"c1"}
        assert up.bodies == ["open e"]


async def test_an_entry_at_which_the_detector_fails_costs_no_other_and_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deeplog_grpc.receivers.forward._UNEXPECTED_DELAY_S", 0.01)
    async with receiving() as up, sender(up) as sends:
        with capture_logs() as logs:
            await sends.send(message(["open", "crash", "write"], "c1"))
            assert await sends.answer() == {b"ack": b"c1"}
        assert up.bodies == ["open", "write"]
        assert "secret" not in str(logs)


async def test_a_server_that_fails_ends_the_connection_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeplog_grpc.receivers.forward._UNEXPECTED_DELAY_S", 0.01)
    monkeypatch.setattr("deeplog_grpc.serving.attempts.MAX_ATTEMPTS", 100)
    async with receiving() as up, sender(up) as sends:
        await sends.send(message(["crash"], "c1"))
        assert await sends.is_closed()
        assert up.detectors["app"].calls == ["score"] * 3


async def test_a_server_that_stops_acknowledges_what_has_come() -> None:
    async with receiving(stop=False) as up, sender(up) as sends, sender(up) as idle, sender(up) as half:
        await half.send(message(BODIES, "c3")[:-5])
        with up.server.queue.hold():
            await sends.send(message(BODIES, "c1"))
            await until(lambda: up.server.queue.waiting_entries == 4)
            await sends.send(message(BODIES, "c2"))
            stopping = asyncio.create_task(up.server.stop())
            assert await idle.is_closed()
            assert await half.is_closed()
            assert not stopping.done()
        assert await sends.answer() == {b"ack": b"c1"}
        await stopping
        assert await sends.is_closed()
        assert up.bodies == BODIES
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", up.ports["forward"])


async def test_a_server_whose_grace_is_over_cuts_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(stop=False, grace_s=0.1) as up, sender(up) as sends:
        with up.server.queue.hold():
            await sends.send(message(BODIES, "c1"))
            await until(lambda: up.server.queue.waiting_entries == 4)
            with capture_logs():
                await up.server.stop()
        assert await sends.is_closed()


def digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def ping(hello: Any, key: bytes, user: bytes = b"", password: bytes = b"") -> bytes:
    """As the specification has it, by hand."""
    options, salt = hello[1], b"0123456789abcdef"
    key_digest = digest(salt, b"node-1", options[b"nonce"], key)
    password_digest = digest(options[b"auth"], user, password) if options[b"auth"] else ""
    packed: bytes = msgpack.packb(["PING", "node-1", salt, key_digest, user, password_digest])
    return packed


@pytest.mark.parametrize("users", [{}, {"u1": "p1"}])
async def test_a_sender_that_knows_the_key_is_let_in(users: dict[str, str]) -> None:
    options = {"shared_key": "s3cret", "users": users, "self_hostname": "here"}
    async with receiving(forward=options) as up, sender(up) as sends:
        hello = await sends.answer()
        assert hello[0] == b"HELO"
        await sends.send(ping(hello, b"s3cret", b"u1", b"p1"), message(BODIES, "c1"))
        pong = await sends.answer()
        proof = digest(b"0123456789abcdef", b"here", hello[1][b"nonce"], b"s3cret")
        assert pong == [b"PONG", True, b"", b"here", proof.encode()]
        assert await sends.answer() == {b"ack": b"c1"}
        await sends.send(message(["open e"], "c2"))
        assert await sends.answer() == {b"ack": b"c2"}


@pytest.mark.parametrize(
    ("key", "user", "password"), [(b"wrong", b"u1", b"p1"), (b"s3cret", b"u2", b"p1"), (b"s3cret", b"u1", b"x")]
)
async def test_one_that_does_not_is_told_and_let_go(key: bytes, user: bytes, password: bytes) -> None:
    async with receiving(forward={"shared_key": "s3cret", "users": {"u1": "p1"}}) as up, sender(up) as sends:
        with capture_logs() as logs:
            await sends.send(ping(await sends.answer(), key, user, password), message(BODIES, "c1"))
            pong = await sends.answer()
            assert pong[:2] == [b"PONG", False]
            assert await sends.is_closed()
        assert up.bodies == []
        assert "mismatch" in refusals(logs)[0]
        assert "s3cret" not in str(logs)


async def test_one_that_does_not_shake_hands_is_let_go() -> None:
    async with receiving(forward={"shared_key": "s3cret", "receive_timeout_s": 0.2}) as up:
        with capture_logs():
            async with sender(up) as sends:
                await sends.answer()
                await sends.send(message(BODIES, "c1"))
                assert await sends.is_closed()
            async with sender(up) as silent:
                await silent.answer()
                assert await silent.is_closed()
        assert up.bodies == []


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, Path]:
    """PEM files of a server."""
    certificate = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("tls_cert", "tls_key", "tls_client_ca")}
    certificate.private_key_pem.write_to_path(paths["tls_key"])
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(paths["tls_cert"], append=True)
    authority.cert_pem.write_to_path(paths["tls_client_ca"])
    return paths


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_tls(authority: trustme.CA, files: dict[str, Path]) -> None:
    options = {name: files[name] for name in ("tls_cert", "tls_key")}
    async with receiving(forward=options) as up, sender(up, ssl=trusting(authority)) as sends:
        await sends.send(message(BODIES, "c1"))
        assert await sends.answer() == {b"ack": b"c1"}
        async with sender(up) as plain:
            await plain.send(message(BODIES, "c2"))
            assert await plain.is_closed()
        assert up.bodies == BODIES


async def test_tls_with_certificates_of_clients(authority: trustme.CA, files: dict[str, Path]) -> None:
    known = trusting(authority)
    authority.issue_cert("node-1").configure_cert(known)
    async with receiving(forward=files) as up:
        async with sender(up, ssl=known) as sends:
            await sends.send(message(BODIES, "c1"))
            assert await sends.answer() == {b"ack": b"c1"}
        async with sender(up, ssl=trusting(authority)) as stranger:
            await stranger.send(message(BODIES, "c2"))
            assert await stranger.is_closed()
        assert up.bodies == BODIES


async def test_files_that_are_no_certificates_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    wrongs: list[dict[str, Any]] = [
        {"tls_cert": tmp_path / "none"},
        {"tls_key": tmp_path / "text"},
        {"tls_client_ca": tmp_path / "text"},
    ]
    for wrong in wrongs:
        async with receiving() as up:
            with pytest.raises(ConfigError, match=r"^receivers\.forward\.tls_c.*cannot be used"):
                ForwardListener(up.intake, ForwardConfig(**{**files, **wrong}), max_wait_s=1)
