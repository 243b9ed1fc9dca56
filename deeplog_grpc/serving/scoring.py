"""What the worker does with the jobs of one run.

Synchronous and free of the event loop: called in the scoring thread, the only one that touches the detectors. The
entries of waiting jobs go to a detector together; a flush or a parse in between divides them, so that each job finds
the detector as its predecessors left it. Verdicts do not depend on the division. Where a detector fails, each job is
tried by itself; the job that fails is to be sent again, and when it has failed a few times, the entries are sought that
it fails at: those are answered as errors, and the others judged.

Event time goes on while an application's entries do not come: see :class:`TickJob`.
"""

import math
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from deeplog_grpc.detection import Judges
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.verdicts import Verdict
from deeplog_grpc.errors import RefusedError
from deeplog_grpc.feedback import DriftMonitor, DriftReport
from deeplog_grpc.ingest import EntryFault, Part
from deeplog_grpc.serving.answers import AnswerOptions, ScoreAnswer, late_end, parse_response
from deeplog_grpc.serving.attempts import Attempts, halves, unjudged
from deeplog_grpc.serving.clock import EventClock
from deeplog_grpc.serving.delivery import Named
from deeplog_grpc.serving.detectors import ScoredBatch, Scorer
from deeplog_grpc.serving.recorder import LAST_ROW, Noted
from deeplog_grpc.serving.recovery import Recovery, is_restorable
from deeplog_grpc.serving.status import log_unexpected
from deeplog_grpc.serving.turns import Pieces, ReadsAhead, groups_of
from deeplog_grpc.serving.watch import Watch
from deeplog_grpc.storage import SampleLog
from deeplog_grpc.v1 import deeplog_service_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushOrder:
    """Sessions to end after a job's entries."""

    application: str
    sessions: tuple[str, ...]
    """Empty = every open one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """A request to score, checked and divided by application."""

    parts: tuple[Part, ...]
    faults: tuple[EntryFault, ...]
    flush: FlushOrder | None
    options: AnswerOptions
    entry_count: int
    """Entries of the request, the bad ones included."""
    named: Named | None = None
    """Under which names the answer is remembered; None = it has none."""

    @property
    def applications(self) -> set[str]:
        """Those whose entries or flush it has."""
        flushed = set() if self.flush is None else {self.flush.application}
        return flushed.union(part.application for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseJob:
    """A request to parse."""

    application: str
    bodies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TickJob:
    """An order of the server's own to end the sessions whose time-out has passed while no entries came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickReply:
    """What a tick brought about."""

    ends: Mapping[str, tuple[Verdict, ...]]
    """By application; only those with any."""
    errors: tuple[Exception, ...]
    """Of detectors that failed; the others were ticked all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptJob:
    """An order of the server's own to judge an application by another version of its models from now on."""

    application: str
    judges: Judges
    is_adapted: bool
    """Whether it has learned a range of time as normal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallJob:
    """An order of the server's own to serve an application that is new, or by another detector, from now on."""

    application: str
    detector: Scorer
    drift: DriftMonitor | None
    """None = no drift is looked for."""
    sample: SampleLog | None
    """Where its entries are kept; None = nowhere, or where they were."""
    missed: Callable[[], Iterable[EntryBatch]] = tuple
    """The entries that the detector before had and this one has not seen yet; asked at the moment of the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectJob:
    """A question of the server's own for what only the scoring thread may look at."""

    application: str
    keys: tuple[int, ...] = ()
    """Log keys whose templates are asked for."""
    session: str = ""
    """The open session whose way is asked for; empty = none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneReply:
    """The answer to an order or question of the server's own."""

    templates: Mapping[int, str]
    """Of the log keys asked for and those that have their part in a drift, as far as they are there."""
    parser_state: Mapping[str, Any]
    """Only to a question."""
    drift: DriftReport | None
    """Only to a question."""
    path: tuple[int, ...] | None = None
    """States that the session asked for went through; None = it is not open, or none was asked for."""


_DONE = DoneReply(templates={}, parser_state={}, drift=None)

Job = ScoreJob | ParseJob | TickJob | AdoptJob | InstallJob | InspectJob
Reply = pb.ScoreResponse | pb.ParseResponse | TickReply | DoneReply


class ScoringWorker:
    """Runs jobs over the detectors.

    Parameters
    ----------
    detectors : mapping of str to Scorer
        By application; others may come later.
    watch : Watch, optional
        What is done with all that is scored, beside answering it.
    recovery : Recovery, optional
        Where what is applied to the detectors is written down.
    clock : callable
        Seconds that never run backwards.
    """

    def __init__(
        self,
        detectors: Mapping[str, Scorer],
        *,
        watch: Watch | None = None,
        recovery: Recovery | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._detectors = dict(detectors)
        self._watch = watch
        self._recovery = recovery
        self._clock = clock
        self._event_clocks = {application: EventClock() for application in detectors}
        for application, detector in detectors.items():  # one that was restored goes on from its time
            self._event_clocks[application].set(detector.event_time_ns, at_s=clock())
        self._attempts = Attempts()
        self.tick_due_s = math.inf
        """Time of ``clock`` before which a tick would find nothing. Other threads may read it."""

    @property
    def detectors(self) -> dict[str, Scorer]:
        """Those in force, by application; other threads may ask."""
        return self._detectors.copy()

    def __call__(self, jobs: Sequence[Job]) -> list[Reply | Exception]:
        """Answer jobs, in their order; a detector's exception is the answer to the job whose entries it fails at."""
        run = _Run(self._detectors, self._watch, self._recovery, self._event_clocks, self._clock, self._attempts)
        for number, job in enumerate(jobs):
            match job:
                case ParseJob():
                    run.parse(number, job)
                case TickJob():
                    run.tick(number)
                case ScoreJob():
                    run.score(number, job)
                case AdoptJob() | InstallJob() | InspectJob():
                    run.maintain(number, job)
        replies = run.finish(len(jobs))
        if self._recovery is not None:
            self._write_down(self._recovery, jobs, replies)
        self._note_when_due()
        return replies

    def close(self) -> None:
        """Save what the detectors hold; after the last run, in the thread of the others."""
        if self._recovery is not None:
            self._recovery.close(self._detectors)

    def _write_down(self, recovery: Recovery, jobs: Sequence[Job], replies: Sequence[Reply | Exception]) -> None:
        for job, reply in zip(jobs, replies, strict=True):
            if isinstance(job, ScoreJob) and job.named is not None and isinstance(reply, pb.ScoreResponse):
                recovery.answered(job.named, reply.SerializeToString())
        recovery.commit(self._detectors)

    def _note_when_due(self) -> None:
        self.tick_due_s = min(
            (
                self._event_clocks[application].time_of(detector.next_deadline_ns)
                for application, detector in self._detectors.items()
            ),
            default=math.inf,
        )


class _Run:
    """The state of one run; jobs are known by their number."""

    def __init__(
        self,
        detectors: MutableMapping[str, Scorer],
        watch: Watch | None,
        recovery: Recovery | None,
        event_clocks: MutableMapping[str, EventClock],
        clock: Callable[[], float],
        attempts: Attempts,
    ) -> None:
        self._detectors = detectors
        self._watch = watch
        self._recovery = recovery
        self._attempts = attempts
        self._done: dict[int, DoneReply] = {}
        self._event_clocks = event_clocks
        self._clock = clock
        self._ticks: dict[int, TickReply] = {}
        self._pending: defaultdict[str, list[tuple[int, Part]]] = defaultdict(list)
        self._answers: dict[int, ScoreAnswer] = {}
        self._parsed: dict[int, pb.ParseResponse] = {}
        self._failures: dict[int, Exception] = {}

    def score(self, number: int, job: ScoreJob) -> None:
        self._answers[number] = ScoreAnswer(job.options, job.faults)
        for part in job.parts:
            self._pending[part.application].append((number, part))
        if job.flush is not None:
            self._flush(number, job.flush, job.entry_count)

    def parse(self, number: int, job: ParseJob) -> None:
        self._score_pending(job.application)
        detector = self._detectors[job.application]
        try:
            parsed = detector.parse(job.bodies)
            if self._recovery is not None:
                self._recovery.parse(detector, job.bodies)
            self._parsed[number] = parse_response(detector, parsed)
        except Exception as error:
            self._failures[number] = error

    def tick(self, number: int) -> None:
        ends: dict[str, tuple[Verdict, ...]] = {}
        errors: list[Exception] = []
        for application, detector in self._detectors.items():
            self._score_pending(application)
            now_ns = self._event_clocks[application].now_ns(self._clock())
            try:
                if now_ns <= detector.next_deadline_ns:
                    continue
                found = detector.advance(now_ns).session_ends
                if self._recovery is not None:
                    self._recovery.advance(detector, now_ns)
                if found:
                    ends[application] = self._stored(application, found)
            except Exception as error:
                errors.append(error)
        self._ticks[number] = TickReply(ends=ends, errors=tuple(errors))

    def maintain(self, number: int, job: AdoptJob | InstallJob | InspectJob) -> None:
        """What learning asks of a detector, between two batches of its entries."""
        self._score_pending(job.application)
        try:
            match job:
                case AdoptJob():
                    self._done[number] = self._adopt(job)
                case InstallJob():
                    self._done[number] = self._install(job)
                case InspectJob():
                    self._done[number] = self._inspect(job)
        except Exception as error:
            self._failures[number] = error

    def _install(self, job: InstallJob) -> DoneReply:
        for batch in job.missed():
            job.detector.score(batch)
        if self._recovery is not None and is_restorable(job.detector):
            self._recovery.save_soon()
        self._detectors[job.application] = job.detector
        clock = self._event_clocks[job.application] = EventClock()
        clock.set(job.detector.event_time_ns, at_s=self._clock())
        if self._watch is not None:
            self._watch.install(job.application, job.drift, job.sample)
        return _DONE

    def _adopt(self, job: AdoptJob) -> DoneReply:
        self._detectors[job.application].adopt(job.judges)
        if job.is_adapted and self._watch is not None:
            self._watch.adapted(job.application)
        return _DONE

    def _inspect(self, job: InspectJob) -> DoneReply:
        detector = self._detectors[job.application]
        drift = None if self._watch is None else self._watch.report(job.application)
        templates: dict[int, str] = {}
        for key in {*job.keys, *(key for key, _ in (() if drift is None else drift.parts))}:
            with suppress(KeyError):
                templates[key] = detector.template(key)
        path = detector.workflow_path(job.session) if job.session else None
        return DoneReply(templates=templates, parser_state=detector.parser_state(), drift=drift, path=path)

    def finish(self, count: int) -> list[Reply | Exception]:
        for application in list(self._pending):
            self._score_pending(application)
        return [self._reply(number) for number in range(count)]

    def _reply(self, number: int) -> Reply | Exception:
        if number in self._failures:
            return self._failures[number]
        if number in self._parsed:
            return self._parsed[number]
        if number in self._ticks:
            return self._ticks[number]
        if number in self._done:
            return self._done[number]
        return self._answers[number].finish()

    def _flush(self, number: int, flush: FlushOrder, entry_count: int) -> None:
        self._score_pending(flush.application)
        if number in self._failures:  # the client sends it all again, the flush included
            return
        detector = self._detectors[flush.application]
        try:
            ends = detector.flush(flush.sessions or None).session_ends
            if self._recovery is not None:
                self._recovery.flush(detector, flush.sessions or None)
            self._answers[number].add_flushed(detector, ends, entry_count)
            if self._watch is not None:
                self._watch.ends(flush.application, ends)
            self._record(detector, [number])
        except Exception as error:
            self._failures[number] = error

    def _score_pending(self, application: str) -> None:
        """Score what waits for a detector, and give each job its share of the verdicts."""
        pieces = self._pending.pop(application, None)
        if not pieces:
            return
        detector = self._detectors[application]
        groups: Sequence[Pieces] = groups_of(pieces) if isinstance(detector, ReadsAhead) else [pieces]
        if isinstance(detector, ReadsAhead):
            groups = self._score_in_turn(detector, detector, groups)
        for place, group in enumerate(groups):
            try:
                self._score_together(detector, group)
            except Exception as error:
                failed = groups[place:] if isinstance(error, RefusedError) else [group]
                self._failures.update((number, error) for one in failed for number, _ in one)
                if isinstance(error, RefusedError):
                    return

    def _score_in_turn(self, detector: Scorer, ahead: ReadsAhead, groups: Sequence[Pieces]) -> Sequence[Pieces]:
        """Score groups as far as nothing fails; returns those that are left to be tried by themselves."""
        batches = [EntryBatch.concat([part.batch for _, part in group]) for group in groups]
        judged = ahead.score_each(batches)
        for place, (group, batch) in enumerate(zip(groups, batches, strict=True)):
            try:
                scored = next(judged)
            except RefusedError as error:
                self._failures.update((number, error) for left in groups[place:] for number, _ in left)
                return ()
            except Exception:
                return groups[place:]
            try:
                self._answer(detector, group, batch, scored)
            except Exception as error:  # a full disk, say; what is judged ahead is not answered either
                self._failures.update((number, error) for left in groups[place:] for number, _ in left)
                return ()
        return ()

    def _score_together(self, detector: Scorer, pieces: Sequence[tuple[int, Part]]) -> None:
        batch = EntryBatch.concat([part.batch for _, part in pieces])
        try:
            scored = detector.score(batch)
        except RefusedError:  # nothing is wrong with the entries
            raise
        except Exception as error:
            self._score_apart(detector, pieces, error)
        else:
            self._answer(detector, pieces, batch, scored)

    def _score_apart(self, detector: Scorer, pieces: Sequence[tuple[int, Part]], error: Exception) -> None:
        """Keep a failure from those who have no part in it, and from coming back for ever."""
        if len(pieces) > 1:
            for number, part in pieces:
                try:
                    self._score_together(detector, [(number, part)])
                except Exception as own_error:
                    self._failures[number] = own_error
            return
        ((number, part),) = pieces
        if not self._attempts.failed(detector.application, part.batch):
            raise error
        log_unexpected(error, "entries at which the detector fails again and again are passed over")
        self._pass_over(detector, number, part)

    def _pass_over(self, detector: Scorer, number: int, part: Part) -> None:
        """Judge what can be judged of a part at which the detector has failed."""
        if len(part.batch) == 1:
            self._answers[number].add_fault(unjudged(part))
            return
        for half in halves(part):
            try:
                scored = detector.score(half.batch)
            except Exception:
                self._pass_over(detector, number, half)
            else:
                self._answer(detector, [(number, half)], half.batch, scored)

    def _answer(
        self, detector: Scorer, pieces: Sequence[tuple[int, Part]], batch: EntryBatch, scored: ScoredBatch
    ) -> None:
        self._event_clocks[detector.application].set(detector.event_time_ns, at_s=self._clock())
        if self._recovery is not None:
            self._recovery.entries(detector, batch)
        starts = [0, *accumulate(len(part.batch) for _, part in pieces[:-1])]
        for (number, part), start in zip(pieces, starts, strict=True):
            self._answers[number].add_part(detector, part, scored, start)
        for end in scored.session_ends:
            place = bisect_right(starts, end.index) - 1
            number, part = pieces[place]
            self._answers[number].add_end(detector, end, part, end.index - starts[place])
        if self._watch is not None:
            self._watch.seen(detector.application, batch, scored, now_ns=detector.event_time_ns)
        self._record(detector, [number for number, _ in pieces])

    def _record(self, detector: Scorer, numbers: Sequence[int]) -> None:
        """Have the anomalies of answers stored."""
        noted = [one for number in numbers for one in self._answers[number].take_noted()]
        if self._watch is not None:
            self._watch.record(detector.application, noted, now_ns=detector.event_time_ns)

    def _stored(self, application: str, ends: Sequence[Verdict]) -> tuple[Verdict, ...]:
        """Ends that came with the clock, the abnormal ones stored and named."""
        if self._watch is None:
            return tuple(ends)
        self._watch.ends(application, ends)
        noted = {
            place: Noted(message=late_end(application, end), row=LAST_ROW)
            for place, end in enumerate(ends)
            if end.is_anomaly
        }
        self._watch.record(application, list(noted.values()), now_ns=self._detectors[application].event_time_ns)
        return tuple(
            replace(end, verdict_id=noted[place].message.verdict_id) if place in noted else end
            for place, end in enumerate(ends)
        )
