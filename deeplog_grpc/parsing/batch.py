"""What the parser answers for a batch of lines: keys at once, parameters when they are asked for.

Invariant: parameters are read by the templates as they were when the batch had been parsed, whatever is learned later.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.columns import KeyColumns, key_columns
from deeplog_grpc.parsing.kinds import ValueKind
from deeplog_grpc.parsing.templates import match_pieces
from deeplog_grpc.parsing.values import Parameter, typed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The templates at one moment; shared by all batches until one of them changes."""

    pieces: dict[int, tuple[str, ...]]
    aliases: dict[int, int]

    def resolve(self, key: int) -> int:
        """Follow the aliases of a key."""
        while key in self.aliases:
            key = self.aliases[key]
        return key

    def resolved(self, keys: NDArray[np.int32]) -> NDArray[np.int32]:
        """Follow the aliases of keys [n]."""
        if not self.aliases:
            return keys
        distinct, places = np.unique(keys, return_inverse=True)
        return np.array([self.resolve(key) for key in distinct.tolist()], np.int32)[places]


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """The keys of a batch of lines, and on request their parameters."""

    keys: NDArray[np.int32]
    """Log keys [n], in the order of the lines."""
    is_new: NDArray[np.bool_]
    """[n], True where this very line founded its key."""
    is_changed: NDArray[np.bool_]
    """[n], True where this very line made the template of its key, which was there before, more general."""
    _bodies: Sequence[str]
    _heads: Sequence[str]
    _snapshot: Snapshot

    def parameters(self, index: int) -> tuple[str, ...]:
        """Read the parameters of one line.

        Parameters
        ----------
        index : int
            The line's position in the batch.

        Returns
        -------
        tuple of str
            The exact text at each slot of the line's template, as the template was when the batch had been parsed.
            If the line was longer than the parser looks at (further rows, or more than ``max_line_chars``), that
            rest is one more, last value. So ``template.fill(values[: template.slots])`` followed by that rest is
            the line, to the letter.

        Raises
        ------
        IndexError
            If there is no such line.
        """
        head, body = self._heads[index], self._bodies[index]
        values = self._match(index)
        return values if len(head) == len(body) else (*values, body[len(head) :])

    def typed_parameters(self, index: int) -> tuple[Parameter, ...]:
        """Read the parameters of one line with their kinds, numbers and places.

        Returns
        -------
        tuple of Parameter
            One for each of `parameters`, with the same text.

        Raises
        ------
        IndexError
            If there is no such line.

        Examples
        --------
        >>> from deeplog_grpc.parsing.parser import Parser
        >>> batch = Parser().parse(["took 17 ms, heap 1.5 GB"])
        >>> [(p.text, p.kind.value, p.number, p.unit) for p in batch.typed_parameters(0)]
        [('17', 'duration', 17.0, 'ms'), ('1.5', 'size', 1610612736.0, 'bytes')]
        """
        head, body = self._heads[index], self._bodies[index]
        found = typed(self._pieces(index), self._match(index))
        if len(head) == len(body):
            return found
        rest = Parameter(text=body[len(head) :], kind=ValueKind.TEXT, start=len(head), end=len(body))
        return (*found, rest)

    def columns(self) -> Iterator[KeyColumns]:
        """Read the parameters of all lines as columns, key by key.

        What a line has beyond the template's slots (further rows) is in no column.

        Yields
        ------
        KeyColumns
            By ascending key; merged keys together, under the key that stands for them.

        Examples
        --------
        >>> from deeplog_grpc.parsing.parser import Parser
        >>> batch = Parser().parse(["took 17 ms", "bye", "took 4 ms"])
        >>> for key in batch.columns():
        ...     print(key.key, key.rows.tolist(), [slot.numbers().tolist() for slot in key.slots])
        0 [0, 2] [[17.0, 4.0]]
        1 [1] []
        """
        return key_columns(self._snapshot.resolved(self.keys), self._heads, self._snapshot.pieces)

    def _pieces(self, index: int) -> tuple[str, ...]:
        return self._snapshot.pieces[self._snapshot.resolve(int(self.keys[index]))]

    def _match(self, index: int) -> tuple[str, ...]:
        values = match_pieces(self._pieces(index), self._heads[index])
        if values is None:
            raise AssertionError(f"line {index} is not of its template: a template covers all lines of its key")
        return values
