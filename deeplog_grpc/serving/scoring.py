"""What the worker does with the jobs of one run.

Synchronous and free of the event loop: called in the scoring thread, the only one that touches the detectors. The
entries of waiting jobs go to a detector together; a flush or a parse in between divides them, so that each job finds
the detector as its predecessors left it. Verdicts do not depend on the division.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.ingest import EntryFault, Part
from deeplog_grpc.serving.answers import AnswerOptions, ScoreAnswer, parse_response
from deeplog_grpc.serving.detectors import Scorer
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseJob:
    """A request to parse."""

    application: str
    bodies: tuple[str, ...]


Job = ScoreJob | ParseJob
Reply = pb.ScoreResponse | pb.ParseResponse


class ScoringWorker:
    """Runs jobs over the detectors.

    Parameters
    ----------
    detectors : mapping of str to Scorer
        By application.
    """

    def __init__(self, detectors: Mapping[str, Scorer]) -> None:
        self._detectors = detectors

    def __call__(self, jobs: Sequence[Job]) -> list[Reply | Exception]:
        """Answer jobs, in their order; a detector's exception is the answer to all jobs whose entries it had."""
        run = _Run(self._detectors)
        for number, job in enumerate(jobs):
            if isinstance(job, ParseJob):
                run.parse(number, job)
            else:
                run.score(number, job)
        return run.finish(len(jobs))


class _Run:
    """The state of one run; jobs are known by their number."""

    def __init__(self, detectors: Mapping[str, Scorer]) -> None:
        self._detectors = detectors
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
            self._parsed[number] = parse_response(detector, detector.parse(job.bodies))
        except Exception as error:
            self._failures[number] = error

    def finish(self, count: int) -> list[Reply | Exception]:
        for application in list(self._pending):
            self._score_pending(application)
        return [self._reply(number) for number in range(count)]

    def _reply(self, number: int) -> Reply | Exception:
        if number in self._failures:
            return self._failures[number]
        if number in self._parsed:
            return self._parsed[number]
        return self._answers[number].finish()

    def _flush(self, number: int, flush: FlushOrder, entry_count: int) -> None:
        self._score_pending(flush.application)
        if number in self._failures:  # the client sends it all again, the flush included
            return
        detector = self._detectors[flush.application]
        try:
            ends = detector.flush(flush.sessions or None).session_ends
            self._answers[number].add_flushed(detector, ends, entry_count)
        except Exception as error:
            self._failures[number] = error

    def _score_pending(self, application: str) -> None:
        """Score what waits for a detector, and give each job its share of the verdicts."""
        pieces = self._pending.pop(application, None)
        if not pieces:
            return
        try:
            self._score_together(self._detectors[application], pieces)
        except Exception as error:
            self._failures.update((number, error) for number, _ in pieces)

    def _score_together(self, detector: Scorer, pieces: Sequence[tuple[int, Part]]) -> None:
        scored = detector.score(EntryBatch.concat([part.batch for _, part in pieces]))
        starts = [0, *accumulate(len(part.batch) for _, part in pieces[:-1])]
        for (number, part), start in zip(pieces, starts, strict=True):
            self._answers[number].add_part(detector, part, scored, start)
        for end in scored.session_ends:
            place = bisect_right(starts, end.index) - 1
            number, part = pieces[place]
            self._answers[number].add_end(detector, end, part, end.index - starts[place])
