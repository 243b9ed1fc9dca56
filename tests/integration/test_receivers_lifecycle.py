"""Receivers come and go with their server."""

import asyncio
import json
import re
import socket
from typing import Any

import pytest

from deeplog_grpc.errors import InputError
from tests.integration.receiver_harness import EXPORT, raw_request, receiving
from tests.integration.served import started
from tests.integration.server_harness import BOUND_S, until


@pytest.mark.parametrize("receiver", ["otlp_http", "forward"])
async def test_a_port_that_is_taken_is_named_with_the_remedies(receiver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options: dict[str, Any] = {"http" if receiver == "otlp_http" else receiver: {"listen": address_of(taken)}}
        with pytest.raises(InputError) as refusal:
            async with receiving(**options):
                pass
    assert re.match(
        rf"receivers\.{receiver}\.listen: cannot listen on 127\.0\.0\.1:\d+ \(Address already in use\): "
        "choose another, or null to take no ",
        str(refusal.value),
    )


def address_of(taken: socket.socket) -> str:
    return f"127.0.0.1:{taken.getsockname()[1]}"


async def test_null_is_not_listening() -> None:
    async with receiving(http={"listen": None}, forward={"listen": None}) as up:
        assert up.ports == {}
        await up.export(raw_request(["open"]))


async def test_calls_of_receivers_are_finished_before_the_server_stops() -> None:
    async with receiving(stop=False) as up:
        with up.server.queue.hold():
            call = asyncio.create_task(up.call(EXPORT, raw_request(["open"])))
            await until(lambda: up.server.queue.waiting_entries == 1)
            stopping = asyncio.create_task(up.server.stop())
            await until(lambda: up.server.queue.draining)
        assert await call == b""
        await stopping


async def test_the_program_says_where_it_listens(small_bundle: Any, tmp_path: Any) -> None:
    process = await started(small_bundle, tmp_path)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(BOUND_S * 3):
            event = json.loads(await process.stderr.readline())
        assert event["event"] == "serving"
        for name in ("port", "otlp_http_port", "forward_port", "metrics_port"):
            socket.create_connection(("127.0.0.1", event[name]), BOUND_S).close()
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
