"""The metrics are there, and move."""

import gc
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from deeplog_grpc.errors import ConfigError, InputError
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.serving.metrics_config import MetricsConfig
from deeplog_grpc.serving.metrics_http import MetricsListener
from tests.integration.server_harness import request, running
from tests.integration.server_harness import until as holds
from tests.unit.serving.fake_detector import FakeDetector

HISTOGRAMS = (
    "deeplog_loop_lag_seconds",
    "deeplog_gc_pause_seconds",
    "deeplog_scoring_run_seconds",
    "deeplog_queue_wait_seconds",
)


@asynccontextmanager
async def served(server: Server) -> AsyncIterator[str]:
    """Where the metrics of a server are."""
    listener = MetricsListener(server.metrics, MetricsConfig(listen="127.0.0.1:0"), server.health)
    port = await listener.start()
    yield f"http://127.0.0.1:{port}"
    await listener.stop()


async def test_the_exposition_holds_every_metric_and_moves() -> None:
    async with running() as up, served(up.server) as url, aiohttp.ClientSession() as session:
        await up.score(request(["a", "b"]))
        gc.collect()
        value = up.server.metrics.registry.get_sample_value
        await holds(lambda: all(value(f"{name}_count") for name in HISTOGRAMS))
        with up.server.queue.hold():
            waiting = up.raw("Score")(request(["a", "b", "c"]).SerializeToString())
            await holds(lambda: up.server.queue.waiting_entries == 3)
            async with session.get(f"{url}/metrics") as response:
                assert response.status == 200
                assert response.content_type == "text/plain"
                text = await response.text()
        await waiting
    assert "deeplog_queue_entries 3.0" in text
    for name in HISTOGRAMS:
        assert re.search(rf"^{name}_count [1-9]", text, re.MULTILINE)
        assert f"# TYPE {name} histogram" in text


async def test_nothing_else_is_there() -> None:
    async with running() as up, served(up.server) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/nothing") as response:
            assert response.status == 404
        async with session.post(f"{url}/metrics") as response:
            assert response.status == 405


async def test_a_port_that_is_taken_is_named_with_the_remedies() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server({"app": FakeDetector("app")}, ServerConfig(listen="127.0.0.1:0"), IngestConfig())
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        server.add_admin_listener(MetricsListener(server.metrics, MetricsConfig(listen=listen), server.health))
        with pytest.raises(InputError, match=r"^metrics\.listen: cannot listen on .* or null to have no metrics"):
            await server.start()


async def test_a_public_address_needs_leave() -> None:
    server = Server({"app": FakeDetector("app")}, ServerConfig(listen="127.0.0.1:0"), IngestConfig())
    with pytest.raises(ConfigError, match=r"^metrics\.listen: .* set metrics\.allow_public"):
        MetricsListener(server.metrics, MetricsConfig(listen="0.0.0.0:9464"), server.health)
    MetricsListener(server.metrics, MetricsConfig(listen="0.0.0.0:9464", allow_public=True), server.health)
    assert MetricsConfig(listen=None).listen is None


async def test_a_stopped_server_watches_the_collector_no_more() -> None:
    before = len(gc.callbacks)
    async with running():
        assert len(gc.callbacks) == before + 1
    assert len(gc.callbacks) == before
