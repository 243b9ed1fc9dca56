"""The values of an application's entries, collected for its value models and value sets.

Invariant: at most twice ``max_vectors`` vectors of a key are held, and :data:`~deeplog_grpc.parsing.slots.CAPACITY`
values of a slot; nothing that grows with the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models import ELAPSED, KeyVectors, Position, SlotHistory
from deeplog_grpc.parsing import ParsedBatch, SlotStatistics, SlotTable, ValueKind
from deeplog_grpc.parsing.kinds import AMOUNTS
from deeplog_grpc.parsing.values import SlotContext
from deeplog_grpc.training.history import SessionCut

MIN_NUMERIC = 0.5
"""Share of a slot's values that are amounts, at least: a slot of words with a number now and then is no measure."""

MAX_CODES = 10
"""Distinct whole numbers, at most, that are taken for codes: a count or a size would have more."""

_CODES = "codes: a few whole numbers, judged as a set"

NEVER_A_SET = (AMOUNTS - {ValueKind.INTEGER}) | {ValueKind.TIME, ValueKind.UUID, ValueKind.EMPTY}
"""Kinds whose new values mean nothing: amounts are for the value models, and tomorrow's date is always new. Whole
numbers may be codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A slot that is no number of the vectors, and why."""

    key: int
    slot: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedValues:
    """What there is to learn from."""

    series: tuple[KeyVectors, ...]
    """The vectors of each key with the slots that are amounts."""
    entries: tuple[NDArray[np.int64], ...]
    """Numbers of the vectors' entries in the log. Shape [n] each."""
    first_whole: int
    """Vectors of entries before this one may have been dropped."""
    left_out: tuple[LeftOut, ...]
    """The slots that are no amounts."""
    categories: tuple[SlotHistory, ...]
    """The slots whose values are few."""


@dataclass(slots=True)
class _Collected:
    pieces: tuple[str, ...]
    numbers: list[NDArray[np.float64]] = field(default_factory=list)
    """Amounts of all slots. Shape [n, slots] each."""
    entries: list[NDArray[np.int64]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.entries))

    def trim(self, count: int) -> int:
        """Keep the last ``count`` vectors; give the number of the last entry that was dropped, -1 for none."""
        numbers, entries = np.concatenate(self.numbers), np.concatenate(self.entries)
        self.numbers, self.entries = [numbers[-count:]], [entries[-count:]]
        return int(entries[-count - 1]) if len(entries) > count else -1


class ValueCollector:
    """Collects the values of all keys, batch by batch, in the order of the log.

    Parameters
    ----------
    max_vectors : int
        Vectors of a key to keep, >= 1; of more, the last ones.

    Examples
    --------
    >>> from deeplog_grpc.parsing import Parser
    >>> from deeplog_grpc.training.history import History
    >>> parser, collector, history = Parser(), ValueCollector(max_vectors=100), History()
    >>> for n in range(40):
    ...     batch = parser.parse([f"request req-{n}x took {5 + n % 7} ms on port 80"])
    ...     collector.add(batch)
    ...     history.extend(batch.keys, ["s"], np.array([(n + 1) * 10**9]))
    >>> found = collector.collected(history.cut(None), max_values=8)
    >>> found.series[0].values[-1].tolist(), [out.reason for out in found.left_out]
    ([1.0, 9.0], ['identifiers: nearly each value is another', 'constant: always the same value'])
    >>> [(slot.slot, dict(slot.firsts)) for slot in found.categories]
    [(2, {'80': (0, 0)})]
    """

    def __init__(self, *, max_vectors: int) -> None:
        self._max_vectors = max_vectors
        self._keys: dict[int, _Collected] = {}
        self._table = SlotTable()
        self._entries = 0
        self._last_dropped = -1

    def add(self, parsed: ParsedBatch) -> None:
        """Add entries."""
        for columns in parsed.columns():
            numbers = self._table.add(columns, first_line=self._entries)
            collected = self._keys.get(columns.key)
            if collected is None or collected.pieces != columns.pieces:
                # A changed template has other slots: numbers read with the old one are no longer comparable.
                collected = self._keys[columns.key] = _Collected(columns.pieces)
            collected.numbers.append(numbers)
            collected.entries.append(columns.rows.astype(np.int64) + self._entries)
            if len(collected) >= 2 * self._max_vectors:
                self._last_dropped = max(self._last_dropped, collected.trim(self._max_vectors))
        self._entries += len(parsed.keys)

    def state(self) -> dict[str, Any]:
        """All that was added, as named parts: numpy arrays of one dimension, or plain data for JSON."""
        kept = list(self._keys.items())
        return {
            "table": self._table.state(),
            "keys": [[key, list(one.pieces), len(one)] for key, one in kept],
            "counts": [self._entries, self._last_dropped],
            "numbers": np.concatenate([np.zeros(0), *(part.ravel() for _, one in kept for part in one.numbers)]),
            "entries": np.concatenate([np.zeros(0, np.int64), *(part for _, one in kept for part in one.entries)]),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, max_vectors: int) -> "ValueCollector":
        """Go on from a :meth:`state` as if nothing had happened.

        Raises
        ------
        ValueError, KeyError
            If a part is missing, malformed, or does not fit the others.
        """
        collector = cls(max_vectors=max_vectors)
        collector._table = SlotTable.from_state(state["table"])
        collector._entries, collector._last_dropped = map(int, state["counts"])
        numbers, entries = np.asarray(state["numbers"], np.float64), np.asarray(state["entries"], np.int64)
        for key, pieces, count in state["keys"]:
            slots = len(pieces) - 1
            own, numbers = np.split(numbers, [count * slots])
            rows, entries = np.split(entries, [count])
            collected = _Collected(tuple(pieces), [own.reshape(count, slots)], [rows])
            collector._keys[int(key)] = collected
            if len(rows) != count:
                raise ValueError("the parts of collected values do not fit each other")
        if len(numbers) or len(entries):
            raise ValueError("the parts of collected values do not fit each other")
        return collector

    def collected(self, cut: SessionCut, *, max_values: int) -> CollectedValues:
        """All that was collected, with the times and keys before that only the cut into sessions tells.

        Parameters
        ----------
        cut : SessionCut
            Of the same entries.
        max_values : int
            Distinct values of a slot, at most, to be few; 0 = no slot's are.
        """
        series, entries, left_out, categories = [], [], [], []
        for key, kept in sorted(self._keys.items()):
            self._last_dropped = max(self._last_dropped, kept.trim(self._max_vectors))
            slots = self._table.slots(key)
            categories_here = [is_category(slot, max_values) for slot in slots]
            reasons = [
                reason_against(slot) or (_CODES if is_few and is_code(slot) else "")
                for slot, is_few in zip(slots, categories_here, strict=True)
            ]
            left_out += [LeftOut(key=key, slot=n, reason=reason) for n, reason in enumerate(reasons) if reason]
            amounts = [n for n, reason in enumerate(reasons) if not reason]
            rows = kept.entries[0]
            series.append(
                KeyVectors(
                    key=key,
                    pieces=kept.pieces,
                    positions=_positions(amounts, [slot.context for slot in slots]),
                    values=np.column_stack([cut.elapsed_s[rows], kept.numbers[0][:, amounts]]),
                    previous=cut.previous[rows].astype(np.int64),
                )
            )
            entries.append(rows)
            categories += [
                _history(key, n, kept.pieces, slots[n]) for n, is_few in enumerate(categories_here) if is_few
            ]
        return CollectedValues(
            series=tuple(series),
            entries=tuple(entries),
            first_whole=self._last_dropped + 1,
            left_out=tuple(left_out),
            categories=tuple(categories),
        )


def reason_against(slot: SlotStatistics) -> str:
    """Why a slot is no number of a vector; empty if it is one.

    Parameters
    ----------
    slot : SlotStatistics
        What training saw there.
    """
    if slot.is_constant:
        return "constant: always the same value"
    if slot.is_identifier:
        return "identifiers: nearly each value is another"
    if slot.numeric_share < MIN_NUMERIC:
        return f"no amounts: mostly of kind {slot.kind}"
    return ""


def is_category(slot: SlotStatistics, max_values: int) -> bool:
    """Whether a slot's values are few, so that another one says something."""
    return max_values > 0 and slot.is_categorical(max_values) and slot.kind not in NEVER_A_SET


def is_code(slot: SlotStatistics) -> bool:
    """Whether a slot's amounts are a few plain whole numbers (200, 404): names, and no measure."""
    return slot.kind is ValueKind.INTEGER and slot.context.unit is None and len(slot.values) <= MAX_CODES


def _positions(slots: Sequence[int], contexts: Sequence[SlotContext]) -> tuple[Position, ...]:
    units = [context.unit.name if context.unit is not None else "" for context in contexts]
    return (Position(slot=ELAPSED, unit="s"), *(Position(slot=slot, unit=units[slot]) for slot in slots))


def _history(key: int, number: int, pieces: tuple[str, ...], slot: SlotStatistics) -> SlotHistory:
    firsts = {value: slot.first_seen(value) for value in slot.values}
    return SlotHistory(
        key=key,
        slot=number,
        pieces=pieces,
        count=slot.count,
        firsts={value: (first.ordinal, first.line) for value, first in firsts.items()},
    )
