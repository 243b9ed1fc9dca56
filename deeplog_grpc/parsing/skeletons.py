"""Skeletons: lines in which every word that holds a digit reads ``0``; and outlines, the cheap step towards them.

A word is a run of letters, digits, ``_`` and ``-``, and of single dots between them. In an *outline* each digit, with
the few word bytes beside it, reads ``0``, and so does a run of them; the skeleton follows from the outline alone.

Logs repeat themselves but for their numbers, so a few hundred skeletons stand for millions of lines and one dictionary
look-up a line finds all that is known about it. Few outlines stand for one skeleton, and an outline costs a third of
one: so it is looked up first, and only new outlines are folded to skeletons. Both run over the whole batch as one array
of bytes, many times as fast as chains of ``str.replace`` or ``re.sub``.

Invariant: the fold only ever touches words with a digit, and such a word is a variable for every later step. So the
constants of a template stand in the line exactly as in its skeleton, and whatever is computed from the skeleton alone
may be cached by it, exactly. A NUL or a lone surrogate counts as a digit: constants are always valid text.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.masks import HEAD_DATE

_SURROGATE = re.compile("[\ud800-\udfff]")
_ZERO, _A, _HYPHEN, _UNDERSCORE = map(ord, "0a-_")
_LOWER = ord("a") - ord("A")
"""The bit that makes a capital small."""
_FIRST_TO_ZERO = bytes.maketrans(b"\xfe", b"0")

_REACH = 4
"""Word bytes beside a digit that an outline leaves out. Enough to make one ``0`` of nearly all hexadecimal ids."""

_DIGITS = b"\0" + b"0123456789"
# Bytes from 128 on belong to letters outside ASCII: as word bytes they are kept, or dropped, as whole characters.
_WORD_BYTES = _DIGITS + b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-" + bytes(range(128, 256))
_DIGIT = bytes(byte in _DIGITS for byte in range(256))
_WORD = bytes(byte in _WORD_BYTES for byte in range(256))
_DOT = ord(".")


def valid_text(text: str) -> str:
    r"""Replace what cannot be encoded by a digit.

    Examples
    --------
    >>> valid_text("caf\u00e9 \ud800")
    'café 0'
    """
    return _SURROGATE.sub("0", text)


def outlines_of(lines: Sequence[str]) -> list[bytes]:
    """Write digits, and the word bytes beside them, as one ``0``.

    Parameters
    ----------
    lines : sequence of str
        Lines without a line feed; any other character may occur.

    Returns
    -------
    list of bytes
        One outline a line, in order; UTF-8.

    Examples
    --------
    >>> outlines_of(["Received block blk_-1608 of size 67108864 from /10.250.14.224", "rx 5KB on eth0", ""])
    [b'Received block b0 of size 0 from /0.0.0.0', b'rx 0 on 0', b'']
    """
    if not lines:
        return []
    joined = "\n".join(lines)
    try:
        raw = joined.encode()
    except UnicodeEncodeError:
        raw = valid_text(joined).encode()
    text = np.frombuffer(b"\n%b\n" % raw, np.uint8)  # The first and the last byte have no neighbours.
    hidden = _beside_digits(text)
    first = hidden.copy()
    first[1:] &= ~hidden[:-1]
    # 255 and 254 are no bytes of UTF-8.
    marked = (text | -hidden.view(np.uint8)) - first.view(np.uint8)
    return marked.tobytes().translate(_FIRST_TO_ZERO, b"\xff").split(b"\n")[1:-1]


def _beside_digits(text: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which bytes are digits or word bytes near one in the same word."""
    is_word = ((text | _LOWER) - _A < 26) | (text == _HYPHEN) | (text == _UNDERSCORE)
    near = text - _ZERO < 10
    inner, may_grow = near[1:-1], is_word[1:-1]
    for _ in range(_REACH):
        inner |= (near[:-2] | near[2:]) & may_grow
    return near


def fold(outlines: Sequence[bytes]) -> list[str]:
    """Fold outlines to skeletons.

    Returns
    -------
    list of str
        One skeleton an outline, in order.

    Examples
    --------
    >>> fold([b"Received block b0 of size 0 from /0.0.0.0", b"started attempt0 on web.0", b""])
    ['Received block 0 of size 0 from /0', 'started 0 on 0', '']
    """
    return _fold_bytes(b"\n".join(outlines)).decode().split("\n") if outlines else []


def undated(skeleton: str) -> str:
    """Replace the date that a skeleton begins with by one word; both have the same tokens.

    The raw lines of a year would else have each skeleton twelve times and more.

    Examples
    --------
    >>> undated("Jun  0 0:0:0 combo kernel: up"), undated("0 0:0:0,0 up"), undated("Jun bug")
    ('0 combo kernel: up', '0 up', 'Jun bug')
    """
    date = HEAD_DATE.match(skeleton)
    return skeleton if date is None else "0" + skeleton[date.end() :]


def _fold_bytes(raw: bytes) -> bytes:
    text = np.frombuffer(raw, np.uint8)
    word = np.frombuffer(bytearray(raw.translate(_WORD)), np.bool_)
    # A dot between two letters or digits is part of the word, one that ends a sentence or leads to a value is not.
    dots = np.flatnonzero(text[1:-1] == _DOT) + 1
    word[dots[word[dots - 1] & word[dots + 1]]] = True
    edges = np.flatnonzero(np.diff(word, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    digits = np.zeros(text.size + 1, np.int32)
    np.cumsum(np.frombuffer(raw.translate(_DIGIT), np.uint8), dtype=np.int32, out=digits[1:])
    numeric = digits[ends] > digits[starts]
    starts, ends = starts[numeric], ends[numeric]
    folded = text.copy()
    folded[starts] = _ZERO
    # Of each such word all but the first byte goes.
    depth = np.zeros(text.size + 1, np.int8)
    depth[starts + 1] += 1
    depth[ends] -= 1
    kept: NDArray[np.uint8] = folded[np.cumsum(depth[:-1], dtype=np.int8) == 0]
    return kept.tobytes()
