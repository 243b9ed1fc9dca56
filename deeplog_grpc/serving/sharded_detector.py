"""A detector whose sessions are divided over processes; a :class:`~deeplog_grpc.serving.detectors.Scorer`.

Entries are read here, one after the other, so that log keys are those of a server with one process. Each goes to the
shard of its session, with the time of all entries: a session that was silent for too long ends at the same entry,
whosever it is. Vectors that a network has to see in the order of all entries come back from the shards, and are judged
by the shard that has the log key. So verdicts are those of a :class:`~deeplog_grpc.detection.Detector`, but for two
things: sessions that end at the very same entry may come in another order, and the limit of open sessions is divided
evenly.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import ApplicationModel, DetectorConfig, EntryBatch, Judges, Kind, Verdict
from deeplog_grpc.detection.identifiers import cut
from deeplog_grpc.detection.reading import Reader, Reading
from deeplog_grpc.detection.saving import joined
from deeplog_grpc.detection.shared_values import VectorsAside
from deeplog_grpc.detection.states import surprise
from deeplog_grpc.detection.verdicts import EndReason
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.models import StandIn
from deeplog_grpc.parsing import ParsedBatch
from deeplog_grpc.serving.shard import opening, preparing
from deeplog_grpc.serving.shard_codec import Message, plain_vectors, thing_of, vectors_of
from deeplog_grpc.serving.sharded_batch import ShardedBatch
from deeplog_grpc.serving.shards import Order, Pending, ShardLostError, Shards

_NEVER_NS = (1 << 63) - 1
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Entries between two jumps of time, or all of a batch."""

    start: int
    stop: int
    releases: bool
    """Whether the first entry ends the doubt about the time of one before."""


class ShardedDetector:
    """Scores the log entries of one application in several processes.

    Parameters
    ----------
    application : ApplicationModel
        Its parser is the detector's from now on: it learns on.
    config : DetectorConfig
        Limits, of all shards together; but each has a cache of its own.
    shards : Shards
        Where the sessions are tracked.

    Raises
    ------
    ConfigError
        If a pattern of the session configuration is not a regular expression.
    ShardLostError
        If a shard dies meanwhile.
    """

    def __init__(self, application: ApplicationModel, config: DetectorConfig, shards: Shards) -> None:
        self.application = application.application
        self._shards = shards
        self._config = replace(config, max_open_sessions=-(-config.max_open_sessions // len(shards)))
        self._reader = Reader(application.parser, application.key_model, application.sessions, config)
        self._timeout_ns = int(application.timeout_s * NS_PER_S)
        self.judges = Judges(application, cache_bytes=config.cache_mb * _MIB)
        """Of the version in force, for who makes the next one; entries are judged by others like them."""
        self._base = application
        """As the shards open it: versions since may differ from it in what feedback changes."""
        self._changed: list[set[int]] = [set() for _ in range(len(shards))]
        """By shard: log keys whose templates it does not know yet."""
        self._stand_ins_told = [0] * len(shards)
        """By shard: how many stand-ins it knows; -1 = others than there are."""
        self._began_ns = [0] * len(shards)
        """By shard: event time at which it was started anew; 0 = when all began."""
        self._standing: list[Message] = [{}] * len(shards)
        """By shard: what it said last of its sessions."""
        self._batch = 0
        """Number of the batch that was judged last."""
        self._number = shards.enter(self)
        finalize(self, shards.leave, self._number)
        for shard in range(len(shards)):
            self._open(shard)

    @property
    def model(self) -> ApplicationModel:
        """The models in force."""
        return self.judges.model

    @property
    def model_version(self) -> int:
        """Version of the models in force."""
        return self.model.version

    @property
    def event_time_ns(self) -> int:
        """The latest believed time of an entry, in nanoseconds since 1970-01-01 UTC; 0 = none is known."""
        return self._reader.event_time_ns

    @property
    def next_deadline_ns(self) -> int:
        """Event time up to which :meth:`advance` has nothing to do; far ahead when no session can time out."""
        return min(map(self._deadline_ns, range(len(self._shards))))

    @property
    def open_sessions(self) -> int:
        """Sessions that have begun and not ended, in all shards."""
        return sum(standing.get("open", 0) for standing in self._standing)

    @property
    def evicted_sessions(self) -> int:
        """Sessions and streams dropped unjudged since there were too many open ones in a shard."""
        return sum(standing.get("evicted", 0) for standing in self._standing)

    @property
    def stand_ins(self) -> Mapping[int, StandIn]:
        """New log keys that are judged as known ones, with ``key_model.semantic``: key -> stand-in."""
        return self._reader.stand_ins

    def template(self, key: int, /) -> str:
        """The template of a log key, with ``<*>`` at its parameters."""
        return self._reader.template(key)

    def parser_state(self) -> Mapping[str, Any]:
        """The parser's state as plain data."""
        return self._reader.parser_state()

    def parse(self, bodies: Sequence[str], /) -> ParsedBatch:
        """Parse bodies as :meth:`score` would; a message type never seen gets a new log key."""
        parsed = self._reader.parse(bodies)
        if parsed.events:
            keys = {event.key for event in parsed.events}
            for changed in self._changed:
                changed |= keys
        return parsed

    def score(self, batch: EntryBatch, /) -> ShardedBatch:
        """Judge entries in their order."""
        (scored,) = self.score_each([batch])
        return scored

    def score_each(self, batches: Iterable[EntryBatch], /) -> Iterator[ShardedBatch]:
        """Judge batches in their order; while the shards judge one, the next is read, and the one before answered."""
        under_way: Callable[[], ShardedBatch] | None = None
        failure: Exception | None = None
        for batch in batches:
            try:
                reading = self._reader.read_parsed(batch, self.parse(batch.bodies))
            except Exception as error:  # the one before has nothing to do with it
                failure = error
                break
            judged = None if under_way is None else under_way()
            under_way = self._begin(reading, batch.bodies)
            if judged is not None:
                yield judged
        if under_way is not None:
            yield under_way()
        if failure is not None:
            raise failure

    def advance(self, now_ns: int, /) -> ShardedBatch:
        """End the sessions whose time-out has passed by an event time; no rows, only ends."""
        due = [shard for shard in range(len(self._shards)) if self._deadline_ns(shard) < now_ns]
        return self._only_ends({shard: partial(self._order, "advance", shard, now_ns=now_ns) for shard in due})

    def flush(self, sessions: Sequence[str] | None = None, /) -> ShardedBatch:
        """End open sessions, or all; no rows, only ends."""
        names: dict[int, list[str] | None] = dict.fromkeys(range(len(self._shards)))
        if sessions is not None:
            divided: defaultdict[int, list[str]] = defaultdict(list)
            for name in map(cut, sessions):
                divided[self._shards.shard_of(name)].append(name)
            names = dict(divided)
        orders: dict[int, Order] = {
            shard: partial(self._order, "flush", shard, names=own) for shard, own in names.items()
        }
        places = {} if sessions is None else {cut(name): place for place, name in reversed(list(enumerate(sessions)))}
        return self._only_ends(orders, places)

    def workflow_path(self, session: str, /) -> tuple[int, ...] | None:
        """States of the workflow that an open session went through, oldest first; None = it is not open."""
        shard = self._shards.shard_of(cut(session))
        reply = self._give({shard: partial(self._order, "path", shard, session=session)})()[shard]
        path: tuple[int, ...] | None = reply["path"]
        return path

    def state(self) -> dict[str, Any]:
        """All that a restart needs, as plain data and columns; as of a :class:`~deeplog_grpc.detection.Detector`."""
        orders: dict[int, Order] = {shard: partial(self._named, "save") for shard in range(len(self._shards))}
        replies = self._shards.exchange(orders)
        return {"reader": self._reader.state(), "tracker": joined([replies[shard]["state"] for shard in orders])}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a detector stood, whatever processes its sessions were divided over; before any entry.

        Raises
        ------
        ValueError
            If it is of another training, or malformed; the detector must not be used then.
        """
        self._reader.restore(state["reader"])
        self._changed = [set(range(len(self._reader))) for _ in self._changed]
        count = len(self._shards)
        for shard in range(count):
            order = self._order("restore", shard, state=state["tracker"], own=shard, shards=count)
            reply = self._shards.ask_beside(shard, order)
            self._changed[shard].clear()
            self._stand_ins_told[shard] = len(self.stand_ins)
            self._standing[shard] = _standing_of(reply)

    def prepare(self, model: ApplicationModel) -> None:
        """Have the shards get ready to judge by another version, beside the scoring: the costly part of `adopt`."""
        for shard in range(len(self._shards)):
            try:
                self._shards.ask_beside(shard, self._named("prepare", **preparing(model)))
            except ShardLostError:  # its successor is told when the version comes into force
                continue

    def adopt(self, judges: Judges, /) -> None:
        """Judge by another version from the next batch on, in all shards."""
        self.judges = judges
        self._reader.adopt(judges.model.key_model)
        self._stand_ins_told = [-1] * len(self._shards)
        orders: dict[int, Order] = {
            shard: lambda: self._named("adopt", version=judges.model.version) for shard in range(len(self._shards))
        }
        replies = self._shards.exchange(orders)
        missing = [shard for shard, reply in replies.items() if reply["is_missing"]]
        for shard in missing:
            self._shards.ask_beside(shard, self._named("prepare", **preparing(judges.model)))
        self._shards.exchange({shard: orders[shard] for shard in missing})

    def reopen(self, shard: int) -> None:
        """Begin anew in a shard that was started anew."""
        self._began_ns[shard] = self._reader.event_time_ns
        self._standing[shard] = {}
        self._open(shard)

    def _batch_of(self, reading: Reading, shards: NDArray[np.int64]) -> ShardedBatch:
        number = self._batch
        return ShardedBatch(number, reading, shards, self.stand_ins, partial(self._asked, number))

    def _asked(self, batch: int, shard: int, rows: Sequence[int]) -> Sequence[tuple[Any, ...]]:
        """The evidence of rows of a shard that were judged last."""
        order = self._named("verdicts", batch=batch, rows=rows)
        verdicts: Sequence[tuple[Any, ...]]
        verdicts = self._shards.exchange({shard: lambda: order}, is_repeatable=False)[shard]["verdicts"]
        return verdicts

    def _open(self, shard: int) -> None:
        self._changed[shard] = set(range(len(self._reader)))
        self._stand_ins_told[shard] = -1
        model = replace(self.model, parser=self._base.parser)
        self._shards.ask_beside(shard, self._named("open", **opening(model, self._config)))

    def _named(self, order: str, **content: Any) -> dict[str, Any]:
        return {"order": order, "detector": self._number, **content}

    def _order(self, name: str, shard: int, **content: Any) -> Message:
        """An order, with what its shard does not know yet."""
        order = self._named(name, **content)
        if changed := self._changed[shard]:
            order["templates"] = [(key, self._reader.resolve(key), self._reader.pieces(key)) for key in changed]
        if self._stand_ins_told[shard] != len(self.stand_ins):
            order["stand_ins"] = [(key, found.key, found.similarity) for key, found in self.stand_ins.items()]
        return order

    def _give(self, orders: Mapping[int, Order]) -> Callable[[], dict[int, Message]]:
        """Give orders that :meth:`_order` makes; returns what waits for the replies."""
        pending = self._shards.begin(orders)
        for shard in orders:
            self._changed[shard].clear()
            self._stand_ins_told[shard] = len(self.stand_ins)
        return partial(self._taken, pending)

    def _taken(self, pending: Pending) -> dict[int, Message]:
        try:
            replies = pending.replies()
        except Exception:
            for shard in pending.orders:  # who knows what it took in
                self._changed[shard] = set(range(len(self._reader)))
                self._stand_ins_told[shard] = -1
            raise
        for shard, reply in replies.items():
            if "open" in reply:
                self._standing[shard] = _standing_of(reply)
        return replies

    def _deadline_ns(self, shard: int) -> int:
        deadline_ns: int = self._standing[shard].get("deadline_ns", _NEVER_NS)
        return deadline_ns

    def _pieces(self, reading: Reading) -> Iterator[_Piece]:
        """A batch divided where time jumps in a way that a shard could not see: its own entries may all be later."""
        now_ns = reading.now_ns
        count = len(now_ns)
        cuts = {0, count, int(np.searchsorted(now_ns, self._timeout_ns, side="right")), *reading.released_rows}
        borders = sorted(cuts)
        for start, stop in pairwise(borders):
            yield _Piece(start=start, stop=stop, releases=start in reading.released_rows)

    def _begin(self, reading: Reading, bodies: Sequence[str]) -> Callable[[], ShardedBatch]:
        """Have entries judged; returns what waits for the verdicts."""
        self._batch += 1
        scored = self._batch_of(reading, self._shards.shards_of(reading.identifiers))
        ends: list[Verdict] = []
        finish: Callable[[], list[Verdict]] = list
        for piece in self._pieces(reading):
            ends += finish()
            finish = self._begin_piece(scored, reading, bodies, piece)

        def finished() -> ShardedBatch:
            scored.session_ends = (*ends, *finish())
            return scored

        return finished

    def _begin_piece(
        self, scored: ShardedBatch, reading: Reading, bodies: Sequence[str], piece: _Piece
    ) -> Callable[[], list[Verdict]]:
        """Have a piece judged; returns what waits for the ends of sessions, and puts the verdicts where they belong."""
        shards = scored.shards[piece.start : piece.stop]
        last_ns = int(reading.now_ns[piece.stop - 1])
        rows = {shard: np.flatnonzero(shards == shard) for shard in range(len(self._shards))}
        orders: dict[int, Order] = {
            shard: partial(self._judging, shard, own, reading, bodies, piece)
            for shard, own in rows.items()
            if len(own) or piece.releases or self._deadline_ns(shard) < last_ns
        }
        taken = self._give(orders)

        def finish() -> list[Verdict]:
            replies = taken()
            aside: list[VectorsAside] = []
            for shard, reply in replies.items():
                if len(rows[shard]):
                    scored.put(rows[shard], piece.start, reply)
                    aside += map(vectors_of, reply["aside"])
            if aside:
                self._judge_aside(scored, shards, aside, piece.start)
            return _ends_in_order(replies.values(), piece.start)

        return finish

    def _judging(
        self, shard: int, rows: NDArray[np.int64], reading: Reading, bodies: Sequence[str], piece: _Piece
    ) -> Message:
        start, stop = piece.start, piece.stop
        places = (rows + start).tolist()
        units, identifiers = reading.units, reading.identifiers
        return self._order(
            "judge",
            shard,
            batch=self._batch,
            start=start,
            releases=piece.releases,
            began_ns=self._began_ns[shard] or reading.began_ns,
            now_ns=reading.now_ns[start:stop],
            rows=rows.astype(np.int64),
            keys=reading.parsed.keys[places],
            units=np.array([units[place] for place in places], np.int32),
            times_ns=reading.times_ns[places],
            identifiers=[identifiers[place] for place in places],
            bodies=[bodies[place] for place in places],
            last=[row - start for row in reading.last_rows],
            held=[row - start for row in reading.held_rows],
        )

    def _judge_aside(
        self, scored: ShardedBatch, shards: NDArray[np.int64], aside: Sequence[VectorsAside], start: int
    ) -> None:
        """Have vectors judged by the shards of their log keys, and tell the shards of their sessions what is odd."""
        by_key: defaultdict[int, list[VectorsAside]] = defaultdict(list)
        for part in aside:
            by_key[part.key].append(part)
        by_owner: defaultdict[int, list[VectorsAside]] = defaultdict(list)
        for key in sorted(by_key):
            by_owner[key % len(self._shards)].append(VectorsAside.joined(by_key[key]))
        replies = self._shards.exchange(
            {
                owner: partial(self._named, "values", vectors=[plain_vectors(part) for part in parts])
                for owner, parts in by_owner.items()
            }
        )
        odd: defaultdict[int, list[tuple[int, tuple[Any, ...]]]] = defaultdict(list)
        for row, outcome in (outcome for reply in replies.values() for outcome in reply["outcomes"]):
            kind, p_value, *_ = outcome
            if kind == Kind.NORMAL:
                scored.scores[start + row] = max(scored.scores[start + row], surprise(p_value))
            else:
                odd[int(shards[row])].append((start + row, outcome))
        if odd:
            orders: dict[int, Order] = {
                shard: partial(self._named, "amend", batch=scored.number, outcomes=outcomes)
                for shard, outcomes in odd.items()
            }
            for reply in self._shards.exchange(orders, is_repeatable=False).values():
                for row, kind, score, evidence in reply["amended"]:
                    scored.amend(row, kind, score, evidence)

    def _only_ends(self, orders: Mapping[int, Order], places: Mapping[str, int] = {}) -> ShardedBatch:
        replies = self._give(orders)()
        scored = self._batch_of(self._reader.read(_NO_ENTRIES), np.zeros(0, np.int64))
        ends = _ends_in_order(replies.values(), 0)
        scored.session_ends = tuple(sorted(ends, key=lambda end: places.get(end.session, 0)))
        return scored


_NO_ENTRIES = EntryBatch.of([])


def _standing_of(reply: Message) -> Message:
    return {name: reply[name] for name in ("open", "evicted", "deadline_ns")}


def _ends_in_order(replies: Iterable[Message], start: int) -> list[Verdict]:
    """Ends by their rows; at the same one, time-outs first, the longest silence before others."""
    found = [(row, thing_of(Verdict, end, index=start + row)) for reply in replies for row, end in reply["ends"]]
    found.sort(key=lambda one: (one[0], one[1].session_end is not EndReason.TIMEOUT, one[1].ended_ns))
    return [end for _, end in found]
