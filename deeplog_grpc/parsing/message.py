"""A tokenized line with what its tokens say, worked out once: lines and templates are compared with many others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from deeplog_grpc.parsing.plausibility import evidence_needed, may_hold_free_text
from deeplog_grpc.parsing.words import is_unit, is_word

_MAX_PLACES = 16
"""Places of one message for which evidence is kept."""


class Place(NamedTuple):
    """A word that could turn out to be a parameter."""

    signature: int
    """A hash of all tokens but this one, the same for messages that differ only here."""
    at: int
    needed: int
    """Different words that must have stood there, all else equal."""


@dataclass(frozen=True, slots=True)
class Message:
    """The tokens of a line or of a template, and what follows from them alone.

    Examples
    --------
    >>> from deeplog_grpc.parsing.words import VARIABLE
    >>> message = Message.of(("found", " ", "disk_main", " ", "after", " ", VARIABLE))
    >>> message.constants, [(place.at, place.needed) for place in message.places]
    (['found', 'disk_main', 'after'], [(2, 3)])
    """

    tokens: tuple[str, ...]
    words: frozenset[str]
    """The words, units too."""
    constants: list[str]
    """The words in order, without units."""
    has_free_text: bool
    places: tuple[Place, ...]

    @classmethod
    def of(cls, tokens: tuple[str, ...]) -> "Message":
        """Work out what the tokens say."""
        at = [n for n, token in enumerate(tokens) if is_word(token)]
        words = frozenset([tokens[n] for n in at])
        constants = [tokens[n] for n in at if not is_unit(tokens, n)]
        return cls(tokens, words, constants, may_hold_free_text(tokens), _places(tokens, at))


def _places(tokens: Sequence[str], at: Sequence[int]) -> tuple[Place, ...]:
    found = evidence_needed(tokens, at)[:_MAX_PLACES]
    if not found:
        return ()
    # A sum, so that leaving one token out is one subtraction. Equal sums are compared token by token before they
    # count: a collision changes nothing.
    hashes = list(map(hash, enumerate(tokens)))
    total = sum(hashes)
    return tuple([Place(total - hashes[index], index, needed) for index, needed in found])
