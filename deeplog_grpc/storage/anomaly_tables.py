"""Tables of stored anomalies, and the questions asked of them.

Evidence is in a table of its own: a walk over what a filter looks at then reads a twentieth of the bytes. Whatever the
order in which SQLite would like to work, each question names the index it is made for, so that the cost of a page does
not hang on statistics that nobody gathers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from deeplog_grpc.storage.anomaly_rows import AnomalyFilter, AnomalyGroup, AnomalyState, StoredAnomaly
from deeplog_grpc.storage.database import MAX_INTEGER, Schema

Value = int | float | str

NARROW_ROWS = 20_000
"""A range of event time with fewer anomalies is sorted by number; a walk by number meets a wider one soon enough."""

_ANOMALIES = """
CREATE TABLE anomalies (
    number INTEGER PRIMARY KEY,
    application TEXT NOT NULL,
    kind INTEGER NOT NULL,
    key INTEGER NOT NULL,
    session TEXT NOT NULL,
    group_id TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    score REAL NOT NULL,
    state INTEGER NOT NULL,
    feedback_id TEXT NOT NULL,
    stored_ns INTEGER NOT NULL,
    bytes INTEGER NOT NULL
)
"""
_EVIDENCE = "CREATE TABLE evidence (number INTEGER PRIMARY KEY, content BLOB NOT NULL)"
# stored_count and open_count are those of the table of anomalies at any time. said: what feedback said last, 0 =
# nothing. gone_ns: when the last stored anomaly went, 0 = there is one. kept: age does not displace it, and other
# groups do last of all.
_GROUPS = """
CREATE TABLE groups (
    group_id TEXT PRIMARY KEY,
    application TEXT NOT NULL,
    kind INTEGER NOT NULL,
    key INTEGER NOT NULL,
    template TEXT NOT NULL,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    stored_count INTEGER NOT NULL,
    open_count INTEGER NOT NULL,
    first_seen_ns INTEGER NOT NULL,
    last_seen_ns INTEGER NOT NULL,
    last_number INTEGER NOT NULL,
    gone_ns INTEGER NOT NULL DEFAULT 0,
    muted_until_ns INTEGER NOT NULL DEFAULT 0,
    said INTEGER NOT NULL DEFAULT 0,
    state INTEGER AS (CASE WHEN open_count > 0 OR said = 0 THEN 1 ELSE said END),
    kept INTEGER AS (muted_until_ns > 0 OR said = 3)
)
"""
_TOTALS = """
CREATE TABLE totals (
    boot INTEGER NOT NULL,
    anomalies INTEGER NOT NULL,
    evidence_bytes INTEGER NOT NULL,
    groups INTEGER NOT NULL
)
"""
SCHEMA = Schema(
    name="store of anomalies",
    application_id=0x444C4701,
    format=1,
    statements=(
        _ANOMALIES,
        _EVIDENCE,
        _GROUPS,
        _TOTALS,
        "INSERT INTO totals VALUES (0, 0, 0, 0)",
        # The number is the last part of every index: that is how SQLite ends them.
        "CREATE INDEX anomalies_of_application ON anomalies (application, state)",
        "CREATE INDEX anomalies_of_group ON anomalies (group_id, state)",
        "CREATE INDEX anomalies_of_session ON anomalies (session)",
        "CREATE INDEX anomalies_at_time ON anomalies (time_ns)",
        "CREATE INDEX groups_by_age ON groups (kept, last_number)",
        "CREATE INDEX groups_by_number ON groups (last_number)",
        "CREATE INDEX groups_muted ON groups (muted_until_ns) WHERE muted_until_ns > 0",
    ),
)

_ANOMALY_COLUMNS = """
number, a.application, a.kind, a.key, a.session, a.group_id, a.time_ns, a.score, a.state, a.feedback_id, a.stored_ns,
ifnull((SELECT muted_until_ns > ? FROM groups WHERE group_id = a.group_id), 0), content
"""
_GROUP_COLUMNS = """
group_id, application, kind, key, template, reason, count, open_count, first_seen_ns, last_seen_ns, state,
CASE WHEN muted_until_ns > ? THEN muted_until_ns ELSE 0 END, last_number
"""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and its values."""

    sql: str
    values: tuple[Value, ...]


def one_anomaly(number: int, now_ns: int) -> Query:
    """The anomaly of a number."""
    return _with_evidence(Query("SELECT ? AS number", (number,)), now_ns)


def page_of_anomalies(
    wanted: AnomalyFilter, *, before: int | None, after: int | None, limit: int, is_narrow: bool, now_ns: int
) -> Query:
    """The next anomalies that pass a filter: the least after a number, else the greatest before one.

    In no order: the reader puts a page into order, which SQLite would do with all its evidence in hand.
    """
    order = "number ASC" if after is not None else "number DESC"
    if after is not None:
        bound = _Part("number > ?", (after,))
    else:
        bound = _Part("number < ?", (MAX_INTEGER if before is None else before,))
    conditions = [bound, *_conditions(wanted, now_ns)]
    walks = [_walk(index, [*ahead, *conditions]) for index, ahead in _ways(wanted, is_narrow)]
    numbers = Query(
        f"{' UNION ALL '.join(walk.sql for walk in walks)} ORDER BY {order} LIMIT ?",
        (*(value for walk in walks for value in walk.values), limit),
    )
    return _with_evidence(numbers, now_ns)


def count_in_time(wanted: AnomalyFilter) -> Query:
    """How many anomalies are in a filter's range of event time, or :data:`NARROW_ROWS` if there are more."""
    times = _times(wanted)
    walk = _walk("INDEXED BY anomalies_at_time", times)
    return Query(f"SELECT count(*) FROM ({walk.sql} LIMIT {NARROW_ROWS})", walk.values)  # noqa: S608 (constants of this file only)


def has_time_of_its_own(wanted: AnomalyFilter) -> bool:
    """Whether event time is what a filter is best looked up by, if its range turns out to be narrow."""
    is_named = wanted.numbers or wanted.group_id or wanted.session
    return bool((wanted.from_ns or wanted.to_ns) and not is_named)


def page_of_groups(
    *,
    application: str,
    applications: Sequence[str] | None,
    states: Sequence[AnomalyState],
    exclude_muted: bool,
    before: int | None,
    limit: int,
    now_ns: int,
) -> Query:
    """The next groups, those with the latest anomaly first."""
    parts = [_Part("last_number < ?", (MAX_INTEGER if before is None else before,))]
    if application:
        parts.append(_Part("application = ?", (application,)))
    if applications is not None:
        parts.append(_of_applications(applications))
    if states:
        parts.append(_among("state", states))
    if exclude_muted:
        parts.append(_Part("muted_until_ns <= ?", (now_ns,)))
    return Query(
        f"SELECT {_GROUP_COLUMNS} FROM groups INDEXED BY groups_by_number WHERE {_all(parts)} "  # noqa: S608 (constants of this file only)
        "ORDER BY last_number DESC LIMIT ?",
        (now_ns, *_values(parts), limit),
    )


def one_group(group_id: str, now_ns: int) -> Query:
    """The group of a name."""
    return Query(f"SELECT {_GROUP_COLUMNS} FROM groups WHERE group_id = ?", (now_ns, group_id))  # noqa: S608 (constants of this file only)


def read_anomaly(row: tuple[object, ...]) -> StoredAnomaly:
    """A row of :func:`page_of_anomalies`."""
    values = dict(zip(StoredAnomaly.__slots__, row, strict=True))
    return StoredAnomaly(
        **{**values, "state": AnomalyState(values["state"]), "is_muted": bool(values["is_muted"])}  # type: ignore[arg-type]  # columns have their types
    )


def read_group(row: tuple[object, ...]) -> AnomalyGroup:
    """A row of :func:`page_of_groups`."""
    values = dict(zip(AnomalyGroup.__slots__, row, strict=True))
    return AnomalyGroup(**{**values, "state": AnomalyState(values["state"])})  # type: ignore[arg-type]  # as above


@dataclass(frozen=True, slots=True)
class _Part:
    """A condition and its values."""

    sql: str
    values: tuple[Value, ...]


def _with_evidence(numbers: Query, now_ns: int) -> Query:
    return Query(
        f"SELECT {_ANOMALY_COLUMNS} FROM ({numbers.sql}) "  # noqa: S608 (constants of this file only)
        f"CROSS JOIN anomalies AS a USING (number) CROSS JOIN evidence USING (number)",
        (now_ns, *numbers.values),
    )


def _walk(index: str, parts: Sequence[_Part]) -> Query:
    return Query(f"SELECT number FROM anomalies {index} WHERE {_all(parts)}", _values(parts))  # noqa: S608 (constants of this file only)


def _ways(wanted: AnomalyFilter, is_narrow: bool) -> list[tuple[str, list[_Part]]]:
    """What to look a filter up by: walks that each yield ascending numbers, so that they are merged and not sorted."""
    if wanted.numbers:
        return [("NOT INDEXED", [_among("number", wanted.numbers)])]
    if wanted.group_id or (wanted.application and not wanted.session and not is_narrow):
        column, value = ("group_id", wanted.group_id) if wanted.group_id else ("application", wanted.application)
        index = f"INDEXED BY anomalies_of_{column.removesuffix('_id')}"
        states = sorted(set(wanted.states or AnomalyState))
        return [(index, [_Part(f"{column} = ? AND state = ?", (value, state))]) for state in states]
    if wanted.session:
        return [("INDEXED BY anomalies_of_session", [_Part("session = ?", (wanted.session,))])]
    return [("INDEXED BY anomalies_at_time" if is_narrow else "NOT INDEXED", [])]


def _conditions(wanted: AnomalyFilter, now_ns: int) -> list[_Part]:
    parts = _times(wanted)
    if wanted.numbers and wanted.group_id:  # else it is what they are looked up by
        parts.append(_Part("group_id = ?", (wanted.group_id,)))
    if wanted.application:
        parts.append(_Part("application = ?", (wanted.application,)))
    if wanted.applications is not None:
        parts.append(_of_applications(wanted.applications))
    if wanted.session:
        parts.append(_Part("session = ?", (wanted.session,)))
    if wanted.states:
        parts.append(_among("state", wanted.states))
    if wanted.kinds:
        parts.append(_among("kind", wanted.kinds))
    if wanted.min_score > 0:
        parts.append(_Part("score >= ?", (wanted.min_score,)))
    if wanted.exclude_muted:
        parts.append(
            _Part(
                "group_id NOT IN (SELECT group_id FROM groups WHERE muted_until_ns > 0 AND muted_until_ns > ?)",
                (now_ns,),
            )
        )
    return parts


def _times(wanted: AnomalyFilter) -> list[_Part]:
    parts = []
    if wanted.from_ns:
        parts.append(_Part("time_ns >= ?", (min(wanted.from_ns, MAX_INTEGER),)))
    if wanted.to_ns:
        parts.append(_Part("time_ns < ?", (min(wanted.to_ns, MAX_INTEGER),)))
    return parts


def _among(column: str, values: Sequence[int]) -> _Part:
    among = tuple(sorted({int(value) for value in values}))
    return _Part(f"{column} IN ({', '.join('?' * len(among))})", among)


def _of_applications(names: Sequence[str]) -> _Part:
    return _Part("application IN (SELECT value FROM json_each(?))", (json.dumps(list(names)),))


def _all(parts: Sequence[_Part]) -> str:
    return " AND ".join(part.sql for part in parts)


def _values(parts: Sequence[_Part]) -> tuple[Value, ...]:
    return tuple(value for part in parts for value in part.values)
