"""What is stored of an anomaly, as plain values, and the numbers by which they are named."""

import re
from dataclasses import dataclass
from enum import IntEnum

from deeplog_grpc.errors import InputError

BOOT_BITS = 32
"""The lower bits of a number count within one run of the server."""
_VERDICT_ID = re.compile(r"([1-9][0-9]{0,9})-(0|[1-9][0-9]{0,9})")
_MAX_BOOT = 2**31
_MAX_COUNTER = 2**BOOT_BITS


class AnomalyState(IntEnum):
    """What is known of an anomaly, or of a group. The numbers are those of ``deeplog_grpc.v1.AnomalyState``."""

    OPEN = 1
    """Nobody has said anything."""
    FALSE_POSITIVE = 2
    """Feedback called it a false positive, and the models have learned it."""
    CONFIRMED = 3
    """Feedback confirmed it."""
    EXPLAINED = 4
    """Feedback on another anomaly taught the models that this one is normal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAnomaly:
    """An anomaly that is to be stored."""

    number: int
    """From :meth:`AnomalyStore.reserve`."""
    application: str
    kind: int
    """As ``deeplog_grpc.v1.Kind``."""
    key: int
    """The log key; -1 = the end of a session."""
    session: str
    group_id: str
    """The group of anomalies like it; of one application, kind and log key."""
    time_ns: int
    """Event time, in nanoseconds since 1970-01-01 UTC."""
    score: float
    evidence: bytes
    """What a person is shown; not looked into."""
    template: str = ""
    """Template of the log key, for the group."""
    reason: str = ""
    """One sentence, for the group."""
    state: AnomalyState = AnomalyState.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnomaly:
    """An anomaly as it is stored; see :class:`NewAnomaly`."""

    number: int
    application: str
    kind: int
    key: int
    session: str
    group_id: str
    time_ns: int
    score: float
    state: AnomalyState
    feedback_id: str
    """The feedback that gave it its state; empty while open."""
    stored_ns: int
    """When it was stored, in nanoseconds since 1970-01-01 UTC."""
    is_muted: bool
    """Whether its group is muted now."""
    evidence: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyGroup:
    """Anomalies that are alike."""

    group_id: str
    application: str
    kind: int
    key: int
    template: str
    """When the last one was stored."""
    reason: str
    """Of the last one."""
    count: int
    """Anomalies so far, those that retention has removed included."""
    open_count: int
    """Stored anomalies that are open."""
    first_seen_ns: int
    """Least event time of its anomalies, in nanoseconds since 1970-01-01 UTC."""
    last_seen_ns: int
    """Greatest event time."""
    state: AnomalyState
    """Open while any of its anomalies is; else what feedback said of them last, and only where feedback said nothing of
    any of them, explained."""
    muted_until_ns: int
    """0 = it is not muted."""
    last_number: int
    """Its latest anomaly; where a page of groups goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyFilter:
    """Which anomalies are meant. All that is given must hold."""

    application: str = ""
    """Empty = all."""
    applications: tuple[str, ...] | None = None
    """One of these, besides; None = all, empty = none at all."""
    kinds: tuple[int, ...] = ()
    """Empty = all."""
    states: tuple[AnomalyState, ...] = ()
    """Empty = all."""
    session: str = ""
    """Empty = all."""
    group_id: str = ""
    """Empty = all."""
    from_ns: int = 0
    """Least event time."""
    to_ns: int = 0
    """Greatest event time, exclusive; 0 = no bound."""
    min_score: float = 0.0
    exclude_muted: bool = False
    """Whether anomalies of muted groups are left out."""
    numbers: tuple[int, ...] = ()
    """Empty = all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTotals:
    """How much is stored."""

    anomalies: int
    evidence_bytes: int
    groups: int


def verdict_id(number: int) -> str:
    """The name of an anomaly in the contract.

    Examples
    --------
    >>> verdict_id((7 << 32) + 12)
    '7-12'
    """
    return f"{number >> BOOT_BITS}-{number % _MAX_COUNTER}"


def number_of(verdict_id: str) -> int:
    """The number that a name stands for.

    Raises
    ------
    InputError
        If it is no such name.

    Examples
    --------
    >>> number_of("7-12") == (7 << 32) + 12
    True
    """
    found = _VERDICT_ID.fullmatch(verdict_id)
    boot, counter = (int(found[1]), int(found[2])) if found else (_MAX_BOOT, 0)
    if boot >= _MAX_BOOT or counter >= _MAX_COUNTER:
        raise InputError(f"{verdict_id[:80]!r} is not the verdict_id of an anomaly", field="verdict_id")
    return (boot << BOOT_BITS) + counter
