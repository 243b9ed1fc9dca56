"""When an application has been watched for long enough to be trained. Pure: time comes in as a number."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from deeplog_grpc.training.config import LearningConfig

RECENT_SHARE = 0.2
"""Of the entries: log keys that came in the last ones say whether new ones still appear."""
LEAST_ENTRIES = 100
LEAST_SESSIONS = 10
"""Below these there is nothing to learn from, however long it takes."""
MORE = 1.5
"""After a training that failed, the next one waits for so many times as many entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of an application so far."""

    entries: int
    sessions: int
    """Distinct sessions, and blocks of 100 entries that belong to none."""
    span_s: float
    """Seconds since its first entry, by arrival or by event time, whichever is more; in event time a silence counts as
    an hour at most."""
    key_starts: Sequence[int] = field(default_factory=tuple)
    """Of each log key, how many entries there were before its first one; ascending."""
    entries_at_failure: int = 0
    """Entries when a training failed last; 0 = none has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether it is time to train."""

    is_ready: bool
    progress: float
    """In [0, 1]."""
    message: str
    """One sentence for a person: what is waited for."""


def readiness(seen: Seen, config: LearningConfig) -> Readiness:
    """Judge what was seen.

    Ready with enough entries, sessions and time, as soon as few new log keys appear; or after `max_s`, with what there
    is.

    Examples
    --------
    >>> seen = Seen(entries=1240, sessions=80, span_s=700.0, key_starts=(0, 1, 1100, 1200))
    >>> early = readiness(seen, LearningConfig())
    >>> early.is_ready, early.progress, early.message
    (False, 0.4, 'learning: 1,240 of 2,000 entries, 80 of 200 sessions, log keys still appear')
    """
    parts = []
    shares = [seen.entries / config.min_entries, seen.sessions / config.min_sessions]
    if shares[0] < 1:
        parts.append(f"{seen.entries:,} of {config.min_entries:,} entries")
    if shares[1] < 1:
        parts.append(f"{seen.sessions:,} of {config.min_sessions:,} sessions")
    if seen.span_s < config.min_s:
        shares.append(seen.span_s / config.min_s)
        parts.append(f"{seen.span_s:,.0f} of {config.min_s:,.0f} s")
    if not is_settled(seen, config):
        shares.append(0.95)
        parts.append("log keys still appear")
    has_failed = seen.entries < MORE * seen.entries_at_failure
    if has_failed:
        parts = [f"{seen.entries:,} of {MORE * seen.entries_at_failure:,.0f} entries for another try"]
        shares = [seen.entries / (MORE * seen.entries_at_failure)]
    is_late = seen.span_s >= config.max_s and seen.entries >= LEAST_ENTRIES and seen.sessions >= LEAST_SESSIONS
    if not parts or (is_late and not has_failed):
        return Readiness(is_ready=True, progress=1.0, message="enough is seen to learn from")
    return Readiness(is_ready=False, progress=min(shares), message=f"learning: {', '.join(parts)}")


def is_settled(seen: Seen, config: LearningConfig) -> bool:
    """Whether few enough log keys appeared lately; one is never too many."""
    recent = len(seen.key_starts) - bisect_right(seen.key_starts, (1 - RECENT_SHARE) * seen.entries)
    return recent <= max(1, config.settled_share * len(seen.key_starts))
