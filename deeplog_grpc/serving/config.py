"""How the server listens, what it admits, what it remembers and how it stops."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.serving.address import check_listen, host_and_port


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ServerConfig:
    """Options of the gRPC server.

    Raises
    ------
    ConfigError
        If ``listen`` is not an address; if the queue could never take one message of the permitted size. Whether it
        may be a public one is for the server to say, which knows what guards it.

    Examples
    --------
    >>> ServerConfig(listen="[::1]:0").address
    ('::1', 0)
    >>> ServerConfig(listen="50051")
    Traceback (most recent call last):
        ...
    deeplog_grpc.errors.ConfigError: server.listen: '50051' is not HOST:PORT, for example 127.0.0.1:50051
    """

    listen: str = "127.0.0.1:50051"
    """Address and port, ``HOST:PORT``; port 0 = any free one."""

    allow_public: bool = False
    """Whether `listen` may be an address that other machines reach although there is not both TLS and a login (tokens
    or client certificates)."""

    max_message_bytes: Annotated[int, Field(ge=2**16, le=2**30)] = 64 * 2**20
    """Bytes of one request or answer; 64 MiB is what OTLP recommends. gRPC refuses more with RESOURCE_EXHAUSTED."""

    max_batch_entries: Annotated[int, Field(ge=1)] = 8_192
    """Entries after which the worker takes no further waiting request into one run."""

    short_batch_entries: Annotated[int, Field(ge=1)] = 1_024
    """The same while small requests come, which have to wait for the end of the run under way."""

    small_request_entries: Annotated[int, Field(ge=0)] = 100
    """Entries up to which a Score or Parse call is small and goes ahead of larger requests that wait, every other run
    at most; 0 = all go in the order in which they came. A client that sends a call before the one ahead of it is
    answered leaves their order open."""

    max_queue_entries: Annotated[int, Field(ge=1)] = 100_000
    """Entries that may wait or be under way; at least ``ingest.max_entries_per_request``."""

    max_queue_bytes: Annotated[int, Field(ge=2**16)] = 256 * 2**20
    """Bytes of the requests that may wait or be under way; at least ``max_message_bytes``."""

    max_outstanding_batches: Annotated[int, Field(ge=1, le=1_000)] = 8
    """Messages without an answer at which the server stops reading a stream."""

    tick_s: Annotated[float, Field(gt=0)] | None = 1.0
    """Seconds between two looks at sessions whose time-out passed while no entries came; null = never look, and leave
    it to the next entry. Off is right where entries may be delayed by more than a session's time-out."""

    max_late_ends: Annotated[int, Field(ge=1)] = 10_000
    """Ends of such sessions that wait until a client is there to be told, for each application, normal and abnormal
    ones apart; past it the oldest are dropped, and counted."""

    max_wait_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds after which a request that is still waiting is given up; a shorter deadline of the client counts too."""

    max_concurrent_rpcs: Annotated[int, Field(ge=1)] = 1_000
    """Calls under way, streams included; more are refused with UNAVAILABLE. A last resort against a flood."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Scoring processes over which the sessions of each application are divided, each on a core of its own beside the
    server's, which reads the entries for all; 1 = the server scores by itself. Verdicts are the same."""

    torch_threads: Annotated[int, Field(ge=1, le=1_024)] = 1
    """Threads of one matrix product. The network is small: one is fastest unless batches are huge."""

    drain_delay_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds between "not serving" in the health check and the first refusal; 5 to 10 behind a load balancer."""

    grace_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds that accepted work has to finish when the server stops."""

    stall_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds after which a run of the scoring thread counts as one that stands still: the server is not ready then."""

    dead_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds after which such a run is not waited for any more: the server calls itself not alive, so that it is
    started anew."""

    keepalive_time_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds of silence after which the server pings a client."""

    keepalive_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    """Seconds without an answer to the ping after which the connection is given up."""

    min_ping_interval_s: Annotated[float, Field(gt=0)] = 30.0
    """Shortest time between pings of an idle client; Vector's are 60 s apart, and gRPC's own limit of 300 s would
    answer them by closing the connection."""

    max_idle_s: Annotated[float, Field(gt=0)] = 900.0
    """Seconds without a call after which a connection is closed."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``listen``."""
        return host_and_port(self.listen)

    @model_validator(mode="after")
    def _check(self) -> "ServerConfig":
        check_listen(self.listen, section="server")
        if self.max_queue_bytes < self.max_message_bytes:
            raise ConfigError(
                f"{self.max_queue_bytes} is less than one message may have: give it at least max_message_bytes "
                f"({self.max_message_bytes})",
                field="server.max_queue_bytes",
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class DeliveriesConfig:
    """How long the answers to deliveries that have a name are remembered.

    Examples
    --------
    >>> DeliveriesConfig(max_age_s=60).max_age_s
    60.0
    """

    max_age_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds for which an answer is remembered; a sender that repeats itself later is taken for a new one."""

    max_count: Annotated[int, Field(ge=1)] = 100_000
    """Answers at most; past it the oldest are forgotten."""

    max_mb: Annotated[int, Field(ge=1)] = 64
    """Mebibytes of answers at most; past it the oldest are forgotten. Answers with a verdict on each entry are large:
    a sender that asks for anomalies only is remembered longer."""


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class RecoveryConfig:
    """How open sessions outlive the process.

    Examples
    --------
    >>> RecoveryConfig().max_entries
    1000000
    """

    enabled: bool = True
    """Whether open sessions, and answers to deliveries that have a name, are kept in the state folder. Without, each
    restart begins cold: sessions that were open are tracked from their middle, and a delivery that comes again is
    scored again. Where `redaction` is on, no log text may be written down: sessions are saved at a stop then, and begin
    cold after a kill."""

    max_entries: Annotated[int, Field(ge=1_000, le=100_000_000)] = 1_000_000
    """Entries after which the open sessions are saved anew, or later where there are many: at least ten entries for
    each. After a kill so many are read back, about 5 s a million; they take some 15 MB on the disk."""
