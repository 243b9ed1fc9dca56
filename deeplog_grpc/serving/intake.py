"""Records of foreign protocols in, scored, each delivery once: what all receivers have in common.

The senders of such records do not wait for verdicts but for leave to forget what they sent. They get it when all is
scored; an anomaly is stored by then.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol, cast

import structlog

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.errors import ExpiredError, QueueFullError, RefusedError
from deeplog_grpc.ingest import EntryFault, Ingested, Part
from deeplog_grpc.ingest.records import Records
from deeplog_grpc.serving.answers import AnswerOptions, add_faults
from deeplog_grpc.serving.config import ServerConfig
from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.serving.delivery import Accepted, Delivery, Key, Named
from deeplog_grpc.serving.entries import EntryBook
from deeplog_grpc.serving.queue import ScoringQueue, Size
from deeplog_grpc.serving.recovery import Remembered
from deeplog_grpc.serving.scarce_log import ScarceLog
from deeplog_grpc.serving.scoring import Job, Reply, ScoreJob
from deeplog_grpc.serving.status import check_any_in_scope
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

_SHOWN_REASONS = 3
_PIECE = 1_000
"""Records that are divided at once: some ten milliseconds."""
MAX_UNPASSED = 1_000
"""Deliveries scored before a restart that may still have to be passed on; the newest, for those are sent again."""
_ACCEPTED_BYTES = 256
"""What a remembered :class:`Accepted` takes, roughly."""

_log = structlog.get_logger("deeplog_grpc.serving")


class RecordSource(Protocol):
    """Divides records by application; see :class:`~deeplog_grpc.ingest.RecordIngest`."""

    def ingest(self, records: Records, *, arrival_ns: int) -> Ingested:
        """Divide records into the columns of their applications, and faults."""
        ...


class RecordSink(Protocol):
    """Passes scored records on."""

    def add(self, records: Records, response: pb.ScoreResponse) -> None:
        """Take records, with a verdict on each that has one: ``index`` is its place.

        Raises
        ------
        RefusedError
            If there is no room now. They are offered again, and nothing else is scored until they are taken.
        """
        ...


class Intake:
    """Accepts deliveries for the receivers of a server.

    Parameters
    ----------
    ingest : RecordSource
        Divides records by application.
    queue : ScoringQueue
        Where the jobs go.
    deliveries : Deliveries
        What was accepted before.
    config : ServerConfig
        Waiting times.
    sink : RecordSink, optional
        Takes all that is scored.
    book : EntryBook, optional
        Counts what never comes to the queue.
    """

    def __init__(
        self,
        ingest: RecordSource,
        queue: ScoringQueue[Job, Reply],
        deliveries: Deliveries,
        config: ServerConfig,
        sink: RecordSink | None = None,
        book: EntryBook | None = None,
    ) -> None:
        self._book = book or EntryBook()
        self._ingest = ingest
        self._queue = queue
        self._deliveries = deliveries
        self._max_wait_s = config.max_wait_s
        self._sink = sink
        self._options = AnswerOptions(anomalies_only=sink is None, full=False)
        self._large_one_waits = False
        self._passing = ThreadPoolExecutor(1, thread_name_prefix="passthrough")
        """Writing to the disk must not hold up the event loop; one thread keeps the order."""
        self._blocked = 0
        """Deliveries that are scored, and for which the sink has no room."""
        self._unpassed: OrderedDict[Key, pb.ScoreResponse] = OrderedDict()
        """Deliveries that were scored before the process was started, and perhaps not passed on."""
        self._rejections = ScarceLog(_log)
        self.refused = 0
        """Times that deliveries were refused for now."""

    @property
    def is_blocked(self) -> bool:
        """Whether the sink has no room for something that is scored."""
        return self._blocked > 0

    def remember(self, found: Remembered) -> None:
        """Take up a delivery that was scored before the process was started.

        Nobody knows whether it was passed on too: if it comes again it is, with what was said of it then. Where it was
        scored together with others that is not known any more, and its records go without.
        """
        response = pb.ScoreResponse.FromString(found.answer)
        if self._sink is None:
            self._deliveries.remember(found.key, b"", self._accepted(response), _ACCEPTED_BYTES)
            return
        if not found.is_alone:
            response = pb.ScoreResponse(entry_count=response.entry_count, anomaly_count=response.anomaly_count)
        self._unpassed[found.key] = response
        if len(self._unpassed) > MAX_UNPASSED:
            self._unpassed.popitem(last=False)

    def check_room(self, size_bytes: int, *, timeout_s: float) -> None:
        """Refuse what is not decoded, nor need even be read, if it would most likely be refused.

        Raises
        ------
        RefusedError
            As :meth:`accept_together`.
        """
        try:
            self._queue.check_room(size_bytes, timeout_s=timeout_s)
        except RefusedError:
            self.refused += 1
            raise

    async def accept(self, records: Records, *, size_bytes: int, key: Key | None, timeout_s: float) -> Accepted:
        """Have one delivery scored; see :meth:`accept_together`."""
        delivery = Delivery(records=records, size_bytes=size_bytes, key=key)
        return await self.accept_together([delivery], timeout_s=timeout_s)

    async def accept_together(self, deliveries: Sequence[Delivery], *, timeout_s: float) -> Accepted:
        """Have deliveries scored as one, but for those that were accepted before; returns when all are.

        One that has a name stays in the queue if the caller goes away or its time is up: it will be sent again, and
        then be found done.

        Parameters
        ----------
        deliveries : sequence of Delivery [n]
            In the order in which they came; at least one.
        timeout_s : float
            Seconds that the caller waits.

        Returns
        -------
        Accepted
            The sums over those that are new; where none is, over those that came with the first when it was new.

        Raises
        ------
        RefusedError
            If the queue has no room, the time is up, or the server stops.
        ApplicationForbiddenError
            If no record is of an application that the caller's token is for.
        """
        fresh: list[Delivery] = []
        answers: list[asyncio.Future[Accepted]] = []

        async def work() -> Accepted:
            return await asyncio.shield(together)

        for delivery in deliveries:
            is_repeat = False
            if delivery.key is not None:
                answer, is_repeat = self._deliveries.begin(delivery.key, b"", work, lambda _: _ACCEPTED_BYTES)
                answers.append(answer)
            if is_repeat:
                self._book.repeated += len(delivery.records)
            else:
                fresh.append(delivery)
        if fresh:
            is_named = any(delivery.key is not None for delivery in fresh)
            # `work` starts only when this task gives way, below.
            together = asyncio.create_task(self._score(fresh, self._max_wait_s if is_named else timeout_s))
            answers.insert(0, asyncio.shield(together) if is_named else together)
        try:
            async with asyncio.timeout(timeout_s):
                # Of all, also where one fails: else one that is sent again at once would still find itself under way.
                results = await asyncio.gather(*answers, return_exceptions=True)
        except TimeoutError:
            self.refused += 1
            raise ExpiredError("not scored in time: send it again") from None
        for result in results:
            if isinstance(result, BaseException):
                self.refused += isinstance(result, RefusedError)
                raise result
        return cast(Accepted, results[0])

    async def _score(self, deliveries: Sequence[Delivery], timeout_s: float) -> Accepted:
        scored_before = [delivery for delivery in deliveries if delivery.key in self._unpassed]
        results = [await self._passed_now(delivery) for delivery in scored_before]
        if fresh := [delivery for delivery in deliveries if delivery not in scored_before]:
            results.append(await self._scored(fresh, timeout_s))
        return results[0] if len(results) == 1 else _sum(results)

    async def _passed_now(self, delivery: Delivery) -> Accepted:
        """Pass on what was scored before the process was started."""
        if delivery.key is None or self._sink is None:
            raise AssertionError("only named deliveries are remembered, and only where there is a sink")
        response = self._unpassed[delivery.key]
        await self._pass_on(self._sink, delivery.records, response)
        self._unpassed.pop(delivery.key, None)
        self._book.repeated += len(delivery.records)
        return self._accepted(response)

    async def _scored(self, deliveries: Sequence[Delivery], timeout_s: float) -> Accepted:
        records = _joined([delivery.records for delivery in deliveries])
        with self._book.reading(len(records)):
            if self.is_blocked:
                raise QueueFullError("what was scored finds no room on its way out")
            ingested = await self._ingested(records)
            if not ingested.parts:
                check_any_in_scope(ingested.faults)
        response = pb.ScoreResponse()
        if ingested.parts:
            job = ScoreJob(
                parts=ingested.parts,
                faults=ingested.faults,
                flush=None,
                options=self._options,
                entry_count=len(records),
                named=_named(deliveries),
            )
            size = Size(entries=len(records), size_bytes=sum(delivery.size_bytes for delivery in deliveries))
            response = cast(pb.ScoreResponse, await self._reply(job, size, timeout_s))
        else:
            add_faults(response, ingested.faults)
            self._book.answered_unscored(len(records), response)
        if self._sink is not None and len(records):
            await self._pass_on(self._sink, records, response)
        return self._accepted(response)

    async def _ingested(self, records: Records) -> Ingested:
        """Divide records, and give way to other calls now and then."""
        arrival_ns = time.time_ns()
        pieces = []
        for start in range(0, len(records), _PIECE):
            if start:
                await asyncio.sleep(0)
            piece = records if len(records) <= _PIECE else records.slice(start, start + _PIECE)
            pieces.append((start, self._ingest.ingest(piece, arrival_ns=arrival_ns)))
        return pieces[0][1] if len(pieces) == 1 else _ingested_together(pieces)

    async def _pass_on(self, sink: RecordSink, records: Records, response: pb.ScoreResponse) -> None:
        """Wait until a sink has room: if what is scored already were refused, it would be scored again."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._passing, sink.add, records, response)
            except RefusedError as error:
                if self._queue.draining:
                    raise
                self._blocked += 1
                try:
                    await asyncio.sleep(error.retry_after_s)
                finally:
                    self._blocked -= 1

    async def _reply(self, job: ScoreJob, size: Size, timeout_s: float) -> Reply:
        if not self._queue.is_beyond(size):
            return await self._queue.offer(job, size, timeout_s=timeout_s)
        # More than the whole queue may hold has room only when nothing else is there. It waits for that in line, since
        # otherwise it would be refused for ever; one at a time, since what waits in line takes no room.
        if self._large_one_waits:
            error = QueueFullError("another delivery larger than the queue is waiting already")
            self._book.unread(size.entries, error)
            raise error
        self._large_one_waits = True
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._queue.put(job, size)
        except TimeoutError:
            raise ExpiredError(f"{size.entries} records found no room in time: send fewer at once") from None
        finally:
            self._large_one_waits = False
        return await reply

    def _accepted(self, response: pb.ScoreResponse) -> Accepted:
        reasons = list(dict.fromkeys(fault.message for fault in response.errors))
        message = "; ".join(reasons[:_SHOWN_REASONS])
        if response.errors:
            # The senders of most protocols cannot be told, or do not look. The words may be log text: not for the log.
            codes = sorted({fault.reason for fault in response.errors})
            self._rejections.warning("records rejected", count=len(response.errors), reasons=codes)
        return Accepted(
            entry_count=response.entry_count,
            rejected_count=len(response.errors),
            message=message,
            anomaly_count=response.anomaly_count,
        )


def _named(deliveries: Sequence[Delivery]) -> Named | None:
    keys = tuple(delivery.key for delivery in deliveries if delivery.key is not None)
    return Named(keys=keys, digest=b"", is_record_delivery=True) if keys else None


def _sum(results: Sequence[Accepted]) -> Accepted:
    return Accepted(
        entry_count=sum(result.entry_count for result in results),
        rejected_count=sum(result.rejected_count for result in results),
        message="; ".join(result.message for result in results if result.message),
        anomaly_count=sum(result.anomaly_count for result in results),
    )


def _ingested_together(pieces: Sequence[tuple[int, Ingested]]) -> Ingested:
    """What became of pieces of records, each with the place of its first one, as if they had been one."""
    parts: dict[str, list[tuple[int, Part]]] = {}
    faults: list[EntryFault] = []
    for start, ingested in pieces:
        for part in ingested.parts:
            parts.setdefault(part.application, []).append((start, part))
        for fault in ingested.faults:
            index = start + fault.index
            faults.append(replace(fault, index=index, field=f"records[{index}]"))
    return Ingested(
        parts=tuple(
            Part(
                application=application,
                positions=[start + position for start, part in found for position in part.positions],
                entry_ids=[entry_id for _, part in found for entry_id in part.entry_ids],
                batch=EntryBatch.concat([part.batch for _, part in found]),
            )
            for application, found in parts.items()
        ),
        faults=tuple(faults),
    )


def _joined(parts: Sequence[Records]) -> Records:
    if len(parts) == 1:
        return parts[0]
    return Records(
        bodies=[body for part in parts for body in part.bodies],
        times_ns=[time_ns for part in parts for time_ns in part.times_ns],
        attributes=[attributes for part in parts for attributes in part.attributes],
        origins=[origin for part in parts for origin in part.origins],
    )
