"""One ``StreamScore`` call: a reader that keeps a bounded number of messages under way, and a writer that answers them.

The two meet in a list of what is to be sent, in the order of the requests: messages, and jobs whose reply is to come.
A slot is taken before a message is read and given back when its answer is written; without a free slot nothing is read,
and the transport's flow control holds the client up. So does a client that does not read its answers.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import grpc
from google.rpc import status_pb2

from deeplog_grpc.errors import DrainingError, InputError
from deeplog_grpc.ingest import LenientDecoder, LenientMessage
from deeplog_grpc.serving.answers import add_faults
from deeplog_grpc.serving.queue import ScoringQueue, Size
from deeplog_grpc.serving.requests import RequestOptions, RequestReader
from deeplog_grpc.serving.scoring import Job, Reply, ScoreJob
from deeplog_grpc.serving.status import EntriesRejectedError, status_of
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

_decode = LenientDecoder("StreamScoreRequest")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Promise:
    """The answer to a message: a reply to come, or why there is none."""

    sequence: int
    reply: "asyncio.Future[Reply] | InputError"

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
    ready : StreamReady
        The bounds that the client is told; the number of slots among them.
    context : grpc.aio.ServicerContext
        The call.
    """

    def __init__(
        self,
        requests: RequestReader,
        queue: ScoringQueue[Job, Reply],
        ready: pb.StreamReady,
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> None:
        self._requests = requests
        self._queue = queue
        self._ready = ready
        self._context = context
        self._slots = asyncio.Semaphore(ready.max_outstanding_batches)
        self._outgoing: asyncio.Queue[_Promise | None] = asyncio.Queue()
        self._draining = False
        self._reader = asyncio.create_task(self._read_all())
        self._reader.add_done_callback(lambda _: self._outgoing.put_nowait(None))

    async def run(self) -> None:
        """Serve the call until the client is done, misuses it, or the server stops.

        Raises
        ------
        InputError
            If the client misuses the stream; what came before is answered.
        DrainingError
            If the server stops; what it had accepted is answered.
        """
        try:
            await self._answer_all()
            await self._reader
        except asyncio.CancelledError:
            if self._draining and self._reader.cancelled():
                raise DrainingError("the server is stopping: open the stream again elsewhere") from None
            raise
        finally:
            self._reader.cancel()
            self._abandon()

    def stop_reading(self) -> None:
        """Accept nothing more: the server stops."""
        self._draining = True
        self._reader.cancel()

    async def _read_all(self) -> None:
        options = await self._read_config()
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
            job = self._job(request, kind, options)
        except InputError as error:
            return _Promise(sequence=sequence, reply=error)
        size = Size(entries=job.entry_count, size_bytes=len(raw))
        return _Promise(sequence=sequence, reply=await self._queue.put(job, size))

    def _job(self, request: LenientMessage, kind: str, options: RequestOptions) -> ScoreJob:
        if kind == "flush":
            return self._requests.job((), options, request.flush.flush)
        return self._requests.job(request.batch.entries, options, None)

    async def _answer_all(self) -> None:
        while (promise := await self._outgoing.get()) is not None:
            result = await _result(promise)
            await self._context.write(pb.StreamScoreResponse(result=result))
            self._slots.release()

    def _abandon(self) -> None:
        while not self._outgoing.empty():
            if promise := self._outgoing.get_nowait():
                promise.abandon()


async def _result(promise: _Promise) -> pb.BatchResult:
    if isinstance(promise.reply, InputError):
        return _refusal(promise.sequence, promise.reply)
    try:
        reply = await promise.reply
    except Exception as error:
        return _refusal(promise.sequence, error)
    return pb.BatchResult(sequence=promise.sequence, status=status_pb2.Status(), response=cast(pb.ScoreResponse, reply))


def _refusal(sequence: int, error: Exception) -> pb.BatchResult:
    result = pb.BatchResult(sequence=sequence, status=status_of(error))
    if isinstance(error, EntriesRejectedError):
        add_faults(result.response, error.faults)
    return result
