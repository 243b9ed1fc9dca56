"""What shards say of a batch, put together in the order of its rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import Kind, Verdict
from deeplog_grpc.detection.reading import Reading
from deeplog_grpc.detection.saving import column
from deeplog_grpc.detection.stand_ins import stood_for
from deeplog_grpc.models import StandIn
from deeplog_grpc.serving.shard_codec import Message, thing_of

Ask = Callable[[int, Sequence[int]], Sequence[tuple[Any, ...]]]

_ASKED_TOGETHER = 256
"""Normal rows whose evidence is fetched when one is asked for: who wants one mostly wants all."""


class ShardedBatch:
    """The verdicts of a batch; a :class:`~deeplog_grpc.serving.detectors.ScoredBatch`.

    Ask for evidence before the detector scores the batch after the next.

    Parameters
    ----------
    number : int
        What the shards know the batch by.
    reading : Reading
        The entries.
    shards : int64 array [n]
        Where the session of each one is.
    stand_ins : mapping of int to StandIn
        New log keys that are judged as known ones.
    ask : callable
        A shard, and some of its rows, ascending -> their evidence.
    """

    def __init__(
        self, number: int, reading: Reading, shards: NDArray[np.int64], stand_ins: Mapping[int, StandIn], ask: Ask
    ) -> None:
        count = len(shards)
        self.keys: NDArray[np.int32] = reading.parsed.keys
        self.kinds = np.full(count, Kind.NORMAL, np.int8)
        self.ranks = np.zeros(count, np.int32)
        self.probabilities = np.ones(count, np.float32)
        self.scores = np.zeros(count, np.float32)
        self.sessions: Sequence[str] = reading.identifiers
        self.session_ends: tuple[Verdict, ...] = ()
        self.stands_for: Mapping[int, int] = stood_for(self.keys, stand_ins)
        self.shards = shards
        """Of each row. Shape [n]."""
        self.number = number
        """What the shards know it by."""
        self._ask = ask
        self._evidence: dict[int, tuple[Any, ...]] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def put(self, rows: NDArray[np.int64], start: int, reply: Message) -> None:
        """Take in what a shard says of rows of the piece that begins at ``start``."""
        at = rows + start
        self.kinds[at] = column(reply["kinds"], np.int8)
        self.ranks[at] = column(reply["ranks"], np.int32)
        self.probabilities[at] = column(reply["probabilities"], np.float32)
        self.scores[at] = column(reply["scores"], np.float32)
        self._evidence.update((start + row, found) for row, found in reply["evidence"])

    def amend(self, row: int, kind: int, score: float, evidence: tuple[Any, ...]) -> None:
        """Take in what a shard says of a row after it was told of its values."""
        self.kinds[row], self.scores[row], self._evidence[row] = kind, score, evidence

    def verdict(self, i: int, /) -> Verdict:
        """Row i with its evidence."""
        if i not in self._evidence:
            shard, rows = self._like(i)
            self._evidence.update(zip(rows, self._ask(shard, rows), strict=True))
        # Its shard does not know what a network elsewhere said of its numbers, where that was not abnormal.
        return thing_of(Verdict, self._evidence[i], index=i, score=float(self.scores[i]))

    def _like(self, i: int) -> tuple[int, list[int]]:
        """The shard of a row, and the rows from that one on that are there too, as far as they are fetched at once."""
        shard = int(self.shards[i])
        rows = i + np.flatnonzero(self.shards[i:] == shard)
        return shard, [row for row in rows[:_ASKED_TOGETHER].tolist() if row not in self._evidence]
