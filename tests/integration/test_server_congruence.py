"""The real detector says the same in process, by Score and by StreamScore."""

import copy
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from deeplog_grpc.client import AsyncDeepLogClient, StreamItem
from deeplog_grpc.detection import ApplicationModel, Detector, EntryBatch, Verdict
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.models import KeyModelConfig, set_threads
from deeplog_grpc.parsing import Parameter
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.serving.answers import VALUE_KINDS
from deeplog_grpc.testing import simulate_log
from deeplog_grpc.training import Trainer
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import parameter_pb2, verdict_pb2
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

FULL = pb.ScoreOptions(detail=pb.VERDICT_DETAIL_FULL)
BATCH = 37


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A model, and a log with faults to judge."""

    model: ApplicationModel
    bodies: list[str]

    def detector(self) -> Detector:
        """A detector of its own: its parser learns while it scores."""
        return Detector(copy.deepcopy(self.model))

    def entries(self) -> Iterator[Sequence[LogEntry]]:
        for start in range(0, len(self.bodies), BATCH):
            stop = min(start + BATCH, len(self.bodies))
            yield [LogEntry(body=self.bodies[i], time_unix_nano=i + 1, entry_id=str(i)) for i in range(start, stop)]


@pytest.fixture(scope="module")
def learned() -> Learned:
    set_threads(1)  # two spin against each other on a busy machine
    trainer = Trainer()
    trainer.add(EntryBatch.of(simulate_log(60, seed=1).lines))
    model, _ = trainer.fit(application="orders", version=3, config=KeyModelConfig(epochs=4, hidden=16))
    bodies = simulate_log(20, seed=2, fault_rate=0.4).lines
    # One step takes a day: the evidence on values must come through as well.
    slow = next(row for row, body in enumerate(bodies) if re.search(r" in \d+ ms$", body) and row > len(bodies) // 2)
    bodies[slow] = re.sub(r"\d+ ms$", "86400000 ms", bodies[slow])
    return Learned(model=model, bodies=bodies)


def in_process(learned: Learned) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    detector, verdicts, ends = learned.detector(), [], []
    for start in range(0, len(learned.bodies), BATCH):
        bodies = learned.bodies[start : start + BATCH]
        scored = detector.score(EntryBatch.of(bodies, times_ns=range(start + 1, start + 1 + len(bodies))))
        verdicts += [said(scored.verdict(row)) for row in range(len(bodies))]
        ends += [said(end) for end in scored.session_ends]
    ends += [said(end) for end in detector.flush().session_ends]
    return verdicts, ends


async def by_score(client: AsyncDeepLogClient, learned: Learned) -> list[pb.ScoreResponse]:
    responses = [await client.score(entries, options=FULL) for entries in learned.entries()]
    return [*responses, await client.score([], options=FULL, flush=pb.Flush())]


async def by_stream(client: AsyncDeepLogClient, learned: Learned) -> list[pb.ScoreResponse]:
    async def items() -> AsyncIterator[StreamItem]:
        for entries in learned.entries():
            yield entries
        yield pb.Flush()

    return [result.response async for result in client.stream(items(), options=FULL)]


def said(verdict: Verdict | verdict_pb2.Verdict) -> tuple[Any, ...]:
    """What a verdict says, in the precision of the wire."""
    return (
        int(verdict.kind),
        verdict.key,
        verdict.template,
        tuple(verdict.parameters),
        tuple(map(parameter_said, verdict.typed_parameters)),
        np.float32(verdict.score),
        verdict.rank,
        np.float32(verdict.probability),
        tuple((c.key, c.template, np.float32(c.probability)) for c in verdict.candidates),
        tuple(verdict.window),
        verdict.session,
        verdict.reason,
        verdict.model_version,
        value_said(verdict),
        vector_said(verdict),
        dict(verdict.counts if isinstance(verdict, Verdict) else verdict.session_counts),
    )


def vector_said(verdict: Verdict | verdict_pb2.Verdict) -> tuple[Any, ...] | None:
    if isinstance(verdict, Verdict):
        vector = verdict.vector
        return None if vector is None else (verdict.key, vector.numbers, vector.previous)
    if not verdict.HasField("vector"):
        return None
    numbers = tuple((number.slot, number.unit, number.number) for number in verdict.vector.numbers)
    return verdict.vector.key, numbers, tuple(verdict.vector.previous)


def value_said(verdict: Verdict | verdict_pb2.Verdict) -> tuple[Any, ...] | None:
    value = verdict.abnormal_value
    if value is None or (isinstance(verdict, verdict_pb2.Verdict) and not verdict.HasField("abnormal_value")):
        return None
    numbers = (value.observed, value.predicted, value.low, value.high)
    slots = (value.slot, value.trained_slot)
    return slots, value.unit, numbers, tuple(value.after), value.text, tuple(value.known), value.known_count


def parameter_said(parameter: Parameter | parameter_pb2.Parameter) -> tuple[Any, ...]:
    if isinstance(parameter, Parameter):
        kind, number = parameter_pb2.ValueKind.Value(VALUE_KINDS[parameter.kind]), parameter.number
    else:
        kind, number = parameter.kind, parameter.number if parameter.HasField("number") else None
    return parameter.text, kind, parameter.start, parameter.end, number, parameter.unit


@pytest.mark.parametrize("way", [by_score, by_stream])
async def test_verdicts_over_grpc_are_those_in_process(learned: Learned, way: Callable[..., Any]) -> None:
    verdicts, ends = in_process(learned)
    server = Server(
        {"orders": learned.detector()}, ServerConfig(listen="127.0.0.1:0", max_batch_entries=1), IngestConfig()
    )
    async with AsyncDeepLogClient(f"127.0.0.1:{await server.start()}", timeout_s=20) as client:
        responses = await way(client, learned)
    await server.stop()
    assert [said(verdict) for response in responses for verdict in response.verdicts] == verdicts
    assert [said(end) for response in responses for end in response.session_ends] == ends
    ids = [verdict.entry_id for response in responses for verdict in response.verdicts]
    assert ids == [str(i) for i in range(len(learned.bodies))]
    assert {verdict[0] for verdict in verdicts} > {verdict_pb2.KIND_NORMAL, verdict_pb2.KIND_PARAMETER_VALUE}
    assert {verdict[-2] is None for verdict in verdicts} == {True, False}
    assert ends
    typed = [p for response in responses for verdict in response.verdicts for p in verdict.typed_parameters]
    assert any(p.HasField("number") for p in typed)
