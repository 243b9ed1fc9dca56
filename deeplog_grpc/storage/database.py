"""SQLite databases of the server: one writer at a time, and readers that wait for nobody (write-ahead log).

Invariants: what is written between the begin and the end of :meth:`Database.writing` is there as a whole or not at all,
also after a kill. A file of another kind, of a newer format, or a damaged one is refused by name, and left as it is.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from deeplog_grpc.errors import StateError

_BUSY_S = 5.0
"""Wait for another process that holds the database; within this one the lock is waited for instead."""
_LOG_BYTES = 32 << 20
"""The write-ahead log is cut to this after it went into the database, so that a large one does not stay."""
_RELAXED_LOG_PAGES = 8000
MAX_INTEGER = 2**63 - 1
"""Greatest integer of SQLite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a database is made of."""

    name: str
    """What it is to a person."""
    application_id: int
    """Tells it from other databases; in the head of the file."""
    format: int
    """Grows when an older release could not read the database; in the head of the file as ``user_version``."""
    statements: tuple[str, ...]
    """What makes it."""


class Database:
    """An open database.

    Parameters
    ----------
    path : Path
        The file; it and its folder are made if they are not there.
    schema : Schema
        What must be in it.
    is_checked : bool
        Look through the whole file for damage first: for small databases, it takes a second for a gigabyte or two.

    Raises
    ------
    StateError
        If the file cannot be opened, is damaged, of another kind, or of a newer format.
    """

    def __init__(self, path: Path, schema: Schema, *, is_checked: bool = False) -> None:
        self.path = path.absolute()
        self._schema = schema
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_open = True
        try:
            is_new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connection()
        except (OSError, sqlite3.Error) as error:
            self._refuse(f"cannot be opened: {error}", error)
        try:
            self._check(is_new)
            if is_checked:
                self._look_through()
        except BaseException as error:
            self._writer.close()
            if isinstance(error, OSError | sqlite3.Error):
                self._refuse(f"cannot be used: {error}", error)
            raise

    def relax(self, *, synchronous: Literal["NORMAL", "OFF"] = "NORMAL") -> None:
        """Let later writes survive a kill but no loss of power: they wait for the disk only now and then.

        With ``OFF`` they never wait, and a loss of power may damage the file.
        """
        self._writer.execute(f"PRAGMA synchronous = {synchronous}")
        # That is when the write-ahead log goes into the database: at 32 MB instead of 4, for it takes about as long.
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {_RELAXED_LOG_PAGES}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction of the only writer; other threads wait.

        Raises
        ------
        sqlite3.Error
            If the disk is full, or another process holds the database for long. Nothing of the transaction is kept.
        """
        with self._write_lock:
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # Some errors, a full disk among them, have rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees all that was committed before each of its statements; any thread may ask."""
        with self._pool_lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connection()
            connection.execute("PRAGMA query_only = ON")
        try:
            yield connection
        finally:
            with self._pool_lock:
                if self._is_open:
                    self._idle.append(connection)
                else:
                    connection.close()

    def close(self) -> None:
        """Close it; the write-ahead log goes into the database."""
        with self._write_lock, self._pool_lock:
            self._is_open = False
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            self._writer.close()

    def _connection(self) -> sqlite3.Connection:
        # Transactions are begun by hand: the module would begin one before some statements and not before others.
        return sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)

    def _check(self, is_new: bool) -> None:
        """Refuse what is not ours before anything is changed; then make what is missing."""
        if self._found() is not None:
            self._check_head()
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")
        self._writer.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        # Some builds overwrite all that is deleted, which doubles what a deletion writes.
        self._writer.execute("PRAGMA secure_delete = FAST")
        with self.writing() as connection:
            if self._found() is None:
                for statement in self._schema.statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {self._schema.application_id}")
                connection.execute(f"PRAGMA user_version = {self._schema.format}")
        if is_new:
            _sync_directory(self.path.parent)

    def _look_through(self) -> None:
        """Refuse what is damaged in a place that is not read at a start, while a backup may still be at hand."""
        (found,) = self._writer.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            self._refuse(f"is damaged ({found.splitlines()[-1]}): restore it from a backup, or move it away")

    def _found(self) -> tuple[int, int] | None:
        """Kind and format of what is there; None if nothing is."""
        (application_id,) = self._writer.execute("PRAGMA application_id").fetchone()
        (form,) = self._writer.execute("PRAGMA user_version").fetchone()
        (tables,) = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return (application_id, form) if application_id or form or tables else None

    def _check_head(self) -> None:
        schema, found = self._schema, self._found()
        if found is None or found[0] != schema.application_id:
            self._refuse("is a database of something else: give another place")
        if found[1] != schema.format:
            self._refuse(
                f"has format {found[1]}; this release reads format {schema.format}: "
                "use the release that wrote it, or give another place"
            )

    def _refuse(self, message: str, cause: Exception | None = None) -> NoReturn:
        raise StateError(f"the {self._schema.name} {message}", field=str(self.path)) from cause


def _sync_directory(directory: Path) -> None:
    """Make sure that a new file is found after a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
