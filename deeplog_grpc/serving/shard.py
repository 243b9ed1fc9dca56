"""One shard: the sessions of all applications whose identifiers fall to it, and the orders that it answers.

Orders and replies are the messages of :mod:`deeplog_grpc.serving.shard_codec`. An order names its detector by a number,
since an application may have two for a while. What a detector knows of the templates comes with the orders.

==========  ============================================================================================================
order       what it does
==========  ============================================================================================================
open        begin to track the sessions of a detector (beside the scoring)
prepare     get ready to judge by another version of its models (beside the scoring)
adopt       judge by that version from now on
judge       judge entries; anomalies come back with their evidence, vectors for networks are put aside
values      judge vectors that shards have put aside
amend       take in what another shard said of the values of entries judged last
verdicts    the verdicts of entries judged last, with all evidence
advance     event time has come so far without entries
flush       end sessions
path        the way of an open session through the workflow
save        the open sessions and what else a restart needs
restore     go on with what was saved, before any entry (beside the scoring)
forget      track the sessions of a detector no longer
==========  ============================================================================================================
"""

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import ApplicationModel, DetectorConfig, Judges, Verdict, VerdictBatch
from deeplog_grpc.detection.reading import Reading
from deeplog_grpc.detection.saving import column
from deeplog_grpc.detection.shared_values import SharedValueJudge
from deeplog_grpc.detection.tracker import SessionTracker
from deeplog_grpc.detection.values import ValueOutcome
from deeplog_grpc.detection.verdicts import EndReason
from deeplog_grpc.models import StandIn, common_units
from deeplog_grpc.parsing import ParsedBatch, Parser
from deeplog_grpc.parsing.batch import Snapshot
from deeplog_grpc.parsing.bodies import heads_of
from deeplog_grpc.parsing.templates import WILDCARD
from deeplog_grpc.serving.right_of_way import RightOfWay
from deeplog_grpc.serving.shard_codec import (
    Message,
    fields_of,
    packed,
    plain_vectors,
    shard_of,
    thing_of,
    unpacked,
    vectors_of,
)
from deeplog_grpc.storage.bundle import fixed_parts, learned_parts, read_parts

_MIB = 1 << 20


def opening(model: ApplicationModel, config: DetectorConfig) -> dict[str, Any]:
    """What an ``open`` order says of a detector: its models and limits."""
    parts = {**fixed_parts(model), **learned_parts(model)}
    max_line_chars = model.parser.config.max_line_chars
    return {
        "application": model.application,
        "version": model.version,
        "parts": parts,
        "config": asdict(config),
        "max_line_chars": max_line_chars,
    }


def preparing(model: ApplicationModel) -> dict[str, Any]:
    """What a ``prepare`` order says of a version."""
    return {"version": model.version, "parts": learned_parts(model)}


class KnownTemplates:
    """The templates of a detector's parser, as far as they were told; see :class:`Templates` of the tracker."""

    def __init__(self) -> None:
        self.snapshot = Snapshot({}, {})
        self.stand_ins: Mapping[int, StandIn] = {}
        self._texts: dict[int, str] = {}

    def learn(self, order: Message) -> None:
        """Take in what an order says of new and changed ones."""
        if templates := order.get("templates"):
            pieces, aliases = dict(self.snapshot.pieces), dict(self.snapshot.aliases)
            for key, resolved, text in templates:
                pieces.pop(key, None)
                pieces[resolved] = text
                if resolved != key:
                    aliases[key] = resolved
            self.snapshot = Snapshot(pieces, aliases)
            self._texts.clear()
        if (stand_ins := order.get("stand_ins")) is not None:
            self.stand_ins = {key: StandIn(key=known, similarity=similarity) for key, known, similarity in stand_ins}

    def pieces(self, key: int) -> tuple[str, ...]:
        """The constant pieces of the template of a log key."""
        return self.snapshot.pieces[self.snapshot.resolve(key)]

    def template(self, key: int) -> str:
        """The template of a log key, with ``<*>`` at its parameters."""
        known = self._texts.get(key)
        if known is None:
            known = self._texts[key] = WILDCARD.join(self.pieces(key))
        return known


@dataclass(slots=True, kw_only=True, eq=False)
class _Tracked:
    """What a shard holds of a detector."""

    model: ApplicationModel
    """As it was opened."""
    fixed: Mapping[str, bytes]
    """Parts of its bundle that stay."""
    cache_bytes: int
    max_line_chars: int
    templates: KnownTemplates
    tracker: SessionTracker
    prepared: dict[int, Judges] = field(default_factory=dict)
    """By version."""
    judged: dict[int, list[tuple[NDArray[np.int64], VerdictBatch]]] = field(default_factory=dict)
    """The entries of the last two batches, by the batches' numbers, with their rows; in several pieces where time
    jumped."""

    @property
    def judges(self) -> Judges:
        return self.tracker.judges

    def verdict(self, batch: int, row: int) -> Verdict:
        """The verdict of a row of a batch."""
        for rows, scored in self.judged[batch]:
            place = int(np.searchsorted(rows, row))
            if place < len(rows) and rows[place] == row:
                return scored.verdict(place)
        raise LookupError("this row was not judged here")


class Shard:
    """Answers orders: one caller for :meth:`answer`, another one for :meth:`answer_beside`."""

    def __init__(self) -> None:
        self._detectors: dict[int, _Tracked] = {}
        self._right_of_way = RightOfWay()
        self._answers: dict[str, Callable[[Message], Message]] = {
            "adopt": self._adopt,
            "judge": self._judge,
            "values": self._values,
            "amend": self._amend,
            "verdicts": self._verdicts,
            "advance": self._advance,
            "flush": self._flush,
            "path": self._path,
            "save": self._save,
            "forget": self._forget,
        }
        self._answers_beside: dict[str, Callable[[Message], Message]] = {
            "open": self._open,
            "prepare": self._prepare,
            "restore": self._restore,
        }

    def answer(self, content: bytes | bytearray) -> bytes:
        """Do an order; what goes wrong is told."""
        self._right_of_way.take()
        try:
            return _answered(self._answers, content)
        finally:
            self._right_of_way.give()

    def answer_beside(self, content: bytes | bytearray) -> bytes:
        """Do an order that takes its time, and gives way to the others."""
        return _answered(self._answers_beside, content)

    def _open(self, order: Message) -> Message:
        parts = order["parts"]
        model = read_parts(parts, Parser(), application=order["application"], version=order["version"])
        config, templates = DetectorConfig(**order["config"]), KnownTemplates()
        judges = Judges(model, cache_bytes=config.cache_mb * _MIB, values=SharedValueJudge)
        tracker = SessionTracker(judges, templates, config, timeout_s=model.timeout_s)
        self._detectors[order["detector"]] = _Tracked(
            model=model,
            fixed={name: parts[name] for name in fixed_parts(model)},
            cache_bytes=config.cache_mb * _MIB,
            max_line_chars=order["max_line_chars"],
            templates=templates,
            tracker=tracker,
        )
        return {}

    def _prepare(self, order: Message) -> Message:
        own = self._detectors[order["detector"]]
        parts = {**own.fixed, **order["parts"]}
        model = read_parts(parts, own.model.parser, application=own.model.application, version=order["version"])
        model = replace(model, workflow=own.model.workflow)  # the same one: diagnoses go on by what they remember
        judges, old = Judges(model, cache_bytes=own.cache_bytes, values=SharedValueJudge), own.judges
        units = common_units(old.model.key_model.vocabulary, model.key_model.vocabulary)
        judges.graph.warm(old.graph, units=units, pause=self._right_of_way.pause)
        own.prepared = {order["version"]: judges}
        return {}

    def _adopt(self, order: Message) -> Message:
        own = self._detectors[order["detector"]]
        if own.judges.model.version != order["version"]:
            if order["version"] not in own.prepared:
                return {"is_missing": True}
            own.tracker.adopt(own.prepared.pop(order["version"]))
        return {"is_missing": False}

    def _forget(self, order: Message) -> Message:
        for number in order["detectors"]:
            self._detectors.pop(number, None)
        return {}

    def _judge(self, order: Message) -> Message:
        own = self._told(order)
        tracker, now_ns = own.tracker, column(order["now_ns"], np.int64)
        number = order["batch"]
        own.judged = {old: pieces for old, pieces in own.judged.items() if old >= number - 1}
        if order["releases"]:
            tracker.release(int(now_ns[0]))
        ends = self._until(own, int(now_ns[0]))
        rows = column(order["rows"], np.int64)
        reply: dict[str, Any] = {}
        if len(rows):
            scored = tracker.judge(_reading(own, order, rows))
            own.judged.setdefault(number, []).append((rows + order["start"], scored))
            ends += [(int(rows[end.index]), end) for end in scored.session_ends]
            reply = {
                "kinds": scored.kinds,
                "ranks": scored.ranks,
                "probabilities": scored.probabilities,
                "scores": scored.scores,
                "evidence": [(int(rows[place]), fields_of(scored.verdict(place))) for place in scored.anomalies()],
                "aside": [plain_vectors(replace(part, rows=rows[part.rows])) for part in _values_of(own).take_aside()],
            }
        ends += self._until(own, int(now_ns[-1]))
        return reply | self._standing(own, _at_their_time(ends, now_ns))

    def _values(self, order: Message) -> Message:
        own = self._detectors[order["detector"]]
        found = _values_of(own).judge_aside([vectors_of(part) for part in order["vectors"]])
        return {"outcomes": [(row, fields_of(outcome)) for row, outcome in found.items()]}

    def _amend(self, order: Message) -> Message:
        own = self._detectors[order["detector"]]
        rows, batch = own.judged[order["batch"]][-1]
        places = {
            int(np.searchsorted(rows, row)): thing_of(ValueOutcome, outcome) for row, outcome in order["outcomes"]
        }
        batch = batch.with_outcomes(places)
        own.judged[order["batch"]][-1] = rows, batch
        return {
            "amended": [
                (int(rows[place]), int(batch.kinds[place]), float(batch.scores[place]), fields_of(batch.verdict(place)))
                for place in places
            ]
        }

    def _verdicts(self, order: Message) -> Message:
        own = self._detectors[order["detector"]]
        return {"verdicts": [fields_of(own.verdict(order["batch"], row)) for row in order["rows"]]}

    def _advance(self, order: Message) -> Message:
        own = self._told(order)
        return self._standing(own, self._until(own, order["now_ns"]))

    def _flush(self, order: Message) -> Message:
        own = self._told(order)
        ended = own.tracker.flush(order["names"], _nothing(own)).session_ends
        return self._standing(own, [(0, end) for end in ended])

    def _path(self, order: Message) -> Message:
        own = self._told(order)
        return {"path": own.tracker.workflow_path(order["session"])}

    def _save(self, order: Message) -> Message:
        return {"state": self._detectors[order["detector"]].tracker.state()}

    def _restore(self, order: Message) -> Message:
        own, shard, shards = self._told(order), order["own"], order["shards"]
        own.tracker.restore(
            order["state"],
            is_own=lambda identifier: shard_of(identifier, shards) == shard,
            is_own_key=lambda key: key % shards == shard,
        )
        return self._standing(own, [])

    def _told(self, order: Message) -> _Tracked:
        own = self._detectors[order["detector"]]
        own.templates.learn(order)
        return own

    @staticmethod
    def _until(own: _Tracked, now_ns: int) -> list[tuple[int, Verdict]]:
        """The sessions whose time-out passes until then; at row 0."""
        if own.tracker.next_deadline_ns >= now_ns:
            return []
        return [(0, end) for end in own.tracker.advance(now_ns, _nothing(own)).session_ends]

    @staticmethod
    def _standing(own: _Tracked, ends: Iterable[tuple[int, Verdict]]) -> dict[str, Any]:
        """What each reply says that may have changed the sessions."""
        tracker = own.tracker
        return {
            "ends": [(row, fields_of(end)) for row, end in ends],
            "open": tracker.open_sessions,
            "evicted": tracker.evicted_sessions,
            "deadline_ns": tracker.next_deadline_ns,
        }


def _answered(answers: Mapping[str, Callable[[Message], Message]], content: bytes | bytearray) -> bytes:
    try:
        order = unpacked(content)
        return packed(answers[order["order"]](order))
    except Exception as error:  # its text may hold log lines
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return packed({"error": type(error).__qualname__, "where": where})


def _reading(own: _Tracked, order: Message, rows: NDArray[np.int64]) -> Reading:
    """The entries of an order. Its time is that of all entries, also of those that are in other shards."""
    bodies: tuple[str, ...] = order["bodies"]
    keys = column(order["keys"], np.int32)
    heads = heads_of(bodies, own.max_line_chars)
    parsed = ParsedBatch(keys, np.zeros(len(keys), np.bool_), (), bodies, heads, own.templates.snapshot)
    return Reading(
        parsed=parsed,
        units=column(order["units"], np.int32).tolist(),
        identifiers=list(order["identifiers"]),
        times_ns=column(order["times_ns"], np.int64),
        now_ns=column(order["now_ns"], np.int64)[rows],
        began_ns=order["began_ns"],
        last_rows=_places(rows, order["last"]),
        held_rows=_places(rows, order["held"]),
        released_rows=frozenset(),  # the order begins with such a row
    )


def _nothing(own: _Tracked) -> Reading:
    empty = np.zeros(0, np.int64)
    parsed = ParsedBatch(
        np.zeros(0, np.int32), np.zeros(0, np.bool_), (), (), heads_of((), own.max_line_chars), own.templates.snapshot
    )
    return Reading(
        parsed=parsed,
        units=[],
        identifiers=[],
        times_ns=empty,
        now_ns=empty,
        began_ns=0,
        last_rows=frozenset(),
        held_rows=frozenset(),
        released_rows=frozenset(),
    )


def _places(rows: NDArray[np.int64], chosen: tuple[int, ...]) -> frozenset[int]:
    """Where those of the chosen rows are that there are here."""
    return frozenset(np.flatnonzero(np.isin(rows, chosen)).tolist()) if chosen else frozenset()


def _at_their_time(ends: Iterable[tuple[int, Verdict]], now_ns: NDArray[np.int64]) -> Iterable[tuple[int, Verdict]]:
    """A session whose time-out passed ends at the first entry that comes later, whichever shard that one is in."""
    return [
        (int(np.searchsorted(now_ns, end.ended_ns, side="right")), end)
        if end.session_end is EndReason.TIMEOUT
        else (row, end)
        for row, end in ends
    ]


def _values_of(own: _Tracked) -> SharedValueJudge:
    values = own.judges.values
    if not isinstance(values, SharedValueJudge):
        raise TypeError("the judges of a shard are made with it")
    return values
