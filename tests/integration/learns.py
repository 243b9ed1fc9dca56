"""A server that learns, and what its tests send it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.detection import DetectorConfig
from deeplog_grpc.feedback import DriftConfig, FeedbackConfig
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig, ServerState
from deeplog_grpc.storage import StateConfig, bundle_checksum, load_bundle
from deeplog_grpc.testing import simulate_log
from deeplog_grpc.training import LearningConfig, Recipe
from deeplog_grpc.v1 import application_pb2
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.served import Served
from tests.trained import LATER_S, entries_of, small_config

TRAINED_S = 90.0
"""A training takes some seconds, and a loaded machine its time."""
RECIPE = Recipe(key_model=small_config(), seed=1)
LIMITS: dict[str, Any] = {"min_entries": 1_000, "min_sessions": 100, "min_s": 0.0}


@asynccontextmanager
async def learning(
    directory: Path, *, bundle: Path | None = None, stop: bool = True, workers: int = 1, **limits: Any
) -> AsyncIterator[Served]:
    """A server that learns meanwhile; with a bundle, one application has a model from the start."""
    models = {}
    if bundle is not None:
        model = load_bundle(bundle)
        models = {model.application: (model, bundle_checksum(bundle))}
    state = ServerState(
        directory,
        models,
        state=StateConfig(),
        feedback=FeedbackConfig(margin=0.05),
        drift=DriftConfig(),
        detector=DetectorConfig(cache_mb=8),
        learning=LearningConfig(**{**LIMITS, **limits}),
        recipe=RECIPE,
        workers=workers,
    )
    server = Server(state.detectors, ServerConfig(listen="127.0.0.1:0"), IngestConfig(), state=state)
    address = f"127.0.0.1:{await server.start()}"
    plain = grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)])
    try:
        async with plain as channel, AsyncDeepLogClient(address) as client:
            yield Served(server=server, state=state, address=address, client=client, channel=channel)
    finally:
        if stop:
            await server.stop()
        state.close()


def orders(
    sessions: int, *, seed: int, application: str = "shop/orders", start_s: float = LATER_S, fault_rate: float = 0.0
) -> list[LogEntry]:
    """Entries of a simulated log."""
    batch = entries_of(simulate_log(sessions, seed=seed, start_s=start_s, fault_rate=fault_rate).lines)
    return [
        LogEntry(body=body, time_unix_nano=time_ns, application=application)
        for body, time_ns in zip(batch.bodies, batch.times_ns.tolist(), strict=True)
    ]


async def streamed(up: Served, entries: Sequence[LogEntry], *, size: int = 500) -> tuple[int, int]:
    """Entries sent over one stream; how many were judged, and how many anomalies there were, those of ends included."""

    async def batches() -> AsyncIterator[Sequence[LogEntry]]:
        for begin in range(0, len(entries), size):
            yield entries[begin : begin + size]

    judged = anomalies = 0
    async for result in up.client.stream(batches()):
        assert result.status.code == 0, result.status.message
        judged += result.response.entry_count
        anomalies += result.response.anomaly_count
        anomalies += sum(bool(end.reason) for end in result.response.session_ends)
    return judged, anomalies


async def standing(up: Served, name: str = "shop/orders") -> application_pb2.Application:
    """Where an application stands."""
    (found,) = await up.client.applications(name)
    return found


async def until_state(
    up: Served, state: int, name: str = "shop/orders", *, version: int = 0
) -> application_pb2.Application:
    """Wait until an application is in a state, at a version or later."""
    async with asyncio.timeout(TRAINED_S):
        while True:
            found = await standing(up, name)
            if found.state == state and found.model_version >= version:
                return found
            await asyncio.sleep(0.05)
