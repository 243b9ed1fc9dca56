"""Constants that were taken for a parameter, found by what stood there for long.

A name in quotes or after "=" is taken for a parameter at its first change: nothing else can be known then. If, over
many lines, only a few words ever stand there and they tell what happened (states, verbs, codes: "starting",
"stopping"), the place is constant and the template is several. Names ("root", "guest") stay a parameter however few.
"""

from collections import Counter
from collections.abc import Sequence

from deeplog_grpc.parsing.templates import match_pieces
from deeplog_grpc.parsing.words import is_code, is_name_like, is_word

LEAST_LINES = 256
"""Lines of a template before it may be split."""

MOST_FORMS = 64
"""Forms of a template that are looked at; one that takes names elsewhere has more, and costs more to look at."""

_MOST_VALUES = 5
_LEAST_LINES_A_VALUE = 32


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
        and lines_of.total() >= LEAST_LINES
        and all(value.isalpha() and is_word(value) and _tells_what_happened(value) for value in lines_of)
    )


def _tells_what_happened(word: str) -> bool:
    return not is_name_like(word) or is_code(word)
