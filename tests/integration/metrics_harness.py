"""Reading the metrics of a server under test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import generate_latest
from prometheus_client.samples import Sample

from deeplog_grpc.serving import Server
from deeplog_grpc.serving.metrics_config import MetricsConfig
from deeplog_grpc.serving.metrics_http import MetricsListener


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[str]:
    """Where the metrics and the health of a server are."""
    listener = MetricsListener(server.metrics, MetricsConfig(listen="127.0.0.1:0"), server.health)
    port = await listener.start()
    yield f"http://127.0.0.1:{port}"
    await listener.stop()


def exposition(server: Server) -> str:
    """What Prometheus would read."""
    return generate_latest(server.metrics.registry).decode()


def total(server: Server, family: str) -> float:
    """The sum of all samples of a counter or gauge."""
    return sum((float(sample.value) for sample in samples(server, family)), 0.0)


def by_label(server: Server, family: str) -> dict[str, float]:
    """Samples of a counter or gauge with one label, but for those that are 0."""
    return {next(iter(sample.labels.values())): sample.value for sample in samples(server, family) if sample.value}


def samples(server: Server, family: str) -> list[Sample]:
    return [s for metric in server.metrics.registry.collect() for s in metric.samples if s.name == family]


def assert_adds_up(server: Server) -> None:
    """Everything that was received is somewhere."""
    parts = ["scored_entries_total", "rejected_entries_total", "refused_entries_total", "queue_entries"]
    found = {name: total(server, f"deeplog_{name}") for name in parts}
    assert total(server, "deeplog_received_entries_total") == sum(found.values()), found
