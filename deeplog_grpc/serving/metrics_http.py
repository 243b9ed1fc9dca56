"""What is asked about a server over plain HTTP, at an address of its own: its metrics, and how it does."""

import asyncio
from collections.abc import Callable

import orjson
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from deeplog_grpc.serving.address import bound_socket
from deeplog_grpc.serving.health import Health
from deeplog_grpc.serving.metrics import Metrics
from deeplog_grpc.serving.metrics_config import MetricsConfig

_INDEX = """deeplog-grpc
/metrics  for Prometheus
/healthz  200 while the process is alive, else 503
/readyz   200 while it takes entries, else 503; JSON: what is wrong, by check
"""


class MetricsListener:
    """Answers with the metrics and the health; a :class:`~deeplog_grpc.serving.listener.Listener`.

    Parameters
    ----------
    metrics : Metrics
        What is answered.
    config : MetricsConfig
        With an address.
    health : Health
        How the server does.
    """

    name = "metrics"

    def __init__(self, metrics: Metrics, config: MetricsConfig, health: Health) -> None:
        self._registry = metrics.registry
        self._config = config
        self._health = health
        self._paths: dict[str, Callable[[web.BaseRequest], web.Response]] = {
            "/": lambda _: web.Response(text=_INDEX),
            "/metrics": self._metrics,
            "/healthz": self._alive,
            "/readyz": self._ready,
        }
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
        if (answer := self._paths.get(request.path)) is None:
            return web.Response(status=404, text=f"there are {', '.join(self._paths)} here\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"}, text="read with GET\n")
        return answer(request)

    def _metrics(self, request: web.BaseRequest) -> web.Response:
        # On the event loop: what became of entries adds up at any moment between two of its steps.
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    def _alive(self, _: web.BaseRequest) -> web.Response:
        alive = self._health.is_alive
        return web.Response(status=200 if alive else 503, text="alive\n" if alive else "not alive\n")

    def _ready(self, _: web.BaseRequest) -> web.Response:
        problems = self._health.problems()
        is_ready = not any(problems.values())
        body = orjson.dumps({"ready": is_ready, "checks": {name: found or "ok" for name, found in problems.items()}})
        return web.Response(status=200 if is_ready else 503, body=body + b"\n", content_type="application/json")
