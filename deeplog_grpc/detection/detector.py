"""The Detector: log entries in, verdicts out. Pure and synchronous; one caller at a time.

Invariant: verdicts depend on the order of the entries alone. A batch is only a way to do the same work faster:

1. parse all bodies to log keys, find all sessions' identifiers;
2. walk the entries once: sessions end and begin, each entry is a step from state to state;
3. ask the model once about the distinct states that it was never asked about;
4. judge the values of the entries whose log key is normal;
5. read the columns of the answer off the steps.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.application import ApplicationModel
from deeplog_grpc.detection.config import DetectorConfig
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.identifiers import (
    STREAM_MARK,
    compile_patterns,
    cut,
    identify,
    last_entries,
    session_patterns,
)
from deeplog_grpc.detection.judges import Judges
from deeplog_grpc.detection.paths import BatchPaths, Path, packed, past_of, tail_items
from deeplog_grpc.detection.sessions import NOTHING, NS_PER_S, Session, SessionTable, Watermark
from deeplog_grpc.detection.stand_ins import StandIns
from deeplog_grpc.detection.states import StateGraph, Transition, WindowState
from deeplog_grpc.detection.vectors import elapsed_s
from deeplog_grpc.detection.verdict_batch import SessionEnd, VerdictBatch, known_keys
from deeplog_grpc.detection.verdicts import EndReason
from deeplog_grpc.models import END, UNSEEN, StandIn, Vocabulary, common_units
from deeplog_grpc.parsing import ParsedBatch, slot_now
from deeplog_grpc.workflow import Diagnoser

CLOSED_AT_ONCE = 128
"""States of an earlier version: 0.1 ms."""


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
        sessions, timeout_s = application.sessions, application.timeout_s
        self.application = application.application
        self._config = config
        self._parser = application.parser
        self._judges = Judges(application, cache_bytes=config.cache_mb << 20)
        self._stand_ins = StandIns(self._parser, application.key_model)
        self._patterns = session_patterns(sessions.patterns, built_in=sessions.built_in)
        self._end_patterns = compile_patterns(sessions.end_patterns, field="sessions.end_patterns")
        self._table = SessionTable(max_open=config.max_open_sessions, timeout_ns=int(timeout_s * NS_PER_S))
        self._streams = SessionTable(max_open=config.max_open_sessions, timeout_ns=0)
        self._watermark = Watermark(step_ns=int(config.clock_step_s * NS_PER_S))
        self._cold_ns = int((timeout_s if config.cold_start_s is None else config.cold_start_s) * NS_PER_S)
        self._cold_until_ns: int | None = None
        self._closing: list[StateGraph] = []
        """Of earlier versions: let go of a little with each batch, for all at once would take some milliseconds."""
        self._templates: dict[int, str] = {}
        """Those asked for since the parser last read something: evidence names the same ones again and again."""
        self._diagnoser = Diagnoser(application.workflow, self.template)
        self._held: Session | None = None
        """The session of an entry whose time is held back."""

    @property
    def model_version(self) -> int:
        """Version of the models in force."""
        return self._judges.model.version

    @property
    def model(self) -> ApplicationModel:
        """The models in force."""
        return self._judges.model

    @property
    def judges(self) -> Judges:
        """Of the version in force. Its graph may only be read, by :meth:`StateGraph.warm`, and only by one thread."""
        return self._judges

    @property
    def open_sessions(self) -> int:
        """Sessions that have begun and not ended."""
        return len(self._table)

    @property
    def evicted_sessions(self) -> int:
        """Sessions and streams dropped unjudged since there were too many open ones."""
        return self._table.evicted + self._streams.evicted

    @property
    def event_time_ns(self) -> int:
        """The latest believed time of an entry, in nanoseconds since 1970-01-01 UTC; 0 = none is known."""
        return self._watermark.now_ns

    @property
    def next_deadline_ns(self) -> int:
        """Event time up to which :meth:`advance` has nothing to do; far ahead when no session can time out."""
        return self._table.next_deadline_ns()

    @property
    def templates(self) -> int:
        """Log keys that the parser has given so far."""
        return len(self._parser)

    @property
    def stand_ins(self) -> Mapping[int, StandIn]:
        """New log keys that are judged as known ones, with ``key_model.semantic``: key -> stand-in."""
        return self._stand_ins.found

    def template(self, key: int) -> str:
        """The template of a log key, with ``<*>`` at its parameters."""
        known = self._templates.get(key)
        if known is None:
            known = self._templates[key] = self._parser.template(key).text
        return known

    def workflow_path(self, session: str) -> tuple[int, ...] | None:
        """States of the workflow that an open session went through, oldest first; None where it is not open."""
        name = cut(session)
        found = self._table.get(name) or self._streams.get(name)
        if found is None:
            return None
        past = past_of(found.path)
        return self._diagnoser.path(known_keys(past.keys, self._stand_ins.found), begins=past.begins)

    def parse(self, bodies: Sequence[str]) -> ParsedBatch:
        """Parse bodies as :meth:`score` would; a message type never seen gets a new log key."""
        self._templates.clear()
        return self._parser.parse(bodies)

    def judges_of(self, model: ApplicationModel) -> Judges:
        """Get ready to judge by another version of the models, in any thread: the costly part of :meth:`adopt`."""
        judges = Judges(model, cache_bytes=self._config.cache_mb << 20)
        old = self._judges
        judges.graph.warm(old.graph, units=common_units(old.model.key_model.vocabulary, model.key_model.vocabulary))
        return judges

    def adopt(self, judges: Judges) -> None:
        """Judge by another version from the next batch on. Sessions go on where they stand; takes 0.2 us for each.

        Log keys that do not have the same unit in both versions count as unseen in the sessions' pasts.
        """
        old, self._judges = self._judges, judges
        vocabulary, before = judges.model.key_model.vocabulary, old.model.key_model.vocabulary
        units = common_units(before, vocabulary)
        judges.values.go_on_from(old.values)
        self._stand_ins.adopt(judges.model.key_model)
        if judges.model.workflow is not old.model.workflow:
            self._diagnoser = Diagnoser(judges.model.workflow, self.template)
        for session in chain(self._table.sessions(), self._streams.sessions()):
            old.graph.release(session.state)
            if units < before.assigned:
                _forget_units(session, judges.graph, units, before)
        self._closing.append(old.graph)

    def parser_state(self) -> dict[str, Any]:
        """The parser's state as plain data: with the models, all that a restart needs to read log keys as now."""
        return self._parser.state()

    def score(self, batch: EntryBatch) -> VerdictBatch:
        """Judge the entries, in order.

        Returns
        -------
        VerdictBatch
            A row an entry, and the sessions that ended on the way.
        """
        if self._closing and self._closing[0].close(CLOSED_AT_ONCE):
            del self._closing[0]
        parsed = self.parse(batch.bodies)
        identifiers = identify(batch.bodies, batch.sessions, batch.sources, self._patterns)
        ends: list[SessionEnd] = []
        paths: list[Path] = []
        steps, elapsed_s = self._walk(batch, parsed, identifiers, ends, paths)
        return self._judged(parsed, identifiers, steps, elapsed_s, ends, paths)

    def advance(self, now_ns: int) -> VerdictBatch:
        """Event time has come to ``now_ns`` without entries: sessions past their time-out end.

        Nothing else changes: for the entries to come, time is what entries say. So a log that is replayed with a pause
        in it goes on where it stopped.
        """
        ends = [self._end(session, 0, EndReason.TIMEOUT) for session in self._table.expire(now_ns)]
        return self._only_ends(ends)

    def flush(self, sessions: Sequence[str] | None = None) -> VerdictBatch:
        """The named sessions, or all, end now. Names that are not open are passed over.

        Streams begin anew: nothing is said of them.
        """
        names = None if sessions is None else [cut(name) for name in sessions]
        for _ in self._streams.close(names):
            pass
        ends = [self._end(session, 0, EndReason.FLUSH) for session in self._table.close(names)]
        return self._only_ends(ends)

    def _slot_now(self, key: int, slot: int) -> int:
        """Where the template, which may have grown more general since training, has the value of a slot."""
        return slot_now(self._judges.read_by[key], self._parser.template(key).pieces, slot)

    def _walk(
        self,
        batch: EntryBatch,
        parsed: ParsedBatch,
        identifiers: Sequence[str],
        ends: list[SessionEnd],
        paths: list[Path],
    ) -> tuple[list[Transition], NDArray[np.float64]]:
        """Take every entry's step, and the time that it took; collect the sessions that end, and each entry's path."""
        watermark, judges, tail = self._watermark, self._judges, tail_items(self._config.path_entries)
        unit_of, graph, knows_sessions = judges.unit_of, judges.graph, judges.knows_sessions
        deadline_ns = self._table.next_deadline_ns()
        steps: list[Transition] = []
        times_ns: list[int] = []
        before_ns: list[int] = []
        finished = last_entries(batch.bodies, self._end_patterns)
        for index, (key, time_ns, identifier) in enumerate(
            zip(parsed.keys.tolist(), batch.times_ns.tolist(), identifiers, strict=True)
        ):
            now_ns = watermark.observe(time_ns)
            if self._held is not None and not watermark.holds:
                self._release(now_ns)
            if now_ns > deadline_ns:
                ends += [self._end(session, index, EndReason.TIMEOUT) for session in self._table.expire(now_ns)]
                deadline_ns = self._table.next_deadline_ns()
            unit = unit_of.get(key, UNSEEN)
            if unit == UNSEEN:
                unit = self._stand_ins.unit(key, batch.bodies[index])
            is_stream = identifier.startswith(STREAM_MARK) or not knows_sessions
            table = self._streams if is_stream else self._table
            session = table.get(identifier)
            if session is None:
                state = graph.middle() if is_stream else self._first_state(unit, now_ns)
                session = Session(identifier, state)
                if table.add(session) and not is_stream:
                    self._cold_until_ns = now_ns + table.timeout_ns  # the one dropped may come back in its middle
                deadline_ns = min(deadline_ns, now_ns + table.timeout_ns) if table.timeout_ns else deadline_ns
            table.touch(session, now_ns)
            if time_ns and watermark.holds:
                self._held = session
                time_ns = 0  # a time that is not believed tells no elapsed time either
            times_ns.append(time_ns)
            before_ns.append(session.time_ns)
            if time_ns > session.time_ns:
                session.time_ns = time_ns
            state = session.state
            step = state.next.get(unit) or graph.step(state, unit)
            session.state = step.next
            if tail:
                path = session.path
                if len(path) > tail:
                    path = session.path = packed(path, self._config.path_entries)
                path.append(key)
                path.append(time_ns)
                paths.append(path)
            if not is_stream:  # which has no end to be judged at
                session.counts[unit if unit != UNSEEN else session.unseen(key)] += 1
            steps.append(step)
            if index in finished and not is_stream:
                ends += [self._end(closed, index, EndReason.MARKER) for closed in self._table.close([identifier])]
        return steps, elapsed_s(np.array(times_ns, np.int64), np.array(before_ns, np.int64))

    def _release(self, now_ns: int) -> None:
        """The session whose entry had a time too far ahead was not silent until now, whatever is believed."""
        held, self._held = self._held, None
        if held is not None and self._table.get(held.identifier) is held:
            self._table.touch(held, now_ns)

    def _first_state(self, unit: int, now_ns: int) -> WindowState:
        """Where a new session stands before its first entry."""
        judges = self._judges
        if not judges.begin_end:
            return judges.graph.middle()
        if self._cold_until_ns is None and now_ns:  # without times, nothing tells what ran before
            self._cold_until_ns = now_ns + self._cold_ns
        cold = self._cold_until_ns is not None and now_ns <= self._cold_until_ns
        if cold and unit != UNSEEN and unit not in judges.beginnings:
            return judges.graph.middle()
        return judges.graph.beginning()

    def _end(self, session: Session, index: int, reason: EndReason) -> SessionEnd:
        """Take the step to the session's end. Nothing is said of an end that the model does not know."""
        state, judges = session.state, self._judges
        judged = state.judged and judges.begin_end
        step = (state.next.get(END) or judges.graph.step(state, END)) if judged else None
        shape, unseen = None, NOTHING
        if step is not None and session.whole:
            counts, unseen = session.shape(judges.unit_of)
            shape = judges.shapes.judge(counts)
        return SessionEnd(
            index=index,
            session=session.identifier,
            reason=reason,
            state=state,
            step=step,
            shape=shape,
            unseen=unseen,
            path=session.path,
            ended_ns=session.last_ns + self._table.timeout_ns if reason is EndReason.TIMEOUT else 0,
        )

    def _only_ends(self, ends: list[SessionEnd]) -> VerdictBatch:
        return self._judged(self._parser.parse([]), [], [], np.zeros(0), ends, [])

    def _judged(
        self,
        parsed: ParsedBatch,
        identifiers: list[str],
        steps: list[Transition],
        elapsed: NDArray[np.float64],
        ends: list[SessionEnd],
        paths: list[Path],
    ) -> VerdictBatch:
        judges = self._judges
        judges.graph.resolve()
        outcomes = judges.values.judge(parsed, steps, elapsed)
        judges.graph.trim()
        return VerdictBatch.of(
            parsed=parsed,
            sessions=identifiers,
            steps=steps,
            outcomes=outcomes,
            ends=ends,
            paths=BatchPaths(paths),
            behaviour=judges.model.behaviour,
            model_version=judges.model.version,
            template=self.template,
            stand_ins=self._stand_ins.found,
            usual_elapsed=judges.values.usual_elapsed,
            slot_now=self._slot_now,
            diagnoser=self._diagnoser,
        )


def _forget_units(session: Session, graph: StateGraph, units: int, vocabulary: Vocabulary) -> None:
    """Make the units past the first ``units`` of a vocabulary unseen ones in a session's past."""
    state = session.state
    session.state = graph.at(tuple(unit if unit < units else UNSEEN for unit in state.window), state.known)
    for unit in [unit for unit in session.counts if unit >= units]:
        session.counts[session.unseen(vocabulary.key_of(unit))] += session.counts.pop(unit)
