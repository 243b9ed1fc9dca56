"""The service's methods. Thin: they read a request, wait for its reply, and turn every error into a status."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import grpc
from google.protobuf.message import Message

from deeplog_grpc.access.grants import current_grant
from deeplog_grpc.errors import DrainingError
from deeplog_grpc.ingest import Applications, IngestConfig, LenientMessage, RoutingConfig
from deeplog_grpc.serving.answers import add_late
from deeplog_grpc.serving.calls import Calls, Context, Method, time_left
from deeplog_grpc.serving.config import ServerConfig
from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.serving.delivery import Named
from deeplog_grpc.serving.entries import EntryBook
from deeplog_grpc.serving.late import LateEnds
from deeplog_grpc.serving.operator_calls import OperatorCalls
from deeplog_grpc.serving.queue import ScoringQueue, Size
from deeplog_grpc.serving.requests import RequestReader, check_name, content_digest
from deeplog_grpc.serving.scoring import Job, Reply, ScoreJob
from deeplog_grpc.serving.stream import ScoreStream
from deeplog_grpc.serving.waiting_line import Order
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["DeepLogService"].full_name


class DeepLogServicer:
    """Serves ``deeplog_grpc.v1.DeepLogService``.

    Requests arrive as bytes and are decoded here, since broken UTF-8 must not cost a batch and a request's size counts
    in the queue.

    Parameters
    ----------
    applications : Applications
        Say which applications take entries.
    queue : ScoringQueue
        Where the jobs go.
    late : LateEnds
        What clients are still to be told.
    deliveries : Deliveries
        What was answered before.
    calls : Calls
        Knows the calls under way.
    config : ServerConfig
        Limits of streams and waiting times.
    ingest : IngestConfig
        Limits of requests.
    routing : RoutingConfig
        What attributes of entries say.
    operator_calls : OperatorCalls, optional
        Answers the methods for operators; None = they are not served.
    book : EntryBook, optional
        Counts what never comes to the queue.
    max_stream_age_s : float, optional
        Seconds after which a stream is ended; None = never.
    """

    def __init__(
        self,
        applications: Applications,
        queue: ScoringQueue[Job, Reply],
        late: LateEnds,
        deliveries: Deliveries,
        calls: Calls,
        config: ServerConfig,
        ingest: IngestConfig,
        routing: RoutingConfig,
        operator_calls: OperatorCalls | None = None,
        book: EntryBook | None = None,
        *,
        max_stream_age_s: float | None = None,
    ) -> None:
        self._book = book or EntryBook()
        self._max_stream_age_s = max_stream_age_s
        self._calls_of_operators = operator_calls
        self._calls = calls
        self._deliveries = deliveries
        self._requests = RequestReader(applications, ingest, routing)
        self._queue = queue
        self._late = late
        self._max_wait_s = config.max_wait_s
        self._ready = pb.StreamReady(
            max_outstanding_batches=config.max_outstanding_batches,
            max_batch_entries=ingest.max_entries_per_request,
            max_message_bytes=config.max_message_bytes,
        )
        self._streams: set[ScoreStream] = set()
        self._draining = False

    @property
    def open_streams(self) -> int:
        """Stream calls under way."""
        return len(self._streams)

    def handler(self) -> grpc.GenericRpcHandler:
        """What to register with a server."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        serialise = pb.StreamScoreResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Parse": unary(
                    self._calls.answered(self._parse), response_serializer=pb.ParseResponse.SerializeToString
                ),
                "Score": unary(
                    self._calls.answered(self._score), response_serializer=pb.ScoreResponse.SerializeToString
                ),
                "StreamScore": stream(
                    self._calls.answered(self._stream_score, is_stream=True), response_serializer=serialise
                ),
                **self._operator_methods(),
            },
        )

    def _operator_methods(self) -> dict[str, "grpc.RpcMethodHandler[Any, Any]"]:
        calls = self._calls_of_operators
        if calls is None:
            return {}
        methods: dict[str, Callable[[bytes], Awaitable[Message]]] = {
            "Feedback": calls.feedback,
            "Adapt": calls.adapt,
            "ListAnomalies": calls.list_anomalies,
            "ListAnomalyGroups": calls.list_groups,
            "MuteAnomalyGroup": calls.mute_group,
            "ListModelVersions": calls.list_versions,
            "RollbackModel": calls.roll_back,
            "GetDrift": calls.drift,
            "GetWorkflow": calls.workflow,
            "ListApplications": calls.list_applications,
            "TrainApplication": calls.train_application,
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                self._calls.answered(_without_context(method)), response_serializer=_serialise
            )
            for name, method in methods.items()
        }
        handlers["WatchAnomalies"] = grpc.unary_stream_rpc_method_handler(
            self._calls.answered(self._watch, is_stream=True), response_serializer=_serialise
        )
        return handlers

    async def _watch(self, raw: bytes, context: Context[Any, Any]) -> None:
        if self._calls_of_operators is not None:
            async for message in self._calls_of_operators.watch_anomalies(raw):
                await context.write(message)
            raise DrainingError("the server is stopping: watch again elsewhere, from the last verdict_id on")

    def tell(self, application: str) -> None:
        """Have late ends of an application sent on the stream that sent entries of it last, if one is open."""
        streams = [stream for stream in self._streams if stream.takes_late and application in stream.sent_at]
        if streams:
            max(streams, key=lambda stream: stream.sent_at[application]).tell(application)

    def stop_streams(self) -> None:
        """Let every stream end after the answers to what it had accepted; new ones too."""
        self._draining = True
        if self._calls_of_operators is not None:
            self._calls_of_operators.stop()
        for stream in self._streams:
            stream.stop_reading()

    async def _parse(self, raw: bytes, context: Context[Any, Any]) -> Reply:
        timeout_s = time_left(context, self._max_wait_s)
        self._queue.check_room(len(raw), timeout_s=timeout_s)
        job = self._requests.parse_job(raw)
        size = Size(entries=len(job.bodies), size_bytes=len(raw))
        return await self._queue.offer(job, size, timeout_s=timeout_s, order=Order.SMALL_FIRST)

    async def _score(self, raw: bytes, context: Context[Any, Any]) -> Reply:
        timeout_s = time_left(context, self._max_wait_s)
        self._queue.check_room(len(raw), timeout_s=timeout_s)
        request = self._requests.score_request(raw)
        with self._book.reading(len(request.entries)):
            check_name(request.batch_id, field="batch_id")
            job = self._requests.job_of(request, raw)
        size = Size(entries=job.entry_count, size_bytes=len(raw))
        if request.batch_id:
            response = await self._score_once(request, job, size)
        else:
            reply = await self._queue.offer(job, size, timeout_s=timeout_s, order=Order.SMALL_FIRST)
            response = cast(pb.ScoreResponse, reply)
        for application in job.applications:
            add_late(response, application, self._late.take(application), job.options)
        return response

    async def _score_once(self, request: LenientMessage, job: ScoreJob, size: Size) -> pb.ScoreResponse:
        """Score what no earlier request of its name had; goes on if this client goes away, for it will ask again."""
        digest = content_digest(request.entries, request.flush if request.HasField("flush") else None)
        key = ("score", current_grant.get().name, request.batch_id)  # of another token it is another
        named = replace(job, named=Named(keys=(key,), digest=digest, is_record_delivery=False))

        async def work() -> bytes:
            reply = await self._queue.offer(named, size, timeout_s=self._max_wait_s, order=Order.SMALL_FIRST)
            return cast(pb.ScoreResponse, reply).SerializeToString()

        with self._book.reading(size.entries):  # it may have the name of another delivery
            answer, is_repeat = self._deliveries.begin(key, digest, work, len, field="batch_id")
        self._book.repeated += size.entries * is_repeat
        response = pb.ScoreResponse.FromString(await answer)
        response.is_repeat = is_repeat
        return response

    async def _stream_score(self, _: Any, context: Context[Any, Any]) -> None:
        stream = ScoreStream(
            self._requests,
            self._queue,
            self._late,
            self._deliveries,
            self._ready,
            context,
            self._book,
            max_age_s=self._max_stream_age_s,
        )
        self._streams.add(stream)
        if self._draining:
            stream.stop_reading()
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)


def _without_context(method: Callable[[bytes], Awaitable[Message]]) -> Method[bytes, Message]:
    async def call(request: bytes, context: Context[Any, Any]) -> Message:
        return await method(request)

    return call


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()
