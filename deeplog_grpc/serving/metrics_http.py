"""The metrics over HTTP: ``GET /metrics``, at an address of their own."""

import asyncio

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from deeplog_grpc.serving.address import bound_socket
from deeplog_grpc.serving.metrics import Metrics
from deeplog_grpc.serving.metrics_config import MetricsConfig

_PATH = "/metrics"


class MetricsListener:
    """Answers with the metrics; a :class:`~deeplog_grpc.serving.listener.Listener`.

    Parameters
    ----------
    metrics : Metrics
        What is answered.
    config : MetricsConfig
        With an address.
    """

    name = "metrics"

    def __init__(self, metrics: Metrics, config: MetricsConfig) -> None:
        self._registry = metrics.registry
        self._config = config
        self._http: web.Server | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Begin to listen; returns the port.

        Raises
        ------
        InputError
            If the address cannot be bound.
        """
        remedy = "choose another, or null to have no metrics"
        listening = bound_socket(self._config.listen or "", field="metrics.listen", remedy=remedy)
        self._http = web.Server(self._answer, access_log=None)
        self._server = await asyncio.get_running_loop().create_server(self._http, sock=listening)
        port: int = listening.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listen no more, and close."""
        if self._server is not None and self._http is not None:
            self._server.close()
            self._server = None
            await self._http.shutdown(0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != _PATH:
            return web.Response(status=404, text=f"there is only {_PATH} here\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"}, text="read the metrics with GET\n")
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
