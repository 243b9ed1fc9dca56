"""Entries at which a detector fails: they are given up after a few attempts.

Their sender sends them again, and it must not do so for ever, with all that waits behind them.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.ingest import EntryFault, Part

MAX_ATTEMPTS = 3
MAX_REMEMBERED = 1_000
"""Batches that failed; the oldest are forgotten."""


class Attempts:
    """Counts how often a batch has failed.

    Examples
    --------
    >>> attempts = Attempts()
    >>> [attempts.failed("app", EntryBatch.of(["odd"])) for _ in range(MAX_ATTEMPTS)]
    [False, False, True]
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[bytes, int] = OrderedDict()

    def failed(self, application: str, batch: EntryBatch) -> bool:
        """Note that a batch has failed; whether that was its last attempt."""
        digest = hashlib.sha256("\0".join((application, *batch.bodies)).encode(errors="replace")).digest()
        failures = self._failures.pop(digest, 0) + 1
        if failures >= MAX_ATTEMPTS:
            return True
        self._failures[digest] = failures
        if len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)
        return False


def halves(part: Part) -> Iterator[Part]:
    """A part of two entries or more, divided in the middle."""
    middle = len(part.batch) // 2
    for rows in (slice(0, middle), slice(middle, len(part.batch))):
        yield replace(
            part,
            positions=part.positions[rows],
            entry_ids=part.entry_ids[rows],
            batch=part.batch.slice(rows.start, rows.stop),
        )


def unjudged(part: Part) -> EntryFault:
    """What is said of the only entry of a part."""
    return EntryFault(
        index=part.positions[0],
        entry_id=part.entry_ids[0],
        field=f"entries[{part.positions[0]}].body",
        reason="CANNOT_BE_JUDGED",
        message="the server fails at it, and has logged why: it is passed over",
    )
