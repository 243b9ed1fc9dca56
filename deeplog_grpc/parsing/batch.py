"""What the parser answers for a batch of lines: keys at once, parameters when they are asked for.

Invariant: parameters are read by the templates as they were when the batch had been parsed, whatever is learned later.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.bodies import Heads, body_offsets
from deeplog_grpc.parsing.columns import KeyColumns, key_columns
from deeplog_grpc.parsing.events import NO_ROW, EventKind, TemplateEvent
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
    events: tuple[TemplateEvent, ...]
    """What the lines changed, in order."""
    _bodies: Sequence[str]
    _heads: Heads
    _snapshot: Snapshot

    @property
    def is_changed(self) -> NDArray[np.bool_]:
        """[n], True where this very line changed the template of its key, which was there before."""
        changed = np.zeros(len(self.keys), np.bool_)
        for event in self.events:
            if event.row != NO_ROW and event.kind is not EventKind.CREATED:
                changed[event.row] = True
        return changed & ~self.is_new

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
        values, rest_at = self._match(index), self._heads.rest_at.get(index)
        return values if rest_at is None else (*values, self._bodies[index][rest_at:])

    def typed_parameters(self, index: int) -> tuple[Parameter, ...]:
        """Read the parameters of one line with their kinds, numbers and places.

        Returns
        -------
        tuple of Parameter
            One for each of `parameters`, with the same text; only an escape sequence (a colour) inside a value is
            left out there and part of the text here.

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
        body, rest_at = self._bodies[index], self._heads.rest_at.get(index)
        found = typed(self._pieces(index), self._match(index))
        if offsets := body_offsets(body[:rest_at]):
            found = tuple(_moved(parameter, body, offsets) for parameter in found)
        if rest_at is None:
            return found
        rest = Parameter(text=body[rest_at:], kind=ValueKind.TEXT, start=rest_at, end=len(body))
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
        return key_columns(self._snapshot.resolved(self.keys), self._heads.texts, self._snapshot.pieces)

    def columns_of(
        self,
        rows: NDArray[np.intp],
        templates: Mapping[int, tuple[str, ...]],
        *,
        slots: Mapping[int, int] | None = None,
    ) -> Iterator[KeyColumns]:
        """Read the parameters of some lines by templates that are given, not by those of now.

        So what is read of a line does not depend on what the parser learned after it. A line that its key's given
        template does not fit, or whose key has none given, is in no column.

        Parameters
        ----------
        rows : int array [m]
            Positions of the lines in the batch, ascending.
        templates : mapping of int to tuple of str
            `Template.pieces` by key.
        slots : mapping of int to int, optional
            How many slots to read by key, the first ones; of a key that is not in it, all.

        Yields
        ------
        KeyColumns
            By ascending key.
        """
        given = self.keys[rows].tolist()
        known = templates.keys() & set(given)
        chosen = rows[np.fromiter(map(known.__contains__, given), np.bool_, len(given))]
        changed = {key for key in known if self._snapshot.pieces.get(key) != templates[key]}
        if changed:
            texts = zip(chosen.tolist(), self.keys[chosen].tolist(), strict=True)
            fitting = [
                row
                for row, key in texts
                if key not in changed or match_pieces(templates[key], self._heads.texts[row]) is not None
            ]
            chosen = np.array(fitting, np.intp)
        yield from key_columns(self.keys, self._heads.texts, templates, rows=chosen, slots=slots)

    def _pieces(self, index: int) -> tuple[str, ...]:
        return self._snapshot.pieces[self._snapshot.resolve(int(self.keys[index]))]

    def _match(self, index: int) -> tuple[str, ...]:
        values = match_pieces(self._pieces(index), self._heads.texts[index])
        if values is None:
            raise AssertionError(f"line {index} is not of its template: a template covers all lines of its key")
        return values


def _moved(parameter: Parameter, body: str, offsets: Sequence[int]) -> Parameter:
    """Place a parameter of what was looked at in its body; escapes inside a value belong to its text there."""
    start = offsets[parameter.start]
    end = offsets[parameter.end - 1] + 1 if parameter.text else start
    return replace(parameter, text=body[start:end], start=start, end=end)
