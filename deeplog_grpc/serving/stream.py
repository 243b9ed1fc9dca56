"""One ``StreamScore`` call: a reader that keeps a bounded number of messages under way, and a writer that answers them.

The two meet in a list of what is to be sent, in the order of the requests: messages, and jobs whose reply is to come.
A slot is taken before a message is read and given back when its answer is written; without a free slot nothing is read,
and the transport's flow control holds the client up. So does a client that does not read its answers.

Late ends take no slot. What is to be sent names their application only: they stay where they are kept, in bounds, until
their turn has come and the client reads.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any, cast

import grpc
from google.rpc import status_pb2

from deeplog_grpc.access.grants import current_grant
from deeplog_grpc.errors import DrainingError, InputError, RefusedError, StreamAgeError
from deeplog_grpc.ingest import LenientDecoder, LenientMessage
from deeplog_grpc.serving.answers import add_faults, add_late
from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.serving.delivery import Named
from deeplog_grpc.serving.entries import EntryBook
from deeplog_grpc.serving.late import LateEnds
from deeplog_grpc.serving.queue import ScoringQueue, Size
from deeplog_grpc.serving.requests import RequestOptions, RequestReader, check_name, content_digest
from deeplog_grpc.serving.scoring import Job, Reply, ScoreJob
from deeplog_grpc.serving.status import EntriesRejectedError, status_of
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

_REOPEN_S = 0.1
"""After which a stream can be opened again that was ended for its age: there is nothing to wait for."""

_decode = LenientDecoder("StreamScoreRequest")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Promise:
    """The answer to a message: a reply to come, or why there is none."""

    sequence: int
    reply: "asyncio.Future[Reply] | asyncio.Future[bytes] | InputError"
    """A message, or one serialised, which others may have too."""
    is_repeat: bool = False
    applications: frozenset[str] = frozenset()
    """Whose late ends the answer takes along."""

    def abandon(self) -> None:
        """Nobody will be told: if it is not computed yet, it need not be."""
        if isinstance(self.reply, asyncio.Future) and not self.reply.cancel() and not self.reply.cancelled():
            self.reply.exception()  # looked at, else asyncio would print it, with its text


class ScoreStream:
    """Serves one call, from the moment it is made; see the module.

    Parameters
    ----------
    requests : RequestReader
        Checks what comes in.
    queue : ScoringQueue
        Where the jobs go.
    late : LateEnds
        What clients are still to be told.
    deliveries : Deliveries
        What was answered before.
    ready : StreamReady
        The bounds that the client is told; the number of slots among them.
    context : grpc.aio.ServicerContext
        The call.
    book : EntryBook
        Counts what never comes to the queue.
    max_age_s : float, optional
        Seconds after which nothing more is read; None = never.
    """

    def __init__(
        self,
        requests: RequestReader,
        queue: ScoringQueue[Job, Reply],
        late: LateEnds,
        deliveries: Deliveries,
        ready: pb.StreamReady,
        context: "grpc.aio.ServicerContext[Any, Any]",
        book: EntryBook,
        *,
        max_age_s: float | None = None,
    ) -> None:
        self._book = book
        self._requests = requests
        self._queue = queue
        self._late = late
        self._deliveries = deliveries
        self._client_id = b""
        self._options: RequestOptions | None = None
        self._telling: set[str] = set()
        """Applications whose late ends are about to be sent."""
        self.sent_at: dict[str, float] = {}
        """Application -> event loop time at which a message with entries or a flush of it was accepted last."""
        self._ready = ready
        self._context = context
        self._slots = asyncio.Semaphore(ready.max_outstanding_batches)
        self._outgoing: asyncio.Queue[_Promise | str | None] = asyncio.Queue()
        self._end: RefusedError | None = None
        """Why nothing more is read, if the client is not the reason."""
        self._max_age_s = max_age_s
        self._reader = asyncio.create_task(self._read_all())
        self._reader.add_done_callback(lambda _: self._outgoing.put_nowait(None))

    async def run(self) -> None:
        """Serve the call until the client is done, misuses it, or the server stops.

        Raises
        ------
        InputError
            If the client misuses the stream; what came before is answered.
        DrainingError, StreamAgeError
            If the server stops, or the stream is as old as it may be; what it had accepted is answered.
        """
        ageing = None
        if self._max_age_s is not None:
            ageing = asyncio.get_running_loop().call_later(self._max_age_s, self._end_of_age)
        try:
            await self._answer_all()
            await self._reader
        except asyncio.CancelledError:
            if self._end is not None and self._reader.cancelled():
                raise self._end from None
            raise
        finally:
            if ageing is not None:
                ageing.cancel()
            self._reader.cancel()
            self._abandon()

    @property
    def takes_late(self) -> bool:
        """Whether :meth:`tell` still reaches the client."""
        return self._end is None and not self._reader.done()

    def tell(self, application: str) -> None:
        """Send the late ends of an application when their turn has come."""
        if application not in self._telling:
            self._telling.add(application)
            self._outgoing.put_nowait(application)

    def stop_reading(self) -> None:
        """Accept nothing more: the server stops."""
        self._end = DrainingError("the server is stopping: open the stream again elsewhere")
        self._reader.cancel()

    def _end_of_age(self) -> None:
        if self.takes_late:
            message = "the stream is as old as one may be (limits.max_stream_age_s): open it again"
            self._end = StreamAgeError(message, retry_after_s=_REOPEN_S)
            self._reader.cancel()

    async def _read_all(self) -> None:
        self._options = options = await self._read_config()
        await self._context.write(pb.StreamScoreResponse(ready=self._ready))
        while True:
            await self._slots.acquire()
            raw = await self._context.read()
            if raw is grpc.aio.EOF:
                return
            self._outgoing.put_nowait(await self._accept(raw, options))

    async def _read_config(self) -> RequestOptions:
        raw = await self._context.read()
        message = None if raw is grpc.aio.EOF else _decode(raw)
        if message is None or message.WhichOneof("message") != "config":
            raise InputError("must be the first message of a stream", field="config")
        check_name(message.config.client_id, field="config.client_id")
        self._client_id = message.config.client_id
        return self._requests.options(message.config.options, field="config.options")

    async def _accept(self, raw: bytes, options: RequestOptions) -> _Promise:
        """Put the job of a message in the queue, when there is room."""
        request = _decode(raw)
        kind = request.WhichOneof("message")
        if kind not in ("batch", "flush"):
            message = "may only be the first message" if kind else "must hold a batch or a flush"
            raise InputError(f"{message} of a stream", field=kind or "message")
        sequence = getattr(request, kind).sequence
        try:
            with self._book.reading(len(request.batch.entries)):
                job = self._job(request, kind, options, raw)
            size = Size(entries=job.entry_count, size_bytes=len(raw))
            if self._client_id:
                promise = self._promise_once(request, kind, job, size)
            else:
                reply = await self._queue.put(job, size)
                promise = _Promise(sequence=sequence, reply=reply, applications=frozenset(job.applications))
        except InputError as error:
            return _Promise(sequence=sequence, reply=error)
        self.sent_at.update(dict.fromkeys(job.applications, asyncio.get_running_loop().time()))
        return promise

    def _promise_once(self, request: LenientMessage, kind: str, job: ScoreJob, size: Size) -> _Promise:
        """Put a job in the queue if no message of the client's had its sequence; it stays there if the client goes."""
        message = getattr(request, kind)
        flush = request.flush.flush if kind == "flush" else None
        digest = content_digest(() if kind == "flush" else message.entries, flush)
        key = ("stream", current_grant.get().name, self._client_id, message.sequence)
        named = replace(job, named=Named(keys=(key,), digest=digest, is_record_delivery=False))

        async def work() -> bytes:
            reply = await self._queue.put(named, size)
            return cast(pb.ScoreResponse, await reply).SerializeToString()

        with self._book.reading(size.entries):  # it may have the sequence of another message
            reply, is_repeat = self._deliveries.begin(key, digest, work, len, field=f"{kind}.sequence")
        self._book.repeated += size.entries * is_repeat
        applications = frozenset(job.applications)
        return _Promise(sequence=message.sequence, reply=reply, is_repeat=is_repeat, applications=applications)

    def _job(self, request: LenientMessage, kind: str, options: RequestOptions, raw: bytes) -> ScoreJob:
        if kind == "flush":
            return self._requests.job((), options, request.flush.flush)
        return self._requests.job(request.batch.entries, options, None, plain=_decode.plain(raw).batch.entries)

    async def _answer_all(self) -> None:
        while (item := await self._outgoing.get()) is not None:
            if isinstance(item, _Promise):
                result = await _result(item)
                if not result.status.code:
                    for application in item.applications:
                        self._add_late(result.response, application)
                await self._context.write(pb.StreamScoreResponse(result=result))
                self._slots.release()
            else:
                self._telling.discard(item)
                await self._write_late(item)

    async def _write_late(self, application: str) -> None:
        late = pb.ScoreResponse()
        while self._add_late(late, application):
            await self._context.write(pb.StreamScoreResponse(late=late))
            late = pb.ScoreResponse()

    def _add_late(self, response: pb.ScoreResponse, application: str) -> bool:
        """Put late ends into a response; whether there were any."""
        ends = self._late.take(application)
        if ends and self._options is not None:
            add_late(response, application, ends, self._options.answer)
        return bool(ends)

    def _abandon(self) -> None:
        while not self._outgoing.empty():
            if isinstance(item := self._outgoing.get_nowait(), _Promise):
                item.abandon()


async def _result(promise: _Promise) -> pb.BatchResult:
    if isinstance(promise.reply, InputError):
        return _refusal(promise.sequence, promise.reply)
    try:
        reply = await promise.reply
    except Exception as error:
        return _refusal(promise.sequence, error)
    response = pb.ScoreResponse.FromString(reply) if isinstance(reply, bytes) else cast(pb.ScoreResponse, reply)
    response.is_repeat = promise.is_repeat
    return pb.BatchResult(sequence=promise.sequence, status=status_pb2.Status(), response=response)


def _refusal(sequence: int, error: Exception) -> pb.BatchResult:
    result = pb.BatchResult(sequence=sequence, status=status_of(error))
    if isinstance(error, EntriesRejectedError):
        add_faults(result.response, error.faults)
    return result
