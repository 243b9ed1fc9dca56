"""What receivers hand over, and what they are told of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deeplog_grpc.ingest.records import Records

Key = tuple[str | int | bytes, ...]
"""The kind of delivery, then its name: ``("stream", client, sequence)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Records that are acknowledged together."""

    records: Records
    size_bytes: int
    """As they came."""
    key: Key | None
    """Its name, from which its content follows; None = it has none, and is scored each time it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The names of what a job holds, under which its answer is remembered."""

    keys: tuple[Key, ...]
    """At least one."""
    digest: bytes
    """Of the content."""
    is_record_delivery: bool
    """Whether it is of records, whose sender is told an :class:`Accepted`; else it is told the ``ScoreResponse``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of a delivery."""

    entry_count: int
    """Entries that were judged."""
    rejected_count: int
    """Records that were not, and never will be; those without a text do not count."""
    message: str
    """Why, with the first reasons; empty if none was rejected."""
    anomaly_count: int


class Acceptor(Protocol):
    """Takes deliveries for good; see :class:`~deeplog_grpc.serving.intake.Intake`."""

    async def accept_together(self, deliveries: Sequence[Delivery], *, timeout_s: float) -> object:
        """Take deliveries, in their order; returns when all are safe.

        Raises
        ------
        RefusedError
            If there is no room now; they may be offered again.
        """
        ...
