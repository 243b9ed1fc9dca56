"""The numbers of an application's entries, collected for its value models.

Invariant: at most twice ``max_vectors`` vectors of a key are held, and one dictionary slot a session.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.vectors import elapsed_s, key_vectors
from deeplog_grpc.models import ELAPSED, NO_PREVIOUS, KeyVectors, Position
from deeplog_grpc.parsing import ParsedBatch, SlotStatistics, SlotTable
from deeplog_grpc.parsing.values import SlotContext

MIN_NUMERIC = 0.5
"""Share of a slot's values that are amounts, at least: a slot of words with a number now and then is no measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A slot that is no number of the vectors, and why."""

    key: int
    slot: int
    reason: str


@dataclass(slots=True)
class _Collected:
    pieces: tuple[str, ...]
    positions: tuple[Position, ...]
    parts: list[KeyVectors] = field(default_factory=list)


class ValueCollector:
    """Collects the vectors of all keys, batch by batch, in the order of the log.

    Parameters
    ----------
    max_vectors : int
        Vectors of a key to keep, >= 1; of more, the last ones.

    Examples
    --------
    >>> from deeplog_grpc.parsing import Parser
    >>> parser, collector = Parser(), ValueCollector(max_vectors=100)
    >>> for n in range(40):
    ...     batch = parser.parse([f"request req-{n}x took {5 + n % 7} ms on port 80"])
    ...     collector.add(batch, sessions=["s"], times_ns=np.array([(n + 1) * 10**9]))
    >>> series, left_out = collector.series()
    >>> series[0].values[-1].tolist(), [out.reason for out in left_out]
    ([1.0, 9.0], ['identifiers: nearly each value is another', 'constant: always the same value'])
    """

    def __init__(self, *, max_vectors: int) -> None:
        self._max_vectors = max_vectors
        self._keys: dict[int, _Collected] = {}
        self._table = SlotTable()
        self._last: dict[str, tuple[int, int, int]] = {}
        """Time, and the last two log keys, of each session."""

    def add(self, parsed: ParsedBatch, *, sessions: Sequence[str], times_ns: NDArray[np.int64]) -> None:
        """Add entries.

        Parameters
        ----------
        sessions : sequence of str [n]
            Their sessions' identifiers.
        times_ns : int64 array [n]
            Event times, 0 = not known.
        """
        self._table.update(parsed)
        elapsed, previous = self._gaps(parsed.keys, sessions, times_ns)
        for columns in parsed.columns():
            collected = self._keys.get(columns.key)
            if collected is None or collected.pieces != columns.pieces:
                # A changed template has other slots: numbers read with the old one are no longer comparable.
                contexts = [slot.context for slot in columns.slots]
                collected = _Collected(columns.pieces, _positions(contexts))
                self._keys[columns.key] = collected
            collected.parts.append(key_vectors(columns, collected.positions, elapsed, previous))
            if sum(map(len, collected.parts)) >= 2 * self._max_vectors:
                collected.parts = [_last(_joined(collected.parts), self._max_vectors)]

    def series(self, *, timeout_s: float = 0.0) -> tuple[list[KeyVectors], list[LeftOut]]:
        """The vectors of each key with the slots that are amounts, and the slots that are not.

        Parameters
        ----------
        timeout_s : float
            Silence in seconds that ends a session, 0 = none does: an entry after a longer one is a first entry.
        """
        series, left_out = [], []
        for key, collected in sorted(self._keys.items()):
            reasons = [reason_against(slot) for slot in self._table.slots(key)]
            left_out += [LeftOut(key=key, slot=n, reason=reason) for n, reason in enumerate(reasons) if reason]
            places = [0, *(n + 1 for n, reason in enumerate(reasons) if not reason)]
            vectors = _cut(_last(_joined(collected.parts), self._max_vectors), timeout_s)
            series.append(
                KeyVectors(
                    key=key,
                    pieces=collected.pieces,
                    positions=tuple(vectors.positions[place] for place in places),
                    values=vectors.values[:, places],
                    previous=vectors.previous,
                )
            )
        return series, left_out

    def _gaps(
        self, keys: NDArray[np.int32], sessions: Sequence[str], times_ns: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Elapsed seconds [n] and previous log keys [n, 2] of each entry."""
        before_ns, previous = np.zeros(len(keys), np.int64), np.full((len(keys), 2), NO_PREVIOUS, np.int64)
        for row, (key, session, time_ns) in enumerate(zip(keys.tolist(), sessions, times_ns.tolist(), strict=True)):
            before_ns[row], *previous[row] = last = self._last.get(session, (0, NO_PREVIOUS, NO_PREVIOUS))
            self._last[session] = (time_ns, last[2], key)
        return elapsed_s(times_ns, before_ns), previous


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


def _positions(contexts: Sequence[SlotContext]) -> tuple[Position, ...]:
    units = [context.unit.name if context.unit is not None else "" for context in contexts]
    return (Position(slot=ELAPSED, unit="s"), *(Position(slot=n, unit=unit) for n, unit in enumerate(units)))


def _cut(vectors: KeyVectors, timeout_s: float) -> KeyVectors:
    """The vectors with the gaps between sessions taken out."""
    first = (vectors.elapsed_s > timeout_s) & (timeout_s > 0)
    values = vectors.values.copy()
    values[first, 0] = np.nan
    return replace(vectors, values=values, previous=np.where(first[:, None], NO_PREVIOUS, vectors.previous))


def _joined(parts: Sequence[KeyVectors]) -> KeyVectors:
    return KeyVectors(
        key=parts[-1].key,
        pieces=parts[-1].pieces,
        positions=parts[-1].positions,
        values=np.concatenate([part.values for part in parts]),
        previous=np.concatenate([part.previous for part in parts]),
    )


def _last(vectors: KeyVectors, count: int) -> KeyVectors:
    return replace(vectors, values=vectors.values[-count:], previous=vectors.previous[-count:])
