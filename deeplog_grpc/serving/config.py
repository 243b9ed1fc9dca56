"""How the server listens, what it admits and how it stops."""

import ipaddress
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ServerConfig:
    """Options of the gRPC server.

    Raises
    ------
    ConfigError
        If ``listen`` is not an address, or is public without ``allow_public``; if the queue could never take one
        message of the permitted size.

    Examples
    --------
    >>> ServerConfig(listen="[::1]:0").address
    ('::1', 0)
    >>> ServerConfig(listen="0.0.0.0:50051")
    Traceback (most recent call last):
        ...
    deeplog_grpc.errors.ConfigError: server.listen: 0.0.0.0 can be reached from other machines, and the server ...
    """

    listen: str = "127.0.0.1:50051"
    """Address and port, ``HOST:PORT``; port 0 = any free one."""

    allow_public: bool = False
    """Whether ``listen`` may be an address that other machines reach. There is neither TLS nor a login."""

    max_message_bytes: Annotated[int, Field(ge=2**16, le=2**30)] = 64 * 2**20
    """Bytes of one request or answer; 64 MiB is what OTLP recommends. gRPC refuses more with RESOURCE_EXHAUSTED."""

    max_batch_entries: Annotated[int, Field(ge=1)] = 8_192
    """Entries after which the worker takes no further waiting request into one run; larger gains nothing."""

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
    """Calls under way, streams included. Only a last resort against a flood: beyond it gRPC itself refuses."""

    torch_threads: Annotated[int, Field(ge=1, le=1_024)] = 1
    """Threads of one matrix product. The network is small: one is fastest unless batches are huge."""

    drain_delay_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds between "not serving" in the health check and the first refusal; 5 to 10 behind a load balancer."""

    grace_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds that accepted work has to finish when the server stops."""

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
        host, _, port = self.listen.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    @model_validator(mode="after")
    def _check(self) -> "ServerConfig":
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise ConfigError(f"'{self.listen}' is not HOST:PORT, for example 127.0.0.1:50051", field="server.listen")
        if not self.allow_public and not _is_loopback(self.address[0]):
            raise ConfigError(
                f"{self.address[0]} can be reached from other machines, and the server has neither TLS nor a login: "
                "listen on 127.0.0.1, or set server.allow_public to true if the network is trusted",
                field="server.listen",
            )
        if self.max_queue_bytes < self.max_message_bytes:
            raise ConfigError(
                f"{self.max_queue_bytes} is less than one message may have: give it at least max_message_bytes "
                f"({self.max_message_bytes})",
                field="server.max_queue_bytes",
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
