"""Life cycle of the server: bind, serve, drain, stop."""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.ingest import Applications, FixedApplications, IngestConfig, RoutingConfig
from deeplog_grpc.models import set_threads
from deeplog_grpc.serving.address import bound_socket, cannot_listen
from deeplog_grpc.serving.applications import LearningApplications
from deeplog_grpc.serving.calls import Calls
from deeplog_grpc.serving.config import DeliveriesConfig, ServerConfig
from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.serving.detectors import Scorer
from deeplog_grpc.serving.early_refusal import EarlyRefusal
from deeplog_grpc.serving.garbage import ShortPauses
from deeplog_grpc.serving.late import LateEnds
from deeplog_grpc.serving.learning import Learning
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.serving.listener import Listener
from deeplog_grpc.serving.logs import configure_logging
from deeplog_grpc.serving.memory import MemoryGuard, Pressure
from deeplog_grpc.serving.memory_reading import memory_of
from deeplog_grpc.serving.metrics import Metrics, Sampler
from deeplog_grpc.serving.operator_calls import OperatorCalls
from deeplog_grpc.serving.peers import PeerCalls
from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.right_of_way import SERVING_SWITCH_INTERVAL_S
from deeplog_grpc.serving.scoring import Job, Reply, ScoringWorker
from deeplog_grpc.serving.servicer import SERVICE, DeepLogServicer
from deeplog_grpc.serving.shards import ShardLostError
from deeplog_grpc.serving.state import ServerState
from deeplog_grpc.serving.ticker import Ticker
from deeplog_grpc.serving.trainings import Trainings

_LAST_RESORT = 4
"""Times the calls that are allowed: from there on gRPC itself refuses, before anything of ours runs."""

_UNSEEN_CALLS = 10
"""Times the calls that are allowed: so many may wait for the event loop to hear of them. Beyond gRPC's own 1,000 some
are ended as CANCELLED, which no client takes for "later"."""

_NO_ENTRIES = ("HealthCheck",)
"""Methods beside those that take entries."""

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
    deliveries : DeliveriesConfig, optional
        How long answers are remembered.
    routing : RoutingConfig, optional
        What attributes of entries say.
    limits : LimitsConfig, optional
        What a peer may have, and how much memory may be held.

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
        deliveries: DeliveriesConfig | None = None,
        routing: RoutingConfig | None = None,
        limits: LimitsConfig | None = None,
    ) -> None:
        limits = limits or LimitsConfig()
        learns = state is not None and state.learning.enabled
        _check(bool(detectors) or learns, config, ingest)
        self.config = config
        """How it serves."""
        worker = ScoringWorker(detectors, watch=None if state is None else state.watch)
        self.metrics = Metrics()
        """What it says of itself."""
        self._sampler = Sampler(self.metrics)
        self.queue: ScoringQueue[Job, Reply] = ScoringQueue(
            worker,
            config,
            None if state is None else state.right_of_way,
            self.metrics,
            limits=limits,
            too_little_memory=lambda: None if self.memory is None else self.memory.refusal(),
        )
        """Public for tests, which hold it."""
        self.memory = self._memory_guard(limits)
        """Watches the memory that is held; None = there is no limit."""
        self.peers = PeerCalls(limits)
        """What each peer has under way."""
        self.late = LateEnds(max_ends=config.max_late_ends)
        """Ends of sessions that no client was told of yet."""
        self.deliveries = Deliveries(deliveries or DeliveriesConfig())
        """What was answered before."""
        self.calls = Calls(limit=config.max_concurrent_rpcs, peers=self.peers)
        """Of gRPC methods, whosoever they are."""
        self.is_draining = False
        """Whether it has been told to stop."""
        self._learning = None if state is None else Learning(state.updaters, state.journal, state.anomalies, self.queue)
        self._trainings: Trainings | None = None
        self.applications: Applications = FixedApplications(tuple(detectors))
        """Which applications take entries."""
        operator_calls = None
        if state is not None and self._learning is not None:
            if learns:
                self.applications = LearningApplications(state, self.queue)
                self._trainings = Trainings(state, self._learning, self.queue)
            operator_calls = OperatorCalls(self.applications, state, self._learning, self._trainings)
        self._servicer = DeepLogServicer(
            self.applications,
            self.queue,
            self.late,
            self.deliveries,
            self.calls,
            config,
            ingest,
            routing or RoutingConfig(),
            operator_calls,
            max_stream_age_s=limits.stream_age_s,
        )
        self._ticker = Ticker(worker, self.queue, self.late, self._servicer.tell, config.tick_s)
        self._health = health_aio.HealthServicer()
        self._entry_methods = {f"/{SERVICE}/Parse", f"/{SERVICE}/Score"}
        self._server = grpc.aio.server(
            interceptors=[EarlyRefusal(self.queue.admission, self._entry_methods, config.max_wait_s)],
            options=_channel_options(config, limits),
            maximum_concurrent_rpcs=_LAST_RESORT * config.max_concurrent_rpcs,
        )
        self._services = [SERVICE]
        self._listeners: list[Listener] = []
        self.ports: dict[str, int] = {}
        """Of the listeners, by their names; empty before :meth:`start`."""

    def add_service(self, name: str, methods: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]") -> None:
        """Serve another service on the same port, its methods wrapped by ``calls``; before :meth:`start`."""
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, dict(methods)),))
        self._services.append(name)
        self._entry_methods.update(f"/{name}/{method}" for method in methods if method not in _NO_ENTRIES)

    def add_listener(self, listener: Listener) -> None:
        """Listen with something else too; before :meth:`start`."""
        self._listeners.append(listener)

    @property
    def open_streams(self) -> int:
        """Stream calls under way."""
        return self._servicer.open_streams

    async def start(self) -> int:
        """Bind and serve; returns the port.

        Raises
        ------
        InputError
            If an address cannot be bound.
        """
        # The health service begins as SERVING, before anything is.
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.add_generic_rpc_handlers((self._servicer.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        port = self._bind()
        await self._start_listeners()
        self.queue.start()
        self._ticker.start()
        if self._learning is not None:
            self._learning.start()
        if self._trainings is not None:
            self._trainings.start()
        self._sampler.start()
        if self.memory is not None:
            self.memory.start()
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        ports = {f"{name}_port": number for name, number in self.ports.items()}
        applications = sorted(self.applications.names)
        _log.info("serving", host=self.config.address[0], port=port, **ports, applications=applications)
        return port

    async def stop(self) -> None:
        """Stop gracefully: say so, refuse new work, finish what was accepted, close.

        Takes at most ``drain_delay_s + grace_s`` and a second; what is not answered by then is cut off and logged.
        """
        self.is_draining = True
        _log.info("draining", waiting_entries=self.queue.waiting_entries)
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self.config.drain_delay_s)
        try:
            async with asyncio.timeout(self.config.grace_s):
                await self._stop_listeners()
                await self._ticker.stop()  # first: streams can still be told what it found
                self._servicer.stop_streams()
                if self._trainings is not None:
                    await self._trainings.close()
                if self._learning is not None:
                    await self._learning.close()
                await self.queue.drain()
                await self.calls.finish()
        except TimeoutError:
            _log.warning("work cut off at the end of the grace time", waiting_entries=self.queue.waiting_entries)
        self._ticker.cancel()
        self._sampler.stop()
        if self.memory is not None:
            self.memory.stop()
        await self._server.stop(_LAST_CALLS_S)
        await self.queue.close()
        if self._learning is not None:
            self._learning.end()
        if lost := len(self.late):
            # With a state, the abnormal ones are stored, and nobody may have wanted to be told.
            log = _log.warning if self._learning is None else _log.info
            log("ends of sessions that no client was told of", count=lost)
        _log.info("stopped")

    def _memory_guard(self, limits: LimitsConfig) -> MemoryGuard | None:
        if (memory := memory_of(limits.memory_mb)) is None:
            return None
        return MemoryGuard(
            memory,
            Pressure(memory.limit_bytes, soft_share=limits.memory_soft_share, hard_share=limits.memory_hard_share),
            is_busy=lambda: self.queue.waiting_entries > 0,
            empty_caches=self._empty_caches,
            relent=self.queue.let_in,
        )

    async def _empty_caches(self) -> None:
        """Let go of what can be had again, or that hardly anybody will ask for."""
        self.deliveries.forget_older_half()

    async def _set_health(self, status: int) -> None:
        for name in ("", *self._services):
            await self._health.set(name, status)

    async def _start_listeners(self) -> None:
        try:
            for listener in self._listeners:
                self.ports[listener.name] = await listener.start()
        except BaseException:
            await self._stop_listeners()
            raise

    async def _stop_listeners(self) -> None:
        await asyncio.gather(*(listener.stop() for listener in self._listeners))

    def _bind(self) -> int:
        # gRPC says neither why it cannot bind nor keeps silent about it: try first.
        bound_socket(self.config.listen, field="server.listen").close()
        try:
            return self._server.add_insecure_port(self.config.listen)
        except RuntimeError as error:
            raise cannot_listen(self.config.listen, error, field="server.listen") from error


async def serve(
    state: ServerState,
    config: ServerConfig,
    ingest: IngestConfig,
    *,
    deliveries: DeliveriesConfig | None = None,
    routing: RoutingConfig | None = None,
    limits: LimitsConfig | None = None,
    prepare: Callable[[Server], None] = lambda server: None,
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
    deliveries : DeliveriesConfig, optional
        How long answers are remembered.
    routing : RoutingConfig, optional
        What attributes of entries say.
    limits : LimitsConfig, optional
        What a peer may have, and how much memory may be held.
    prepare : callable
        Called with the server before it starts, to add services and listeners.
    ready : callable
        Called with the port once requests are answered.

    Raises
    ------
    ConfigError, InputError
        As :class:`Server`.
    ShardLostError
        If it stopped since its scoring processes died again and again.
    """
    configure_logging()
    set_threads(config.torch_threads)
    server = Server(state.detectors, config, ingest, state=state, deliveries=deliveries, routing=routing, limits=limits)
    prepare(server)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # first: who is told that it serves may stop it at once
        loop.add_signal_handler(number, stopping.set)
    if state.shards is not None:
        state.shards.on_failure = lambda: loop.call_soon_threadsafe(stopping.set)
    port = await server.start()
    sys.setswitchinterval(SERVING_SWITCH_INTERVAL_S)
    pauses = ShortPauses()
    pauses.start()
    collecting = asyncio.create_task(pauses.run(lambda: not server.queue.waiting_entries), name="garbage")
    try:
        ready(port)
        await stopping.wait()
    finally:
        collecting.cancel()
        pauses.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        await server.stop()
    if state.shards is not None and state.shards.has_failed:
        raise ShardLostError("the scoring processes died again and again, and the server stopped: start it anew")


def _check(serves_any: bool, config: ServerConfig, ingest: IngestConfig) -> None:
    if not serves_any:
        raise ConfigError("there is no application to serve: train a model first, or set learning.enabled to true")
    if config.max_queue_entries < ingest.max_entries_per_request:
        raise ConfigError(
            f"{config.max_queue_entries} is less than one request may have: give it at least "
            f"ingest.max_entries_per_request ({ingest.max_entries_per_request})",
            field="server.max_queue_entries",
        )


def _channel_options(config: ServerConfig, limits: LimitsConfig) -> list[tuple[str, int]]:
    age_s = limits.max_connection_age_s
    unseen_calls = _UNSEEN_CALLS * config.max_concurrent_rpcs
    return [
        *([] if age_s is None else [("grpc.max_connection_age_ms", round(age_s * 1000))]),
        ("grpc.server.max_pending_requests", unseen_calls),
        ("grpc.server.max_pending_requests_hard_limit", unseen_calls),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.http2.bdp_probe", 0),  # windows of 64 KiB: a flood of calls that are not read yet takes no more of each
        ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a rival
        ("grpc.keepalive_time_ms", round(config.keepalive_time_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(config.min_ping_interval_s * 1000)),
        ("grpc.max_connection_idle_ms", round(config.max_idle_s * 1000)),
    ]
