"""What one peer may have of the server, and how much memory the server may hold."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class LimitsConfig:
    """Limits for each peer, and the limit of memory. A peer is an address, or whom its token names.

    Raises
    ------
    ConfigError
        If ``memory_hard_share`` is less than ``memory_soft_share``.

    Examples
    --------
    >>> LimitsConfig(entries_per_s=5_000).max_streams
    100
    """

    queue_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the queue (`server.max_queue_entries`, `max_queue_bytes`) that a peer may have when no other has any.
    Each may have so many times what is left free: two peers that send all they can have 0.44 each, ten 0.098, and
    there is always room for one that comes. 1 = no limit."""

    entries_per_s: Annotated[float, Field(gt=0)] | None = None
    """Entries a second that are taken from a peer; null = no limit. Beyond it calls are refused, and streams read no
    further."""

    burst_s: Annotated[float, Field(gt=0, le=3_600)] = 10.0
    """Seconds' worth of `entries_per_s` that a peer which was silent may send at once."""

    max_calls: Annotated[int, Field(ge=1)] = 500
    """Calls of a peer under way, streams included; more are refused. All peers together:
    `server.max_concurrent_rpcs`."""

    max_streams: Annotated[int, Field(ge=1)] = 100
    """Streams of a peer under way."""

    max_connection_age_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which a gRPC connection takes no new calls, so that its client connects anew and can come to
    another server behind the same name; null = never. Calls under way go on."""

    max_stream_age_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which a stream is ended, when what came on it is answered; null = as `max_connection_age_s`."""

    memory_mb: Annotated[int, Field(ge=64)] | None = None
    """Mebibytes that the process of the server may hold, without its workers and trainings; null = the limit of the
    control group (container) that they all run in, if there is one."""

    memory_soft_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of it from which on new work is refused, until five hundredths less are held."""

    memory_hard_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of it from which on caches are emptied too."""

    @property
    def stream_age_s(self) -> float | None:
        """Seconds after which a stream is ended; None = never."""
        return self.max_connection_age_s if self.max_stream_age_s is None else self.max_stream_age_s

    @model_validator(mode="after")
    def _check(self) -> "LimitsConfig":
        if self.memory_hard_share < self.memory_soft_share:
            raise ConfigError(
                f"{self.memory_hard_share} is less than memory_soft_share ({self.memory_soft_share}): new work is "
                "refused before caches are emptied",
                field="limits.memory_hard_share",
            )
        return self
