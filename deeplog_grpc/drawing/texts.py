"""Words and figures as they stand in a drawing, before a language escapes them. Templates are hostile text."""

import textwrap
import unicodedata

SHOWN_CHARS = 40
"""Characters of a template in a drawing."""
LINE_CHARS = 26
"""Characters of one of its lines."""
TOOLTIP_CHARS = 500
_BAD_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Control characters, marks that turn the direction of text, halves of pairs, and what no font has."""
_CERTAIN = 0.995
"""A share from here on is told as all."""


def legible(text: str, chars: int) -> str:
    r"""A text on one line: blanks for white space, U+FFFD for what cannot be seen, cut with an ellipsis.

    Examples
    --------
    >>> legible("disk\tsda\x1b[31m is \u202efull", 40)
    'disk sda�[31m is �full'
    >>> legible("a template that is long", 10)
    'a templat…'
    """
    one_line = " ".join(text[: 8 * chars].split())
    seen = "".join("�" if unicodedata.category(char) in _BAD_CATEGORIES else char for char in one_line)
    return seen if len(seen) <= chars and len(text) <= 8 * chars else seen[: chars - 1] + "…"


def lines_of(text: str) -> list[str]:
    """A template as the lines of a box.

    Examples
    --------
    >>> lines_of("receiving block <*> src <*> dest <*> of size <*>")
    ['receiving block <*> src', '<*> dest <*> of…']
    """
    return textwrap.wrap(legible(text, SHOWN_CHARS), LINE_CHARS) or [""]


def share_text(share: float) -> str:
    """A share in percent; empty where it is as good as all.

    Examples
    --------
    >>> [share_text(share) for share in (1.0, 0.994, 0.42, 0.0312, 0.000004)]
    ['', '99 %', '42 %', '3.1 %', '<0.01 %']
    """
    if share >= _CERTAIN:
        return ""
    if share < 1e-4:
        return "<0.01 %"
    return f"{share:.0%}"[:-1] + " %" if share >= 0.0995 else f"{share * 100:.2g} %"


def duration_text(seconds: float) -> str:
    """A time in the unit that fits.

    Examples
    --------
    >>> [duration_text(seconds) for seconds in (0, 0.000_02, 0.25, 1.5, 90, 7_200, 200_000)]
    ['0 s', '0.02 ms', '250 ms', '1.5 s', '1.5 min', '2 h', '2.3 d']
    """
    if seconds < 1e-6:
        return "0 s"
    units = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))
    size, unit = next(((size, unit) for size, unit in units if seconds >= size), (1e-3, "ms"))
    number = seconds / size
    return f"{number:.0f} {unit}" if number >= 99.5 else f"{number:.2g} {unit}"


def range_text(least: int, most: int) -> str:
    """So many to so many.

    Examples
    --------
    >>> range_text(1, 5), range_text(3, 3)
    ('1 to 5', '3')
    """
    return str(least) if least == most else f"{least:,} to {most:,}"
