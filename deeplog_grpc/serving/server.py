"""Life cycle of the server: bind, serve, drain, stop."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from deeplog_grpc.errors import ConfigError, InputError
from deeplog_grpc.ingest import Applications, FixedApplications, IngestConfig
from deeplog_grpc.models import set_threads
from deeplog_grpc.serving.applications import LearningApplications
from deeplog_grpc.serving.config import ServerConfig
from deeplog_grpc.serving.detectors import Scorer
from deeplog_grpc.serving.late import LateEnds
from deeplog_grpc.serving.learning import Learning
from deeplog_grpc.serving.logs import configure_logging
from deeplog_grpc.serving.operator_calls import OperatorCalls
from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.right_of_way import settle
from deeplog_grpc.serving.scoring import Job, Reply, ScoringWorker
from deeplog_grpc.serving.servicer import SERVICE, DeepLogServicer
from deeplog_grpc.serving.state import ServerState
from deeplog_grpc.serving.ticker import Ticker
from deeplog_grpc.serving.trainings import Trainings

_LAST_CALLS_S = 1.0
"""Seconds for calls that are being refused. Longer would be lost on clients that watch the health of the server: their
calls never end."""

_log = structlog.get_logger("deeplog_grpc.serving")


class Server:
    """A server of detectors, in the running event loop.

    Parameters
    ----------
    detectors : mapping of str to Scorer
        By application; at least one, unless the state learns those that come.
    config : ServerConfig
        How to serve.
    ingest : IngestConfig
        What to accept.
    state : ServerState, optional
        Where anomalies and feedback are kept; None = nowhere, and the methods for operators are not served.

    Raises
    ------
    ConfigError
        If there is no application, or the queue could never take one full request.
    """

    def __init__(
        self,
        detectors: Mapping[str, Scorer],
        config: ServerConfig,
        ingest: IngestConfig,
        *,
        state: ServerState | None = None,
    ) -> None:
        learns = state is not None and state.learning.enabled
        _check(bool(detectors) or learns, config, ingest)
        self._config = config
        worker = ScoringWorker(detectors, watch=None if state is None else state.watch)
        self.queue: ScoringQueue[Job, Reply] = ScoringQueue(
            worker, config, None if state is None else state.right_of_way
        )
        """Public for tests, which hold it."""
        self.late = LateEnds(max_ends=config.max_late_ends)
        """Ends of sessions that no client was told of yet."""
        self._learning = None if state is None else Learning(state.updaters, state.journal, state.anomalies, self.queue)
        self._trainings: Trainings | None = None
        self.applications: Applications = FixedApplications(tuple(detectors))
        """Which applications take entries."""
        calls = None
        if state is not None and self._learning is not None:
            if learns:
                self.applications = LearningApplications(state, self.queue)
                self._trainings = Trainings(state, self._learning, self.queue)
            calls = OperatorCalls(self.applications, state, self._learning, self._trainings)
        self._servicer = DeepLogServicer(self.applications, self.queue, self.late, config, ingest, calls)
        self._ticker = Ticker(worker, self.queue, self.late, self._servicer.tell, config.tick_s)
        self._health = health_aio.HealthServicer()
        self._server = grpc.aio.server(
            options=_channel_options(config), maximum_concurrent_rpcs=config.max_concurrent_rpcs
        )

    @property
    def open_streams(self) -> int:
        """Stream calls under way."""
        return self._servicer.open_streams

    async def start(self) -> int:
        """Bind and serve; returns the port.

        Raises
        ------
        InputError
            If the address cannot be bound.
        """
        # The health service begins as SERVING, before anything is.
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.add_generic_rpc_handlers((self._servicer.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        port = self._bind()
        self.queue.start()
        self._ticker.start()
        if self._learning is not None:
            self._learning.start()
        if self._trainings is not None:
            self._trainings.start()
        settle()
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        _log.info("serving", host=self._config.address[0], port=port, applications=sorted(self.applications.names))
        return port

    async def stop(self) -> None:
        """Stop gracefully: say so, refuse new work, finish what was accepted, close.

        Takes at most ``drain_delay_s + grace_s`` and a second; what is not answered by then is cut off and logged.
        """
        _log.info("draining", waiting_entries=self.queue.waiting_entries)
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._config.drain_delay_s)
        try:
            async with asyncio.timeout(self._config.grace_s):
                await self._ticker.stop()  # first: streams can still be told what it found
                self._servicer.stop_streams()
                if self._trainings is not None:
                    await self._trainings.close()
                if self._learning is not None:
                    await self._learning.close()
                await self.queue.drain()
                await self._servicer.finish()
        except TimeoutError:
            _log.warning("work cut off at the end of the grace time", waiting_entries=self.queue.waiting_entries)
        self._ticker.cancel()
        await self._server.stop(_LAST_CALLS_S)
        await self.queue.close()
        if self._learning is not None:
            self._learning.end()
        if lost := len(self.late):
            _log.warning("ends of sessions that no client was told of", count=lost)
        _log.info("stopped")

    async def _set_health(self, status: int) -> None:
        for name in ("", SERVICE):
            await self._health.set(name, status)

    def _bind(self) -> int:
        host, port = self._config.address
        try:
            # gRPC says neither why it cannot bind nor keeps silent about it: try first.
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
            return self._server.add_insecure_port(self._config.listen)
        except (OSError, RuntimeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            message = f"cannot listen on {self._config.listen} ({reason}): choose another, or port 0 for any free one"
            raise InputError(message, field="server.listen") from error


async def serve(
    state: ServerState,
    config: ServerConfig,
    ingest: IngestConfig,
    *,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully; a second signal ends the process at once.

    Parameters
    ----------
    state : ServerState
        The detectors of at least one application, and where anomalies and feedback are kept.
    config : ServerConfig
        How to serve.
    ingest : IngestConfig
        What to accept.
    ready : callable
        Called with the port once requests are answered.

    Raises
    ------
    ConfigError, InputError
        As :class:`Server`.
    """
    configure_logging()
    set_threads(config.torch_threads)
    server = Server(state.detectors, config, ingest, state=state)
    port = await server.start()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        ready(port)
        await stopping.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        await server.stop()


def _check(serves_any: bool, config: ServerConfig, ingest: IngestConfig) -> None:
    if not serves_any:
        raise ConfigError("there is no application to serve: train a model first, or set learning.enabled to true")
    if config.max_queue_entries < ingest.max_entries_per_request:
        raise ConfigError(
            f"{config.max_queue_entries} is less than one request may have: give it at least "
            f"ingest.max_entries_per_request ({ingest.max_entries_per_request})",
            field="server.max_queue_entries",
        )


def _channel_options(config: ServerConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a rival
        ("grpc.keepalive_time_ms", round(config.keepalive_time_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(config.min_ping_interval_s * 1000)),
        ("grpc.max_connection_idle_ms", round(config.max_idle_s * 1000)),
    ]
