"""Asks the callers of gRPC methods who they are, before a byte of their request is read.

A call runs with what its caller's token is for (:data:`~deeplog_grpc.access.grants.current_grant`), which is how
applications out of its scope stay out of sight everywhere. Calls that stream may last for days: they end when their
token is taken back or is for something else.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import structlog

from deeplog_grpc.access.gate import HEADER, Gate
from deeplog_grpc.access.grants import Grant, current_grant
from deeplog_grpc.access.roles import role_of
from deeplog_grpc.errors import AccessError, RefusedError, TokenUnknownError
from deeplog_grpc.serving.calls import Context
from deeplog_grpc.serving.scarce_log import ScarceLog
from deeplog_grpc.serving.status import abort

Handler = Any
"""``grpc.RpcMethodHandler``, whose fields depend on what kind of method it is."""
Behaviour = Callable[[Any, Context[Any, Any]], Awaitable[Any]]

_FIRST_WRITE_S = 0.1
"""Seconds that a stream lasts before it is refused: gRPC's own clients forget why a call has ended if they write to it
after that, and most write at once."""

_log: Any = structlog.get_logger("deeplog_grpc.access")


@dataclass(slots=True, eq=False)
class _Lasting:
    """A call that streams."""

    digest: bytes
    grant: Grant
    task: "asyncio.Task[Any]"
    is_over: AccessError | RefusedError | None = None
    """Why it was ended."""


class Guard(grpc.aio.ServerInterceptor):
    """Refuses calls without the token that they need.

    Parameters
    ----------
    gate : Gate
        Knows the tokens.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._faults = ScarceLog(_log)
        self._lasting: set[_Lasting] = set()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for changes of the tokens; needs a running event loop."""
        self._watching = asyncio.create_task(self._watch(), name="tokens")

    def stop(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler, or one that refuses."""
        details: Any = handler_call_details
        handler = await continuation(handler_call_details)
        if handler is None or (role := role_of(details.method)) is None:
            return handler
        try:
            grant, digest = self._gate.admit(_header(details.invocation_metadata), role)
        except AccessError as error:
            return self._refusing(error, _FIRST_WRITE_S if handler.request_streaming else 0.0)
        current_grant.set(grant)  # of the task in which the handler runs
        if handler.response_streaming:
            return self._ending(handler, digest, grant)
        return handler

    def _refusing(self, error: AccessError, delay_s: float) -> Handler:
        """Refuses. It streams on both sides, whatever the method does: then nothing is read before it answers."""

        async def refuse(_: Any, context: Context[Any, Any]) -> NoReturn:
            await asyncio.sleep(delay_s)
            self._faults.warning("call refused", peer=context.peer(), reason=error.reason, message=str(error))
            await abort(context, error)

        behaviour: Any = refuse
        return grpc.stream_stream_rpc_method_handler(behaviour)

    def _ending(self, handler: Handler, digest: bytes, grant: Grant) -> Handler:
        """The handler of a method that streams, which ends when the token does not hold any more."""
        is_both = handler.request_streaming
        behaviour: Any = handler.stream_stream if is_both else handler.unary_stream
        if not inspect.iscoroutinefunction(behaviour):
            return handler  # reflection, a generator: it answers what it is asked, and lasts no longer
        make: Any = grpc.stream_stream_rpc_method_handler if is_both else grpc.unary_stream_rpc_method_handler
        until_revoked = self._until_revoked(behaviour, digest, grant)
        made: Handler = make(until_revoked, handler.request_deserializer, handler.response_serializer)
        return made

    def _until_revoked(self, behaviour: Behaviour, digest: bytes, grant: Grant) -> Behaviour:
        async def run(request: Any, context: Context[Any, Any]) -> Any:
            task = asyncio.current_task()
            if task is None:
                raise AssertionError("gRPC runs calls in tasks")
            lasting = _Lasting(digest, grant, task)
            self._lasting.add(lasting)
            try:
                return await behaviour(request, context)
            except asyncio.CancelledError:
                if lasting.is_over is None:
                    raise
                task.uncancel()
                await abort(context, lasting.is_over)
            finally:
                self._lasting.discard(lasting)

        return run

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._gate.config.reload_s)
            # The file may be on a disk that stands still.
            if await asyncio.to_thread(self._gate.reload):
                self._end_revoked()

    def _end_revoked(self) -> None:
        for lasting in list(self._lasting):
            now = self._gate.recheck(lasting.digest)
            if now == lasting.grant:
                continue
            lasting.is_over = (
                TokenUnknownError("the token has been taken back")
                if now is None
                else RefusedError("the token is for something else now: call again", retry_after_s=0.1)
            )
            lasting.task.cancel()


def _header(metadata: Any) -> str | None:
    for key, value in metadata or ():
        if key == HEADER:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None
