"""Tracking sessions: where each one stands, what its next entry means, when it ends.

Each entry is a step from state to state (:mod:`~deeplog_grpc.detection.states`); the walk over a batch only takes the
steps, and all that was never met is asked of the models at once, after it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.config import DetectorConfig
from deeplog_grpc.detection.identifiers import STREAM_MARK, cut
from deeplog_grpc.detection.judges import Judges
from deeplog_grpc.detection.paths import BatchPaths, Path, packed, past_of, tail_items
from deeplog_grpc.detection.reading import Reading
from deeplog_grpc.detection.saving import UnitsNow, in_order, restored_sessions, sessions_state
from deeplog_grpc.detection.sessions import NOTHING, Session, SessionTable
from deeplog_grpc.detection.states import StateGraph, Transition, WindowState
from deeplog_grpc.detection.vectors import elapsed_s
from deeplog_grpc.detection.verdict_batch import SessionEnd, VerdictBatch, known_keys
from deeplog_grpc.detection.verdicts import EndReason
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.models import END, UNSEEN, StandIn, Vocabulary, common_units
from deeplog_grpc.parsing import slot_now
from deeplog_grpc.workflow import Diagnoser

CLOSED_AT_ONCE = 128
"""States of an earlier version: 0.1 ms."""


class Templates(Protocol):
    """What evidence is put in words with."""

    @property
    def stand_ins(self) -> Mapping[int, StandIn]:
        """New log keys that are judged as known ones."""
        ...

    def template(self, key: int) -> str:
        """The template of a log key, with ``<*>`` at its parameters."""
        ...

    def pieces(self, key: int) -> tuple[str, ...]:
        """The constant pieces of the template of a log key."""
        ...


class SessionTracker:
    """Follows the sessions of one application and judges what they do.

    Parameters
    ----------
    judges : Judges
        Of the version in force.
    templates : Templates
        Of the log keys, as they are now.
    config : DetectorConfig
        Limits.
    timeout_s : float
        Event time in seconds after which a silent session has ended; 0 = never.
    """

    def __init__(self, judges: Judges, templates: Templates, config: DetectorConfig, *, timeout_s: float) -> None:
        self.judges = judges
        self._templates = templates
        self._config = config
        self._table = SessionTable(max_open=config.max_open_sessions, timeout_ns=int(timeout_s * NS_PER_S))
        self._streams = SessionTable(max_open=config.max_open_sessions, timeout_ns=0)
        self._cold_ns = int((timeout_s if config.cold_start_s is None else config.cold_start_s) * NS_PER_S)
        self._began_ns = 0
        """The first event time that was ever believed."""
        self._cold_until_ns: int | None = None
        """Event time until which a session may have begun unseen; None = event time has not begun."""
        self._held: Session | None = None
        """The session of an entry whose time is held back."""
        self._closing: list[StateGraph] = []
        """Of earlier versions: let go of a little with each batch, for all at once would take some milliseconds."""
        self._diagnoser = Diagnoser(judges.model.workflow, templates.template)

    @property
    def open_sessions(self) -> int:
        """Sessions that have begun and not ended."""
        return len(self._table)

    @property
    def evicted_sessions(self) -> int:
        """Sessions and streams dropped unjudged since there were too many open ones."""
        return self._table.evicted + self._streams.evicted

    @property
    def next_deadline_ns(self) -> int:
        """Event time up to which :meth:`advance` has nothing to do; far ahead when no session can time out."""
        return self._table.next_deadline_ns()

    def workflow_path(self, session: str) -> tuple[int, ...] | None:
        """States of the workflow that an open session went through, oldest first; None where it is not open."""
        name = cut(session)
        found = self._table.get(name) or self._streams.get(name)
        if found is None:
            return None
        past = past_of(found.path)
        return self._diagnoser.path(known_keys(past.keys, self._templates.stand_ins), begins=past.begins)

    def adopt(self, judges: Judges) -> None:
        """Judge by another version from now on; see :meth:`Detector.adopt`."""
        old, self.judges = self.judges, judges
        vocabulary, before = judges.model.key_model.vocabulary, old.model.key_model.vocabulary
        units = common_units(before, vocabulary)
        judges.values.go_on_from(old.values)
        if judges.model.workflow is not old.model.workflow:
            self._diagnoser = Diagnoser(judges.model.workflow, self._templates.template)
        for session in chain(self._table.sessions(), self._streams.sessions()):
            old.graph.release(session.state)
            if units < before.assigned:
                _forget_units(session, judges.graph, units, before)
        self._closing.append(old.graph)

    def state(self) -> dict[str, Any]:
        """The open sessions and all else that :meth:`restore` needs, as plain data and columns."""
        return {
            "keys": list(self.judges.model.key_model.vocabulary.keys),
            "sessions": [sessions_state(self._table.sessions())],
            "streams": [sessions_state(self._streams.sessions())],
            "held": None if self._held is None else self._held.identifier,
            "cold_until_ns": self._cold_until_ns,
            "began_ns": self._began_ns,
            "values": self.judges.values.state(),
        }

    def restore(
        self,
        state: Mapping[str, Any],
        *,
        is_own: Callable[[str], bool] = lambda identifier: True,
        is_own_key: Callable[[int], bool] = lambda key: True,
    ) -> None:
        """Go on where the tracker of that :meth:`state` stood; before any entry.

        The models may be of another version that stands on the same training.

        Parameters
        ----------
        state : mapping
        is_own : callable
            Whether the session of an identifier is tracked here.
        is_own_key : callable
            Whether the values of a log key that a network has to see are judged here.
        """
        self._table.restore(self._restored(state, "sessions", is_own))
        self._streams.restore(self._restored(state, "streams", is_own))
        self._held = None if state["held"] is None else self._table.get(state["held"])
        self._cold_until_ns, self._began_ns = state["cold_until_ns"], state["began_ns"]
        self.judges.values.restore([tail for tail in state["values"] if is_own_key(tail[0])])

    def _restored(self, state: Mapping[str, Any], tables: str, is_own: Callable[[str], bool]) -> list[Session]:
        units, at = UnitsNow(state["keys"], self.judges.model.key_model.vocabulary), self.judges.graph.at
        found = in_order(restored_sessions(table, at, units) for table in state[tables])
        return [session for session in found if is_own(session.identifier)]

    def judge(self, reading: Reading) -> VerdictBatch:
        """Judge entries, in order."""
        if self._closing and self._closing[0].close(CLOSED_AT_ONCE):
            del self._closing[0]
        self._began_ns = reading.began_ns
        ends: list[SessionEnd] = []
        paths: list[Path] = []
        steps, before_ns = self._walk(reading, ends, paths)
        return self._judged(reading, steps, elapsed_s(reading.times_ns, before_ns), ends, paths)

    def advance(self, now_ns: int, nothing: Reading) -> VerdictBatch:
        """Event time has come to ``now_ns`` without entries: sessions past their time-out end."""
        ends = [self._end(session, 0, EndReason.TIMEOUT) for session in self._table.expire(now_ns)]
        return self._judged(nothing, [], np.zeros(0), ends, [])

    def flush(self, sessions: Sequence[str] | None, nothing: Reading) -> VerdictBatch:
        """The named sessions, or all, end now; streams begin anew."""
        names = None if sessions is None else [cut(name) for name in sessions]
        for _ in self._streams.close(names):
            pass
        ends = [self._end(session, 0, EndReason.FLUSH) for session in self._table.close(names)]
        return self._judged(nothing, [], np.zeros(0), ends, [])

    def _walk(
        self, reading: Reading, ends: list[SessionEnd], paths: list[Path]
    ) -> tuple[list[Transition], NDArray[np.int64]]:
        """Take every entry's step; collect the sessions that end, and each entry's path.

        Returns
        -------
        list of Transition [n]
        int64 array [n]
            Time of the session's previous entry; 0 = not known.
        """
        judges, tail = self.judges, tail_items(self._config.path_entries)
        step_from, all_streams = judges.graph.step, not judges.knows_sessions
        sessions, streams = self._table.open, self._streams.open
        rare_rows = reading.last_rows | reading.held_rows | reading.released_rows
        deadline_ns = self._table.next_deadline_ns()
        steps: list[Transition] = []
        before_ns: list[int] = []
        columns = zip(
            reading.identifiers,
            reading.units,
            reading.parsed.keys.tolist(),
            reading.times_ns.tolist(),
            reading.now_ns.tolist(),
            strict=True,
        )
        for row, (identifier, unit, key, time_ns, now_ns) in enumerate(columns):
            if rare_rows and row in reading.released_rows:
                self.release(now_ns)
            if now_ns > deadline_ns:
                ends += [self._end(session, row, EndReason.TIMEOUT) for session in self._table.expire(now_ns)]
                deadline_ns = self._table.next_deadline_ns()
            is_stream = all_streams or identifier[0] == STREAM_MARK
            table = streams if is_stream else sessions
            session = table.get(identifier)
            if session is None:
                session = self._begun(identifier, unit, now_ns, is_stream)
                if not is_stream:
                    deadline_ns = min(deadline_ns, self._table.deadline_ns(now_ns))
            else:
                table.move_to_end(identifier)
            session.last_ns = now_ns
            before_ns.append(session.time_ns)
            if time_ns > session.time_ns:
                session.time_ns = time_ns
            state = session.state
            step = state.next.get(unit) or step_from(state, unit)
            session.state = step.next
            steps.append(step)
            if tail:
                path = session.path
                if len(path) > tail:
                    path = session.path = packed(path, self._config.path_entries)
                path += (key, time_ns)
                paths.append(path)
            if not is_stream:  # which has no end to be judged at
                session.counts[unit if unit != UNSEEN else session.unseen(key)] += 1
            if rare_rows:
                if row in reading.held_rows:
                    self._held = session
                if row in reading.last_rows and not is_stream:
                    ends += [self._end(closed, row, EndReason.MARKER) for closed in self._table.close([identifier])]
        return steps, np.array(before_ns, np.int64)

    def _begun(self, identifier: str, unit: int, now_ns: int, is_stream: bool) -> Session:
        """Open a session or a stream."""
        graph, table = self.judges.graph, self._streams if is_stream else self._table
        session = Session(identifier, graph.middle() if is_stream else self._first_state(unit, now_ns))
        if table.add(session) and not is_stream:
            self._cold_until_ns = now_ns + table.timeout_ns  # the one dropped may come back in its middle
        return session

    def release(self, now_ns: int) -> None:
        """The session whose entry had a time too far ahead was not silent until now, whatever is believed."""
        held, self._held = self._held, None
        if held is not None and self._table.get(held.identifier) is held:
            self._table.touch(held, now_ns)

    def _first_state(self, unit: int, now_ns: int) -> WindowState:
        """Where a new session stands before its first entry."""
        judges = self.judges
        if not judges.begin_end:
            return judges.graph.middle()
        if self._cold_until_ns is None and now_ns:  # without times, nothing tells what ran before
            self._cold_until_ns = self._began_ns + self._cold_ns
        cold = self._cold_until_ns is not None and now_ns <= self._cold_until_ns
        if cold and unit != UNSEEN and unit not in judges.beginnings:
            return judges.graph.middle()
        return judges.graph.beginning()

    def _end(self, session: Session, index: int, reason: EndReason) -> SessionEnd:
        """Take the step to the session's end. Nothing is said of an end that the model does not know."""
        state, judges = session.state, self.judges
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

    def _judged(
        self,
        reading: Reading,
        steps: list[Transition],
        elapsed: NDArray[np.float64],
        ends: list[SessionEnd],
        paths: list[Path],
    ) -> VerdictBatch:
        judges = self.judges
        judges.graph.resolve()
        outcomes = judges.values.judge(reading.parsed, steps, elapsed)
        judges.graph.trim()
        return VerdictBatch.of(
            parsed=reading.parsed,
            sessions=reading.identifiers,
            steps=steps,
            outcomes=outcomes,
            ends=ends,
            paths=BatchPaths(paths),
            behaviour=judges.model.behaviour,
            model_version=judges.model.version,
            template=self._templates.template,
            stand_ins=self._templates.stand_ins,
            usual_elapsed=judges.values.usual_elapsed,
            slot_now=self._slot_now,
            diagnoser=self._diagnoser,
        )

    def _slot_now(self, key: int, slot: int) -> int:
        """Where the template, which may have grown more general since training, has the value of a slot."""
        return slot_now(self.judges.read_by[key], self._templates.pieces(key), slot)


def _forget_units(session: Session, graph: StateGraph, units: int, vocabulary: Vocabulary) -> None:
    """Make the units past the first ``units`` of a vocabulary unseen ones in a session's past."""
    state = session.state
    session.state = graph.at(tuple(unit if unit < units else UNSEEN for unit in state.window), state.known)
    for unit in [unit for unit in session.counts if unit >= units]:
        session.counts[session.unseen(vocabulary.key_of(unit))] += session.counts.pop(unit)
