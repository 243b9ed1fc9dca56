"""Vector's own protocol: the ``vector`` sink, on the server's own port."""

from collections.abc import Callable
from typing import Any

import grpc

from deeplog_grpc.ingest.vector import SERVICE, decode_events
from deeplog_grpc.receivers.decoding import decoded
from deeplog_grpc.receivers.identity import content_key, deeplog_headers
from deeplog_grpc.serving.calls import Calls, Context, time_left
from deeplog_grpc.serving.intake import Intake
from deeplog_grpc.serving.peers import host_of_peer

__all__ = ["SERVICE", "VectorReceiver"]

_SERVING = b""
"""A ``HealthCheckResponse`` with the status SERVING, which is 0 and the default."""
_NOT_SERVING = b"\x08\x01"


class VectorReceiver:
    """The service's methods.

    Parameters
    ----------
    intake : Intake
        Takes the log events; metrics and traces are passed over.
    max_wait_s : float
        Seconds that a call without a deadline of its own waits.
    is_draining : callable
        Whether the server is about to stop.
    """

    def __init__(self, intake: Intake, max_wait_s: float, is_draining: Callable[[], bool]) -> None:
        self._intake = intake
        self._max_wait_s = max_wait_s
        self._is_draining = is_draining

    def methods(self, calls: Calls) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """What to serve under ``SERVICE``."""
        unary = grpc.unary_unary_rpc_method_handler
        return {
            "PushEvents": unary(calls.answered(self._push_events)),
            "HealthCheck": unary(calls.answered(self._health_check)),
        }

    async def _push_events(self, raw: bytes, context: Context[Any, Any]) -> bytes:
        timeout_s = time_left(context, self._max_wait_s)
        self._intake.check_room(len(raw), timeout_s=timeout_s)
        headers = deeplog_headers(context.invocation_metadata() or ())
        records = await decoded(lambda raw: decode_events(raw, headers).records, raw)
        key = content_key("vector", raw, records, headers, host_of_peer(context.peer()))
        await self._intake.accept(records, size_bytes=len(raw), key=key, timeout_s=timeout_s)
        return b""

    async def _health_check(self, raw: bytes, context: Context[Any, Any]) -> bytes:
        return _NOT_SERVING if self._is_draining() else _SERVING
