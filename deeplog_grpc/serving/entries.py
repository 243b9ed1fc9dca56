"""The book of entries: each that is received is scored, rejected, refused, or still waits.

At any moment between two steps of the event loop ::

    received = scored + rejected + refused + those in the queue

Counted by message, never by entry: the book costs a delivery a microsecond.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from deeplog_grpc.errors import InputError, RefusedError
from deeplog_grpc.serving.scoring import ScoreJob
from deeplog_grpc.serving.status import EntriesRejectedError
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

NO_BODY = "NO_BODY"
"""Records that make no entry: without a text, sent out by this project, or a piece of another."""
CANCELLED = "CANCELLED"
"""Whoever sent it went away, or gave up waiting, before it was scored."""
INTERNAL_RETRY = "INTERNAL_RETRY"
"""An error that nobody foresaw; the sender is asked to send it again."""
_CANNOT_BE_JUDGED = "CANNOT_BE_JUDGED"


class EntryBook:
    """Counts the entries of one server; belongs to its event loop.

    Examples
    --------
    >>> book = EntryBook()
    >>> book.unread(3, InputError("must not be empty"))
    >>> book.received, book.rejected
    (3, Counter({'INVALID_INPUT': 3}))
    """

    def __init__(self) -> None:
        self.received = 0
        """Entries of deliveries that are no repetition of an earlier one."""
        self.scored: Counter[str] = Counter()
        """By application: judged, or learned from."""
        self.rejected: Counter[str] = Counter()
        """By reason: never will be judged."""
        self.refused: Counter[str] = Counter()
        """By reason: not now; whoever sent them is told to send them again."""
        self.repeated = 0
        """Entries of deliveries that repeat an earlier one, and were not scored again."""

        self.unread_deliveries: Counter[str] = Counter()
        """By reason: refused before they were read, so that nobody knows how many entries they had."""

    @contextmanager
    def reading(self, count: int) -> Iterator[None]:
        """Around what makes a job of ``count`` entries; if it fails, that is what became of them."""
        try:
            yield
        except BaseException as error:
            self.unread(count, error)
            raise

    def unread(self, count: int, error: BaseException) -> None:
        """Entries came, and an error kept them from the queue."""
        self.received += count
        if isinstance(error, EntriesRejectedError):
            self.rejected.update(fault.reason for fault in error.faults)
            self._reject(NO_BODY, count - len(error.faults))
        else:
            self._fail(count, error)

    def accepted(self, job: object) -> None:
        """The queue has taken a job."""
        if isinstance(job, ScoreJob):
            self.received += job.entry_count

    def turned_away(self, job: object, error: BaseException) -> None:
        """The queue has not taken a job."""
        if isinstance(job, ScoreJob):
            self.unread(job.entry_count, error)

    def settled(self, job: object, reply: object) -> None:
        """The queue has answered a job that it took; an exception, or nothing that scores, is an answer too."""
        if not isinstance(job, ScoreJob):
            return
        if isinstance(reply, BaseException):
            self._fail(job.entry_count, reply)
        elif isinstance(reply, pb.ScoreResponse):
            self._answered(job, reply)

    def answered_unscored(self, count: int, response: pb.ScoreResponse) -> None:
        """A delivery without a good entry was answered past the queue."""
        self.received += count
        self.rejected.update(error.reason for error in response.errors)
        self._reject(NO_BODY, count - len(response.errors))

    def _answered(self, job: ScoreJob, response: pb.ScoreResponse) -> None:
        for part in job.parts:
            self.scored[part.application] += len(part.batch)
        if response.errors:
            self.rejected.update(error.reason for error in response.errors)
        if len(response.errors) > len(job.faults):  # the detector failed at them: they are no longer scored
            unjudged = {error.index for error in response.errors if error.reason == _CANNOT_BE_JUDGED}
            for part in job.parts:
                self.scored[part.application] -= len(unjudged.intersection(part.positions))
        self._reject(NO_BODY, job.entry_count - response.entry_count - len(response.errors))

    def _fail(self, count: int, error: BaseException) -> None:
        if isinstance(error, InputError):
            self._reject(error.reason, count)
            return
        reason = INTERNAL_RETRY
        if isinstance(error, RefusedError):
            reason = error.reason
        elif isinstance(error, asyncio.CancelledError):
            reason = CANCELLED
        if count:
            self.refused[reason] += count

    def _reject(self, reason: str, count: int) -> None:
        if count:
            self.rejected[reason] += count
