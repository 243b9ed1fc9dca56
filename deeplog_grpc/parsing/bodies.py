"""The part of each body that is looked at: its first row, without colours, up to a limit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Colours and the like: control sequences of ECMA-48."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What is looked at, and where the rest of each body begins."""

    texts: Sequence[str]
    rest_at: dict[int, int]
    """Only for the bodies that have a rest: row to position in the body."""


def heads_of(bodies: Sequence[str], limit: int) -> Heads:
    r"""Cut bodies to what is looked at.

    Examples
    --------
    >>> heads_of(["\x1b[1;31mERROR\x1b[0m disk 7 failed", "first row\n  at second"], 99)
    Heads(texts=['ERROR disk 7 failed', 'first row'], rest_at={1: 9})
    """
    joined = "".join(bodies)
    is_plain = "\n" not in joined and "\x1b" not in joined
    if is_plain and (len(joined) <= limit or max(map(len, bodies)) <= limit):
        return Heads(bodies, {})
    texts, rest_at = [], {}
    for row, body in enumerate(bodies):
        head = body[:limit].partition("\n")[0]
        if len(head) < len(body):
            rest_at[row] = len(head)
        texts.append(_ESCAPE.sub("", head) if "\x1b" in head else head)
    return Heads(texts, rest_at)


def body_offsets(body: str) -> list[int]:
    r"""Give the place in the body of each character that is looked at, and of the end; empty if there are no escapes.

    Examples
    --------
    >>> body_offsets("\x1b[1mE7\x1b[0m"), body_offsets("E7")
    ([4, 5, 10], [])
    """
    if "\x1b" not in body:
        return []
    kept: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(body):
        kept.extend(range(at, escape.start()))
        at = escape.end()
    return [*kept, *range(at, len(body) + 1)]
