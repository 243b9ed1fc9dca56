"""Reading entries: what each one says by itself, before any session is looked at.

Invariant: a reading depends on the order of the entries alone, not on how they were batched.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.config import DetectorConfig, SessionConfig
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.identifiers import compile_patterns, identify, last_entries, session_patterns
from deeplog_grpc.detection.stand_ins import StandIns
from deeplog_grpc.detection.watermark import NS_PER_S, Watermark
from deeplog_grpc.models import UNSEEN, LogKeyModel, StandIn, Vocabulary
from deeplog_grpc.parsing import ParsedBatch, Parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Entries of one application in their order, read, as columns of length n."""

    parsed: ParsedBatch
    """Log keys, and parameters on request."""
    units: Sequence[int]
    """Of the log keys in the model in force; :data:`UNSEEN` for those that it does not know."""
    identifiers: list[str]
    """Sessions."""
    times_ns: NDArray[np.int64]
    """Event time of each entry in ns since 1970-01-01 UTC; 0 = not known, or not believed. Shape [n]."""
    now_ns: NDArray[np.int64]
    """The latest believed event time as each entry comes; ascending. Shape [n]."""
    began_ns: int
    """The first event time that was ever believed; 0 = none yet."""
    last_rows: frozenset[int]
    """Entries that are the last of their sessions, by an end pattern."""
    held_rows: frozenset[int]
    """Entries whose time lies so far ahead that it waits to be confirmed."""
    released_rows: frozenset[int]
    """Entries with which that waiting is over."""


class Reader:
    """Reads the entries of one application.

    Parameters
    ----------
    parser : Parser
        The reader's from now on: it learns on.
    model : LogKeyModel
        Gives the log keys their units.
    sessions : SessionConfig
        How sessions are found.
    config : DetectorConfig
        Limits.

    Raises
    ------
    ConfigError
        If a pattern of the session configuration is not a regular expression.
    """

    def __init__(self, parser: Parser, model: LogKeyModel, sessions: SessionConfig, config: DetectorConfig) -> None:
        self._parser = parser
        self._stand_ins = StandIns(parser, model)
        self._patterns = session_patterns(sessions.patterns, built_in=sessions.built_in)
        self._end_patterns = compile_patterns(sessions.end_patterns, field="sessions.end_patterns")
        self._watermark = Watermark(step_ns=int(config.clock_step_s * NS_PER_S))
        self._units = _unit_column(model.vocabulary)
        self._began_ns = 0
        self._training = _training_of(parser)
        self._templates: dict[int, str] = {}
        """Those asked for since the parser last read something: evidence names the same ones again and again."""

    def __len__(self) -> int:
        """Log keys given so far."""
        return len(self._parser)

    @property
    def event_time_ns(self) -> int:
        """The latest believed time of an entry, in nanoseconds since 1970-01-01 UTC; 0 = none is known."""
        return self._watermark.now_ns

    @property
    def stand_ins(self) -> Mapping[int, StandIn]:
        """New log keys that are judged as known ones, with ``key_model.semantic``: key -> stand-in."""
        return self._stand_ins.found

    def adopt(self, model: LogKeyModel) -> None:
        """Give log keys the units of another version from the next batch on."""
        self._stand_ins.adopt(model)
        self._units = _unit_column(model.vocabulary)

    def parse(self, bodies: Sequence[str]) -> ParsedBatch:
        """Parse bodies as :meth:`read` would; a message type never seen gets a new log key."""
        self._templates.clear()
        return self._parser.parse(bodies)

    def template(self, key: int) -> str:
        """The template of a log key, with ``<*>`` at its parameters."""
        known = self._templates.get(key)
        if known is None:
            known = self._templates[key] = self._parser.template(key).text
        return known

    def pieces(self, key: int) -> tuple[str, ...]:
        """The constant pieces of the template of a log key."""
        return self._parser.template(key).pieces

    def resolve(self, key: int) -> int:
        """The log key that stands for a log key now: another one if its template was merged."""
        return self._parser.resolve(key)

    def parser_state(self) -> dict[str, Any]:
        """The parser's state as plain data."""
        return self._parser.state()

    def state(self) -> dict[str, Any]:
        """All that :meth:`restore` needs, as plain data."""
        return {
            "training": self._training,
            "parser": self.parser_state(),
            "time": self._watermark.state,
            "began_ns": self._began_ns,
            "stand_ins": self._stand_ins.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where the reader of that :meth:`state` stood.

        Raises
        ------
        ValueError
            If it is of another training, whose log keys mean other templates, or the parser's state is malformed.
        """
        if state["training"] != self._training:
            raise ValueError("the state is of a detector of another training")
        self._parser = Parser.from_state(state["parser"])
        self._stand_ins.restore(self._parser, state["stand_ins"])
        now_ns, held_ns = state["time"]
        self._watermark.restore((now_ns, held_ns))
        self._began_ns = state["began_ns"]
        self._templates.clear()

    def read(self, batch: EntryBatch) -> Reading:
        """Read the entries, in order."""
        return self.read_parsed(batch, self.parse(batch.bodies))

    def read_parsed(self, batch: EntryBatch, parsed: ParsedBatch) -> Reading:
        """Read entries whose log keys are known."""
        now_ns, held_rows, released_rows = self._watermark.observe_all(batch.times_ns)
        if not self._began_ns and len(now_ns):
            self._began_ns = int(now_ns[np.argmax(now_ns > 0)])
        return Reading(
            parsed=parsed,
            units=self._units_of(parsed, batch.bodies),
            identifiers=identify(batch.bodies, batch.sessions, batch.sources, self._patterns),
            times_ns=_without(batch.times_ns, held_rows),
            now_ns=now_ns,
            began_ns=self._began_ns,
            last_rows=last_entries(batch.bodies, self._end_patterns),
            held_rows=held_rows,
            released_rows=released_rows,
        )

    def _units_of(self, parsed: ParsedBatch, bodies: Sequence[str]) -> list[int]:
        column = self._units.take(parsed.keys, mode="clip")
        units: list[int] = column.tolist()
        for row in np.flatnonzero(column == UNSEEN).tolist():
            units[row] = self._stand_ins.unit(int(parsed.keys[row]), bodies[row])
        return units


def _training_of(parser: Parser) -> str:
    """What tells one training's log keys from another's."""
    texts = [template.text for template in parser.templates() if template.is_sealed]
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _unit_column(vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Unit by log key; the last place, which is that of all larger keys, is :data:`UNSEEN`."""
    table = vocabulary.unit_table()
    column = np.full(max(table, default=-1) + 2, UNSEEN, np.int64)
    column[list(table)] = list(table.values())
    return column


def _without(times_ns: NDArray[np.int64], rows: frozenset[int]) -> NDArray[np.int64]:
    """Times that are not believed tell no elapsed time either."""
    if not rows:
        return times_ns
    times_ns = times_ns.copy()
    times_ns[list(rows)] = 0
    return times_ns
