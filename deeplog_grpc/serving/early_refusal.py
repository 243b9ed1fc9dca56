"""Refusal of calls before their message is read, while the server refuses anyway.

To receive and decode a message of 1,000 entries costs a good part of what judging it costs; under a flood that is
nearly all that a server would do. A call that gRPC takes for one with a stream of requests begins without its message,
and on the wire it is the same: so, while anything is refused, calls with one request are taken for such, and read when
it is known that they are not refused.
"""

from collections.abc import Awaitable, Callable, Set
from typing import Any

import grpc

from deeplog_grpc.errors import InputError, RefusedError
from deeplog_grpc.serving.admission import Admission
from deeplog_grpc.serving.calls import Context, peer_of, time_left
from deeplog_grpc.serving.status import abort


class EarlyRefusal(grpc.aio.ServerInterceptor):
    """Refuses calls of methods that take entries.

    Parameters
    ----------
    admission : Admission
        Knows who was refused of late.
    methods : set of str
        Full names of methods, ``/package.Service/Method``, whose requests are not deserialised by gRPC.
    max_wait_s : float
        Seconds that a call without a deadline waits.
    refused : callable
        Told of each error that a call is refused with.
    """

    def __init__(
        self,
        admission: Admission,
        methods: Set[str],
        max_wait_s: float,
        refused: Callable[[RefusedError], object] = lambda error: None,
    ) -> None:
        self._refused = refused
        self._admission = admission
        self._methods = methods
        self._max_wait_s = max_wait_s

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """See :class:`grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        is_asked = self._admission.is_refusing and handler_call_details.method in self._methods
        if not is_asked or handler is None or handler.unary_unary is None:
            return handler
        method: Any = handler.unary_unary  # its type is that of gRPC without asyncio

        async def call(_: Any, context: Context[Any, Any]) -> Any:
            error = self._admission.likely_refusal(peer_of(context), timeout_s=time_left(context, self._max_wait_s))
            if error is not None:
                self._refused(error)
                await abort(context, error)
            request = await context.read()
            if request is grpc.aio.EOF:
                return await abort(context, InputError("the call has no request"))
            return await method(request, context)

        return grpc.stream_unary_rpc_method_handler(call, response_serializer=handler.response_serializer)
