"""The Detector: log entries in, verdicts out. Pure and synchronous; one caller at a time.

Invariant: verdicts depend on the order of the entries alone. A batch is only a way to do the same work faster:

1. read the entries (:class:`~deeplog_grpc.detection.reading.Reader`): log keys, sessions' identifiers, event times;
2. walk them once: sessions end and begin, each entry is a step from state to state
   (:class:`~deeplog_grpc.detection.tracker.SessionTracker`, as all that follows);
3. ask the model once about the distinct states that it was never asked about;
4. judge the values of the entries whose log key is normal;
5. read the columns of the answer off the steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from deeplog_grpc.detection.application import ApplicationModel
from deeplog_grpc.detection.config import DetectorConfig
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.judges import Judges
from deeplog_grpc.detection.reading import Reader, Reading
from deeplog_grpc.detection.tracker import SessionTracker
from deeplog_grpc.detection.verdict_batch import VerdictBatch
from deeplog_grpc.models import StandIn, common_units
from deeplog_grpc.parsing import ParsedBatch

_NO_ENTRIES = EntryBatch.of([])


class Detector:
    """Scores the log entries of one application.

    Parameters
    ----------
    application : ApplicationModel
        Its parser is the detector's from now on: it learns on.
    config : DetectorConfig, optional
        Limits.

    Raises
    ------
    ConfigError
        If a pattern of the session configuration is not a regular expression.
    """

    def __init__(self, application: ApplicationModel, config: DetectorConfig | None = None) -> None:
        config = config or DetectorConfig()
        self.application = application.application
        self._cache_bytes = config.cache_mb << 20
        self._reader = Reader(application.parser, application.key_model, application.sessions, config)
        judges = Judges(application, cache_bytes=self._cache_bytes)
        self._tracker = SessionTracker(judges, self._reader, config, timeout_s=application.timeout_s)

    @property
    def model_version(self) -> int:
        """Version of the models in force."""
        return self.model.version

    @property
    def model(self) -> ApplicationModel:
        """The models in force."""
        return self.judges.model

    @property
    def judges(self) -> Judges:
        """Of the version in force. Its graph may only be read, by :meth:`StateGraph.warm`, and only by one thread."""
        return self._tracker.judges

    @property
    def open_sessions(self) -> int:
        """Sessions that have begun and not ended."""
        return self._tracker.open_sessions

    @property
    def evicted_sessions(self) -> int:
        """Sessions and streams dropped unjudged since there were too many open ones."""
        return self._tracker.evicted_sessions

    @property
    def event_time_ns(self) -> int:
        """The latest believed time of an entry, in nanoseconds since 1970-01-01 UTC; 0 = none is known."""
        return self._reader.event_time_ns

    @property
    def next_deadline_ns(self) -> int:
        """Event time up to which :meth:`advance` has nothing to do; far ahead when no session can time out."""
        return self._tracker.next_deadline_ns

    @property
    def templates(self) -> int:
        """Log keys that the parser has given so far."""
        return len(self._reader)

    @property
    def stand_ins(self) -> Mapping[int, StandIn]:
        """New log keys that are judged as known ones, with ``key_model.semantic``: key -> stand-in."""
        return self._reader.stand_ins

    def template(self, key: int) -> str:
        """The template of a log key, with ``<*>`` at its parameters."""
        return self._reader.template(key)

    def workflow_path(self, session: str) -> tuple[int, ...] | None:
        """States of the workflow that an open session went through, oldest first; None where it is not open."""
        return self._tracker.workflow_path(session)

    def parse(self, bodies: Sequence[str]) -> ParsedBatch:
        """Parse bodies as :meth:`score` would; a message type never seen gets a new log key."""
        return self._reader.parse(bodies)

    def judges_of(self, model: ApplicationModel) -> Judges:
        """Get ready to judge by another version of the models, in any thread: the costly part of :meth:`adopt`."""
        judges = Judges(model, cache_bytes=self._cache_bytes)
        old = self.judges
        judges.graph.warm(old.graph, units=common_units(old.model.key_model.vocabulary, model.key_model.vocabulary))
        return judges

    def adopt(self, judges: Judges) -> None:
        """Judge by another version from the next batch on. Sessions go on where they stand; takes 0.2 us for each.

        Log keys that do not have the same unit in both versions count as unseen in the sessions' pasts.
        """
        self._tracker.adopt(judges)
        self._reader.adopt(judges.model.key_model)

    def parser_state(self) -> dict[str, Any]:
        """The parser's state as plain data: with the models, all that a restart needs to read log keys as now."""
        return self._reader.parser_state()

    def state(self) -> dict[str, Any]:
        """All that a restart needs to go on as if nothing had happened, as plain data and columns.

        The models are not in it: :meth:`restore` is for a detector of the same training. Takes 2 to 4 us an open
        session.
        """
        return {"reader": self._reader.state(), "tracker": self._tracker.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where the detector of that :meth:`state` stood; before any entry.

        The models may be of another version, as :meth:`adopt` takes it.

        Raises
        ------
        ValueError
            If it is of another training, or malformed; the detector must not be used then.
        """
        self._reader.restore(state["reader"])
        self._tracker.restore(state["tracker"])

    def score(self, batch: EntryBatch) -> VerdictBatch:
        """Judge the entries, in order.

        Returns
        -------
        VerdictBatch
            A row an entry, and the sessions that ended on the way.
        """
        return self._tracker.judge(self._reader.read(batch))

    def score_parsed(self, batch: EntryBatch, parsed: ParsedBatch) -> VerdictBatch:
        """Judge entries that :meth:`parse` has read the log keys of, in order and before it read anything else."""
        return self._tracker.judge(self._reader.read_parsed(batch, parsed))

    def advance(self, now_ns: int) -> VerdictBatch:
        """Event time has come to ``now_ns`` without entries: sessions past their time-out end.

        Nothing else changes: for the entries to come, time is what entries say. So a log that is replayed with a pause
        in it goes on where it stopped.
        """
        return self._tracker.advance(now_ns, self._nothing())

    def flush(self, sessions: Sequence[str] | None = None) -> VerdictBatch:
        """The named sessions, or all, end now. Names that are not open are passed over.

        Streams begin anew: nothing is said of them.
        """
        return self._tracker.flush(sessions, self._nothing())

    def _nothing(self) -> Reading:
        return self._reader.read(_NO_ENTRIES)
