"""From the spool to the server, over one stream after another.

A payload is sent with the sequence that the spool gave it, under the spool's name as that of the client. When a stream
breaks, what was not answered is sent again with the same sequences, so that the server, which remembers them, applies
it once. Answers are settled in their order, and then acknowledged. A payload that the server cannot take now ends the
stream: what comes after it must not be judged before it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
import structlog
from google.rpc import status_pb2
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from deeplog_grpc.client.config import ClientConfig
from deeplog_grpc.client.connecting import aio_channel
from deeplog_grpc.client.failures import error_of, error_of_call
from deeplog_grpc.errors import AccessError, ConfigError, DeepLogError, InputError, RefusedError, SpoolFullError
from deeplog_grpc.shipping.answers import Answer
from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.settling import Settler
from deeplog_grpc.shipping.wire import batch_request
from deeplog_grpc.storage import Spool
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

_log: Any = structlog.get_logger()
_METHOD = "/deeplog_grpc.v1.DeepLogService/StreamScore"
_MAX_MESSAGE_BYTES = 64 * 2**20
_CHANNEL: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.enable_retries", 0),
    # gRPC waits up to 2 minutes between attempts by itself; here the back-off is ours.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A host that vanished without a word is noticed by a ping.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]
_FETCHED, _FETCHED_BYTES = 4, 2**20
_ANSWERS = 4
"""Answers that wait to be settled; further ones wait in the transport."""
_INVALID = grpc.StatusCode.INVALID_ARGUMENT.value[0]
"""Code of what is a batch's own fault: another attempt is pointless."""
_FINAL = (_INVALID, grpc.StatusCode.PERMISSION_DENIED.value[0])
"""So it is for a batch whose entries are all of applications that the token is not for."""

_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Sent:
    """A payload that is under way."""

    sequence: int
    payload: bytes
    refusal: status_pb2.Status | None = None
    """Why it cannot be sent at all."""


class Sender:
    """Sends what is in a spool; make it in a running event loop.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    options : ScoreOptions
        How the server judges and answers.
    spool : Spool
    settler : Settler
        What is done with answers.
    counts : Counts
    disk : Executor
        Of one thread, in which the spool is read and answers are settled.
    answer_timeout_s, max_backoff_s : float
    is_strict : bool
        Whether a server that refuses the stream as wrong, or not for this token, is an error rather than something to
        wait for.
    client : ClientConfig
        Certificates and token.
    """

    def __init__(
        self,
        address: str,
        options: pb.ScoreOptions,
        spool: Spool,
        settler: Settler,
        counts: Counts,
        disk: Executor,
        *,
        answer_timeout_s: float,
        max_backoff_s: float,
        is_strict: bool,
        client: ClientConfig,
    ) -> None:
        self._address = address
        self._client = client
        self._config = pb.StreamConfig(options=options, client_id=f"ship-{spool.name}")
        self._spool = spool
        self._settler = settler
        self._counts = counts
        self._disk = disk
        self._answer_timeout_s = answer_timeout_s
        self._is_strict = is_strict
        self._backoff = wait_random_exponential(multiplier=0.2, min=0.1, max=max_backoff_s)
        self._unanswered: deque[_Sent] = deque()
        self._fetched: deque[tuple[int, bytes]] = deque()
        self._last = 0
        """The last sequence that was taken out of the spool."""
        self._answered = 0
        """Payloads that were answered."""
        self._answers: asyncio.Queue[Answer] = asyncio.Queue(_ANSWERS)
        self._more = asyncio.Event()
        self._is_complete = False
        self._is_exhausted = False
        """Whether all that the spool will ever have was taken out of it."""
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """The spool has more."""
        self._more.set()

    def complete(self) -> None:
        """The spool gets no more: end when all of it is answered."""
        self._is_complete = True
        self._more.set()

    def stop(self) -> None:
        """Send nothing more, and end when what is under way is answered, or when there is no connection."""
        self._stopping.set()
        self._more.set()

    async def run(self) -> None:
        """Send until complete or told to stop.

        Raises
        ------
        InputError
            With ``is_strict``, if the server refuses the stream.
        StateError, sqlite3.Error
            If the spool fails.
        BrokenPipeError
            If whoever reads annotated entries from standard output has gone.
        """
        settling = asyncio.create_task(self._settle_all())
        sending = asyncio.create_task(self._send_all())
        try:
            await asyncio.wait((settling, sending), return_when=asyncio.FIRST_COMPLETED)
            if settling.done():
                await settling  # it ends with an error only
            await sending
            joined = asyncio.create_task(self._answers.join())
            await asyncio.wait((settling, joined), return_when=asyncio.FIRST_COMPLETED)
            joined.cancel()
            if settling.done():
                await settling
        finally:
            for task in (sending, settling):
                task.cancel()
            await asyncio.gather(settling, sending, return_exceptions=True)

    @property
    def _is_done(self) -> bool:
        if self._unanswered:
            return False
        is_empty = self._is_exhausted or not self._spool.backlog_count
        return self._stopping.is_set() or (self._is_complete and is_empty)

    async def _send_all(self) -> None:
        while not self._is_done and not (self._stopping.is_set() and not self._counts.is_connected):
            # A stream that brought an answer ends a series of failures: the next series begins with a short wait.
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(RefusedError),
                wait=self._delay_s,
                stop=lambda _: self._stopping.is_set(),
                sleep=self._sleep,
                before_sleep=_log_failure,
                reraise=True,
            )
            with suppress(RefusedError):  # raised when told to stop: what is not answered stays in the spool
                await retrying(self._converse)

    def _delay_s(self, state: RetryCallState) -> float:
        error = None if state.outcome is None else state.outcome.exception()
        return max(self._backoff(state), error.retry_after_s if isinstance(error, RefusedError) else 0.0)

    async def _sleep(self, delay_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()

    async def _converse(self) -> None:
        """Serve one stream until all is done or it breaks after it brought answers.

        Raises
        ------
        RefusedError
            If it broke before.
        InputError
            With ``is_strict``, if the server refuses it.
        """
        if self._is_done:
            return
        answered = self._answered
        try:
            # Another channel each time: certificates may have been renewed meanwhile.
            channel = aio_channel(self._address, self._client, _CHANNEL)
            try:
                method: Any = channel.stream_stream(_METHOD, response_deserializer=pb.StreamScoreResponse.FromString)
                await self._serve(method())
            finally:
                await channel.close()
            return
        except grpc.RpcError as failure:
            error = error_of_call(failure)
        except (RefusedError, AccessError, ConfigError) as failure:
            error = failure
        if self._is_strict and isinstance(error, InputError | AccessError):
            raise error
        refused = error if isinstance(error, RefusedError) else RefusedError(str(error))
        if self._answered == answered:
            raise refused
        _log.warning("stream broken", reason=str(error), unanswered=len(self._unanswered))
        await self._sleep(refused.retry_after_s)

    async def _serve(self, call: Any) -> None:
        writer: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                await call.write(pb.StreamScoreRequest(config=self._config).SerializeToString())
                first = await call.read()
            if first is grpc.aio.EOF:
                raise RefusedError("the server has ended the stream")
            self._counts.connections += 1
            self._counts.is_connected = True
            _log.info("connected", server=self._address, resent=len(self._unanswered))
            slots = asyncio.Semaphore(first.ready.max_outstanding_batches)
            writer = asyncio.create_task(self._write_all(call, slots, first.ready.max_message_bytes))
            await self._read_all(call, slots)
            if not self._is_done:
                raise RefusedError("the server has ended the stream", retry_after_s=0.1)
        except asyncio.CancelledError:
            if writer is not None and writer.done() and not writer.cancelled():
                await writer  # it cancelled the call because it failed: that is the error
            raise
        except TimeoutError:
            raise RefusedError(f"the server did not answer within {self._answer_timeout_s:g} s") from None
        finally:
            self._counts.is_connected = False
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
            call.cancel()

    async def _write_all(self, call: Any, slots: asyncio.Semaphore, max_message_bytes: int) -> None:
        """Send what was not answered on the stream before, and then what is in the spool."""
        try:
            for sent in list(self._unanswered):
                await self._write(call, slots, sent, max_message_bytes)
            while (sent_next := await self._next()) is not None:
                self._unanswered.append(sent_next)
                await self._write(call, slots, sent_next, max_message_bytes)
            await call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the call is over, and whoever reads from it learns why
        except BaseException:
            call.cancel()
            raise

    async def _write(self, call: Any, slots: asyncio.Semaphore, sent: _Sent, max_message_bytes: int) -> None:
        request = batch_request(sent.sequence, sent.payload)
        if len(request) > max_message_bytes:
            # It would end every stream: gRPC does not let the server read past it.
            sent.refusal = status_pb2.Status(
                code=_INVALID, message=f"{len(request)} bytes: the server takes messages of {max_message_bytes}"
            )
            await self._put_refused()
            return
        await slots.acquire()
        self._counts.batches_sent += 1
        await call.write(request)

    async def _next(self) -> _Sent | None:
        """The next payload of the spool; None = there will be none."""
        while not self._stopping.is_set():
            if self._fetched:
                self._last, payload = self._fetched.popleft()
                return _Sent(self._last, payload)
            self._more.clear()
            is_complete = self._is_complete
            found = await self._on_disk(
                partial(self._spool.read, self._last, max_count=_FETCHED, max_bytes=_FETCHED_BYTES)
            )
            self._fetched.extend(found)
            if not found:
                self._is_exhausted = is_complete
                if is_complete:
                    return None
                await self._more.wait()
        return None

    async def _read_all(self, call: Any, slots: asyncio.Semaphore) -> None:
        """Take answers until the server ends the stream."""
        while True:
            response = await self._read(call)
            if response is grpc.aio.EOF:
                return
            if response.WhichOneof("message") == "late":
                await self._answers.put(Answer(0, b"", pb.BatchResult(response=response.late)))
                continue
            result = response.result
            code = result.status.code
            if code and code not in _FINAL:
                raise error_of(result.status)
            sent = self._unanswered.popleft()
            if sent.sequence != result.sequence:
                raise DeepLogError(f"the server has answered {result.sequence} where {sent.sequence} is due")
            self._answered += 1
            slots.release()
            await self._answers.put(Answer(sent.sequence, sent.payload, result))
            await self._put_refused()

    async def _read(self, call: Any) -> Any:
        """The next message; silence is an error while anything is under way."""
        reading = asyncio.ensure_future(call.read())
        try:
            while not (await asyncio.wait((reading,), timeout=self._answer_timeout_s))[0]:
                if self._unanswered:
                    raise TimeoutError
            return reading.result()
        finally:
            reading.cancel()

    async def _put_refused(self) -> None:
        """Pass on payloads that were not sent at all, when their turn has come."""
        while self._unanswered and self._unanswered[0].refusal is not None:
            sent = self._unanswered.popleft()
            result = pb.BatchResult(sequence=sent.sequence, status=sent.refusal)
            await self._answers.put(Answer(sent.sequence, sent.payload, result))

    async def _settle_all(self) -> None:
        while True:
            answers = [await self._answers.get()]
            while not self._answers.empty():
                answers.append(self._answers.get_nowait())
            await self._settle(answers)
            for _ in answers:
                self._answers.task_done()

    async def _settle(self, answers: list[Answer]) -> None:
        """Settle answers; a full disk is waited for, and nothing is acknowledged meanwhile."""
        while True:
            try:
                await self._on_disk(partial(self._settler.settle, answers))
                return
            except BrokenPipeError:
                raise
            except (OSError, SpoolFullError) as error:
                _log.error("answers cannot be kept", reason=str(error))
                await asyncio.sleep(1.0)

    async def _on_disk(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


def _log_failure(state: RetryCallState) -> None:
    error = None if state.outcome is None else state.outcome.exception()
    _log.warning(
        "server not reached", reason=str(error), attempt=state.attempt_number, next_in_s=round(state.upcoming_sleep, 1)
    )
