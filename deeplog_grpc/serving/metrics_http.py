"""What is asked about a server over plain HTTP, at an address of its own: its metrics, and how it does."""

import asyncio
from collections.abc import Callable

import orjson
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from deeplog_grpc.access.certificates import Certificates
from deeplog_grpc.access.gate import Gate
from deeplog_grpc.access.roles import Role
from deeplog_grpc.errors import AccessError
from deeplog_grpc.serving.address import bound_socket, check_public
from deeplog_grpc.serving.health import Health
from deeplog_grpc.serving.http_guard import UNAUTHORISED, HttpGuard, http_status
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
    certificates : Certificates, optional
        With them it speaks TLS, and where clients need a certificate too, the metrics are for those who have one.
    gate : Gate, optional
        With it, and if its configuration says so, the metrics need a token.

    Raises
    ------
    ConfigError
        If strangers could read the metrics.
    """

    name = "metrics"

    def __init__(
        self,
        metrics: Metrics,
        config: MetricsConfig,
        health: Health,
        certificates: Certificates | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._certificates = certificates
        asks = gate is not None and gate.config.metrics
        self._guard = HttpGuard(gate if asks else None)
        check_public(
            config.listen,
            allow_public=config.allow_public,
            is_guarded=certificates is not None and (asks or certificates.asks_clients),
            section="metrics",
            guard="set tls.cert and tls.key together with tls.client_ca or access.metrics",
        )
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
        self._server = await asyncio.get_running_loop().create_server(
            self._http,
            sock=listening,
            ssl=None if self._certificates is None else self._certificates.context(needs_client=False),
        )
        port: int = listening.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listen no more, and close."""
        if self._server is not None and self._http is not None:
            self._server.close()
            self._server = None
            await self._http.shutdown(0)

    @property
    def _needs_certificate(self) -> bool:
        return self._certificates is not None and self._certificates.asks_clients

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if (answer := self._paths.get(request.path)) is None:
            return web.Response(status=404, text=f"there are {', '.join(self._paths)} here\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"}, text="read with GET\n")
        return answer(request)

    def _metrics(self, request: web.BaseRequest) -> web.Response:
        if self._needs_certificate and not _has_certificate(request):
            return web.Response(status=403, text="the metrics are for clients with a certificate\n")
        try:
            self._guard.check(request, Role.READ)
        except AccessError as error:
            status = http_status(error)
            return web.Response(status=status, headers=UNAUTHORISED if status == 401 else {}, text=f"{error}\n")
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


def _has_certificate(request: web.BaseRequest) -> bool:
    """Whether the client showed one, which was checked in the handshake then."""
    return request.transport is not None and bool(request.transport.get_extra_info("peercert"))
