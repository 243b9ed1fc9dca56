"""Changes of stored anomalies: each function is a part of a transaction that the caller begins and ends.

Invariant: ``stored_count`` and ``open_count`` of a group, and the totals, are those of the anomalies stored.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deeplog_grpc.storage.anomaly_rows import BOOT_BITS, AnomalyState, NewAnomaly
from deeplog_grpc.storage.database import MAX_INTEGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be kept at a moment."""

    oldest_ns: int
    """Stored before this: goes."""
    max_bytes: int
    max_groups: int
    now_ns: int


def next_boot(connection: sqlite3.Connection) -> int:
    """Count this start of the server."""
    (boot, last) = connection.execute("SELECT boot, (SELECT max(number) FROM anomalies) FROM totals").fetchone()
    # A run of more anomalies than the counter holds went on counting in the boots after its own.
    boot = max(boot, (last or 0) >> BOOT_BITS) + 1
    connection.execute("UPDATE totals SET boot = ?", (boot,))
    return int(boot)


def insert(connection: sqlite3.Connection, anomalies: Sequence[NewAnomaly], now_ns: int) -> None:
    """Put anomalies in, with their groups and the totals."""
    connection.executemany(
        "INSERT INTO anomalies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?)",
        [
            (
                anomaly.number,
                anomaly.application,
                anomaly.kind,
                anomaly.key,
                anomaly.session,
                anomaly.group_id,
                _integer(anomaly.time_ns),
                anomaly.score,
                int(anomaly.state),
                now_ns,
                len(anomaly.evidence),
            )
            for anomaly in anomalies
        ],
    )
    connection.executemany(
        "INSERT INTO evidence VALUES (?, ?)", [(anomaly.number, anomaly.evidence) for anomaly in anomalies]
    )
    by_group: dict[str, list[NewAnomaly]] = {}
    for anomaly in anomalies:
        by_group.setdefault(anomaly.group_id, []).append(anomaly)
    new_groups = sum(_insert_into_group(connection, members) for members in by_group.values())
    connection.execute(
        "UPDATE totals SET anomalies = anomalies + ?, evidence_bytes = evidence_bytes + ?, groups = groups + ?",
        (len(anomalies), sum(len(anomaly.evidence) for anomaly in anomalies), new_groups),
    )


def set_states(connection: sqlite3.Connection, numbers: Iterable[int], state: AnomalyState, feedback_id: str) -> int:
    """Note what feedback said of anomalies and their groups; how many of them are stored."""
    changed = 0
    opened: Counter[str] = Counter()
    for number in numbers:
        row = connection.execute("SELECT group_id, state FROM anomalies WHERE number = ?", (number,)).fetchone()
        if row is None:
            continue
        changed += 1
        opened[row[0]] += (state == AnomalyState.OPEN) - (row[1] == AnomalyState.OPEN)
        connection.execute(
            "UPDATE anomalies SET state = ?, feedback_id = ? WHERE number = ?", (int(state), feedback_id, number)
        )
    connection.executemany(
        # What was said of an anomaly itself tells more of its group than what followed from another one.
        "UPDATE groups SET open_count = open_count + ?, said = CASE WHEN ? AND said IN (2, 3) THEN said ELSE ? END "
        "WHERE group_id = ?",
        [
            (count, state == AnomalyState.EXPLAINED, 0 if state == AnomalyState.OPEN else int(state), group_id)
            for group_id, count in opened.items()
        ],
    )
    return changed


def make_room(connection: sqlite3.Connection, limits: Limits, at_most: int) -> int:
    """Let the oldest anomalies beyond the limits go, so many at most, and then groups; how many anomalies went."""
    gone = _beyond(connection, limits, at_most)
    if gone:
        last = gone[-1][0]
        connection.execute("DELETE FROM anomalies WHERE number <= ?", (last,))
        connection.execute("DELETE FROM evidence WHERE number <= ?", (last,))
        _take_from_groups(connection, gone, limits.now_ns)
        connection.execute(
            "UPDATE totals SET anomalies = anomalies - ?, evidence_bytes = evidence_bytes - ?",
            (len(gone), sum(row[2] for row in gone)),
        )
    connection.execute(
        "UPDATE groups SET muted_until_ns = 0 WHERE muted_until_ns > 0 AND muted_until_ns <= ?", (limits.now_ns,)
    )
    _forget_groups(connection, limits, at_most)
    return len(gone)


_Row = tuple[int, int, int, str, int]
"""Number, when it was stored, bytes, group, state."""


def _beyond(connection: sqlite3.Connection, limits: Limits, at_most: int) -> list[_Row]:
    """The oldest anomalies that have to go. They go in the order of their numbers, whatever the clock did."""
    (kept_bytes,) = connection.execute("SELECT evidence_bytes FROM totals").fetchone()
    rows = connection.execute(
        "SELECT number, stored_ns, bytes, group_id, state FROM anomalies ORDER BY number LIMIT ?", (at_most,)
    )
    gone: list[_Row] = []
    for row in rows:
        if kept_bytes <= limits.max_bytes and row[1] >= limits.oldest_ns:
            break
        gone.append(row)
        kept_bytes -= row[2]
    rows.close()
    return gone


def remove_after(connection: sqlite3.Connection, number: int, now_ns: int) -> int:
    """Take out anomalies with greater numbers, as if they had never been put in; how many there were."""
    gone: list[_Row] = connection.execute(
        "SELECT number, stored_ns, bytes, group_id, state FROM anomalies WHERE number > ?", (number,)
    ).fetchall()
    if not gone:
        return 0
    connection.execute("DELETE FROM anomalies WHERE number > ?", (number,))
    connection.execute("DELETE FROM evidence WHERE number > ?", (number,))
    _take_from_groups(connection, gone, now_ns)
    counts = Counter(row[3] for row in gone)
    connection.executemany(
        "UPDATE groups SET count = count - ?, last_number = min(last_number, ?) WHERE group_id = ?",
        [(count, number, group_id) for group_id, count in counts.items()],
    )
    emptied = connection.executemany("DELETE FROM groups WHERE group_id = ? AND count <= 0", [(own,) for own in counts])
    connection.execute(
        "UPDATE totals SET anomalies = anomalies - ?, evidence_bytes = evidence_bytes - ?, groups = groups - ?",
        (len(gone), sum(row[2] for row in gone), max(0, emptied.rowcount)),
    )
    return len(gone)


def _take_from_groups(connection: sqlite3.Connection, gone: Sequence[_Row], now_ns: int) -> None:
    stored = Counter(row[3] for row in gone)
    opened = Counter(row[3] for row in gone if row[4] == AnomalyState.OPEN)
    connection.executemany(
        "UPDATE groups SET gone_ns = CASE WHEN stored_count = ? THEN ? ELSE 0 END, "
        "stored_count = stored_count - ?, open_count = open_count - ? WHERE group_id = ?",
        [(count, now_ns, count, opened[group_id], group_id) for group_id, count in stored.items()],
    )


def _forget_groups(connection: sqlite3.Connection, limits: Limits, at_most: int) -> None:
    """Let groups go that are empty for long, or too many: those with the oldest latest anomaly first."""
    (excess,) = connection.execute("SELECT max(groups - ?, 0) FROM totals", (limits.max_groups,)).fetchone()
    oldest = connection.execute(
        "SELECT group_id, NOT kept AND gone_ns > 0 AND gone_ns < ? FROM groups INDEXED BY groups_by_age "
        "ORDER BY kept, last_number LIMIT ?",
        (limits.oldest_ns, at_most),
    ).fetchall()
    gone = [(group_id,) for place, (group_id, is_past) in enumerate(oldest) if is_past or place < excess]
    if gone:
        connection.executemany("DELETE FROM groups WHERE group_id = ?", gone)
        connection.execute("UPDATE totals SET groups = groups - ?", (len(gone),))


def _insert_into_group(connection: sqlite3.Connection, members: Sequence[NewAnomaly]) -> bool:
    """Count anomalies, which are in the table already, in their group; whether the group is new."""
    last = members[-1]
    times = [_integer(anomaly.time_ns) for anomaly in members]
    updated = connection.execute(
        "UPDATE groups SET template = ?, reason = ?, count = count + ?, stored_count = stored_count + ?, "
        "open_count = open_count + ?, first_seen_ns = min(first_seen_ns, ?), last_seen_ns = max(last_seen_ns, ?), "
        "last_number = max(last_number, ?), gone_ns = 0 WHERE group_id = ?",
        (
            last.template,
            last.reason,
            len(members),
            len(members),
            sum(anomaly.state == AnomalyState.OPEN for anomaly in members),
            min(times),
            max(times),
            last.number,
            last.group_id,
        ),
    )
    if updated.rowcount:
        return False
    # Counted anew: a group that was forgotten while some of its anomalies were stored comes back with them.
    connection.execute(
        "INSERT INTO groups (group_id, application, kind, key, template, reason, count, stored_count, open_count, "
        "first_seen_ns, last_seen_ns, last_number) SELECT ?, ?, ?, ?, ?, ?, count(*), count(*), sum(state = 1), "
        "min(time_ns), max(time_ns), max(number) FROM anomalies WHERE group_id = ?",
        (last.group_id, last.application, last.kind, last.key, last.template, last.reason, last.group_id),
    )
    return True


def _integer(number: int) -> int:
    """A number that SQLite can hold: one impossible event time must not refuse its whole batch."""
    return max(-MAX_INTEGER, min(number, MAX_INTEGER))
