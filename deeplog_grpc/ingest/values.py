"""What the values of foreign records become: text, numbers, booleans, None, lists and mappings with text as keys."""

import math
from typing import Any

import numpy as np
import orjson

MAX_DEPTH = 32
"""Lists and mappings deeper in one another than this become None: nothing that is read lies so deep."""

MAX_TIME_NS = 2**63 - 1
"""The last time that a column of times can hold, in the year 2262."""


def known_time(time_ns: int) -> int:
    """A time in nanoseconds since 1970, or 0 = unknown where it does not fit a column of times.

    Examples
    --------
    >>> known_time(5), known_time(-5), known_time(2**64)
    (5, 0, 0)
    """
    return time_ns if 0 < time_ns <= MAX_TIME_NS else 0


def time_text(time_ns: int) -> str | None:
    """A time as RFC 3339 text; None where it does not fit a column of times.

    Examples
    --------
    >>> time_text(1_714_557_600_000_000_001)
    '2024-05-01T10:00:00.000000001Z'
    """
    return f"{np.datetime64(time_ns, 'ns')}Z" if 0 <= time_ns <= MAX_TIME_NS else None


def cut_text(text: str, max_bytes: int) -> str:
    """A text without what is past a number of bytes; no character is divided.

    Examples
    --------
    >>> cut_text("naïve", 3)
    'na'
    """
    if len(text) * 4 <= max_bytes:  # no character has more bytes
        return text
    return text.encode(errors="replace")[:max_bytes].decode(errors="ignore")


def json_text(value: Any) -> str:
    """A value that is not text, as the body of an entry; NaN is null in JSON.

    Examples
    --------
    >>> json_text([1, None, {"ok": True}])
    '[1,null,{"ok":true}]'
    """
    return orjson.dumps(value).decode()


def number(value: float) -> float | None:
    """A number, or None where it is none: what is not finite cannot be said in JSON.

    Examples
    --------
    >>> number(1.5), number(float("nan"))
    (1.5, None)
    """
    return value if math.isfinite(value) else None
