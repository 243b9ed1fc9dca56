"""Constants that were taken for a parameter, found by what stood there for long.

A name in quotes or after "=" is taken for a parameter at its first change: nothing else can be known then. If, over
many lines, only a few words ever stand there and they tell what happened (states, verbs, codes: "starting",
"stopping"), the place is constant and the template is several. Names ("root", "guest") stay a parameter however few.
"""

from collections import Counter
from collections.abc import Sequence

from deeplog_grpc.parsing.forms import Forms
from deeplog_grpc.parsing.spell import Spell
from deeplog_grpc.parsing.templates import match_pieces, pieces_of
from deeplog_grpc.parsing.words import is_code, is_name_like, is_word

_LEAST_LINES = 256
"""Lines of a template before it may be split."""

_MOST_FORMS = 64
"""Forms of a template that are looked at; one that takes names elsewhere has more, and costs more to look at."""

_MOST_VALUES = 5
_LEAST_LINES_A_VALUE = 32


def split_constants(spell: Spell, forms: Forms, reviewed: dict[int, int]) -> None:
    """Search the templates that are due for constants, and split those that have one.

    Parameters
    ----------
    spell, forms : Spell, Forms
        What was learned; changed where a template is split.
    reviewed : dict
        The lines of each template when it was last searched. One with twice as many is due again, so the searches of a
        long stream cost nothing in the end.
    """
    table = spell.table
    for key in forms.keys_with(2, _MOST_FORMS):
        is_open = key >= table.sealed and key not in table.firm and key != spell.catch_all
        if is_open and table.counts[key] >= max(_LEAST_LINES, 2 * reviewed.get(key, 0)):
            reviewed[key] = table.counts[key]
            _split(spell, forms, key)


def _split(spell: Spell, forms: Forms, key: int) -> None:
    table = spell.table
    lines_of = dict(forms.of(key))
    found = slot_to_split(pieces_of(table.messages[key].tokens), list(lines_of.items()))
    if found is None:
        return
    slot, parts = found
    # No keys, no split: there was no room.
    for part, texts in zip(spell.split(key, slot, list(parts)), parts.values(), strict=False):
        for text in texts:
            forms.move(text, part)
            table.counts[key] -= lines_of[text]
            table.counts[part] += lines_of[text]


def slot_to_split(pieces: Sequence[str], forms: Sequence[tuple[str, int]]) -> tuple[int, dict[str, list[str]]] | None:
    """Find a slot of a template that is a constant.

    Parameters
    ----------
    pieces : sequence of str
        The constant text of the template.
    forms : sequence of (str, int)
        The forms of its lines, and how many lines each had.

    Returns
    -------
    (int, dict) or None
        The slot, and the forms by the word that stands there, most lines first.

    Examples
    --------
    >>> phases = [('pump phase="starting"', 300), ('pump phase="stopping"', 200)]
    >>> slot_to_split(('pump phase="', '"'), phases)
    (0, {'starting': ['pump phase="starting"'], 'stopping': ['pump phase="stopping"']})
    >>> slot_to_split(('login user="', '"'), [('login user="root"', 300), ('login user="guest"', 200)]) is None
    True
    """
    rows = [(form, lines, values) for form, lines in forms if (values := match_pieces(pieces, form)) is not None]
    if len(rows) < len(forms):
        raise AssertionError("a template covers all forms of its key")
    for slot in range(len(pieces) - 1):
        lines_of: Counter[str] = Counter()
        for _, lines, values in rows:
            lines_of[values[slot]] += lines
        if _are_constants(lines_of):
            parts = sorted(lines_of, key=lambda word: (-lines_of[word], word))
            return slot, {part: [form for form, _, values in rows if values[slot] == part] for part in parts}
    return None


def _are_constants(lines_of: Counter[str]) -> bool:
    return (
        1 < len(lines_of) <= _MOST_VALUES
        and min(lines_of.values()) >= _LEAST_LINES_A_VALUE
        and lines_of.total() >= _LEAST_LINES
        and all(value.isalpha() and is_word(value) and _tells_what_happened(value) for value in lines_of)
    )


def _tells_what_happened(word: str) -> bool:
    return not is_name_like(word) or is_code(word)
