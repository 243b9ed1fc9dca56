"""Counts the calls of all gRPC services, by method and status: a server interceptor."""

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from prometheus_client import Histogram

UNKNOWN_METHOD = "unknown"
"""Stands for all methods that are not served: their names come from whoever calls."""
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}

Request = TypeVar("Request")
Answer = TypeVar("Answer")

if TYPE_CHECKING:  # generic in the stubs only
    Handler = grpc.RpcMethodHandler[Any, Any]
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Request, Answer] | None]]


class CallCounter(grpc.aio.ServerInterceptor):
    """Counts calls when they end.

    Parameters
    ----------
    seconds : Histogram
        Takes the time of each unary call, by method.
    """

    def __init__(self, seconds: Histogram) -> None:
        self._seconds = seconds
        self.ended: Counter[tuple[str, str]] = Counter()
        """By method, without its service, and the name of the status."""
        self.open = 0
        """Calls under way, streams included."""

    async def intercept_service(
        self, continuation: "Continuation[Request, Answer]", handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Request, Answer] | None":
        """See :class:`grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        if handler is None:
            self.ended[UNKNOWN_METHOD, grpc.StatusCode.UNIMPLEMENTED.name] += 1
            return handler
        method = handler_call_details.method.rpartition("/")[2]
        return wrapped(handler, lambda call, context: _Counted(self, method, context, is_unary=is_unary(handler)))

    def end(self, method: str, code: str, seconds: float | None) -> None:
        """Count a call that has ended; ``seconds`` only of a unary one."""
        self.ended[method, code] += 1
        if seconds is not None:
            self._seconds.labels(method).observe(seconds)


class _Counted:
    """One call, as a context manager around its method."""

    def __init__(self, counter: CallCounter, method: str, context: Any, *, is_unary: bool) -> None:
        self._counter, self._method, self._context = counter, method, context
        self._began_s = time.perf_counter() if is_unary else None

    def __enter__(self) -> None:
        self._counter.open += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._counter.open -= 1
        seconds = None if self._began_s is None else time.perf_counter() - self._began_s
        self._counter.end(self._method, code_of(self._context, error), seconds)


def code_of(context: Any, error: BaseException | None) -> str:
    """Name of the status that a call has ended with."""
    if isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.CANCELLED.name
    code = context.code()
    code = _CODES.get(code, code) if isinstance(code, int) else code
    name: str = getattr(code, "name", code) if code is not None else grpc.StatusCode.OK.name
    return grpc.StatusCode.UNKNOWN.name if error is not None and name == grpc.StatusCode.OK.name else name


def is_unary(handler: "Handler") -> bool:
    """Whether a method takes one message and answers with one."""
    return not handler.request_streaming and not handler.response_streaming


def wrapped(handler: "Handler", around: Callable[[Any, Any], Any]) -> "Handler":
    """A method's handler with a context manager around each call.

    Parameters
    ----------
    handler : grpc.RpcMethodHandler
        Of a method that is a coroutine function, or an asynchronous generator function.
    around : callable
        Request or requests, context -> context manager.
    """
    kinds: dict[tuple[bool, bool], tuple[str, Any]] = {
        (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
        (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
        (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
        (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
    }
    name, make = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]
    method = getattr(handler, name)

    async def call(request: Any, context: Any) -> Any:
        with around(request, context):
            return await method(request, context)

    async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
        with around(request, context):
            async for message in method(request, context):
                yield message

    own = generate if inspect.isasyncgenfunction(method) else call
    made: Handler = make(own, handler.request_deserializer, handler.response_serializer)
    return made
