"""A real server with a trained application and its state, for tests of what operators ask of it."""

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.detection import DetectorConfig, EntryBatch
from deeplog_grpc.feedback import DriftConfig, FeedbackConfig
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig, ServerState
from deeplog_grpc.serving.config import RecoveryConfig
from deeplog_grpc.storage import StateConfig, bundle_checksum, load_bundle
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.server_harness import BOUND_S
from tests.trained import LATER_S, order, with_times

FALSE_POSITIVE = "FEEDBACK_LABEL_FALSE_POSITIVE"
CONFIRMED = "FEEDBACK_LABEL_CONFIRMED"
FULL = pb.ScoreOptions(detail=pb.VERDICT_DETAIL_FULL)
_numbers = itertools.count(1)


def opened(
    bundle: Path,
    directory: Path,
    *,
    keep_versions: int = 10,
    drift: DriftConfig | None = None,
    workers: int = 1,
    recovery: RecoveryConfig | None = None,
) -> ServerState:
    """The state of a server, with wide limits for a small application."""
    model = load_bundle(bundle)
    return ServerState(
        directory,
        {model.application: (model, bundle_checksum(bundle))},
        state=StateConfig(keep_versions=keep_versions),
        feedback=FeedbackConfig(margin=0.05),
        drift=drift or DriftConfig(),
        detector=DetectorConfig(cold_start_s=0.0, cache_mb=8),
        recovery=recovery,
        workers=workers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server under test."""

    server: Server
    state: ServerState
    address: str
    client: AsyncDeepLogClient
    channel: grpc.aio.Channel
    """Without retries."""

    async def ask(self, method: str, request: Message, **call: Any) -> bytes:
        """A unary call, with its errors as they come."""
        path = f"/deeplog_grpc.v1.DeepLogService/{method}"
        method_of: Any = self.channel.unary_unary
        answer: bytes = await method_of(path)(request.SerializeToString(), **{"timeout": BOUND_S, **call})
        return answer

    async def score(self, entries: Sequence[LogEntry], *, flush: bool = False) -> list[verdict_pb2.Verdict]:
        """All verdicts on entries, then those on ends."""
        response = await self.client.score(entries, options=FULL, flush=pb.Flush() if flush else None)
        return [*response.verdicts, *response.session_ends]

    async def alarm(
        self, fault: Fault, *, session: str = "", seed: int = 0, flush: bool = False
    ) -> list[verdict_pb2.Verdict]:
        """The anomalies of an order with a fault."""
        found = await self.score(order_of(fault, session=session, seed=seed), flush=flush)
        return [verdict for verdict in found if verdict.kind != verdict_pb2.KIND_NORMAL]

    async def stored(self, **wanted: Any) -> list[anomaly_pb2.Anomaly]:
        """Stored anomalies, the newest first."""
        return [one async for one in self.client.anomalies(anomaly_pb2.AnomalyFilter(**wanted))]

    async def states(self, verdict_ids: Sequence[str]) -> list[str]:
        """What is known of anomalies, in their order."""
        found = {one.verdict.verdict_id: one.state for one in await self.stored(verdict_ids=verdict_ids)}
        return [anomaly_pb2.AnomalyState.Name(found[name]).removeprefix("ANOMALY_STATE_") for name in verdict_ids]


@asynccontextmanager
async def served(
    bundle: Path, directory: Path, *, stop: bool = True, state: dict[str, Any] | None = None, **config: Any
) -> AsyncIterator[Served]:
    """A server that runs meanwhile."""
    kept = opened(bundle, directory, **(state or {}))
    server = Server(kept.detectors, ServerConfig(**{"listen": "127.0.0.1:0", **config}), IngestConfig(), state=kept)
    address = f"127.0.0.1:{await server.start()}"
    plain = grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)])
    try:
        async with plain as channel, AsyncDeepLogClient(address) as client:
            yield Served(server=server, state=kept, address=address, client=client, channel=channel)
    finally:
        if stop:
            await server.stop()
        kept.close()


def entries_in(batch: EntryBatch, session: str) -> list[LogEntry]:
    """A batch as entries of a session."""
    return [
        LogEntry(body=body, time_unix_nano=time_ns, session=session)
        for body, time_ns in zip(batch.bodies, batch.times_ns.tolist(), strict=True)
    ]


def order_of(fault: Fault | None, *, session: str = "", seed: int = 0, at_s: float = LATER_S) -> list[LogEntry]:
    """The entries of an order, as a session of its own."""
    batch = order(seed, fault=fault)
    batch = with_times(batch, [at_s + second for second in range(len(batch))])
    return entries_in(batch, session or f"order-{next(_numbers)}")


def with_message(body: str, *, session: str = "") -> list[LogEntry]:
    """The entries of a normal order with another message in its middle."""
    batch = order(1)
    middle = len(batch) // 2
    odd = replace(batch.slice(middle, middle + 1), bodies=[body])
    joined = EntryBatch.concat([batch.slice(0, middle), odd, batch.slice(middle, len(batch))])
    return entries_in(joined, session or f"order-{next(_numbers)}")


def messages(count: int) -> Iterator[str]:
    """Messages that have nothing in common."""
    names = ["".join(letters) for letters in itertools.product("bdfgk", "aeiou", "lmnrt", "aeiou", "sxz")]
    for number in range(count):
        yield " ".join(names[number * 7 + word * 53] for word in range(5))


async def probed(up: Served, name: str) -> list[bytes]:
    """All that is said of normal and faulty orders, but for the version and the names of anomalies."""
    found = []
    for number, (fault, seed) in enumerate(itertools.product([None, *Fault], range(3))):
        entries = order_of(fault, session=f"{name}-{number}", seed=seed, at_s=LATER_S + 1_000 + number)
        for verdict in await up.score(entries, flush=True):
            verdict.verdict_id, verdict.model_version = "", 0
            found.append(verdict.SerializeToString(deterministic=True))
    return found


async def started(bundle: Path | None, directory: Path, *options: str) -> asyncio.subprocess.Process:
    """A server in a process of its own."""
    program = "from deeplog_grpc.cli import main; main()"
    models = [] if bundle is None else ["--model", str(bundle)]
    arguments = ["serve", *models, "--state", str(directory), "--listen", "127.0.0.1:0", *options]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", program, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def port_of(process: asyncio.subprocess.Process) -> tuple[int, bytes]:
    """The port that a process serves on, and what it has logged so far."""
    assert process.stderr is not None
    logged = b""
    while line := await process.stderr.readline():
        logged += line
        event = json.loads(line)
        if event["event"] == "serving":
            return int(event["port"]), logged
    raise AssertionError("the process has ended")
