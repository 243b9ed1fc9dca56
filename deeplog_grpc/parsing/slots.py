"""What the values of a slot are like: always the same, one of a few, an amount, or an identifier.

Fed from columns, outside the parser, so that parsing pays nothing. Deterministic: the same values in the same order
give the same statistics, however they were batched, and a saved state goes on as if nothing had happened.

The one idea: each distinct value has a hash, and the values with the smallest hashes are kept, with their counts. While
there are few distinct values that is all of them, exactly. Once there are more it is a fair sample of the distinct
values (each is as likely to be in it as any other, however often it occurs), and how small the hashes are tells how
many there are [1]_. A value that is dropped never comes back, for the limit only falls, so the counts are exact.

References
----------
.. [1] Z. Bar-Yossef et al., "Counting Distinct Elements in a Data Stream", RANDOM 2002.
"""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import multimode
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.batch import ParsedBatch
from deeplog_grpc.parsing.columns import KeyColumns, SlotColumn
from deeplog_grpc.parsing.events import moved_slots
from deeplog_grpc.parsing.kinds import AMOUNTS, ValueKind
from deeplog_grpc.parsing.values import SlotContext, contexts_of, read

CAPACITY = 128
"""Distinct values kept for a slot, about 10 KB. Their number beyond that is an estimate with an error of 9 %."""

MIN_COUNT = 30
"""Values before anything is said of a slot but that it is constant so far: fewer are distinct by chance."""

MAX_REPEATS = 4.0
"""Times that a statement logs one identifier, on average, at most. HDFS names each block three times, a replica each;
a name that occurs more often than that is worth remembering."""

FEW_REPEATS = 1.1
"""The same while no more than `CAPACITY` distinct values are known: nearly all distinct."""

MIN_SEEN = 10.0
"""Times that each value of a category was seen, on average, at least."""

_ID_DIGITS = 5
"""Digits from which whole numbers of one length are taken for identifiers."""
_SAME_LENGTH, _RISING = 0.85, 0.9
"""Shares of the values from which their lengths are the same, and their order is that of a counter."""

_LONGEST_KEPT = 96
"""Characters of a value that are kept; of a longer one a checksum stands for the rest."""


_HASHES = 1 << 32


class FirstSeen(NamedTuple):
    """When a value came for the first time."""

    ordinal: int
    """Values of the slot before it."""
    line: int
    """Number of its line; lines are numbered by whoever feeds them."""


@dataclass(slots=True, kw_only=True)
class SlotStatistics:
    """The values seen at one slot.

    Parameters
    ----------
    context : SlotContext
        What the template says about them.

    Examples
    --------
    >>> from deeplog_grpc.parsing.values import NO_CONTEXT
    >>> slot = SlotStatistics(context=NO_CONTEXT)
    >>> _ = slot.update(SlotColumn(texts=["GET", "PUT"] * 50, context=NO_CONTEXT), lines=range(100))
    >>> slot.is_categorical(8), slot.is_identifier, slot.is_constant, slot.kind.value, slot.values
    (True, False, False, 'word', {'GET': 50, 'PUT': 50})
    >>> slot.first_seen("PUT")
    FirstSeen(ordinal=1, line=1)
    >>> ids = SlotStatistics(context=NO_CONTEXT)
    >>> _ = ids.update(SlotColumn(texts=[f"blk_{n}" for n in range(5000)], context=NO_CONTEXT), lines=range(5000))
    >>> ids.is_identifier, 4400 < ids.distinct < 5600
    (True, True)
    """

    context: SlotContext
    count: int = 0
    """Values seen."""
    numeric: int = 0
    """Values that are amounts."""
    rising: int = 0
    """Amounts larger than the amount before."""
    _last: float | None = None
    _sample: dict[str, int] = field(default_factory=dict)
    _hashes: dict[str, int] = field(default_factory=dict)
    _firsts: dict[str, FirstSeen] = field(default_factory=dict)
    _limit: int = _HASHES
    """Values with a hash below are kept."""

    def update(self, column: SlotColumn, lines: Sequence[int]) -> NDArray[np.float64]:
        """Add values, in the order of the log, and the numbers of their lines; give the amounts, as the column does."""
        numbers = column.numbers()
        self._count_numbers(numbers[~np.isnan(numbers)])
        kept = [kept_text(text) for text in column.texts]
        fresh = set(kept).difference(self._sample)
        for place, text in enumerate(kept) if fresh else ():
            if text in fresh:
                fresh.remove(text)
                self._keep(text, FirstSeen(self.count + place, lines[place]))
        for text, count in Counter(kept).items():
            if text in self._sample:
                self._sample[text] += count
        self.count += len(kept)
        return numbers

    @property
    def distinct(self) -> int:
        """Distinct values; an estimate once there are more than `CAPACITY`."""
        return round(len(self._sample) / self._limit * _HASHES)

    @property
    def values(self) -> Mapping[str, int]:
        """The distinct values with their counts; a sample of them once there are more than `CAPACITY`."""
        return self._sample

    def first_seen(self, value: str) -> FirstSeen:
        """When one of `values` came for the first time."""
        return self._firsts[value]

    @property
    def is_complete(self) -> bool:
        """Whether `values` are all values seen."""
        return self._limit == _HASHES

    @property
    def kinds(self) -> dict[ValueKind, float]:
        """Share of each kind, the largest first."""
        counts: Counter[ValueKind] = Counter()
        for text, count in self._sample.items():
            counts[read(text, self.context).kind] += count
        return {kind: count / counts.total() for kind, count in counts.most_common()}

    @property
    def kind(self) -> ValueKind:
        """The kind that most values have; ``EMPTY`` before the first one."""
        return next(iter(self.kinds), ValueKind.EMPTY)

    @property
    def numeric_share(self) -> float:
        """Share of the values that are amounts, in [0, 1]."""
        return self.numeric / self.count if self.count else 0.0

    @property
    def novelty(self) -> float:
        """Probability that the next value was never seen, in [0, 1]: the share of values seen once (Good-Turing)."""
        once = sum(count == 1 for count in self._sample.values())
        share = once / len(self._sample) if self._sample else 1.0
        return min(1.0, share * self.distinct / max(self.count, 1)) if self.count else 1.0

    @property
    def is_constant(self) -> bool:
        """Whether all values were the same so far."""
        return len(self._sample) == 1

    @property
    def is_identifier(self) -> bool:
        """Whether the values name things (a request, a block), nearly each one another.

        Amounts with a unit or a decimal point are none, however many distinct ones there are. Whole numbers are, if
        they have all the same length (account numbers) or only rise (sequence numbers).
        """
        repeats = FEW_REPEATS if self.is_complete else MAX_REPEATS
        if self.count < MIN_COUNT or self.count > repeats * self.distinct:
            return False
        kind = self.kind
        return kind not in AMOUNTS or (kind is ValueKind.INTEGER and self._is_numbering())

    def is_categorical(self, max_values: int) -> bool:
        """Tell whether the values are a few that come again and again.

        Parameters
        ----------
        max_values : int
            Distinct values at most, in [1, `CAPACITY`].
        """
        if not self.count >= MIN_COUNT or not self.is_complete:
            return False
        return len(self._sample) <= max_values and self.count >= MIN_SEEN * len(self._sample)

    def state(self) -> dict[str, Any]:
        """Give what was learned as JSON values; `from_state` goes on from there."""
        return {
            "count": self.count,
            "numeric": self.numeric,
            "rising": self.rising,
            "last": self._last,
            "values": {text: [count, *self._firsts[text]] for text, count in self._sample.items()},
            "limit": self._limit,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], context: SlotContext) -> "SlotStatistics":
        """Go on from a state."""
        return cls(
            context=context,
            count=state["count"],
            numeric=state["numeric"],
            rising=state["rising"],
            _last=state["last"],
            _sample={text: count for text, (count, _, _) in state["values"].items()},
            _hashes={text: _hash(text) for text in state["values"]},
            _firsts={text: FirstSeen(ordinal, line) for text, (_, ordinal, line) in state["values"].items()},
            _limit=state["limit"],
        )

    def _is_numbering(self) -> bool:
        if self.rising >= _RISING * (self.numeric - 1):
            return True
        lengths = [len(text) for text in self._sample]
        usual = multimode(lengths)[0]
        return usual >= _ID_DIGITS and lengths.count(usual) >= _SAME_LENGTH * len(lengths)

    def _count_numbers(self, numbers: NDArray[np.float64]) -> None:
        if len(numbers):
            self.numeric += len(numbers)
            before = numbers[0] if self._last is None else self._last
            self.rising += int((np.diff(numbers, prepend=before) > 0).sum())
            self._last = float(numbers[-1])

    def _keep(self, text: str, first: FirstSeen) -> None:
        mark = _hash(text)
        if mark >= self._limit:
            return
        self._sample[text], self._hashes[text], self._firsts[text] = 0, mark, first
        if len(self._sample) > CAPACITY:
            largest = max(self._hashes, key=lambda kept: (self._hashes[kept], kept))
            self._limit = self._hashes.pop(largest)
            del self._sample[largest], self._firsts[largest]


def kept_text(text: str) -> str:
    """Shorten a value as statistics keep it: of a long one, a checksum stands for the rest; lone surrogates go.

    Examples
    --------
    >>> kept_text("café"), len(kept_text("x" * 500))
    ('café', 107)
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST_KEPT else f"{text[:_LONGEST_KEPT]}...{_hash(text):08x}"


def _hash(text: str) -> int:
    """Hash a text to 32 bits, the same in every process; CRC alone would not spread numbered names evenly."""
    mixed = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    mixed = (mixed ^ (mixed >> 16)) * 0x85EBCA6B % _HASHES
    mixed = (mixed ^ (mixed >> 13)) * 0xC2B2AE35 % _HASHES
    return mixed ^ (mixed >> 16)


class SlotTable:
    """The statistics of all slots of all keys.

    When a template grows more general, the slots that read the same values as before keep what was learned of them.

    Examples
    --------
    >>> from deeplog_grpc.parsing.parser import Parser
    >>> parser, table = Parser(), SlotTable()
    >>> for start in range(0, 200, 50):
    ...     lines = [f"GET /item/{n} took {n % 7} ms for req-{n}" for n in range(start, start + 50)]
    ...     table.update(parser.parse(lines), first_line=start)
    >>> [slot.kind.value for slot in table.slots(0)], [slot.is_identifier for slot in table.slots(0)]
    (['path', 'duration', 'identifier'], [True, False, True])
    """

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[str, ...]] = {}
        self._slots: dict[int, tuple[SlotStatistics, ...]] = {}

    def update(self, batch: ParsedBatch, *, first_line: int = 0) -> None:
        """Add the values of a batch; ``first_line`` is the number of its first line."""
        for columns in batch.columns():
            self.add(columns, first_line=first_line)

    def add(self, columns: KeyColumns, *, first_line: int = 0) -> NDArray[np.float64]:
        """Add the values of one key; give the amounts among them, NaN where a value is none. Shape [n, slots]."""
        if self._pieces.get(columns.key) != columns.pieces:
            self._enter(columns.key, columns.pieces)
        lines = (columns.rows + first_line).tolist()
        numbers = np.empty((len(lines), len(columns.slots)))
        for place, (slot, column) in enumerate(zip(self._slots[columns.key], columns.slots, strict=True)):
            numbers[:, place] = slot.update(column, lines)
        return numbers

    def slots(self, key: int) -> tuple[SlotStatistics, ...]:
        """Give the statistics of a key's slots, in order; none if no line of the key was seen."""
        return self._slots.get(key, ())

    def drop(self, key: int) -> None:
        """Forget a key."""
        self._pieces.pop(key, None)
        self._slots.pop(key, None)

    def state(self) -> dict[str, Any]:
        """Give all as JSON values; `from_state` goes on from there."""
        keys = [
            {"key": key, "pieces": list(self._pieces[key]), "slots": [slot.state() for slot in slots]}
            for key, slots in self._slots.items()
        ]
        return {"keys": keys}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "SlotTable":
        """Go on from a state."""
        table = cls()
        for entry in state["keys"]:
            key, pieces = entry["key"], tuple(entry["pieces"])
            slots = zip(entry["slots"], contexts_of(pieces), strict=True)
            table._pieces[key] = pieces
            table._slots[key] = tuple(SlotStatistics.from_state(slot, context) for slot, context in slots)
        return table

    def _enter(self, key: int, pieces: tuple[str, ...]) -> None:
        slots = [SlotStatistics(context=context) for context in contexts_of(pieces)]
        if key in self._pieces:
            moved = moved_slots(self._pieces[key], pieces)
            for slot, place in zip(self._slots[key], moved, strict=True):
                if place >= 0 and slots[place].context == slot.context:
                    slots[place] = slot
        self._pieces[key], self._slots[key] = pieces, tuple(slots)
