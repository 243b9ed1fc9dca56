"""Clients of a deeplog-grpc server, for threads (:class:`DeepLogClient`) and for asyncio.

Both raise the errors of :mod:`deeplog_grpc.errors`: ``InputError`` where the request is wrong, ``RefusedError`` where
it may be sent again. ``score`` and ``parse`` do the latter themselves a few times, for UNAVAILABLE only and at the pace
that the server asks for; a stream does not, since what it has under way is the caller's to repeat.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from deeplog_grpc.errors import DeepLogError, InputError, RefusedError
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import deeplog_service_pb2_grpc as stubs
from deeplog_grpc.v1 import log_entry_pb2

__all__ = ["AsyncDeepLogClient", "DeepLogClient", "StreamItem", "error_of"]

StreamItem = Sequence[log_entry_pb2.LogEntry] | pb.Flush
"""What a stream sends: a batch of entries, or an order to end sessions."""

_MAX_MESSAGE_BYTES = 64 * 2**20
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": "deeplog_grpc.v1.DeepLogService", "method": "Parse"},
                {"service": "deeplog_grpc.v1.DeepLogService", "method": "Score"},
            ],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.2s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
]
_Stub: Any = stubs.DeepLogServiceStub  # generated without types
_DETAILS_KEY = "grpc-status-details-bin"

Detail = TypeVar("Detail", bound=Message)


class DeepLogClient:
    """A client for threads.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    timeout_s : float
        Seconds that one call may take, its repetitions included.

    Examples
    --------
    >>> from deeplog_grpc.v1.log_entry_pb2 import LogEntry
    >>> with DeepLogClient("127.0.0.1:50051") as client:  # doctest: +SKIP
    ...     for verdict in client.score([LogEntry(body="disk full", session="job-1")]).verdicts:
    ...         print(verdict.kind, verdict.reason)
    """

    def __init__(self, address: str, *, timeout_s: float = 60.0) -> None:
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._stub = _Stub(self._channel)

    def score(
        self,
        entries: Iterable[log_entry_pb2.LogEntry],
        *,
        options: pb.ScoreOptions | None = None,
        flush: pb.Flush | None = None,
    ) -> pb.ScoreResponse:
        """Judge a batch of entries.

        Raises
        ------
        InputError
            If the request is wrong as a whole; single bad entries are in the response.
        RefusedError
            If the server cannot take it now, or cannot be reached.
        """
        response: pb.ScoreResponse = self._call(self._stub.Score, _score_request(entries, options, flush))
        return response

    def parse(self, bodies: Iterable[str], *, application: str = "") -> pb.ParseResponse:
        """Parse bodies into log keys and parameters; raises as :meth:`score`."""
        request = pb.ParseRequest(application=application, bodies=bodies)
        response: pb.ParseResponse = self._call(self._stub.Parse, request)
        return response

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise error_of_call(error) from None


class AsyncDeepLogClient:
    """A client for asyncio; make it in a running event loop.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    timeout_s : float
        Seconds that one unary call may take, its repetitions included. Streams have no limit.
    """

    def __init__(self, address: str, *, timeout_s: float = 60.0) -> None:
        self._timeout_s = timeout_s
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = _Stub(self._channel)

    async def score(
        self,
        entries: Iterable[log_entry_pb2.LogEntry],
        *,
        options: pb.ScoreOptions | None = None,
        flush: pb.Flush | None = None,
    ) -> pb.ScoreResponse:
        """Judge a batch of entries; raises as :meth:`DeepLogClient.score`."""
        response: pb.ScoreResponse = await self._call(self._stub.Score, _score_request(entries, options, flush))
        return response

    async def parse(self, bodies: Iterable[str], *, application: str = "") -> pb.ParseResponse:
        """Parse bodies into log keys and parameters; raises as :meth:`DeepLogClient.score`."""
        request = pb.ParseRequest(application=application, bodies=bodies)
        response: pb.ParseResponse = await self._call(self._stub.Parse, request)
        return response

    async def stream(
        self, batches: AsyncIterator[StreamItem], *, options: pb.ScoreOptions | None = None, window: int = 8
    ) -> AsyncIterator[pb.BatchResult]:
        """Send batches as they come and yield one result for each, in their order.

        A result's ``sequence`` is the number of its batch, from 0. A batch that was refused has a ``status`` with a
        code other than 0 (:func:`error_of` makes it an exception); the stream goes on. Late ends come with the next
        good result; those after the last one are left out. :meth:`responses` gives them at once.

        Parameters and errors are those of :meth:`responses`.
        """
        late = pb.ScoreResponse()
        async for message in self.responses(batches, options=options, window=window):
            if message.WhichOneof("message") == "late":
                _put_before(late, message.late)
                continue
            result = message.result
            if late.session_end_count and not result.status.code:
                _put_before(result.response, late)
                late = pb.ScoreResponse()
            yield result

    async def responses(
        self, batches: AsyncIterator[StreamItem], *, options: pb.ScoreOptions | None = None, window: int = 8
    ) -> AsyncIterator[pb.StreamScoreResponse]:
        """Send batches as they come and yield what the server sends, as it comes.

        That is a ``result`` for each batch, as :meth:`stream` says, and in between ``late`` ends of sessions, as soon
        as their time-out has passed.

        Parameters
        ----------
        batches : async iterator of StreamItem
            Read no faster than the server answers.
        options : ScoreOptions, optional
            How to judge and answer all of them.
        window : int
            Batches without an answer at most, > 0; the server's own limit counts too.

        Raises
        ------
        InputError
            If the options are wrong.
        RefusedError
            If the server stops or cannot be reached. Batches without a result have to be sent again.
        """
        call = self._stub.StreamScore()
        sender: asyncio.Task[None] | None = None
        try:
            await call.write(pb.StreamScoreRequest(config=pb.StreamConfig(options=options)))
            first = await call.read()
            slots = asyncio.Semaphore(min(window, first.ready.max_outstanding_batches))
            sender = asyncio.create_task(_send(call, batches, slots))
            while (response := await call.read()) is not grpc.aio.EOF:
                if response.WhichOneof("message") == "result":
                    slots.release()
                yield response
            await sender
        except grpc.RpcError as error:
            raise error_of_call(error) from None
        except asyncio.CancelledError:
            if sender is not None and sender.done() and not sender.cancelled():
                await sender  # it cancelled the call because `batches` raised: that is the error
            raise
        finally:
            if sender is not None:
                sender.cancel()
            call.cancel()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise error_of_call(error) from None


def error_of(status: status_pb2.Status) -> DeepLogError:
    """The exception that stands for a status other than OK.

    Examples
    --------
    >>> error_of(status_pb2.Status(code=3, message="entries: must not be empty"))
    InputError('entries: must not be empty')
    """
    if status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]:
        violations = _detail(status, error_details_pb2.BadRequest()).field_violations
        field = violations[0].field if violations else ""
        return InputError(status.message.removeprefix(f"{field}: "), field=field)
    info = _detail(status, error_details_pb2.RetryInfo())
    return RefusedError(status.message, retry_after_s=info.retry_delay.ToNanoseconds() / 1e9 or 1.0)


def error_of_call(error: Any) -> DeepLogError:
    """The exception that stands for a failed call (``grpc.RpcError``)."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            return error_of(status_pb2.Status.FromString(value))
    # Without details it is not our server that speaks, but gRPC or a proxy.
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return RefusedError(f"cannot reach the server: {error.details()}")
    return DeepLogError(f"{error.code().name}: {error.details()}")


def _detail(status: status_pb2.Status, detail: Detail) -> Detail:
    """The detail of this type, left empty if the status has none."""
    for packed in status.details:
        if packed.Unpack(detail):
            break
    return detail


def _score_request(
    entries: Iterable[log_entry_pb2.LogEntry], options: pb.ScoreOptions | None, flush: pb.Flush | None
) -> pb.ScoreRequest:
    return pb.ScoreRequest(entries=entries, options=options, flush=flush)


def _put_before(response: pb.ScoreResponse, late: pb.ScoreResponse) -> None:
    """Put the late ends of one response after those of another, and before its other ends."""
    asked = response.session_ends[response.late_end_count :]
    del response.session_ends[response.late_end_count :]
    response.session_ends.extend((*late.session_ends, *asked))
    response.late_end_count += late.late_end_count
    response.session_end_count += late.session_end_count


async def _send(call: Any, batches: AsyncIterator[StreamItem], slots: asyncio.Semaphore) -> None:
    sequence = 0
    try:
        async for item in batches:
            await slots.acquire()
            await call.write(_stream_request(sequence, item))
            sequence += 1
        await call.done_writing()
    except (grpc.RpcError, asyncio.InvalidStateError):
        return  # the call is over, and whoever reads from it learns why
    except BaseException:
        call.cancel()
        raise


def _stream_request(sequence: int, item: StreamItem) -> pb.StreamScoreRequest:
    if isinstance(item, pb.Flush):
        return pb.StreamScoreRequest(flush=pb.StreamFlush(sequence=sequence, flush=item))
    return pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=sequence, entries=item))
