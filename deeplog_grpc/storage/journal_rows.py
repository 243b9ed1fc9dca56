"""What a journal holds, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

RecordKind = Literal["feedback", "adapt", "rollback"]
VersionCause = Literal["training", "feedback", "adapt", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """What somebody asks for."""

    application: str
    feedback_id: str
    """The caller's name for it; an application has it once."""
    kind: RecordKind
    actor: str = ""
    note: str = ""
    digest: str
    """Of what was asked, without what was found for it since: tells a repetition from another use of the name."""
    content: Mapping[str, Any]
    """What was asked, and the cases that it meant at that time. Plain data for JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record of the journal; see :class:`NewRecord`."""

    sequence: int
    """Grows from record to record."""
    application: str
    feedback_id: str
    kind: RecordKind
    actor: str
    note: str
    received_ns: int
    """When it was accepted, in nanoseconds since 1970-01-01 UTC."""
    digest: str
    content: Mapping[str, Any]
    outcome: Mapping[str, Any] | None
    """What became of it; None = accepted, and not finished."""
    version: int | None
    """The model version that it made; None = none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The answer to a record."""

    record: Record
    is_repeat: bool
    """Whether the journal had it already; its outcome may be there, or still to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A model version that has passed its gate."""

    application: str
    version: int
    parent: int
    """The version that it was made from; of a rollback, the one that was gone back to; 0 = none."""
    cause: VersionCause
    base: str
    """Checksum of the bundle that it stands on."""
    details: Mapping[str, Any]
    """Plain data for JSON."""
    snapshot: bytes | None
    """The models; None = what the bundle has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A model version, without its models; see :class:`NewVersion`."""

    application: str
    version: int
    parent: int
    cause: VersionCause
    sequence: int | None
    """The record that made it; None for training."""
    created_ns: int
    """In nanoseconds since 1970-01-01 UTC."""
    base: str
    details: Mapping[str, Any]
    sha256: str
    """Of the snapshot, also of one that is no longer kept; empty = it never had one."""
    is_kept: bool
    """Whether its snapshot is there."""
