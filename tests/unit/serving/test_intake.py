"""Deliveries of foreign records: scored once each, together with what came with them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.errors import ExpiredError, QueueFullError
from deeplog_grpc.ingest import FixedApplications, IngestConfig, Ingested, Origin, RecordIngest, Records, RoutingConfig
from deeplog_grpc.serving import ServerConfig
from deeplog_grpc.serving.config import DeliveriesConfig
from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.serving.delivery import Delivery
from deeplog_grpc.serving.intake import Intake
from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.scoring import Job, Reply, ScoringWorker
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.unit.serving.fake_detector import FakeBatch, FakeDetector


class Bodies(FakeDetector):
    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[str] = []

    def score(self, batch: EntryBatch) -> FakeBatch:
        scored = super().score(batch)
        self.bodies += batch.bodies
        return scored


@dataclass(frozen=True, slots=True)
class Up:
    intake: Intake
    queue: ScoringQueue[Job, Reply]
    detector: Bodies


@asynccontextmanager
async def intake(**config: object) -> AsyncIterator[Up]:
    detector = Bodies()
    server = ServerConfig(**config)  # type: ignore[arg-type]  # of the fields' own types
    queue: ScoringQueue[Job, Reply] = ScoringQueue(ScoringWorker({"app": detector}), server)
    queue.start()
    ingest = RecordIngest(FixedApplications(["app"]), IngestConfig(), RoutingConfig())
    yield Up(Intake(ingest, queue, Deliveries(DeliveriesConfig()), server), queue, detector)
    await queue.close()


def delivery(name: str | None, *bodies: str) -> Delivery:
    count = len(bodies)
    records = Records(
        bodies=bodies, times_ns=[5] * count, attributes=[{"trace_id": "s"}] * count, origins=[Origin()] * count
    )
    return Delivery(records=records, size_bytes=count, key=None if name is None else ("test", name))


async def test_counts_are_of_what_was_judged() -> None:
    async with intake() as up:
        accepted = await up.intake.accept_together([delivery("a", "open", "odd", " ", "")], timeout_s=10)
    assert (accepted.entry_count, accepted.anomaly_count, accepted.rejected_count, accepted.message) == (2, 1, 0, "")


async def test_a_delivery_without_records_is_accepted_even_by_a_full_server() -> None:
    async with intake(max_queue_entries=1) as up:
        with up.queue.hold():
            waiting = asyncio.create_task(up.intake.accept_together([delivery("a", "open")], timeout_s=10))
            await asyncio.sleep(0)
            assert (await up.intake.accept_together([delivery("b")], timeout_s=10)).entry_count == 0
        await waiting


async def test_what_came_together_fails_together_and_can_come_again_in_another_company() -> None:
    async with intake() as up:
        crowd = [delivery("a", "open"), delivery("b", "crash"), delivery("c", "write")]
        with pytest.raises(RuntimeError):
            await up.intake.accept_together(crowd, timeout_s=10)
        await up.intake.accept_together([crowd[2], crowd[0]], timeout_s=10)
        assert up.detector.bodies == ["write", "open"]


async def test_a_delivery_without_a_name_that_nobody_waits_for_is_not_scored() -> None:
    async with intake() as up:
        with up.queue.hold(), pytest.raises(ExpiredError):
            await up.intake.accept_together([delivery(None, "open")], timeout_s=0.01)
        with up.queue.hold(), pytest.raises(ExpiredError):
            await up.intake.accept_together([delivery("a", "write")], timeout_s=0.01)
        await up.intake.accept_together([delivery("a", "write")], timeout_s=10)
        assert up.detector.bodies == ["write"]


async def test_one_larger_than_the_queue_waits_in_line_while_others_of_its_size_are_refused() -> None:
    async with intake(max_queue_entries=2) as up:
        with up.queue.hold():
            small = asyncio.create_task(up.intake.accept_together([delivery("s", "open")], timeout_s=10))
            await asyncio.sleep(0.01)
            large = asyncio.create_task(up.intake.accept_together([delivery("l", *["write"] * 5)], timeout_s=10))
            await asyncio.sleep(0.01)
            for name, count in (("x", 5), ("y", 1)):
                with pytest.raises(QueueFullError):
                    await up.intake.accept_together([delivery(name, *["odd"] * count)], timeout_s=10)
        await asyncio.gather(small, large)
        assert up.detector.bodies == ["open", *["write"] * 5]
        await up.intake.accept_together([delivery("x", *["odd"] * 5)], timeout_s=10)


async def test_rejections_are_logged_once_in_a_while() -> None:
    class Nothing(FixedApplications):
        default = ""

        def __init__(self) -> None:
            self.names = ()

    async with intake() as up:
        up.intake._ingest = RecordIngest(Nothing(), IngestConfig(), RoutingConfig())
        with capture_logs() as logs:
            for name in ("a", "b"):
                accepted = await up.intake.accept_together([delivery(name, "open", "write")], timeout_s=10)
    assert (accepted.entry_count, accepted.rejected_count) == (0, 2)
    assert accepted.message
    assert [(log["event"], log["count"]) for log in logs] == [("records rejected", 2)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=5), min_size=1, max_size=8))
def test_each_name_is_scored_once_and_in_order_however_deliveries_meet(groups: Sequence[Sequence[int]]) -> None:
    async def run() -> list[str]:
        async with intake() as up:
            calls = [
                asyncio.create_task(
                    up.intake.accept_together([delivery(str(n), f"open {n}") for n in group], timeout_s=10)
                )
                for group in groups
            ]
            await asyncio.gather(*calls)
            return up.detector.bodies

    first_seen = dict.fromkeys(number for group in groups for number in group)
    assert asyncio.run(run()) == [f"open {number}" for number in first_seen]


async def test_a_large_delivery_lets_other_calls_go_on_and_is_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeplog_grpc.serving.intake._PIECE", 3)
    turn, seen_at = 0, []
    divide = RecordIngest.ingest

    def noted(self: RecordIngest, records: Records, *, arrival_ns: int) -> Ingested:
        seen_at.append(turn)
        return divide(self, records, arrival_ns=arrival_ns)

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(RecordIngest, "ingest", noted)
    bodies = [["open", "write", " ", "odd"][place % 4] for place in range(32)]
    async with intake() as up:
        other = asyncio.create_task(others())
        whole = await up.intake.accept_together([delivery(None, *bodies)], timeout_s=10)
        other.cancel()
        assert (whole.entry_count, whole.anomaly_count, up.detector.batch_sizes) == (24, 8, [24])
        assert up.detector.bodies == [body for body in bodies if body != " "]
    assert len(seen_at) == len(set(seen_at)) == 11


async def test_faults_of_a_large_delivery_have_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeplog_grpc.serving.intake._PIECE", 3)
    taken: list[pb.ScoreResponse] = []

    class Sink:
        def add(self, records: Records, response: pb.ScoreResponse) -> None:
            taken.append(response)

    async with intake() as up:
        bodies = [f"open {place}" for place in range(10)]
        records = Records(
            bodies=bodies,
            times_ns=[5] * 10,
            attributes=[{"service.name": "app" if place % 2 else "nobody"} for place in range(10)],
            origins=[Origin()] * 10,
        )
        ingest = RecordIngest(FixedApplications(["app", "other"]), IngestConfig(), RoutingConfig())
        own = Intake(ingest, up.queue, Deliveries(DeliveriesConfig()), ServerConfig(), Sink())
        accepted = await own.accept(records, size_bytes=1, key=None, timeout_s=10)
    assert (accepted.entry_count, accepted.rejected_count) == (5, 5)
    (response,) = taken
    assert [(error.index, error.field) for error in response.errors] == [(n, f"records[{n}]") for n in range(0, 10, 2)]
    assert [verdict.index for verdict in response.verdicts] == [1, 3, 5, 7, 9]
