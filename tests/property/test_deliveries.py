"""However deliveries are sent again, twice at once, given up or refused: sessions are judged as if each came once."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplog_grpc.errors import ExpiredError, RefusedError, SpoolFullError
from deeplog_grpc.ingest import FixedApplications, IngestConfig, Origin, RecordIngest, Records, RoutingConfig
from deeplog_grpc.serving import ServerConfig
from deeplog_grpc.serving.config import DeliveriesConfig
from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.serving.delivery import Delivery
from deeplog_grpc.serving.detectors import Scorer
from deeplog_grpc.serving.intake import Intake
from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.scoring import Job, Reply, ScoringWorker
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.conftest import NewDetector
from tests.trained import order
from tests.unit.serving.fake_detector import FakeDetector

APPLICATION = "orders"
BOUND_S = 30.0
TROUBLES = ("none", "twice at once", "given up", "too late", "in company", "again later", "no room")

Plan = Sequence[Sequence[tuple[int, str]]]
"""By source: how many lines each delivery has, and what happens to it."""
Said = Mapping[str, Sequence[tuple[Any, ...]]]
"""Session -> what was said of its entries, in order."""

plans = st.lists(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(TROUBLES)), min_size=1, max_size=6), min_size=1, max_size=3
)


class Sink:
    """Keeps what was said of each session; may have no room."""

    def __init__(self) -> None:
        self.said: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.is_full = False

    def add(self, records: Records, response: pb.ScoreResponse) -> None:
        if self.is_full:
            raise SpoolFullError("full", retry_after_s=0.001)
        for one in response.verdicts:
            body = records.bodies[one.index]
            self.said[one.session].append((body, one.key, one.kind, one.rank, one.probability, one.reason))


class Sender:
    """Sends the deliveries of one source in order, with trouble, until each was accepted."""

    def __init__(self, intake: Intake, sink: Sink, source: int, bodies: Sequence[str]) -> None:
        self._intake = intake
        self._sink = sink
        self._source = source
        self._bodies = iter(bodies)
        self._sent: list[Delivery] = []

    async def run(self, plan: Sequence[tuple[int, str]], yields: Sequence[int]) -> None:
        later: list[Delivery] = []
        for number, (lines, trouble) in enumerate(plan):
            delivery = self._delivery(number, lines)
            await self._disturbed(delivery, trouble, yields[number % len(yields)])
            self._sent.append(delivery)
            later += [delivery] * (trouble == "again later")
        for delivery in later:
            await self._insist([delivery])

    async def _disturbed(self, delivery: Delivery, trouble: str, yields: int) -> None:
        match trouble:
            case "twice at once":
                await asyncio.gather(self._insist([delivery]), self._insist([delivery]))
            case "given up":
                waiting = asyncio.create_task(self._insist([delivery]))
                for _ in range(yields):
                    await asyncio.sleep(0)
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    await waiting
            case "too late":
                with suppress(ExpiredError):
                    await self._intake.accept_together([delivery], timeout_s=0.0)
            case "in company":
                await self._insist([*self._sent[-2:], delivery])
            case "no room":
                self._sink.is_full = True
                with suppress(RefusedError):
                    await self._intake.accept_together([delivery], timeout_s=0.001 * yields)
                self._sink.is_full = False
        await self._insist([delivery])

    async def _insist(self, deliveries: Sequence[Delivery]) -> None:
        """As a receiver or client does: try until it is accepted."""
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    await self._intake.accept_together(deliveries, timeout_s=BOUND_S)
                except RefusedError:
                    await asyncio.sleep(0.001)
                else:
                    return

    def _delivery(self, number: int, lines: int) -> Delivery:
        bodies = [next(self._bodies) for _ in range(lines)]
        first = 10**18 + 1_000 * (100 * self._source + number)
        records = Records(
            bodies=bodies,
            times_ns=[first + place for place in range(lines)],
            attributes=[{"trace_id": f"session-{self._source}"}] * lines,
            origins=[Origin()] * lines,
        )
        return Delivery(records=records, size_bytes=lines, key=("test", self._source, number))


async def said_of(detector: Scorer, plan: Plan, bodies: Sequence[str], yields: Sequence[int]) -> tuple[Said, int]:
    """What is said of all sessions, and how many deliveries were known when they came again."""
    config = ServerConfig(max_wait_s=BOUND_S)
    queue: ScoringQueue[Job, Reply] = ScoringQueue(ScoringWorker({APPLICATION: detector}), config)
    queue.start()
    sink, deliveries = Sink(), Deliveries(DeliveriesConfig())
    ingest = RecordIngest(FixedApplications([APPLICATION]), IngestConfig(), RoutingConfig())
    intake = Intake(ingest, queue, deliveries, config, sink)
    try:
        await asyncio.gather(
            *(Sender(intake, sink, source, bodies).run(own, yields) for source, own in enumerate(plan))
        )
    finally:
        await queue.close()
    return sink.said, deliveries.repeats


def undisturbed(plan: Plan) -> Plan:
    return [[(lines, "none") for lines, _ in own] for own in plan]


def assert_judged_as_if_each_came_once(
    detectors: Sequence[Scorer], plan: Plan, bodies: Sequence[str], yields: Sequence[int]
) -> None:
    clean, _ = asyncio.run(said_of(detectors[0], undisturbed(plan), bodies, yields))
    said, repeats = asyncio.run(said_of(detectors[1], plan, bodies, yields))
    assert said == clean
    assert sum(map(len, said.values())) == sum(lines for own in plan for lines, _ in own)
    assert repeats >= sum(trouble in ("twice at once", "again later") for own in plan for _, trouble in own)


@settings(max_examples=120, deadline=None)
@given(plan=plans, yields=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_sessions_are_judged_as_if_each_delivery_came_once(plan: Plan, yields: Sequence[int]) -> None:
    bodies = ["open a", "write b", "odd c", "write d", "new e"] * 6
    assert_judged_as_if_each_came_once([FakeDetector(APPLICATION), FakeDetector(APPLICATION)], plan, bodies, yields)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans, yields=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_the_trained_detector_judges_as_if_each_delivery_came_once(
    new_detector: NewDetector, plan: Plan, yields: Sequence[int]
) -> None:
    bodies = [*order(1).bodies, *order(2).bodies, *order(3).bodies]
    assert_judged_as_if_each_came_once([new_detector(), new_detector()], plan, bodies, yields)
