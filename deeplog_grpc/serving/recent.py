"""The last entries of an application, as context of its anomalies: bounded, and nearly free until one asks."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deeplog_grpc.detection.entries import EntryBatch

MAX_ENTRIES = 20_000
MAX_CHARACTERS = 8 << 20
"""Of the bodies kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentEntry:
    """An entry that came before an anomaly."""

    time_ns: int
    """Event time in ns since 1970-01-01 UTC; 0 = not known."""
    body: str


@dataclass(slots=True, kw_only=True)
class _Kept:
    batch: EntryBatch
    sessions: Sequence[str]
    characters: int
    _rows: dict[str, list[int]] | None = None

    def rows_of(self, session: str) -> Sequence[int]:
        """Its rows, ascending. They are looked up once for all, when one asks."""
        if self._rows is None:
            self._rows = {}
            for row, own in enumerate(self.sessions):
                self._rows.setdefault(own, []).append(row)
        return self._rows.get(session, ())


class RecentEntries:
    """The last batches, with the session of each entry."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._entries = 0
        self._characters = 0

    def add(self, batch: EntryBatch, sessions: Sequence[str]) -> None:
        """Keep a batch, and let go of the oldest ones where there are too many."""
        kept = _Kept(batch=batch, sessions=sessions, characters=sum(map(len, batch.bodies)))
        self._kept.append(kept)
        self._entries += len(batch)
        self._characters += kept.characters
        while len(self._kept) > 1 and (self._entries > MAX_ENTRIES or self._characters > MAX_CHARACTERS):
            gone = self._kept.popleft()
            self._entries -= len(gone.batch)
            self._characters -= gone.characters

    def body(self, row: int) -> str:
        """Text of a row of the latest batch."""
        return self._kept[-1].batch.bodies[row]

    def before(self, places: Sequence[tuple[str, int]], count: int) -> list[list[RecentEntry]]:
        """Entries of sessions before rows of the latest batch, oldest first.

        Parameters
        ----------
        places : sequence of (str, int)
            Session, and a row of the latest batch; past its last row, all of it comes before.
        count : int
            Entries at most, for each.
        """
        found = self._found({session for session, _ in places}, count)
        return [[entry for place, entry in found[session] if place < row][:count][::-1] for session, row in places]

    def _found(self, sessions: set[str], count: int) -> dict[str, list[tuple[int, RecentEntry]]]:
        """Entries of sessions with their rows (-1 in earlier batches), the newest first."""
        return {session: list(self._entries_of(session, count)) for session in sessions}

    def _entries_of(self, session: str, count: int) -> Iterator[tuple[int, RecentEntry]]:
        """All of the latest batch, and ``count`` of those before it at least, if there are so many."""
        earlier = 0
        for age, kept in enumerate(reversed(self._kept)):
            for row in reversed(kept.rows_of(session)):
                yield (
                    -1 if age else row,
                    RecentEntry(time_ns=int(kept.batch.times_ns[row]), body=kept.batch.bodies[row]),
                )
                earlier += age > 0
            if earlier >= count:
                return
