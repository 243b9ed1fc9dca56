"""Where a watch goes on when its connection breaks, and after what time; without network and clock."""

from collections.abc import Callable
from typing import Any

import grpc

from deeplog_grpc.client.failures import error_of_call
from deeplog_grpc.errors import DeepLogError, RefusedError
from deeplog_grpc.v1 import anomaly_pb2

MAX_DELAY_S = 10.0
"""The longest wait before the next try; a server that has come back is found that soon."""

OnBreak = Callable[[DeepLogError], None]
"""Is told why a watch has to connect anew."""


class Position:
    """Up to where a watch has seen all, and how often it failed since.

    Parameters
    ----------
    filter : AnomalyFilter, optional
        What is watched.
    after_verdict_id : str
        The last anomaly seen before; empty = what comes from now on.
    on_break : callable, optional
        Is told of each break.
    """

    def __init__(
        self, filter: anomaly_pb2.AnomalyFilter | None, after_verdict_id: str, on_break: OnBreak | None
    ) -> None:
        self._filter = filter
        self._last = after_verdict_id
        self._on_break = on_break
        self._failures = 0

    def request(self) -> anomaly_pb2.WatchAnomaliesRequest:
        """Asks for what comes after that."""
        return anomaly_pb2.WatchAnomaliesRequest(filter=self._filter, after_verdict_id=self._last)

    def passed(self, response: anomaly_pb2.WatchAnomaliesResponse) -> anomaly_pb2.Anomaly | None:
        """Go on behind a message; its anomaly, if it has one."""
        self._last = response.position or response.anomaly.verdict.verdict_id
        if not response.HasField("anomaly"):
            return None
        self._failures = 0
        return response.anomaly

    def delay_s(self, failure: Any) -> float:
        """Seconds to wait before the next connection.

        Parameters
        ----------
        failure : grpc.RpcError or None
            Why the connection ended; None = the server ended it without an error.

        Raises
        ------
        DeepLogError
            If another try is pointless.
        """
        error = RefusedError("the server has ended the watch") if failure is None else error_of_call(failure)
        if failure is not None and failure.code() is not grpc.StatusCode.UNAVAILABLE:
            raise error from None
        if self._on_break is not None:
            self._on_break(error)
        asked_s = error.retry_after_s if isinstance(error, RefusedError) else 1.0
        self._failures += 1
        return min(MAX_DELAY_S, max(asked_s, 0.5 * 2.0 ** min(self._failures, 10)))
