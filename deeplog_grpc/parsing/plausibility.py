"""May this difference be a parameter? The rules that keep Spell from merging messages that only look alike.

Plain Spell merges two lines as soon as half of their words agree: "session opened for user a" then swallows "session
closed for user a". Here every differing stretch must look like a value on both sides. Each rule reads as an operator
would put it, and is shown by an example.
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

from deeplog_grpc.parsing.alignment import Stretch
from deeplog_grpc.parsing.words import (
    FREE_SEPARATORS,
    VARIABLE,
    is_code,
    is_compound,
    is_function_word,
    is_introducer,
    is_message_key,
    is_name_like,
    is_preposition,
    is_unit,
    is_word,
)

_QUOTES = frozenset(["'", '"'])
_OPENING = frozenset(["(", "[", "{", "<", "=", *_QUOTES])


_COMPANY_OF_NAME, _COMPANY_OF_WORD = 2, 3
"""Other words a template must hold before evidence turns an identifier, or a plain word, into a parameter."""

_NAMES_NEEDED, _WORDS_NEEDED = 3, 12
"""Different identifiers, or plain words, in one place: print statements differ in fewer, parameters in more."""

_WORDS_CACHED = 16_384
"""Words whose answer is remembered; a log's vocabulary is a few thousand."""

_FREE_TEXT_OPENING = frozenset(["[", "{", *_QUOTES])


class Difference(IntEnum):
    """How a stretch in which two messages differ is to be read."""

    MEANING = 0
    """Another message."""
    NAME = 1
    """A name where a name or a value is expected: a parameter, if enough of the rest agrees."""
    VALUE = 2
    """Numbers, units, brackets, blanks: a parameter."""


def judge(left: Sequence[str], right: Sequence[str], stretch: Stretch) -> Difference:
    """Judge one differing stretch of a template (left) and a line (right).

    Parameters
    ----------
    left, right : sequence of str
        Tokens of the template and of the line.
    stretch : Stretch
        Where they differ.

    Returns
    -------
    Difference
        ``VALUE`` and ``NAME`` are parameters, ``MEANING`` is not.

    Examples
    --------
    >>> from deeplog_grpc.parsing.alignment import align
    >>> from deeplog_grpc.parsing.words import tokenize
    >>> def judged(a, b):
    ...     left, right = tokenize(a, 99), tokenize(b, 99)
    ...     return [judge(left, right, stretch).name for stretch in align(left, right)]

    A value changes its unit, its brackets or the blanks before it:

    >>> judged("sent 0 bytes in 0 sec", "sent 0 bytes (0 KB) in 0 min")
    ['VALUE', 'VALUE']
    >>> judged("login from 0 ()", "login from 0 (0.0.0.0)")
    ['VALUE']

    A value after "=" changes, but not one that names the event:

    >>> judged("auth failed; uid=0 user=root", "auth failed; uid=0 user=guest")
    ['NAME']
    >>> judged("id=0 msg=started", "id=0 msg=stopped")
    ['MEANING']
    >>> judged("denied: context=system:object:disk class=file", "denied: context=system:object:net class=file")
    ['NAME']
    >>> judged('{"id":0,"tag":"View Lock"}', '{"id":0,"tag":"wake"}')
    ['NAME']
    >>> judged('{"id":0,"msg":"boot"}', '{"id":0,"msg":"halt"}')
    ['MEANING']

    A name follows the word that announces it, or stands in quotes:

    >>> judged("session closed for user cyrus", "session closed for user news")
    ['NAME']
    >>> judged("user authentication lost", "user registration lost")
    ['MEANING']
    >>> judged("started service 'web' again", "started service 'mail' again")
    ['NAME']

    A list that is a value has other names, or more of them:

    >>> judged("route of 0: stops=[nanjing, shanghai], ok", "route of 0: stops=[suzhou], ok")
    ['NAME']

    >>> judged('{"id":0,"tags":["red","blue"],"n":0}', '{"id":0,"tags":["gray"],"n":0}')
    ['NAME']

    A name stands where others have a digit:

    >>> judged("Found block 0 locally", "Found block meta locally")
    ['NAME']

    All else says something else:

    >>> judged("session opened for user 0", "session closed for user 0")
    ['MEANING']
    >>> judged("Found block 0 locally", "Found block not locally")
    ['MEANING']
    >>> judged("connected through SOCKS0", "connected through HTTPS")
    ['MEANING']
    """
    words = [
        token
        for tokens, start, end in ((left, stretch.i0, stretch.i1), (right, stretch.j0, stretch.j1))
        for token in (tokens[k] for k in range(start, end) if is_word(tokens[k]) and not is_unit(tokens, k))
    ]
    if not words:
        return _judge_wordless(left, right, stretch)
    if _is_quoted_value(left, stretch) or _is_in_list(left, right, stretch):
        return Difference.NAME
    if not all(is_name_like(word) for word in words):
        return Difference.MEANING
    a, b = left[stretch.i0 : stretch.i1], right[stretch.j0 : stretch.j1]
    if any(token.isspace() for token in (*a, *b)):
        return Difference.MEANING
    if (VARIABLE,) in (tuple(a), tuple(b)) and a and b and not any(map(is_code, words)):
        return Difference.NAME
    if len(a) > 1 or len(b) > 1:
        return Difference.MEANING
    return Difference.NAME if _names_expected(left, stretch) else Difference.MEANING


def _judge_wordless(left: Sequence[str], right: Sequence[str], stretch: Stretch) -> Difference:
    a, b = left[stretch.i0 : stretch.i1], right[stretch.j0 : stretch.j1]
    if not any(map(str.isspace, (*a, *b))):
        # Values in one piece, such as "7" and "7:8#9"; the alignment pairs the first variables.
        first = left[stretch.i0 - 1 : stretch.i0] if stretch.i0 else ()
        one, other = (*first, *a), (*first, *b)
        if one and other and one[0] == one[-1] == other[0] == other[-1] == VARIABLE:
            return Difference.VALUE
    marks = [t for t in (*a, *b) if t != VARIABLE and not t.isspace() and not is_word(t)]
    if not all(mark in FREE_SEPARATORS for mark in marks):
        return Difference.MEANING
    if VARIABLE in a and VARIABLE in b:
        return Difference.VALUE
    near = range(max(0, stretch.i0 - 2), min(len(left), stretch.i1 + 2))
    beside_value = any(left[k] == VARIABLE or is_unit(left, k) for k in near)
    enclosed = stretch.i0 > 0 and left[stretch.i0 - 1] in _OPENING
    return Difference.VALUE if beside_value or enclosed else Difference.MEANING


def _key_before(left: Sequence[str], end: int) -> str:
    """Give the word of which the value at ``end`` is told: ``key=``, ``"key":``; empty if there is none."""
    if end < 2 or left[end - 1] not in ("=", ":"):
        return ""
    key = left[end - 3] if left[end - 2] in _QUOTES and end > 2 else left[end - 2]
    return key if is_word(key) else ""


def may_hold_free_text(tokens: Sequence[str]) -> bool:
    """Tell whether a line has a value in quotes or brackets, in which any word may stand.

    Examples
    --------
    >>> may_hold_free_text(("tag", "=", '"', "wake", " ", "up", '"')), may_hold_free_text(("sshd", "[", VARIABLE, "]"))
    (True, False)
    """
    previous = ""
    for token in tokens:
        if token in _FREE_TEXT_OPENING and previous in ("=", ":"):
            return True
        if not token.isspace():
            previous = token
    return False


def _is_quoted_value(left: Sequence[str], stretch: Stretch) -> bool:
    """Tell whether the stretch is in the quotes of ``key="..."``, where the key is not that of the message."""
    start, end = stretch.i0, stretch.i1
    while start and left[start - 1] not in _QUOTES:
        start -= 1
    while end < len(left) and left[end] not in _QUOTES:
        end += 1
    if not start or end == len(left) or left[start - 1] != left[end]:
        return False
    key = _key_before(left, start - 1)
    return key != "" and not is_message_key(key)


def _is_listed(token: str) -> bool:
    return (
        token in (",", VARIABLE)
        or token in _QUOTES
        or token.isspace()
        or (is_word(token) and not is_function_word(token))
    )


def _is_in_list(left: Sequence[str], right: Sequence[str], stretch: Stretch) -> bool:
    """Tell whether the stretch is part of a list that is a value: ``hosts=[a, b]``, ``hosts: [a, b]``."""
    if not all(map(_is_listed, (*left[stretch.i0 : stretch.i1], *right[stretch.j0 : stretch.j1]))):
        return False
    start, end = stretch.i0, stretch.i1
    while start and _is_listed(left[start - 1]):
        start -= 1
    while end < len(left) and _is_listed(left[end]):
        end += 1
    if start < 2 or end == len(left) or (left[start - 1], left[end]) not in (("[", "]"), ("{", "}")):
        return False
    before = start - 3 if left[start - 2].isspace() else start - 2
    return before >= 0 and left[before] in ("=", ":")


def _value_start(left: Sequence[str], at: int) -> int:
    """Give the start of a value in several parts, of which one begins at ``at``: ``key=a:b:c``."""
    while at > 1 and left[at - 1] == ":" and (is_word(left[at - 2]) or left[at - 2] == VARIABLE):
        at -= 2
    return at


def cannot_vary(left: Sequence[str], at: int) -> bool:
    """Tell whether a word may not change for another one here, whatever stands behind (values in quotes aside).

    Examples
    --------
    >>> line = ("user", " ", "root", " ", "left", " ", "in", "=", "haste")
    >>> [cannot_vary(line, at) for at in (0, 2, 4, 8)]
    [True, False, True, False]
    """
    if not at:
        return True
    before = left[at - 1]
    if before.isspace():
        return at == 1 or not is_introducer(left[at - 2])
    return before not in _QUOTES and left[_value_start(left, at) - 1] != "="


def _names_expected(left: Sequence[str], stretch: Stretch) -> bool:
    """Tell whether one word in place of another is a name, by what stands beside it."""
    start, end = stretch.i0, stretch.i1
    if not start:
        return False
    before, after = left[start - 1], left[end] if end < len(left) else ""
    if before != "=" and (start == end or stretch.j0 == stretch.j1):
        return False
    value = _value_start(left, start)
    if left[value - 1] == "=":
        key = _key_before(left, value)
        return key != "" and not is_message_key(key)
    if before in _QUOTES:
        return not after.isspace() and not is_message_key(_key_before(left, start - 1))
    announced = before.isspace() and start > 1 and is_introducer(left[start - 2])
    # "user ann from", but not "user authentication failed".
    return announced and (not after.isspace() or end + 1 == len(left) or is_function_word(left[end + 1]))


def evidence_needed(tokens: Sequence[str], places: Sequence[int]) -> list[tuple[int, int]]:
    """Tell which words of a template could turn out to be a parameter, and how many words in their place it takes.

    A name among words of a sentence, or behind a preposition, needs few, a word like the others many. The first word of
    a message, and the words of a short message, carry the meaning: they need more company to be given up.

    Parameters
    ----------
    tokens : sequence of str
        Tokens of a template.
    places : sequence of int
        Where words stand.

    Returns
    -------
    list of (int, int)
        For each such place, in order: its index, and the different words that must have stood there, all else equal.

    Examples
    --------
    >>> evidence_needed(("registered", " ", "handler", " ", "for", " ", "org.Job", " ", "events"), (0, 2, 4, 6, 8))
    [(2, 12), (6, 3), (8, 12)]
    >>> evidence_needed(("link", " ", "up"), (0, 2))
    []
    """
    found = []
    for place in places:
        needed = _words_needed(tokens[place])
        if not needed:
            continue
        company = len(places) - 1 - (place == 0)
        if needed > _NAMES_NEEDED and place > 1 and is_preposition(tokens[place - 2]):
            needed = _NAMES_NEEDED
        if company >= (_COMPANY_OF_NAME if needed == _NAMES_NEEDED else _COMPANY_OF_WORD):
            found.append((place, needed))
    return found


@lru_cache(_WORDS_CACHED)
def _words_needed(word: str) -> int:
    """Give how many words in place of this one make a parameter; 0 if none do."""
    if not is_name_like(word) or is_code(word):
        return 0
    return _NAMES_NEEDED if is_compound(word) else _WORDS_NEEDED
