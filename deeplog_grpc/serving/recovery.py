"""Open sessions survive the process: what is applied to the detectors is written down before it is answered.

Each run of the scoring thread ends with one write: the entries that were judged, sessions that were flushed or timed
out, and what deliveries that have a name were answered. Verdicts depend on the order of the entries alone, so a server
that is started again comes to stand where the one before stood: it takes the state that was saved last, and applies
what came since. What was applied and not written was not answered either, and will be sent again.

Now and then the state is saved anew, so that there is never much to apply. Where the disk fails, all that was saved is
dropped: scoring goes on, and after a kill the sessions then open are tracked from their middle.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np
import structlog

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.serving.config import RecoveryConfig
from deeplog_grpc.serving.delivery import Key, Named
from deeplog_grpc.serving.detectors import ScoredBatch, Scorer
from deeplog_grpc.serving.shards import ShardLostError
from deeplog_grpc.serving.status import log_unexpected
from deeplog_grpc.storage.recovery import ANSWERS, APPLIED, Found, RecoveryLog, packed_state, unpacked

SYNC_S = 1.0
"""Seconds between two waits for the disk."""
TRY_AGAIN_S = 60.0
"""Seconds between two attempts to save after the disk has failed."""
ENTRIES_A_SESSION = 10
"""A log is not closed before it has so many entries for each open session; to save one costs as much as half of one."""
APPLIED_AT_ONCE = 8_192
"""Entries."""

_log = structlog.get_logger("deeplog_grpc.serving")


class Restorable(Scorer, Protocol):
    """A detector whose sessions can be saved."""

    @property
    def open_sessions(self) -> int:
        """Sessions that have begun and not ended."""
        ...

    def state(self) -> Mapping[str, Any]:
        """All that :meth:`restore` needs, as plain data and columns."""
        ...

    def restore(self, state: Mapping[str, Any], /) -> None:
        """Go on where a detector stood.

        Raises
        ------
        ValueError
            If the state is of another training, or malformed.
        """
        ...


def is_restorable(detector: object) -> TypeGuard[Restorable]:
    """Whether a detector's sessions can be saved; those of one that still learns cannot."""
    return hasattr(detector, "restore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a delivery was answered before the restart."""

    key: Key
    digest: bytes
    is_record_delivery: bool
    """Whether it came from a receiver: see :class:`~deeplog_grpc.serving.delivery.Named`."""
    is_alone: bool
    """Whether the answer is on this delivery alone."""
    answer: bytes
    """A serialised ``ScoreResponse``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a start found."""

    entries: int = 0
    """Applied again."""
    open_sessions: int | None = None
    """Then; None = nothing was found, and all begins cold."""
    failed: frozenset[str] = frozenset()
    """Applications whose detectors are now in no usable state."""
    last_number: int | None = None
    """Of the last anomaly that was stored and answered, or may have been; None = not known."""
    remembered: Sequence[Remembered] = ()


class Recovery:
    """Writes down what the scoring thread applies; called in that thread.

    Parameters
    ----------
    log : RecoveryLog
    config : RecoveryConfig
    start : int
        Which start of the server this is, on the same state folder.
    last_number : callable
        Number of the last anomaly that was stored.
    keeps_text : bool
        Whether the text of entries may be written down. If not, the state is saved at a stop and nothing else is.
    clock : callable
        Seconds that never run backwards.
    """

    def __init__(
        self,
        log: RecoveryLog,
        config: RecoveryConfig,
        *,
        start: int,
        last_number: Callable[[], int],
        keeps_text: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keeps_text = keeps_text
        self._recovery_log = log
        self._config = config
        self._start = start
        self._last_number = last_number
        self._clock = clock
        self._applied: list[tuple[Any, ...]] = []
        self._answers: list[tuple[Any, ...]] = []
        self._entries = 0
        self._is_writing = False
        self._try_again_s = 0.0
        self._is_due = False
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="saving sessions")
        self._saving: Future[None] | None = None
        self._closed = threading.Event()
        self._syncer = threading.Thread(target=self._sync, name="recovery log", daemon=True)
        self.failures = 0
        """Times that the disk failed and all was dropped. Other threads may read it, as the next."""
        self.saves = 0
        """States saved."""
        self.written_bytes = 0
        """Appended to the logs so far."""

    def restore(
        self,
        detectors: Mapping[str, Scorer],
        *,
        seen: Callable[[str, EntryBatch, Sequence[str]], None] = lambda application, batch, sessions: None,
    ) -> Restored:
        """Bring detectors to where those of the server before stood; before any entry.

        Parameters
        ----------
        detectors : mapping of str to Scorer
        seen : callable
            Told of what is applied again: application, entries, sessions.
        """
        found = self._recovery_log.read()
        if found is None:
            return Restored()
        if found.start != self._start - 1:
            _log.warning(
                "saved sessions are of an earlier run: sessions begin cold", runs_ago=self._start - found.start
            )
            return Restored()
        with suppress(OSError):  # a full disk: then a kill before the state is saved again costs the sessions
            self._recovery_log.take_up(self._start)
        again = _Again(detectors, seen)
        last_number: int = again.begin(found.state)
        for kind, content in found.records():
            if kind == APPLIED:
                record = unpacked(content)
                last_number = record["last"]
                again.apply(record["applied"])
        again.finish()
        return Restored(
            entries=again.entries,
            open_sessions=sum(one.open_sessions for one in detectors.values() if is_restorable(one)),
            failed=frozenset(again.failed),
            last_number=last_number if found.is_same_run else None,
            remembered=_remembered(found),
        )

    def begin(self, detectors: Mapping[str, Scorer]) -> None:
        """Save the state of detectors, and begin to write; before the first run."""
        if not self._keeps_text:
            self._drop()
            return
        self._syncer.start()
        try:
            number, state = self._begun(detectors)
            self._recovery_log.save(number, state)
            self.saves += 1
        except OSError as error:
            self._failed(error)

    def entries(self, detector: Scorer, batch: EntryBatch) -> None:
        """Entries were judged."""
        if len(batch) and is_restorable(detector):
            self._applied.append(("entries", detector.application, *packed_batch(batch)))
            self._entries += len(batch)

    def flush(self, detector: Scorer, sessions: Sequence[str] | None) -> None:
        """Sessions, or all, were ended."""
        self._apply(detector, "flush", None if sessions is None else list(sessions))

    def advance(self, detector: Scorer, now_ns: int) -> None:
        """Time passed without entries."""
        self._apply(detector, "advance", now_ns)

    def parse(self, detector: Scorer, bodies: Sequence[str]) -> None:
        """Bodies were parsed, of which the parser has learned."""
        self._apply(detector, "parse", list(bodies))

    def answered(self, named: Named, answer: bytes) -> None:
        """Deliveries are about to be answered."""
        self._answers.append((named.keys, named.digest, named.is_record_delivery, answer))

    def save_soon(self) -> None:
        """Save the state at the end of this run: a detector was put in the place of another."""
        self._is_due = True

    def commit(self, detectors: Mapping[str, Scorer]) -> None:
        """A run is over: write it down, before it is answered."""
        applied, self._applied = self._applied, []
        answers, self._answers = self._answers, []
        if not self._is_writing:
            if self._keeps_text and self._clock() >= self._try_again_s:
                self._save(detectors)
            return
        if applied or answers:
            records = [(APPLIED, packed_state({"applied": applied, "last": self._last_number()}))]
            if answers:
                records.append((ANSWERS, packed_state({"answers": answers})))
            try:
                before = self._recovery_log.written_bytes
                self._recovery_log.append(records)
                self.written_bytes += self._recovery_log.written_bytes - before
            except OSError as error:
                self._failed(error)
                return
        if self._is_due or self._entries >= self._config.max_entries:
            self._save_if_due(detectors)

    def close(self, detectors: Mapping[str, Scorer]) -> None:
        """Save the state for the next start; after the last run."""
        self._closed.set()
        self._saver.shutdown()
        if self._is_writing or not self._keeps_text:
            try:
                number, state = self._begun(detectors)
                self._recovery_log.save(number, state)
            except Exception as error:  # what is there goes on to be right
                log_unexpected(error, "open sessions not saved: the next start reads what came since they were")
        self.end()

    def end(self) -> None:
        """Write no more; what was written is enough for the next start."""
        self._closed.set()
        self._saver.shutdown()
        self._is_writing = False
        if self._syncer.is_alive():
            self._syncer.join()
        self._recovery_log.close()

    def _apply(self, detector: Scorer, kind: str, content: Any) -> None:
        if is_restorable(detector):
            self._applied.append((kind, detector.application, content))

    def _save_if_due(self, detectors: Mapping[str, Scorer]) -> None:
        sessions = sum(one.open_sessions for one in detectors.values() if is_restorable(one))
        is_busy = self._saving is not None and not self._saving.done()
        if not is_busy and (self._is_due or self._entries >= ENTRIES_A_SESSION * sessions):
            self._save(detectors)

    def _save(self, detectors: Mapping[str, Scorer]) -> None:
        """Take the state now, and have it written meanwhile."""
        try:
            number, state = self._begun(detectors)
        except OSError as error:
            self._failed(error)
            return
        except ShardLostError as error:  # the state before and its logs are still there
            log_unexpected(error, "open sessions not saved: it is tried again with the next ones")
            return
        self._saving = self._saver.submit(self._write, number, state)

    def _begun(self, detectors: Mapping[str, Scorer]) -> tuple[int, Mapping[str, Any]]:
        number = self._recovery_log.begin(start=self._start)
        self._is_writing, self._is_due, self._entries = True, False, 0
        states = {name: one.state() for name, one in detectors.items() if is_restorable(one)}
        return number, {"detectors": states, "last": self._last_number()}

    def _write(self, number: int, state: Mapping[str, Any]) -> None:
        try:
            self._recovery_log.save(number, state)
            self.saves += 1
        except Exception as error:  # the state before and its logs are still there
            log_unexpected(error, "open sessions not saved: it is tried again with the next ones")

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        self._is_writing = False
        self._try_again_s = self._clock() + TRY_AGAIN_S
        log_unexpected(error, "what is scored cannot be written down: after a kill, open sessions begin cold")
        self._drop()

    def _drop(self) -> None:
        try:
            self._recovery_log.drop()
        except OSError as other:
            log_unexpected(other, "saved sessions cannot be removed: remove `recovery` in the state folder")

    def _sync(self) -> None:
        while not self._closed.wait(SYNC_S):
            self._recovery_log.sync()


class _Again:
    """Applies to detectors what was applied to those of the server before."""

    def __init__(self, detectors: Mapping[str, Scorer], seen: Callable[[str, EntryBatch, Sequence[str]], None]) -> None:
        self._detectors = {name: one for name, one in detectors.items() if is_restorable(one)}
        self._scorers = detectors
        self._seen = seen
        self._waiting: dict[str, list[EntryBatch]] = {}
        self.entries = 0
        self.failed: set[str] = set()

    def begin(self, state: Mapping[str, Any]) -> int:
        """Restore the states; returns the number of the last anomaly then."""
        for application, own in state["detectors"].items():
            if (detector := self._detectors.get(application)) is None:
                continue
            try:
                detector.restore(own)
            except (ValueError, KeyError, TypeError) as error:  # retrained, say
                self.failed.add(application)
                _log.warning("sessions begin cold", application=application, error_type=type(error).__name__)
        last: int = state["last"]
        return last

    def apply(self, applied: Iterable[Sequence[Any]]) -> None:
        """What was applied in one run."""
        for kind, application, *content in applied:
            if application in self.failed or application not in self._detectors:
                continue
            if kind == "entries":
                batch = batch_of(content)
                waiting = self._waiting.setdefault(application, [])
                waiting.append(batch)
                if sum(map(len, waiting)) >= APPLIED_AT_ONCE:
                    self._score(application)
                continue
            self._score(application)
            self._try(application, kind, content[0])

    def finish(self) -> None:
        """Apply what waits to be applied together."""
        for application in list(self._waiting):
            self._score(application)

    def _score(self, application: str) -> None:
        if waiting := self._waiting.pop(application, None):
            self._try(application, "entries", EntryBatch.concat(waiting))

    def _try(self, application: str, kind: str, content: Any) -> None:
        detector = self._scorers[application]
        try:
            match kind:
                case "entries":
                    scored: ScoredBatch = detector.score(content)
                    self._seen(application, content, scored.sessions)
                    self.entries += len(content)
                case "flush":
                    detector.flush(content)
                case "advance":
                    detector.advance(content)
                case "parse":
                    detector.parse(content)
        except Exception as error:
            self.failed.add(application)
            log_unexpected(error, "what was scored before cannot be applied again: sessions begin cold")


def _remembered(found: Found) -> list[Remembered]:
    return [
        Remembered(
            key=tuple(key),
            digest=digest,
            is_record_delivery=is_record_delivery,
            is_alone=len(keys) == 1,
            answer=answer,
        )
        for content in found.answers()
        for keys, digest, is_record_delivery, answer in unpacked(content)["answers"]
        for key in keys
    ]


def packed_batch(batch: EntryBatch) -> tuple[Any, ...]:
    r"""A batch as plain data; 0.1 us an entry.

    Examples
    --------
    >>> batch = EntryBatch.of(["one", "two"], sessions=["a", "b"])
    >>> packed_batch(batch)[1:]
    (b'one\x00two', b'a\x00b', '')
    >>> batch_of(packed_batch(batch)).bodies
    ['one', 'two']
    """
    return (
        np.ascontiguousarray(batch.times_ns),
        _packed_texts(batch.bodies),
        _packed_texts(batch.sessions),
        _packed_texts(batch.sources),
    )


def batch_of(content: Sequence[Any]) -> EntryBatch:
    """What :func:`packed_batch` gave, the times perhaps as bytes."""
    times_ns = np.frombuffer(content[0], np.int64)
    bodies, sessions, sources = (_texts(column, len(times_ns)) for column in content[1:])
    return EntryBatch(bodies=bodies, times_ns=times_ns, sessions=sessions, sources=sources)


def _packed_texts(texts: Sequence[str]) -> str | bytes | list[str]:
    """One text where all are alike, else all as one piece, or a list where they hold what divides them."""
    if texts.count(texts[0]) == len(texts):
        return texts[0]
    together = "\0".join(texts)
    if together.count("\0") == len(texts) - 1:
        return together.encode("utf-8", "surrogatepass")
    return list(texts)


def _texts(column: str | bytes | list[str], count: int) -> list[str]:
    if isinstance(column, str):
        return [column] * count
    return column.decode("utf-8", "surrogatepass").split("\0") if isinstance(column, bytes) else column
