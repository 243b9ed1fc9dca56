"""The server: what it is made of, and its life cycle: bind, serve, drain, stop."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from deeplog_grpc.access.certificates import Certificates
from deeplog_grpc.access.config import AccessConfig, TlsConfig
from deeplog_grpc.access.gate import Gate
from deeplog_grpc.access.scope import ScopedApplications
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.ingest import Applications, FixedApplications, IngestConfig, RoutingConfig
from deeplog_grpc.serving.access_metrics import AccessMetrics
from deeplog_grpc.serving.address import bound_socket, cannot_listen, check_public
from deeplog_grpc.serving.applications import LearningApplications
from deeplog_grpc.serving.calls import Calls
from deeplog_grpc.serving.collectors import ServerCollector, state_name
from deeplog_grpc.serving.config import DeliveriesConfig, ServerConfig
from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.serving.detectors import Scorer
from deeplog_grpc.serving.early_refusal import EarlyRefusal
from deeplog_grpc.serving.guard import Guard
from deeplog_grpc.serving.health import Health
from deeplog_grpc.serving.late import LateEnds
from deeplog_grpc.serving.learning import Learning
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.serving.listener import Listener
from deeplog_grpc.serving.memory import MemoryGuard, Pressure
from deeplog_grpc.serving.memory_reading import memory_of
from deeplog_grpc.serving.metrics import Metrics, Sampler
from deeplog_grpc.serving.operator_calls import OperatorCalls
from deeplog_grpc.serving.peers import PeerCalls
from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.receiver_counts import ReceiverCounts
from deeplog_grpc.serving.scoring import Job, Reply, ScoringWorker
from deeplog_grpc.serving.servicer import SERVICE, DeepLogServicer
from deeplog_grpc.serving.state import ServerState
from deeplog_grpc.serving.ticker import Ticker
from deeplog_grpc.serving.trainings import Trainings
from deeplog_grpc.v1 import application_pb2

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
    tls : TlsConfig, optional
        Certificates of its ports.
    access : AccessConfig, optional
        Who may call what.
    limits : LimitsConfig, optional
        What a peer may have, and how much memory may be held.
    interceptors : sequence of grpc.aio.ServerInterceptor
        Around all gRPC calls, also those that are refused, the first outermost; what counts them is around them all.

    Raises
    ------
    ConfigError
        If there is no application, the queue could never take one full request, certificates or tokens cannot be used,
        or strangers could reach it.
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
        tls: TlsConfig | None = None,
        access: AccessConfig | None = None,
        limits: LimitsConfig | None = None,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    ) -> None:
        limits = limits or LimitsConfig()
        learns = state is not None and state.learning.enabled
        _check(bool(detectors) or learns, config, ingest)
        self.config = config
        """How it serves."""
        self.certificates = Certificates.of(tls or TlsConfig())
        """Those of its ports; None = there is no TLS."""
        self.gate = Gate(access) if access is not None and access.tokens_file is not None else None
        """Knows the tokens; None = nobody is asked for one."""
        check_public(
            config.listen, allow_public=config.allow_public, is_guarded=self.keeps_strangers_out, section="server"
        )
        self._guard = None if self.gate is None else Guard(self.gate)
        self.state = state
        """Where it keeps things; None = nowhere."""
        self.worker = ScoringWorker(
            detectors,
            watch=None if state is None else state.watch,
            recovery=None if state is None else state.recovery,
        )
        """Scores; its methods belong to the scoring thread."""
        self.metrics = Metrics()
        """What it says of itself."""
        self.metrics.registry.register(AccessMetrics(self.certificates, self.gate))
        self._sampler = Sampler(self.metrics)
        self.queue: ScoringQueue[Job, Reply] = ScoringQueue(
            self.worker,
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
        remembered = () if state is None else state.restored.remembered
        for found in remembered:
            if not found.is_record_delivery:
                self.deliveries.remember(found.key, found.digest, found.answer, len(found.answer))
        self.remembered_deliveries = tuple(found for found in remembered if found.is_record_delivery)
        """What the receivers' deliveries were answered before a restart."""
        self.calls = Calls(limit=config.max_concurrent_rpcs, peers=self.peers)
        """Of gRPC methods, whosoever they are."""
        self.is_draining = False
        """Whether it has been told to stop."""
        self.learning: Learning | None = None
        """Takes feedback; None = it has no state."""
        if state is not None:
            self.learning = Learning(state.updaters, state.journal, state.anomalies, self.queue)
            self.learning.on_update = self.metrics.update.observe
        self.trainings: Trainings | None = None
        """None = it does not learn by itself."""
        self.applications: Applications = ScopedApplications(FixedApplications(tuple(detectors)))
        """Which applications take entries."""
        operator_calls = None
        if state is not None and self.learning is not None:
            if learns:
                self.applications = ScopedApplications(LearningApplications(state, self.queue))
                self.trainings = Trainings(state, self.learning, self.queue)
            operator_calls = OperatorCalls(self.applications, state, self.learning, self.trainings)
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
            self.metrics.entries,
            max_stream_age_s=limits.stream_age_s,
        )
        self._ticker = Ticker(self.worker, self.queue, self.late, self._servicer.tell, config.tick_s)
        self.health = Health(
            SERVICE, run_s=self._run_s, stall_s=config.stall_s, dead_s=config.dead_s, detecting=self._detecting
        )
        """How it does."""
        self.health.add_check("memory", self._memory_problem)
        self._entry_methods = {f"/{SERVICE}/Parse", f"/{SERVICE}/Score"}
        early = EarlyRefusal(self.queue.admission, self._entry_methods, config.max_wait_s, self.queue.unread)
        guards = [] if self._guard is None else [self._guard]
        self._server = grpc.aio.server(
            interceptors=[self.metrics.calls, *interceptors, *guards, early],
            options=_channel_options(config, limits),
            maximum_concurrent_rpcs=_LAST_RESORT * config.max_concurrent_rpcs,
        )
        self.receiver_counts: dict[str, ReceiverCounts] = {}
        """What receivers that are no gRPC services count, by their names."""
        self._admin: Listener | None = None
        self.metrics.registry.register(ServerCollector(self))
        self._listeners: list[Listener] = []
        self.ports: dict[str, int] = {}
        """Of the listeners, by their names; empty before :meth:`start`."""

    def add_service(self, name: str, methods: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]") -> None:
        """Serve another service on the same port, its methods wrapped by ``calls``; before :meth:`start`."""
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, dict(methods)),))
        self.health.add_services([name])
        self._entry_methods.update(f"/{name}/{method}" for method in methods if method not in _NO_ENTRIES)

    def add_listener(self, listener: Listener) -> None:
        """Listen with something else too; before :meth:`start`."""
        self._listeners.append(listener)

    def add_admin_listener(self, listener: Listener) -> None:
        """Let something tell how the server does, from before it serves until after it has drained."""
        self._admin = listener

    def application_states(self) -> dict[str, str]:
        """Application -> LEARNING, TRAINING, DETECTING or RETRAINING, in the order in which they came."""
        trained = "" if self.trainings is None else self.trainings.under_way
        names = self.applications.names
        return {name: state_name(_state_of(self._learns(name), name == trained)) for name in names}

    @property
    def keeps_strangers_out(self) -> bool:
        """Whether there is TLS, and callers must have a token or a certificate."""
        if self.certificates is None:
            return False
        return self.certificates.asks_clients or (self.gate is not None and not self.gate.config.without_token)

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
        # The health service of gRPC begins as SERVING, before anything is.
        await self.health.start()
        self._server.add_generic_rpc_handlers((self._servicer.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self.health.service, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        port = self._bind()
        await self._start_listeners()
        self.queue.start()
        self._ticker.start()
        if self.learning is not None:
            self.learning.start()
        if self.trainings is not None:
            self.trainings.start()
        self._sampler.start()
        if self._guard is not None:
            self._guard.start()
        if self.memory is not None:
            self.memory.start()
        await self._server.start()
        await self.health.serving()
        ports = {f"{name}_port": number for name, number in self.ports.items()}
        applications = sorted(self.applications.names)
        if self.state is not None and self.state.restored.open_sessions is not None:
            restored = self.state.restored
            _log.info("sessions restored", open_sessions=restored.open_sessions, entries_applied_again=restored.entries)
        _log.info("serving", host=self.config.address[0], port=port, **ports, applications=applications)
        return port

    async def stop(self) -> None:
        """Stop gracefully: say so, refuse new work, finish what was accepted, close.

        Takes at most ``drain_delay_s + grace_s`` and a second; what is not answered by then is cut off and logged.
        """
        self.is_draining = True
        _log.info("draining", waiting_entries=self.queue.waiting_entries)
        await self.health.draining()
        await asyncio.sleep(self.config.drain_delay_s)
        try:
            async with asyncio.timeout(self.config.grace_s):
                await self._stop_listeners()
                await self._ticker.stop()  # first: streams can still be told what it found
                self._servicer.stop_streams()
                if self.trainings is not None:
                    await self.trainings.close()
                if self.learning is not None:
                    await self.learning.close()
                await self.queue.drain()
                await self.calls.finish()
                await self.queue.after_all(self.worker.close)
        except TimeoutError:
            _log.warning("work cut off at the end of the grace time", waiting_entries=self.queue.waiting_entries)
        self._ticker.cancel()
        self.health.stop()
        self._sampler.stop()
        if self._guard is not None:
            self._guard.stop()
        if self._admin is not None:
            await self._admin.stop()
        if self.memory is not None:
            self.memory.stop()
        await self._server.stop(_LAST_CALLS_S)
        await self.queue.close()
        if self.learning is not None:
            self.learning.end()
        if lost := len(self.late):
            # With a state, the abnormal ones are stored, and nobody may have wanted to be told.
            log = _log.warning if self.learning is None else _log.info
            log("ends of sessions that no client was told of", count=lost)
        _log.info("stopped")

    def _run_s(self) -> float:
        began_at = self.queue.run_began_at
        return 0.0 if began_at is None else asyncio.get_running_loop().time() - began_at

    def _learns(self, name: str) -> bool:
        kept = None if self.state is None else self.state.kept.get(name)
        return kept is not None and kept.learner is not None

    def _detecting(self) -> dict[str, bool]:
        return {name: not self._learns(name) for name in self.applications.names}

    def _memory_problem(self) -> str:
        refusal = None if self.memory is None else self.memory.refusal()
        return "" if refusal is None else str(refusal)

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

    async def _start_listeners(self) -> None:
        try:
            for listener in (*self._listeners, *([] if self._admin is None else [self._admin])):
                self.ports[listener.name] = await listener.start()
        except BaseException:
            await self._stop_listeners()
            if self._admin is not None:
                await self._admin.stop()
            raise

    async def _stop_listeners(self) -> None:
        await asyncio.gather(*(listener.stop() for listener in self._listeners))

    def _bind(self) -> int:
        # gRPC says neither why it cannot bind nor keeps silent about it: try first.
        bound_socket(self.config.listen, field="server.listen").close()
        try:
            if self.certificates is None:
                return self._server.add_insecure_port(self.config.listen)
            return self._server.add_secure_port(self.config.listen, self.certificates.grpc_credentials())
        except RuntimeError as error:
            raise cannot_listen(self.config.listen, error, field="server.listen") from error


def _state_of(learns: bool, is_trained: bool) -> int:
    if learns:
        return application_pb2.APPLICATION_STATE_TRAINING if is_trained else application_pb2.APPLICATION_STATE_LEARNING
    if is_trained:
        return application_pb2.APPLICATION_STATE_RETRAINING
    return application_pb2.APPLICATION_STATE_DETECTING


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
