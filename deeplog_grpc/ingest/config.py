"""What is accepted as a log entry."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class IngestConfig:
    """Limits of requests and entries, of requests and entries.

    Examples
    --------
    >>> IngestConfig(max_body_bytes=1024).max_body_bytes
    1024
    """

    max_entries_per_request: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Entries in one request or stream batch. Ten thousand keep a request below a second of work."""

    max_body_bytes: Annotated[int, Field(ge=1, le=16 * 2**20)] = 65_536
    """Bytes of one entry's body. Longer ones are mostly dumps, whose parsing would hold up all others."""

    max_attributes: Annotated[int, Field(ge=0, le=10_000)] = 128
    """Attributes of one entry."""

    max_id_bytes: Annotated[int, Field(ge=1, le=65_536)] = 1_024
    """Bytes of an entry id, a session or a source: they are kept as long as the session is open."""
