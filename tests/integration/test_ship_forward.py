"""The Forward protocol into the shipper's spool, and on to a real server."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest
from fluent.sender import FluentSender

from deeplog_grpc.errors import ConfigError, InputError, SpoolFullError
from deeplog_grpc.ingest import Origin, Records
from deeplog_grpc.ingest.forward_messages import encode_forward
from deeplog_grpc.serving.delivery import Delivery
from deeplog_grpc.shipping import ShipConfig, Shipper, forward_input
from deeplog_grpc.shipping.config import ForwardInputConfig
from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.forward_input import ForwardInput
from deeplog_grpc.shipping.record_entries import RecordEntryReader
from deeplog_grpc.storage import Spool
from tests.integration.receiver_harness import TIME_NS
from tests.integration.server_harness import BOUND_S, running, until
from tests.integration.test_shipper import annotated, bodies, config, shipping

LOCAL: dict[str, Any] = {"listen": "127.0.0.1:0"}


def message(texts: Sequence[str], chunk: str | None = None) -> bytes:
    entries = [(TIME_NS + place, {"log": text, "request_id": "s"}) for place, text in enumerate(texts)]
    return encode_forward("shop.cart", entries, chunk=chunk)


async def sent(port: int, raw: bytes) -> Any:
    """The answer to a message; None if the connection was closed instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        async with asyncio.timeout(BOUND_S):
            data = await reader.read(65_536)
        return msgpack.unpackb(data) if data else None
    finally:
        writer.close()


def emit(port: int, texts: Sequence[str]) -> None:
    sender = FluentSender("shop", host="127.0.0.1", port=port, nanosecond_precision=True)
    for text in texts:
        assert sender.emit("cart", {"log": text, "kubernetes": {"pod_name": "cart-1"}})
    sender.close()


async def port_of(shipper: Shipper) -> int:
    """Where it listens, once it does."""
    await until(lambda: shipper.forward_port > 0)
    return shipper.forward_port


def has_received(shipper: Shipper, count: int) -> bool:
    return shipper.counts.records_received == count


async def test_a_fluent_logger_reaches_the_server_over_a_restart_of_the_shipper(tmp_path: Path) -> None:
    written = [f"line {number}" for number in range(60)]
    async with running() as up:
        settings = config(tmp_path, up.address, forward=LOCAL)
        for start in range(0, 60, 20):
            async with shipping(settings) as shipper:
                await asyncio.to_thread(emit, await port_of(shipper), written[start : start + 20])
                await until(partial(has_received, shipper, 20))
        rows = annotated(tmp_path)
    assert bodies(rows) == written
    assert rows[0]["attributes"] == {"tag": "shop.cart", "kubernetes.pod_name": "cart-1"}


async def test_a_chunk_is_acknowledged_without_a_server_and_known_after_a_restart(tmp_path: Path) -> None:
    away = config(tmp_path, "127.0.0.1:1", forward=LOCAL, stop_grace_s=0.2)
    first, second = message(["open", "write"], "c1"), message(["end"], "c2")
    for _ in range(2):
        async with shipping(away) as shipper:
            port = await port_of(shipper)
            assert await sent(port, first) == {"ack": "c1"}
            assert await sent(port, first) == {"ack": "c1"}
    assert (shipper.counts.records_received, shipper.counts.chunks_repeated) == (0, 2)
    async with running() as up, shipping(config(tmp_path, up.address, forward=LOCAL)) as shipper:
        port = await port_of(shipper)
        assert await sent(port, second) == {"ack": "c2"}
        await until(lambda: len(annotated(tmp_path)) == 3)
    assert bodies(annotated(tmp_path)) == ["open", "write", "end"]
    assert [row["deeplog"]["session"] for row in annotated(tmp_path)] == ["s", "s", "s"]


async def test_files_and_records_go_together(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("from a file\n")
    async with running() as up:
        settings = config(tmp_path, up.address, tmp_path / "app.log", forward=LOCAL)
        async with shipping(settings) as shipper:
            port = await port_of(shipper)
            assert await sent(port, message(["from a sender"], "c")) == {"ack": "c"}
            await until(lambda: len(annotated(tmp_path)) == 2)
    assert sorted(bodies(annotated(tmp_path))) == ["from a file", "from a sender"]


@contextmanager
def spool_of(path: Path, max_bytes: int) -> Iterator[Spool]:
    spool = Spool(path / "spool", max_bytes=max_bytes, sync="off")
    try:
        yield spool
    finally:
        spool.close()


@asynccontextmanager
async def listening(spool: Spool, counts: Counts) -> AsyncIterator[tuple[ForwardInput, int]]:
    taken = ForwardInput(
        ForwardInputConfig(**LOCAL),
        spool,
        RecordEntryReader(max_body_bytes=1024),
        counts,
        positions=spool.positions(),
        batch_entries=2,
        batch_bytes=1_000,
        on_payloads=lambda: None,
    )
    port = await taken.start()
    try:
        yield taken, port
    finally:
        await taken.stop()


async def test_a_full_spool_holds_senders_up_and_then_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_input, "MAX_WAIT_S", 0.2)
    counts = Counts()
    with spool_of(tmp_path, 400) as spool:
        async with listening(spool, counts) as (_, port):
            assert await sent(port, message(["open", "write", "end"], "c1")) == {"ack": "c1"}
            assert (spool.backlog_count, counts.records_received) == (2, 3)
            assert await sent(port, message(["x" * 250], "c2")) is None
            assert spool.backlog_count == 2
            spool.acknowledge(spool.last_sequence)
            assert await sent(port, message(["x" * 250], "c2")) == {"ack": "c2"}
            assert spool.backlog_count == 1


async def test_what_can_never_fit_is_told_apart(tmp_path: Path) -> None:
    records = Records(bodies=["x" * 90], times_ns=[1], attributes=[{}], origins=[Origin()])
    delivery = Delivery(records=records, size_bytes=1, key=None)
    with spool_of(tmp_path, 95) as spool:
        async with listening(spool, Counts()) as (taken, _):
            with pytest.raises(InputError, match="max_spool_mb"):
                await taken.accept_together([delivery], timeout_s=BOUND_S)
            spool.append([b"x" * 90])
            small = Delivery(records=records, size_bytes=10, key=None)
            with pytest.raises(SpoolFullError):
                await taken.accept_together([small], timeout_s=BOUND_S)


def test_once_and_listening_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--once"):
        Shipper(ShipConfig(spool=tmp_path / "s", forward=ForwardInputConfig(**LOCAL)), is_once=True)


async def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        shipper = Shipper(config(tmp_path, "127.0.0.1:1", forward={"listen": address}))
        try:
            with pytest.raises(InputError, match=f"ship.forward.listen: cannot listen on {address}"):
                await shipper.run(asyncio.Event())
        finally:
            shipper.close()
