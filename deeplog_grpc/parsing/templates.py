"""A template: the constants of a message type, and how its parameters are read and put back.

Invariant: ``fill(match(line)) == line`` for every line of the template's group, to the letter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deeplog_grpc.parsing.words import VARIABLE

WILDCARD = "<*>"
"""How a parameter is shown in the text of a template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The constant part of a message type, as it is now.

    Examples
    --------
    >>> template = Template(key=3, pieces=("Deleting block ", " file ", ""), count=1)
    >>> template.text, template.slots
    ('Deleting block <*> file <*>', 2)
    >>> template.match("Deleting block blk_1 file /data/blk_1")
    ('blk_1', '/data/blk_1')
    >>> template.fill(("blk_2", "/x"))
    'Deleting block blk_2 file /x'
    >>> template.match("Served block blk_1") is None
    True
    """

    key: int
    """The log key: 0, 1, 2, ..."""
    pieces: tuple[str, ...]
    """The constant text before, between and after the parameters: one more than there are slots."""
    count: int
    """Lines given this key so far."""
    is_sealed: bool = False
    """Whether it was there when the parser's training ended."""

    @property
    def text(self) -> str:
        """The template with ``<*>`` at each parameter."""
        return WILDCARD.join(self.pieces)

    @property
    def slots(self) -> int:
        """Number of parameters."""
        return len(self.pieces) - 1

    def match(self, line: str) -> tuple[str, ...] | None:
        """Read the parameters of a line.

        Parameters
        ----------
        line : str
            The line, without its further rows.

        Returns
        -------
        tuple of str, or None
            The exact text at each slot, in order; None when the line is not of this template. Each constant is
            taken where it occurs first, in time linear in the line.
        """
        return match_pieces(self.pieces, line)

    def fill(self, parameters: Sequence[str]) -> str:
        """Put parameters into the template.

        Parameters
        ----------
        parameters : sequence of str
            One text a slot.

        Raises
        ------
        ValueError
            If there are not as many parameters as slots.
        """
        if len(parameters) != self.slots:
            raise ValueError(f"template {self.key} has {self.slots} slots, not {len(parameters)}")
        return self.pieces[0] + "".join(p + c for p, c in zip(parameters, self.pieces[1:], strict=True))


def pieces_of(tokens: Sequence[str]) -> tuple[str, ...]:
    """Join the tokens of a template to the constant text around its variables.

    Examples
    --------
    >>> pieces_of(("size", " ", VARIABLE))
    ('size ', '')
    """
    return tuple("".join(tokens).split(VARIABLE))


def match_pieces(pieces: Sequence[str], line: str) -> tuple[str, ...] | None:
    """Read the parameters of a line: see `Template.match`.

    Examples
    --------
    >>> match_pieces(("size ", ""), "size 7"), match_pieces(("size ", ""), "length 7")
    (('7',), None)
    """
    if len(pieces) == 1:
        return () if line == pieces[0] else None
    first, *between, last = pieces
    at, end = len(first), len(line) - len(last)
    if at > end or not line.startswith(first) or not line.endswith(last):
        return None
    values = []
    for piece in between:
        found = line.find(piece, at, end)
        if found < 0:
            return None
        values.append(line[at:found])
        at = found + len(piece)
    values.append(line[at:end])
    return tuple(values)
