"""The spool: a bounded queue on disk between who makes payloads and who hands them on.

Invariants: payloads that :meth:`Spool.append` returned for are there until they are acknowledged, also after a kill.
Sequences only grow and name one payload for ever. Payloads and the positions that they were read up to come together
or not at all, and so do an acknowledgement and its positions: what is read again after a kill begins exactly where the
spool ends. One process holds a spool at a time.
"""

import os
import sqlite3
import threading
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from deeplog_grpc.errors import SpoolFullError, StateError
from deeplog_grpc.storage.database import MAX_INTEGER, Database, Schema
from deeplog_grpc.storage.holding import hold

SyncPolicy = Literal["off", "normal", "full"]
"""What an append survives: `full` a loss of power, `normal` a kill (a loss of power may take the last seconds), `off` a
kill (a loss of power may take the whole spool)."""

SCHEMA = Schema(
    name="spool",
    application_id=0x444C5301,
    format=1,
    statements=(
        # AUTOINCREMENT: a sequence is not used again after its payload and all others are gone.
        "CREATE TABLE payloads ("
        "sequence INTEGER PRIMARY KEY AUTOINCREMENT, crc32 INTEGER NOT NULL, payload BLOB NOT NULL)",
        "CREATE TABLE positions (name TEXT PRIMARY KEY, position BLOB NOT NULL) WITHOUT ROWID",
        "CREATE TABLE identity (name TEXT NOT NULL)",
    ),
)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_RETRY_S = 1.0


class Spool:
    """Payloads in order, in an SQLite database; the space of those that are acknowledged is used again.

    Threads may append while another one reads and acknowledges.

    Parameters
    ----------
    path : Path
        The file; made if it is not there. ``.lock`` after its name is held while the spool is open.
    max_bytes : int
        Bytes of payloads at most. The file is some 5 % larger.
    sync : SyncPolicy
        What an append survives.

    Raises
    ------
    StateError
        If another process holds it, or it is damaged, of another kind or of a newer format. Later calls raise it too,
        when they meet what is damaged.

    Examples
    --------
    >>> spool = Spool(Path("ship.spool"), max_bytes=2**30, sync="normal")  # doctest: +SKIP
    >>> spool.append([b"a", b"b"], {"app.log": b"128"})  # doctest: +SKIP
    range(1, 3)
    >>> spool.read(0, max_count=10, max_bytes=1000)  # doctest: +SKIP
    [(1, b'a'), (2, b'b')]
    >>> spool.acknowledge(2)  # doctest: +SKIP
    """

    def __init__(self, path: Path, *, max_bytes: int, sync: SyncPolicy) -> None:
        self.path = path.absolute()
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._holder = hold(
            Path(f"{self.path}.lock"),
            field=self.path,
            unopened="the spool cannot be opened",
            in_use="the spool is in use by another process: stop it, or give another place",
        )
        try:
            self._database = Database(self.path, SCHEMA)
        except BaseException:
            os.close(self._holder)
            raise
        try:
            if sync != "full":
                self._database.relax(synchronous="OFF" if sync == "off" else "NORMAL")
            with self._sound():
                self.name = self._identify()
                """Random, made with the file: the name of whoever fills it."""
                self._last, self._count, self._bytes = self._totals()
        except BaseException:
            self.close()
            raise

    @property
    def last_sequence(self) -> int:
        """The last one given; 0 = none was."""
        return self._last

    @property
    def backlog_count(self) -> int:
        """Payloads that are not acknowledged."""
        return self._count

    @property
    def backlog_bytes(self) -> int:
        """Their bytes."""
        return self._bytes

    def append(self, payloads: Sequence[bytes], positions: Mapping[str, bytes] | None = None) -> range:
        """Put payloads at the end, together with the positions that they were read up to.

        Parameters
        ----------
        payloads : sequence of bytes
        positions : mapping
            Name -> any bytes, in the place of what was kept under the name.

        Returns
        -------
        range
            Their sequences.

        Raises
        ------
        SpoolFullError
            If ``max_bytes`` would be passed, or the disk is full; nothing was kept.
        """
        size = sum(map(len, payloads))
        with self._lock:
            self.check_room(size)
            first = self._last + 1
            with self._sound(), self._database.writing() as connection:
                connection.executemany(
                    "INSERT INTO payloads VALUES (?, ?, ?)",
                    ((first + place, zlib.crc32(payload), payload) for place, payload in enumerate(payloads)),
                )
                _keep(connection, positions)
            self._last += len(payloads)
            self._count += len(payloads)
            self._bytes += size
        return range(first, self._last + 1)

    def check_room(self, size: int) -> None:
        """Say whether so many bytes would fit now.

        Raises
        ------
        SpoolFullError
            If ``max_bytes`` would be passed.
        """
        if size and self._bytes + size > self.max_bytes:
            raise SpoolFullError(
                f"{self.path}: {self._bytes} bytes wait, and {size} more would pass the limit of {self.max_bytes}",
                retry_after_s=_RETRY_S,
            )

    def read(self, after: int, *, max_count: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """The payloads after a sequence, oldest first; at least one if there is any, whatever its size."""
        found: list[tuple[int, bytes]] = []
        left = max_bytes
        with self._sound(), self._database.reading() as connection:
            rows = connection.execute(
                "SELECT sequence, crc32, payload FROM payloads WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (after, max_count),
            )
            for sequence, crc32, payload in rows:
                left -= len(payload)
                if found and left < 0:
                    break
                if zlib.crc32(payload) != crc32:
                    raise self._damaged()
                found.append((sequence, payload))
        return found

    def acknowledge(self, sequence: int, positions: Mapping[str, bytes] | None = None) -> None:
        """Remove all payloads up to a sequence, and keep positions that go with it, in one step."""
        with self._lock:
            with self._sound(), self._database.writing() as connection:
                count, size = connection.execute(
                    "SELECT count(*), ifnull(sum(length(payload)), 0) FROM payloads WHERE sequence <= ?",
                    (min(sequence, MAX_INTEGER),),
                ).fetchone()
                connection.execute("DELETE FROM payloads WHERE sequence <= ?", (min(sequence, MAX_INTEGER),))
                _keep(connection, positions)
            self._count -= count
            self._bytes -= size

    def positions(self) -> dict[str, bytes]:
        """All positions that are kept."""
        with self._sound(), self._database.reading() as connection:
            return dict(connection.execute("SELECT name, position FROM positions ORDER BY name"))

    def forget(self, names: Iterable[str]) -> None:
        """Keep these positions no longer; unknown ones are passed over."""
        with self._sound(), self._database.writing() as connection:
            connection.executemany("DELETE FROM positions WHERE name = ?", ((name,) for name in names))

    def close(self) -> None:
        """Close it, and let another process have it."""
        self._database.close()
        os.close(self._holder)

    def _identify(self) -> str:
        with self._database.writing() as connection:
            found = connection.execute("SELECT name FROM identity").fetchone()
            name = str(found[0]) if found else uuid.uuid4().hex
            if not found:
                connection.execute("INSERT INTO identity VALUES (?)", (name,))
        return name

    def _totals(self) -> tuple[int, int, int]:
        with self._database.reading() as connection:
            last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'payloads'").fetchone()
            count, size = connection.execute(
                "SELECT count(*), ifnull(sum(length(payload)), 0) FROM payloads"
            ).fetchone()
        return (last[0] if last else 0), count, size

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """Name what SQLite finds to be damaged, and a full disk."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _DAMAGED:
                raise self._damaged() from error
            if code == sqlite3.SQLITE_FULL:
                raise SpoolFullError(f"{self.path}: the disk is full", retry_after_s=_RETRY_S) from error
            raise

    def _damaged(self) -> StateError:
        return StateError(
            "the spool is damaged: move it and what lies beside it away to begin a new one; what waited in it is lost",
            field=str(self.path),
        )


def _keep(connection: sqlite3.Connection, positions: Mapping[str, bytes] | None) -> None:
    if positions:
        connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())
