"""The journal: what people said, what became of it, and the model versions it made. The source of truth.

A model is its bundle and a replay of the journal; snapshots only save that time. Invariants: what a call has returned
for is on the disk, and survives a kill and a loss of power. A record is there once, whatever is sent again. Its
outcome, its version and the snapshot come together or not at all. Versions only grow; nothing is taken back but by a
new version. Records are few (people make them) and are never removed; snapshots are, beyond the last few.

A full disk, or a database that another process holds, is an ``sqlite3.Error`` for the caller, and nothing of that call
is kept.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from deeplog_grpc.errors import InputError, StateError
from deeplog_grpc.storage.database import Database, Schema
from deeplog_grpc.storage.journal_rows import Accepted, NewRecord, NewVersion, Record, RecordKind, Version

_RECORDS = """
CREATE TABLE records (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    application TEXT NOT NULL,
    feedback_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('feedback', 'adapt', 'rollback')),
    actor TEXT NOT NULL,
    note TEXT NOT NULL,
    received_ns INTEGER NOT NULL,
    digest TEXT NOT NULL,
    content TEXT NOT NULL,
    outcome TEXT,
    version INTEGER,
    UNIQUE (application, feedback_id)
)
"""
# The snapshot is last: what is before it is read without it.
_VERSIONS = """
CREATE TABLE versions (
    application TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > parent),
    parent INTEGER NOT NULL CHECK (parent >= 0),
    cause TEXT NOT NULL CHECK (cause IN ('training', 'feedback', 'adapt', 'rollback')),
    sequence INTEGER UNIQUE REFERENCES records,
    created_ns INTEGER NOT NULL,
    base TEXT NOT NULL,
    details TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    snapshot BLOB,
    PRIMARY KEY (application, version)
)
"""
_PARSERS = """
CREATE TABLE parsers (
    application TEXT NOT NULL,
    base TEXT NOT NULL,
    saved_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (application, base)
)
"""
SCHEMA = Schema(
    name="journal",
    application_id=0x444C4A01,
    format=1,
    statements=(
        _RECORDS,
        _VERSIONS,
        _PARSERS,
        "CREATE INDEX records_of_application ON records (application)",
        "CREATE INDEX records_pending ON records (application) WHERE outcome IS NULL",
        "CREATE INDEX versions_kept ON versions (application, version) WHERE snapshot IS NOT NULL",
    ),
)

_RECORD = (
    "SELECT sequence, application, feedback_id, kind, actor, note, received_ns, digest, content, outcome, r.version "
    "FROM records AS r "
)
_VERSION = (
    "SELECT application, version, parent, cause, sequence, created_ns, base, details, sha256, snapshot IS NOT NULL "
    "FROM versions "
)


class Journal:
    """Records and model versions in an SQLite database.

    Any thread may call any method; changes wait for one another and for the disk.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    keep_versions : int
        Snapshots kept of an application, >= 1; the version in force is the last one and always kept.
    clock_ns : callable
        Nanoseconds since 1970-01-01 UTC.

    Raises
    ------
    StateError
        If the file cannot be opened, is damaged, of another kind, or of a newer format.
    """

    def __init__(self, path: Path, *, keep_versions: int, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._keep_versions = max(keep_versions, 1)
        self._clock_ns = clock_ns
        self._database = Database(path, SCHEMA, is_checked=True)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def find(self, application: str, feedback_id: str, *, kind: RecordKind, digest: str) -> Record | None:
        """The earlier record of that name; None if there is none.

        A repetition has to be found before its target is looked up again: its anomalies may be gone or no longer open.

        Raises
        ------
        InputError
            If the name was used for something else.
        """
        with self._database.reading() as connection:
            return _same(connection, application, feedback_id, kind, digest)

    def accept(self, new: NewRecord) -> Accepted:
        """Put a record on the disk, or find the earlier one of its name.

        Raises
        ------
        InputError
            If the name was used for something else.
        """
        with self._database.writing() as connection:
            earlier = _same(connection, new.application, new.feedback_id, new.kind, new.digest)
            if earlier is not None:
                return Accepted(record=earlier, is_repeat=True)
            sequence = connection.execute(
                "INSERT INTO records (application, feedback_id, kind, actor, note, received_ns, digest, content) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    new.application,
                    new.feedback_id,
                    new.kind,
                    new.actor,
                    new.note,
                    self._clock_ns(),
                    new.digest,
                    _json(new.content),
                ),
            ).lastrowid
            (record,) = _records(connection, "WHERE sequence = ?", sequence)
        return Accepted(record=record, is_repeat=False)

    def finish(self, sequence: int, outcome: Mapping[str, Any], version: NewVersion | None) -> None:
        """Note what became of a record, with the version that it made, and let snapshots beyond the last few go.

        Raises
        ------
        ValueError
            If there is no such record, it is finished, or the version is not the next one of its application.
        """
        with self._database.writing() as connection:
            found = connection.execute(
                "SELECT application, outcome IS NULL FROM records WHERE sequence = ?", (sequence,)
            ).fetchone()
            if found is None or not found[1]:
                raise ValueError(f"record {sequence} is not there or is finished")
            if version is not None:
                if version.application != found[0] or version.version != _last(connection, found[0]) + 1:
                    raise ValueError(f"version {version.version} is not the next one of {found[0]!r}")
                self._insert(connection, version, sequence)
            connection.execute(
                "UPDATE records SET outcome = ?, version = ? WHERE sequence = ?",
                (_json(outcome), None if version is None else version.version, sequence),
            )

    def publish(self, version: NewVersion) -> None:
        """Note a version that no record made: what training gave.

        Raises
        ------
        ValueError
            If it is not greater than all versions of its application.
        """
        with self._database.writing() as connection:
            if version.version <= _last(connection, version.application):
                raise ValueError(f"version {version.version} is not the greatest of {version.application!r}")
            self._insert(connection, version, None)

    def pending(self, application: str) -> list[Record]:
        """Records that are not finished, in order."""
        with self._database.reading() as connection:
            return _records(connection, "WHERE application = ? AND outcome IS NULL ORDER BY sequence", application)

    def records(self, application: str, *, after: int = 0) -> list[Record]:
        """Records after a sequence, in order."""
        with self._database.reading() as connection:
            return _records(connection, "WHERE application = ? AND sequence > ? ORDER BY sequence", application, after)

    def versions(self, application: str) -> list[Version]:
        """All versions, the newest first; the first is the one in force."""
        with self._database.reading() as connection:
            return _versions(connection, "WHERE application = ? ORDER BY version DESC", application)

    def current(self, application: str) -> Version | None:
        """The version in force; None if there is none."""
        with self._database.reading() as connection:
            found = _versions(connection, "WHERE application = ? ORDER BY version DESC LIMIT 1", application)
        return found[0] if found else None

    def snapshot(self, application: str, version: int) -> bytes:
        """The models of a version, as they were given.

        Raises
        ------
        StateError
            If it is damaged, or not kept.
        InputError
            If there is no such version.
        """
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT snapshot, sha256 FROM versions WHERE application = ? AND version = ?", (application, version)
            ).fetchone()
        if found is None:
            raise _no_version(application, version)
        content, sha256 = found
        if content is None:
            raise StateError(
                f"version {version} of {application!r} is not kept as a snapshot: give one that is, or let the "
                "server make it again from its bundle and the journal",
                field="version",
            )
        if _sha256(content) != sha256:
            raise StateError(
                f"the snapshot of version {version} of {application!r} is damaged: give another version, or let the "
                "server make it again from its bundle and the journal",
                field="version",
            )
        return bytes(content)

    def save_parser(self, application: str, base: str, state: bytes) -> None:
        """Keep the state of the parser that stands on a bundle, in the place of what was kept before.

        Parameters
        ----------
        base : str
            Checksum of the bundle.
        state : bytes
            JSON.
        """
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO parsers VALUES (?, ?, ?, ?, ?)",
                (application, base, self._clock_ns(), _sha256(state), state),
            )

    def parser(self, application: str, base: str) -> dict[str, Any] | None:
        """The state that was kept; None if there is none.

        Raises
        ------
        StateError
            If it is damaged.
        """
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT state, sha256 FROM parsers WHERE application = ? AND base = ?", (application, base)
            ).fetchone()
        if found is None:
            return None
        if _sha256(found[0]) != found[1]:
            raise StateError(
                f"the parser's state of {application!r} is damaged: restore the journal from a backup, or move it away "
                "to begin again from the bundle",
                field=str(self._database.path),
            )
        state: dict[str, Any] = orjson.loads(found[0])
        return state

    def _insert(self, connection: sqlite3.Connection, version: NewVersion, sequence: int | None) -> None:
        """Put a version in, and let the snapshots go that are then too many; their rows stay."""
        application = version.application
        if version.parent and not _versions(
            connection, "WHERE application = ? AND version = ?", application, version.parent
        ):
            raise ValueError(f"version {version.parent}, the parent of {version.version}, is not there")
        connection.execute(
            "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                application,
                version.version,
                version.parent,
                version.cause,
                sequence,
                self._clock_ns(),
                version.base,
                _json(version.details),
                "" if version.snapshot is None else _sha256(version.snapshot),
                version.snapshot,
            ),
        )
        connection.execute(
            "UPDATE versions SET snapshot = NULL WHERE application = ? AND snapshot IS NOT NULL AND version < "
            "(SELECT min(version) FROM "
            "(SELECT version FROM versions WHERE application = ? ORDER BY version DESC LIMIT ?))",
            (application, application, self._keep_versions),
        )


def _same(
    connection: sqlite3.Connection, application: str, feedback_id: str, kind: RecordKind, digest: str
) -> Record | None:
    """The record of a name, if it is the same request."""
    found = _records(connection, "WHERE application = ? AND feedback_id = ?", application, feedback_id)
    if not found:
        return None
    if (found[0].kind, found[0].digest) != (kind, digest):
        raise InputError(
            f"{feedback_id[:80]!r} was used for another request: give a new one, or send the same again",
            field="feedback_id",
        )
    return found[0]


def _records(connection: sqlite3.Connection, where: str, *values: str | int | None) -> list[Record]:
    return [_read_record(row) for row in connection.execute(_RECORD + where, values)]


def _read_record(row: tuple[Any, ...]) -> Record:
    values = dict(zip(Record.__slots__, row, strict=True))
    outcome = values["outcome"]
    return Record(
        **{
            **values,
            "content": _parsed(values["content"]),
            "outcome": None if outcome is None else _parsed(outcome),
        }
    )


def _versions(connection: sqlite3.Connection, where: str, *values: str | int) -> list[Version]:
    return [_read_version(row) for row in connection.execute(_VERSION + where, values)]


def _read_version(row: tuple[Any, ...]) -> Version:
    values = dict(zip(Version.__slots__, row, strict=True))
    return Version(**{**values, "details": _parsed(values["details"]), "is_kept": bool(values["is_kept"])})


def _last(connection: sqlite3.Connection, application: str) -> int:
    (last,) = connection.execute("SELECT max(version) FROM versions WHERE application = ?", (application,)).fetchone()
    return last or 0


def _no_version(application: str, version: int) -> InputError:
    return InputError(f"there is no version {version} of {application!r}", field="version")


def _json(content: Mapping[str, Any]) -> str:
    """As text that reads back as the same: infinite numbers too, which orjson would make null."""
    return json.dumps(content, separators=(",", ":"))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise StateError(
            f"the journal is damaged ({error}): restore it from a backup, or move it away", field="state.directory"
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
