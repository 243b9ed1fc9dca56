"""Tokens of a skeleton, and what their form says about them.

A token is a word, a run of blanks, a separator, or `VARIABLE`. Separators are tokens too, so the tokens of a template
with its parameters in place give back the line to the letter. The word lists are English function words and the
names operators give to things everywhere; no rule knows a particular program.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from deeplog_grpc.parsing.masks import MASKED_WORDS, MASKS, UNIT

VARIABLE = "\0"
"""The token that stands for a parameter. NUL cannot be part of a constant: the fold turns it into a digit."""

_SEPARATORS = r"=:,;()\[\]{}<>\"'|#"
_TOKENS = re.compile(
    # Most tokens are plain words and blanks. No mask begins with one of them, but for those named.
    rf"((?!{MASKED_WORDS})[A-Za-z]+(?=[\s=,;()\[\]{{}}<>\"'|#]|:\s|\Z)|\s+)"
    rf"|({MASKS})"
    # Dots that lead the eye to a value ("enable....0") or end a sentence are no part of a word.
    r"|(\.{2,}|\.(?=\s|\Z)"
    rf"|[{_SEPARATORS}]"
    rf"|(?:(?!\.\.|\.(?:\s|\Z))[^\s{_SEPARATORS}])+)"
)
_LETTER = re.compile(r"[^\W\d_]")

_WORDS_CACHED = 16_384
"""Words whose class is remembered; a log's vocabulary is a few thousand."""

_SHORTEST_VERB_FORM = 4
"""Letters: "fred" and "king" are names, "ended" is not."""

FREE_SEPARATORS = frozenset([",", "(", ")", "[", "]", "{", "}", "<", ">", '"', "'", "."])
"""Separators that may come and go with a value: "(1.13 KB)", "<1 sec", "a, b, c". The others carry structure."""


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTION_WORDS = _word_set(
    "a an the is are was were be been has have had do does did not no nor and or but if then else than when while of "
    "in on at to from by with for as into onto over under out off up down via per after before since until during "
    "without within between through across against about it its this that these those there here can cannot could "
    "will would should may might must all any each some none only too very already again still yet now"
)
_PREPOSITIONS = _word_set("for from to by at on of as with into onto via through against")
_STATE_WORDS = _word_set(
    "ok okay error errors fail failure success yes on off up down open close full empty idle busy active inactive "
    "online offline available unavailable enable disable ready alive dead unknown invalid valid normal warning "
    "critical fatal start stop begin end restart reset abort commit rollback read write create delete add remove get "
    "put post patch head options connect disconnect login logout"
)
_INTRODUCERS = _word_set(
    "user username account owner host hostname server node machine domain realm device interface nic disk volume group "
    "pool table database schema topic queue bucket container pod namespace cluster partition datanode tenant project "
    "filesystem mount class module package plugin process daemon named name"
)
_MESSAGE_KEYS = _word_set(
    "msg message event level severity lvl action reason status state result err error op cause text title summary "
    "detail details description exception"
)


def tokenize(skeleton: str, max_tokens: int) -> tuple[str, ...]:
    """Split a skeleton into words, blanks, separators and variables.

    Parameters
    ----------
    skeleton : str
        A folded line.
    max_tokens : int
        What stands behind that many tokens becomes one last variable.

    Returns
    -------
    tuple of str
        The tokens; two variables never touch.

    Examples
    --------
    >>> show = lambda s: "".join("*" if t == VARIABLE else t for t in tokenize(s, 100))

    A word with a digit, an address, a path, a time or a literal is a variable, in one piece:

    >>> show("Received block 0-0 from /0.0.0.0:0 at Fri Jun 0 0:0:0 0, cached=true")
    'Received block * from * at *, cached=*'

    Leader dots are no part of the word before them:

    >>> show("debug wait enable.................0")
    'debug wait enable.................*'
    """
    tokens: list[str] = []
    for plain, mask, other in _TOKENS.findall(skeleton):
        token = plain or other
        if mask or "0" in token:
            token = VARIABLE
            if tokens and tokens[-1] == VARIABLE:
                continue
        if len(tokens) == max_tokens:
            if tokens[-1] != VARIABLE:
                tokens.append(VARIABLE)
            break
        tokens.append(token)
    return tuple(tokens)


@lru_cache(_WORDS_CACHED)
def is_word(token: str) -> bool:
    """Tell whether a token is a constant word: it holds a letter.

    Examples
    --------
    >>> [is_word(t) for t in ("error", "=", "****", VARIABLE)]
    [True, False, False, False]
    """
    return token.isalpha() or _LETTER.search(token) is not None


@lru_cache(_WORDS_CACHED)
def is_name_like(token: str) -> bool:
    """Tell whether a word may be the value of a parameter.

    Function words, states, operations and verb forms tell what happened; no parameter's value is made of them.

    Examples
    --------
    >>> [is_name_like(w) for w in ("cyrus", "root_domain", "com.example.Job", "JobEventHandler")]
    [True, True, True, True]
    >>> [is_name_like(w) for w in ("not", "down", "stopped", "Starting", "DELETE")]
    [False, False, False, False, False]
    """
    word = token.lower()
    if word in _FUNCTION_WORDS or word in _STATE_WORDS:
        return False
    return not (len(word) > _SHORTEST_VERB_FORM and word.isalpha() and word.endswith(("ed", "ing")))


@lru_cache(_WORDS_CACHED)
def may_vary(word: str) -> bool:
    """Tell whether two messages of one kind may differ in this word: it is a name or a unit.

    Examples
    --------
    >>> may_vary("cyrus"), may_vary("bytes"), may_vary("not")
    (True, True, False)
    """
    return is_name_like(word) or names_unit(word)


@lru_cache(_WORDS_CACHED)
def names_unit(word: str) -> bool:
    """Tell whether a word is a unit, if it stands behind a number.

    Examples
    --------
    >>> names_unit("KB"), names_unit("disk")
    (True, False)
    """
    return UNIT.match(word) is not None


@lru_cache(_WORDS_CACHED)
def is_compound(token: str) -> bool:
    """Tell whether a word is built like an identifier, not like a word of a sentence.

    Examples
    --------
    >>> [is_compound(w) for w in ("root_domain", "org.example", "JobHandler", "Error", "state")]
    [True, True, True, False, False]
    """
    inner = token[1:]
    return any(c in "_.$@/\\" for c in inner) or (not token.isupper() and any(c.isupper() for c in inner))


@lru_cache(_WORDS_CACHED)
def is_code(token: str) -> bool:
    """Tell whether a word is written in capitals only: a protocol, a method, a state, so a constant.

    Examples
    --------
    >>> is_code("HTTPS"), is_code("Https"), is_code("REMOTE_LAUNCH")
    (True, False, False)
    """
    return len(token) > 1 and token.isalpha() and token.isupper()


def is_introducer(token: str) -> bool:
    """Tell whether a word announces a name: "user root", "domain storage".

    Examples
    --------
    >>> is_introducer("user"), is_introducer("session")
    (True, False)
    """
    return token.lower() in _INTRODUCERS


def is_function_word(token: str) -> bool:
    """Tell whether a word only ties others together.

    Examples
    --------
    >>> is_function_word("from"), is_function_word("user")
    (True, False)
    """
    return token.lower() in _FUNCTION_WORDS


def is_preposition(token: str) -> bool:
    """Tell whether a word is one that names like to follow: "password for root from".

    Examples
    --------
    >>> is_preposition("for"), is_preposition("not")
    (True, False)
    """
    return token.lower() in _PREPOSITIONS


def is_message_key(token: str) -> bool:
    """Tell whether what follows ``token=`` says what happened: no parameter then.

    Examples
    --------
    >>> is_message_key("msg"), is_message_key("user")
    (True, False)
    """
    return token.lower() in _MESSAGE_KEYS


def is_unit(tokens: Sequence[str], index: int) -> bool:
    """Tell whether the token is the unit of the number before it.

    Examples
    --------
    >>> line = ("free", " ", VARIABLE, " ", "KB")
    >>> is_unit(line, 4), is_unit(("kept", " ", "KB"), 2)
    (True, False)
    """
    if not index or not names_unit(tokens[index]):
        return False
    before = index - 2 if index > 1 and tokens[index - 1].isspace() else index - 1
    return tokens[before] == VARIABLE
