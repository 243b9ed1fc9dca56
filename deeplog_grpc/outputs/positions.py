"""How far each output has come, and its open alerts, on disk.

Invariant: a position and the alerts that were counted up to it change in the same transaction. After a loss of power
both may be some seconds old: then something is sent twice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from deeplog_grpc.outputs.alerts import Alert, Sighting
from deeplog_grpc.storage.database import Database, Schema

SCHEMA = Schema(
    name="positions of outputs",
    application_id=0x444C4F01,
    format=1,
    statements=(
        "CREATE TABLE positions (output TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE alerts (output TEXT NOT NULL, group_id TEXT NOT NULL, content BLOB NOT NULL, "
        "PRIMARY KEY (output, group_id)) WITHOUT ROWID",
        # The last anomaly of each run of the server before this one.
        "CREATE TABLE ends (number INTEGER PRIMARY KEY)",
    ),
)
_MAX_ENDS = 10_000


class Positions:
    """Positions of all outputs of a server. Any thread may call any method.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    last_number : int
        The last anomaly that is stored, before this run stores any.

    Raises
    ------
    StateError
        If the file cannot be opened, is damaged, of another kind, or of a newer format.
    """

    def __init__(self, path: Path, *, last_number: int) -> None:
        self._database = Database(path, SCHEMA)
        self._database.relax()
        with self._database.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO ends VALUES (?)", (last_number,))
            connection.execute(
                "DELETE FROM ends WHERE number < (SELECT min(number) FROM positions) "
                "OR number NOT IN (SELECT number FROM ends ORDER BY number DESC LIMIT ?)",
                (_MAX_ENDS,),
            )
            self.ends = [number for (number,) in connection.execute("SELECT number FROM ends")]
            """The last anomaly of each run before this one, as far as an output may need it."""

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def get(self, output: str) -> int | None:
        """The last anomaly that an output is done with; None = it is new."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT number FROM positions WHERE output = ?", (output,)).fetchone()
        return None if row is None else int(row[0])

    def put(self, output: str, number: int, alerts: Sequence[Alert] = (), gone: Iterable[str] = ()) -> None:
        """An output is done with all up to an anomaly.

        Parameters
        ----------
        alerts : sequence of Alert
            Those that changed.
        gone : iterable of str
            Groups whose alerts are no more.
        """
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (output, number))
            connection.executemany(
                "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)",
                [(output, alert.group_id, orjson.dumps(asdict(alert))) for alert in alerts],
            )
            connection.executemany(
                "DELETE FROM alerts WHERE output = ? AND group_id = ?", [(output, group_id) for group_id in gone]
            )

    def alerts(self, output: str) -> list[Alert]:
        """The open alerts of an output."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT content FROM alerts WHERE output = ?", (output,)).fetchall()
        return [_alert(orjson.loads(content)) for (content,) in rows]


def _alert(plain: dict[str, object]) -> Alert:
    latest = plain.pop("latest")
    return Alert(latest=Sighting(**latest), **plain)  # type: ignore[arg-type]  # as asdict made it
