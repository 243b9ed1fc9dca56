"""The values of a batch as columns, one a slot: the way for whoever looks at all of them.

Invariant: a column holds what `values.typed` says value by value, at a tenth of the cost.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.kinds import LONGEST_FORM
from deeplog_grpc.parsing.units import AMOUNT_STARTS
from deeplog_grpc.parsing.values import SlotContext, contexts_of, read

_DIGITS_AND_POINTS = re.compile(r"[0-9.+\-\n]*")
_AMOUNT_STARTS = frozenset(AMOUNT_STARTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotColumn:
    """The values at one slot."""

    texts: Sequence[str]
    """Exact texts [n]."""
    context: SlotContext
    """What the template says about them."""

    def numbers(self) -> NDArray[np.float64]:
        """Give the amounts, NaN where a value is none.

        Returns
        -------
        float64 array [n]
            In the units of `Parameter`.

        Examples
        --------
        >>> from deeplog_grpc.parsing.values import context_of
        >>> SlotColumn(texts=["7", "12", "-"], context=context_of("took ", " s")).numbers().tolist()
        [7000.0, 12000.0, nan]
        """
        distinct = list(set(self.texts))
        if 2 * len(distinct) > len(self.texts):
            return self._numbers(self.texts)
        known = dict(zip(distinct, self._numbers(distinct).tolist(), strict=True))
        return np.array([known[text] for text in self.texts], np.float64)

    def _numbers(self, texts: Sequence[str]) -> NDArray[np.float64]:
        if not self.context.is_port and (plain := _plain_numbers(texts)) is not None:
            return plain if self.context.unit is None else plain * self.context.unit.scale
        # Most texts that are no amount show it by their first character, at a fiftieth of the cost of reading them.
        return np.array(
            [read(text, self.context).number if text.lstrip()[:1] in _AMOUNT_STARTS else None for text in texts],
            np.float64,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumns:
    """The lines of one key in a batch."""

    key: int
    """The log key; of merged ones, the key that stands for them."""
    pieces: tuple[str, ...]
    """The template's constants (`Template.pieces`); while they are the same, so are the slots."""
    rows: NDArray[np.intp]
    """The lines' positions in the batch [n], ascending."""
    slots: tuple[SlotColumn, ...]
    """One column [n] a slot that was read."""


def key_columns(
    keys: NDArray[np.int32],
    heads: Sequence[str],
    templates: Mapping[int, tuple[str, ...]],
    *,
    rows: NDArray[np.intp] | None = None,
    slots: Mapping[int, int] | None = None,
) -> Iterator[KeyColumns]:
    """Divide the lines of a batch by key and read their values.

    Parameters
    ----------
    keys : int32 array [n]
        Resolved log keys.
    heads : sequence of str [n]
        The lines, without their further rows.
    templates : mapping of int to tuple of str
        The templates' constants by key.
    rows : int array [m], optional
        The lines to read, ascending; None = all.
    slots : mapping of int to int, optional
        How many slots to read by key, the first ones; of a key that is not in it, all.

    Yields
    ------
    KeyColumns
        By ascending key.
    """
    chosen = keys if rows is None else keys[rows]
    order = np.argsort(chosen, kind="stable")
    borders = np.flatnonzero(np.diff(chosen[order])) + 1
    for places in np.split(order if rows is None else rows[order], borders) if len(order) else ():
        key = int(keys[places[0]])
        pieces = templates[key]
        texts = slot_texts(pieces, [heads[row] for row in places.tolist()], slots.get(key) if slots else None)
        read_slots = [SlotColumn(texts=t, context=c) for t, c in zip(texts, contexts_of(pieces), strict=False)]
        yield KeyColumns(key=key, pieces=pieces, rows=places, slots=tuple(read_slots))


def slot_texts(pieces: Sequence[str], lines: Sequence[str], count: int | None = None) -> list[list[str]]:
    """Read the values of many lines of one template, slot by slot; only the first ``count`` slots if it is given.

    Examples
    --------
    >>> slot_texts(("took ", " ms, ", ""), ["took 5 ms, ok", "took 17 ms, late"])
    [['5', '17'], ['ok', 'late']]
    >>> slot_texts(("took ", " ms, ", ""), ["took 5 ms, ok", "took 17 ms, late"], 1)
    [['5', '17']]
    """
    count = len(pieces) - 1 if count is None else min(count, len(pieces) - 1)
    if not count:
        return []
    begin, end = len(pieces[0]), len(pieces[-1])
    rest = [line[begin : len(line) - end] for line in lines] if end else [line[begin:] for line in lines]
    columns = []
    for piece in pieces[1 : min(count + 1, len(pieces) - 1)]:
        if not piece:
            columns.append([""] * len(rest))  # Two parameters touch: the second one has it all.
            continue
        # The constant is taken where it occurs first, as in `templates.match_pieces`.
        parts = [line.partition(piece) for line in rest]
        columns.append([part[0] for part in parts])
        rest = [part[2] for part in parts]
    return columns if len(columns) == count else [*columns, rest]


def _plain_numbers(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """Convert a column of plain numbers at once; None if some value is anything else."""
    # The form is checked on the whole column, for float() takes more than a log's numbers: "nan", "1_000", " 7".
    if not _DIGITS_AND_POINTS.fullmatch("\n".join(texts)) or max(map(len, texts), default=0) > LONGEST_FORM:
        return None
    try:
        return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
