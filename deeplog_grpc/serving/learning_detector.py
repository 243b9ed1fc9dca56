"""Stands where a detector will be: parses the entries of an application that has no model, and judges nothing."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import EntryBatch, Judges, SessionConfig
from deeplog_grpc.detection.identifiers import STREAM_MARK, identify, session_patterns
from deeplog_grpc.detection.verdicts import Kind, Verdict
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.parsing import ParsedBatch, Parser, ParserConfig
from deeplog_grpc.training.history import STREAM_BLOCK
from deeplog_grpc.training.readiness import Seen

MAX_SESSIONS = 10_000
"""Sessions that are counted; more than any training waits for."""
MAX_STEP_NS = 3_600 * NS_PER_S
"""A longer silence in event time counts as this: one time stamp that is years off must not pass for a day of log."""
_NEVER_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UnjudgedBatch:
    """Entries that nobody judges: all normal; a :class:`~deeplog_grpc.serving.detectors.ScoredBatch`."""

    parsed: ParsedBatch
    sessions: Sequence[str]
    template: Callable[[int], str]

    @property
    def kinds(self) -> NDArray[np.int8]:
        """All normal."""
        return np.full(len(self.sessions), Kind.NORMAL, np.int8)

    @property
    def keys(self) -> NDArray[np.int32]:
        """Log keys of the parser so far; training gives them anew."""
        return self.parsed.keys

    @property
    def ranks(self) -> NDArray[np.int32]:
        """0: not judged."""
        return np.zeros(len(self.sessions), np.int32)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """1: not judged."""
        return np.ones(len(self.sessions), np.float32)

    @property
    def scores(self) -> NDArray[np.float32]:
        """0: no surprise."""
        return np.zeros(len(self.sessions), np.float32)

    @property
    def session_ends(self) -> tuple[Verdict, ...]:
        """No session ends: nobody knows yet when one has."""
        return ()

    @property
    def stands_for(self) -> Mapping[int, int]:
        """Nothing."""
        return {}

    def verdict(self, i: int, /) -> Verdict:
        """Row i with its template and parameters."""
        key = int(self.parsed.keys[i])
        return Verdict(
            index=i,
            kind=Kind.NORMAL,
            key=key,
            template=self.template(key),
            parameters=self.parsed.parameters(i),
            score=0.0,
            rank=0,
            probability=1.0,
            candidates=(),
            window=(),
            session=self.sessions[i],
            session_end=None,
            reason="",
            model_version=0,
        )


class LearningDetector:
    """Parses entries and counts what a training will have; a :class:`~deeplog_grpc.serving.detectors.Scorer`.

    Parameters
    ----------
    application : str
    parser : ParserConfig
    sessions : SessionConfig
    begun_ns : int
        When its first entry arrived, in nanoseconds since 1970 UTC.
    """

    model_version = 0
    next_deadline_ns = _NEVER_NS

    def __init__(self, application: str, parser: ParserConfig, sessions: SessionConfig, *, begun_ns: int) -> None:
        self.application = application
        self.event_time_ns = 0
        self.begun_ns = begun_ns
        self._parser = Parser(parser)
        self._patterns = session_patterns(sessions.patterns, built_in=sessions.built_in)
        self._sessions: set[str] = set()
        self._entries = 0
        self._in_streams = 0
        self._spanned_ns = 0
        self._key_starts = array("q")

    def seen(self, now_ns: int) -> Seen:
        """What was seen until now, in nanoseconds since 1970 UTC; in any thread."""
        return Seen(
            entries=self._entries,
            sessions=len(self._sessions) + self._in_streams // STREAM_BLOCK,
            span_s=max(self._spanned_ns / NS_PER_S, (now_ns - self.begun_ns) / NS_PER_S),
            key_starts=tuple(self._key_starts),
        )

    def take_up(self, entries: int, batches: Sequence[EntryBatch]) -> None:
        """Go on where another process stopped.

        Parameters
        ----------
        entries : int
            How many there were.
        batches : sequence of EntryBatch
            The last of them.
        """
        taken = sum(map(len, batches))
        before = self._entries = max(0, entries - taken)
        for batch in batches:
            self.score(batch)
        if before:  # log keys that came soon were there before: nobody knows since when
            starts = [0 if start < before + taken // 2 else start for start in self._key_starts]
            self._key_starts = array("q", starts)

    def score(self, batch: EntryBatch, /) -> UnjudgedBatch:
        """Parse entries, and judge none."""
        parsed = self._parser.parse(batch.bodies)
        sessions = identify(batch.bodies, batch.sessions, batch.sources, self._patterns)
        self._key_starts.extend((np.flatnonzero(parsed.is_new) + self._entries).tolist())
        self._entries += len(batch)
        streams = [session for session in sessions if session.startswith(STREAM_MARK)]
        self._in_streams += len(streams)
        if len(self._sessions) < MAX_SESSIONS:
            self._sessions.update(sessions)
            self._sessions.difference_update(streams)
        self._note_times(batch.times_ns[batch.times_ns > 0])
        return UnjudgedBatch(parsed=parsed, sessions=sessions, template=self.template)

    def advance(self, now_ns: int, /) -> UnjudgedBatch:
        """No session ends."""
        return self._nothing()

    def flush(self, sessions: Sequence[str] | None = None, /) -> UnjudgedBatch:
        """No session ends."""
        return self._nothing()

    def parse(self, bodies: Sequence[str], /) -> ParsedBatch:
        """Parse as :meth:`score` does."""
        return self._parser.parse(bodies)

    def template(self, key: int, /) -> str:
        """Text of a log key."""
        return self._parser.template(key).text

    def workflow_path(self, session: str, /) -> tuple[int, ...] | None:
        """None: there is no workflow."""
        return None

    def adopt(self, judges: Judges, /) -> None:
        """Never asked for: what has no model has no other version of it."""
        raise RuntimeError(f"'{self.application}' has no model yet")

    def parser_state(self) -> Mapping[str, Any]:
        """The parser's state, as plain data."""
        return self._parser.state()

    def _nothing(self) -> UnjudgedBatch:
        return UnjudgedBatch(parsed=self._parser.parse([]), sessions=(), template=self.template)

    def _note_times(self, times_ns: NDArray[np.int64]) -> None:
        later = np.unique(times_ns[times_ns > self.event_time_ns])
        if len(later):
            steps = np.diff(later, prepend=self.event_time_ns or int(later[0]))
            self._spanned_ns += int(np.minimum(steps, MAX_STEP_NS).sum())
            self.event_time_ns = int(later[-1])
