"""Stored anomalies with their evidence, what is known of each, and the groups of those that are alike.

Invariants: numbers only grow, also over restarts and kills. An anomaly, its group and the totals change in the same
transaction, so the counts of a group are those of the anomalies stored. What is kept is bounded by age, by bytes and by
the number of groups; room is made a little with every anomaly, so that nobody pays for all of it at once.

A full disk, or a database that another process holds, is an ``sqlite3.Error`` for the caller, and nothing of that call
is kept; the same call may be made again.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from deeplog_grpc.errors import InputError
from deeplog_grpc.storage import anomaly_changes as changes
from deeplog_grpc.storage import anomaly_tables as tables
from deeplog_grpc.storage.anomaly_rows import (
    BOOT_BITS,
    AnomalyFilter,
    AnomalyGroup,
    AnomalyState,
    NewAnomaly,
    StoredAnomaly,
    StoredTotals,
)
from deeplog_grpc.storage.database import MAX_INTEGER, Database

MAX_GROUPS = 100_000
"""Far more than people look at; some 50 MB."""
_MAKE_ROOM = 2
"""Anomalies that may go for each that comes: more than one, so that a lower limit is reached in the end."""
_S = 1_000_000_000


class AnomalyStore:
    """Anomalies in an SQLite database.

    Any thread may call any method; changes wait for one another, and reading waits for nothing.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    max_age_s : float, optional
        Seconds after which a stored anomaly goes. Default: never.
    max_bytes : int
        Bytes of evidence beyond which the oldest go. The file takes some 250 bytes more for each anomaly.
    max_groups : int
        Groups beyond which those not seen for the longest time go; last among them muted and confirmed ones.
    clock_ns : callable
        Nanoseconds since 1970-01-01 UTC.

    Raises
    ------
    StateError
        If the file cannot be opened, is damaged, of another kind, or of a newer format.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_age_s: float | None,
        max_bytes: int,
        max_groups: int = MAX_GROUPS,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._max_age_ns = None if max_age_s is None else int(max_age_s * _S)
        self._max_bytes = max_bytes
        self._max_groups = max_groups
        self._clock_ns = clock_ns
        self._reserve_lock = threading.Lock()
        self._database = Database(path, tables.SCHEMA)
        # On the disk before any number of this run is given away: a loss of power may take stored anomalies with it,
        # and must not take this.
        with self._database.writing() as connection:
            self.start = changes.next_boot(connection)
            """Which time this is that the file was opened for writing, from 1; verdict ids hold it."""
        self._reserved = self.start << BOOT_BITS
        self._database.relax()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def reserve(self, count: int) -> list[int]:
        """Numbers for anomalies to come, ascending. No disk is touched."""
        with self._reserve_lock:
            first = self._reserved + 1
            self._reserved += count
        return list(range(first, first + count))

    def add(self, anomalies: Sequence[NewAnomaly]) -> None:
        """Store anomalies, all or none, and let twice as many old ones go at most.

        They are open whatever was said of their groups: a false positive that comes back is news. Numbers have to grow
        from call to call, or readers that follow with :meth:`since` miss some.

        Ten anomalies of 2 kB take 0.4 to 0.6 ms (median; one core, ext4). One call in some 130 also brings the
        write-ahead log into the database and waits for the disk, for 10 to 70 ms there; 0.8 to 1.2 ms on average.

        Raises
        ------
        sqlite3.Error
            If the disk is full, or another process holds the database; nothing is stored then.
        """
        if not anomalies:
            return
        now_ns = self._clock_ns()
        with self._database.writing() as connection:
            changes.insert(connection, anomalies, now_ns)
            changes.make_room(connection, self._limits(now_ns), _MAKE_ROOM * len(anomalies))

    def remove_after(self, number: int) -> int:
        """Let the anomalies with greater numbers go as if they had never been stored; how many went.

        Raises
        ------
        sqlite3.Error
            If the disk is full, or another process holds the database; nothing is removed then.
        """
        with self._database.writing() as connection:
            return changes.remove_after(connection, number, self._clock_ns())

    def prune(self, limit: int) -> int:
        """Let old anomalies go, at most so many, and as many groups: for a server that nothing comes to.

        Returns
        -------
        int
            How many anomalies went; fewer than the limit when there are no more to go.
        """
        with self._database.writing() as connection:
            return changes.make_room(connection, self._limits(self._clock_ns()), limit)

    def set_state(self, numbers: Iterable[int], state: AnomalyState, feedback_id: str) -> int:
        """Note what feedback said of anomalies, and bring their groups up to date, in one transaction.

        Some ten microseconds an anomaly; scoring waits as long. Numbers that are no longer stored are left out.

        Returns
        -------
        int
            Anomalies that have the state now.
        """
        with self._database.writing() as connection:
            return changes.set_states(connection, numbers, state, feedback_id)

    def mute(self, group_id: str, until_ns: int) -> AnomalyGroup:
        """Mute a group until a time, in nanoseconds since 1970-01-01 UTC; 0 = no longer.

        Raises
        ------
        InputError
            If there is no such group.
        """
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE groups SET muted_until_ns = ? WHERE group_id = ?", (min(until_ns, MAX_INTEGER), group_id)
            )
            query = tables.one_group(group_id, self._clock_ns())
            row = connection.execute(query.sql, query.values).fetchone()
        if row is None:
            raise InputError(
                f"there is no group {group_id[:80]!r}: it was never seen or is forgotten", field="group_id"
            )
        return tables.read_group(row)

    def get(self, number: int) -> StoredAnomaly | None:
        """The anomaly of a number; None if it is not stored, or no longer."""
        found = self._anomalies(tables.one_anomaly(number, self._clock_ns()))
        return found[0] if found else None

    def page(self, wanted: AnomalyFilter, *, before: int | None = None, limit: int) -> list[StoredAnomaly]:
        """Anomalies that pass a filter, the newest first; the next page is what comes before the last number.

        A page takes 1 to 3 ms among a million anomalies. A filter that lets hardly any pass, and names no group,
        session, narrow range of time, or application with states, walks over them all: 0.1 to 0.4 s.
        """
        return self._page(wanted, before=before, after=None, limit=limit)[::-1]

    def since(self, number: int, wanted: AnomalyFilter, *, limit: int) -> list[StoredAnomaly]:
        """Anomalies after a number that pass a filter, the oldest first."""
        return self._page(wanted, before=None, after=number, limit=limit)

    def open_of(
        self, application: str, *, limit: int, from_ns: int = 0, to_ns: int = 0, before: int | None = None
    ) -> list[StoredAnomaly]:
        """Open anomalies of an application in a range of event time (see :class:`AnomalyFilter`), the newest first."""
        wanted = AnomalyFilter(application=application, states=(AnomalyState.OPEN,), from_ns=from_ns, to_ns=to_ns)
        return self.page(wanted, before=before, limit=limit)

    def of_session(self, application: str, session: str, *, limit: int) -> list[StoredAnomaly]:
        """Anomalies of a session, the newest first."""
        return self.page(AnomalyFilter(application=application, session=session), limit=limit)

    def of_group(self, group_id: str, *, limit: int) -> list[StoredAnomaly]:
        """Anomalies of a group, the newest first."""
        return self.page(AnomalyFilter(group_id=group_id), limit=limit)

    def groups(
        self,
        *,
        application: str = "",
        applications: Sequence[str] | None = None,
        states: Sequence[AnomalyState] = (),
        exclude_muted: bool = False,
        before: int | None = None,
        limit: int,
    ) -> list[AnomalyGroup]:
        """Groups, those with the latest anomaly first; the next page is what comes before the last ``last_number``.

        ``applications`` is as of :class:`AnomalyFilter`.
        """
        query = tables.page_of_groups(
            application=application,
            applications=applications,
            states=states,
            exclude_muted=exclude_muted,
            before=before,
            limit=limit,
            now_ns=self._clock_ns(),
        )
        return self._groups(query)

    def group(self, group_id: str) -> AnomalyGroup | None:
        """The group of a name; None if it was never seen or is forgotten."""
        found = self._groups(tables.one_group(group_id, self._clock_ns()))
        return found[0] if found else None

    def settled(self, group_ids: Sequence[str]) -> list[str]:
        """Those of the groups that nobody needs to be told of: muted now, or what feedback called normal.

        Ten thousand take some 20 ms.
        """
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT group_id FROM groups WHERE group_id IN (SELECT value FROM json_each(?)) "
                "AND (muted_until_ns > ? OR state IN (?, ?))",
                (
                    json.dumps(list(group_ids)),
                    self._clock_ns(),
                    int(AnomalyState.FALSE_POSITIVE),
                    int(AnomalyState.EXPLAINED),
                ),
            ).fetchall()
        return [group_id for (group_id,) in rows]

    def last_number(self) -> int:
        """The greatest number that is stored; 0 = none is."""
        with self._database.reading() as connection:
            (number,) = connection.execute("SELECT max(number) FROM anomalies").fetchone()
        return number or 0

    def totals(self) -> StoredTotals:
        """How much is stored. One row is read."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT anomalies, evidence_bytes, groups FROM totals").fetchone()
        return StoredTotals(anomalies=row[0], evidence_bytes=row[1], groups=row[2])

    def _limits(self, now_ns: int) -> changes.Limits:
        return changes.Limits(
            oldest_ns=-MAX_INTEGER if self._max_age_ns is None else now_ns - self._max_age_ns,
            max_bytes=self._max_bytes,
            max_groups=self._max_groups,
            now_ns=now_ns,
        )

    def _page(self, wanted: AnomalyFilter, *, before: int | None, after: int | None, limit: int) -> list[StoredAnomaly]:
        is_narrow = False
        if tables.has_time_of_its_own(wanted):
            query = tables.count_in_time(wanted)
            with self._database.reading() as connection:
                is_narrow = connection.execute(query.sql, query.values).fetchone()[0] < tables.NARROW_ROWS
        return self._anomalies(
            tables.page_of_anomalies(
                wanted, before=before, after=after, limit=limit, is_narrow=is_narrow, now_ns=self._clock_ns()
            )
        )

    def _anomalies(self, query: tables.Query) -> list[StoredAnomaly]:
        with self._database.reading() as connection:
            rows = connection.execute(query.sql, query.values).fetchall()
        return [tables.read_anomaly(row) for row in sorted(rows)]

    def _groups(self, query: tables.Query) -> list[AnomalyGroup]:
        with self._database.reading() as connection:
            return [tables.read_group(row) for row in connection.execute(query.sql, query.values)]
