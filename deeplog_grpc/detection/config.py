"""Settings of sessions and of the detector."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SessionConfig:
    """How entries are put together to sessions, and when a session has ended: in training and in scoring alike."""

    patterns: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """Regular expressions (RE2) that find the session's identifier in a body; the first group, or else the whole
    match, is the identifier. Tried in order, before the built-in ones."""
    built_in: bool = True
    """Also look for block ids, UUIDs, request ids and trace ids."""
    part_patterns: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """Regular expressions (RE2) that find in a body which request it belongs to, where a session has several, one after
    the other: training takes them apart as the tasks of the session. Tried in order, before the built-in ones."""
    end_patterns: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """Regular expressions (RE2): an entry whose body matches one is the last of its session."""
    timeout_s: Annotated[float, Field(ge=0, le=30 * 86_400)] | None = None
    """Event time in seconds after which a silent session has ended; 0 = never; null = learned in training: twice the
    longest silence inside nearly all (99 %) training sessions."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class DetectorConfig:
    """Limits of the scoring side."""

    cache_mb: Annotated[int, Field(ge=0, le=65_536)] = 128
    """Mebibytes for the cache of windows; 0 = none. It changes the speed, never a verdict."""
    cold_start_s: Annotated[float, Field(ge=0, le=30 * 86_400)] | None = None
    """Event time in seconds after a start without saved sessions, during which sessions may have begun before it;
    null = the session time-out."""
    max_open_sessions: Annotated[int, Field(ge=1, le=50_000_000)] = 100_000
    """Open sessions at most; past it the least recently used one is dropped unjudged, and counted."""
    clock_step_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = 3600.0
    """A jump of event time ahead by more seconds than this is believed only when the next entry confirms it, so that
    one wrong time stamp does not end every session."""
    path_entries: Annotated[int, Field(ge=0, le=65_536)] = 256
    """Entries of an open session at most whose log keys and times are remembered, to diagnose an anomaly by the
    workflow (12 bytes each); past it the older half is dropped. 0 = none, and no diagnosis."""
