"""The values of a batch as columns, one a slot: the way for whoever looks at all of them.

Invariant: a column holds what `values.typed` says value by value, at a tenth of the cost.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.kinds import LONGEST_FORM
from deeplog_grpc.parsing.values import SlotContext, contexts_of, read

_DIGITS_AND_POINTS = re.compile(r"[0-9.+\-\n]*")


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
        if not self.context.is_port and (plain := _plain_numbers(self.texts)) is not None:
            return plain if self.context.unit is None else plain * self.context.unit.scale
        # A slot of mixed values repeats most of them.
        known = {text: read(text, self.context).number for text in set(self.texts)}
        return np.array([known[text] for text in self.texts], np.float64)


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
    """One column [n] a slot."""


def key_columns(
    keys: NDArray[np.int32], heads: Sequence[str], templates: Mapping[int, tuple[str, ...]]
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

    Yields
    ------
    KeyColumns
        By ascending key.
    """
    order = np.argsort(keys, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1) if len(keys) else ():
        key = int(keys[rows[0]])
        pieces = templates[key]
        texts = slot_texts(pieces, [heads[row] for row in rows.tolist()])
        slots = [SlotColumn(texts=t, context=c) for t, c in zip(texts, contexts_of(pieces), strict=True)]
        yield KeyColumns(key=key, pieces=pieces, rows=rows, slots=tuple(slots))


def slot_texts(pieces: Sequence[str], lines: Sequence[str]) -> list[list[str]]:
    """Read the values of many lines of one template, slot by slot.

    Examples
    --------
    >>> slot_texts(("took ", " ms, ", ""), ["took 5 ms, ok", "took 17 ms, late"])
    [['5', '17'], ['ok', 'late']]
    """
    if len(pieces) == 1:
        return []
    begin, end = len(pieces[0]), len(pieces[-1])
    rest = [line[begin : len(line) - end] for line in lines]
    columns = []
    for piece in pieces[1:-1]:
        # The constant is taken where it occurs first, as in `templates.match_pieces`.
        parts = [line.partition(piece) for line in rest]
        columns.append([part[0] for part in parts])
        rest = [part[2] for part in parts]
    return [*columns, rest]


def _plain_numbers(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """Convert a column of plain numbers at once; None if some value is anything else."""
    # The form is checked on the whole column, for float() takes more than a log's numbers: "nan", "1_000", " 7".
    if not _DIGITS_AND_POINTS.fullmatch("\n".join(texts)) or max(map(len, texts), default=0) > LONGEST_FORM:
        return None
    try:
        return np.array(list(map(float, texts)), np.float64)
    except ValueError:
        return None
