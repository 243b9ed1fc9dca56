"""What a parameter looks like: the built-in kinds of values, recognised by their form alone.

Two things are kept here. `kind_of` names the kind of one value, for reports and value models. `MASKS` is the same
knowledge as one pattern over *skeletons* (`skeletons.py`: each word with a digit reads ``0``), where it finds the
values that hold separators or no digit at all, so that they become one variable and never anchor a template.

Nothing here knows a system's name: each form is one that any operator would call a value.
"""

import re
from enum import StrEnum


class MaskKind(StrEnum):
    """The kind of a parameter value."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    HEX = "hex"
    UUID = "uuid"
    IP = "ip"
    MAC = "mac"
    TIME = "time"
    URL = "url"
    EMAIL = "email"
    PATH = "path"
    HOST = "host"
    QUANTITY = "quantity"
    LITERAL = "literal"
    IDENTIFIER = "identifier"
    WORD = "word"
    TEXT = "text"
    EMPTY = "empty"


_UNITS = (
    "b|kb|mb|gb|tb|pb|kib|mib|gib|tib|bytes?|kbytes?|mbytes?|gbytes?|bits?|kbps|mbps|gbps|bps|"
    "ns|us|µs|ms|s|m|h|d|nanos|micros|millis|nsecs?|usecs?|msecs?|secs?|mins?|hrs?|nanoseconds?|microseconds?|"
    "milliseconds?|seconds?|minutes?|hours?|days?|weeks?|hz|khz|mhz|ghz|percent"
)
UNIT = re.compile(rf"(?:{_UNITS})\Z", re.IGNORECASE)
"""A unit of size, time or frequency: right after a number it belongs to the value ("5.2 KB", "30 seconds")."""

_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_TOP_LEVEL = "com|net|org|edu|gov|mil|int|info|biz|arpa|local|localdomain|lan|internal"
_LITERALS = "true|false|True|False|TRUE|FALSE|null|NULL|nil|None|NaN|undefined"

_DATES = "|".join(
    (
        # Sun Jun 04 04:47:44 PDT 2005, Jun 14 15:16:01, 10/Oct/2000:13:55:36 -0700
        rf"(?<!\w)(?:{_DAY},?\s+)?{_MONTH}\s+0(?:\s+0:0(?::0)?(?:[.,]0)?)?(?:\s+[A-Z]{{2,4}})?(?:,?\s+0)?(?![\w:])",
        rf"(?<!\w)(?:{_DAY},?\s+)?0[ /-]{_MONTH}[ /-]0(?:[: ]0:0(?::0)?)?(?:\s+(?:[+-]?0|[A-Z]{{2,4}}))?(?!\w)",
        # 2015-10-18 18:01:47,978 (the T form has no blank and needs no help)
        r"(?<![\w./])0(?:/0/0)?\s+0:0:0(?:[.,]0)?(?![\w:])",
    )
)
"""Dates with blanks inside."""

HEAD_DATE = re.compile(rf"(?>{_DATES})(?=\s|\Z)")
"""A date that a line begins with."""

MASKS = "|".join(
    (
        # https://host:8080/a?b=c (up to a bracket, a quote or a comma)
        r"[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s\"'<>|,;()\[\]{}]+",
        # ops@example.org
        r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+",
        # C:\Windows\x.dll
        r"(?<!\w)[A-Za-z]:\\[^\s\"'<>|,;()\[\]{}]*",
        # /var/log/x, ~/x, ./x, ../x, /10.0.0.1:50010; the colon or dot that ends a sentence stays outside
        r"(?<![^\s=:,;()\[\]{}<>\"'|#])(?:~|\.\.?)?/[^\s\"'<>|,;()\[\]{}]*[^\s\"'<>|,;()\[\]{}:.]",
        _DATES,
        # 00:01, 18:01:47.5
        r"(?<![\w.:])0:0(?::0){0,2}(?:[.,]0)?(?![\w:])",
        # ff:f2:9f:16:e2:23, fe80::1
        r"(?<![\w:])(?=[A-Fa-f:]*0)(?:[0A-Fa-f]{1,4}:{1,2}){2,}[0A-Fa-f]{1,4}(?![\w:])",
        # host:port, where the host shows itself by a dot or a digit
        r"(?<![\w.-])[\w-]*[0.][\w.-]*:0(?!\w)",
        # build.example.com
        rf"(?<![\w.$-])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:{_TOP_LEVEL})(?:\.[a-z]{{2}})?(?![\w-]|\.\w)",
        # true, null: a value by itself
        rf"(?<![\w.$-])(?:{_LITERALS})(?![\w$-]|\.\w)",
    )
)
"""Values that a skeleton shows with separators inside, or without any digit (source of a pattern, most exact first)."""

MASKED_WORDS = f"{_DAY}|{_MONTH}|{_LITERALS}"
"""How a mask can begin that begins with letters and a blank (source of a pattern)."""

_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_KINDS: tuple[tuple[MaskKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE | re.ASCII))
    for kind, pattern in (
        (MaskKind.INTEGER, r"[+-]?\d+"),
        (MaskKind.DECIMAL, r"[+-]?\d*\.\d+(?:e[+-]?\d+)?|[+-]?\d+e[+-]?\d+"),
        (MaskKind.LITERAL, _LITERALS),
        (MaskKind.UUID, r"\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}?"),
        (
            MaskKind.IP,
            rf"/?{_OCTET}(?:\.{_OCTET}){{3}}(?:[:/]\d{{1,5}})?|(?=.*::)[0-9a-f:]{{3,39}}|(?:[0-9a-f]{{1,4}}:){{7}}[0-9a-f]{{1,4}}",
        ),
        (MaskKind.MAC, r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5,}"),
        (MaskKind.HEX, r"0x[0-9a-f]+|(?=\D*\d)(?=.*[a-f])[0-9a-f]{4,}"),
        (MaskKind.QUANTITY, rf"[+-]?\d+(?:\.\d+)?\s?(?:{_UNITS}|%)"),
        (
            MaskKind.TIME,
            r"\d{2,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ t]\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?)?\s?(?:z|[+-]\d{2}:?\d{2})?"
            rf"|\d{{1,3}}:\d{{2}}(?::\d{{2}})?(?:[.,]\d+)?|(?:{_DAY},? +)?{_MONTH} +\d{{1,2}}\b[\d: a-z]*"
            rf"|(?:{_DAY},? +)?\d{{1,2}}[ /-]{_MONTH}[ /-]\d{{4}}[\d: +a-z-]*",
        ),
        (MaskKind.URL, r"[a-z][a-z0-9+.-]*://\S+"),
        (MaskKind.EMAIL, r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
        (MaskKind.PATH, r"(?:~|\.\.?)?/\S+|[a-z]:\\.*"),
        (
            MaskKind.HOST,
            rf"[\w-]+(?:\.[\w-]+)*\.(?:{_TOP_LEVEL})(?:\.[a-z]{{2}})?(?::\d+)?|[\w-]+(?:\.[\w-]+)*:\d{{1,5}}",
        ),
        (MaskKind.WORD, r"[^\W\d_]+"),
        (MaskKind.IDENTIFIER, r"\S+"),
    )
)
_KIND_CHARS = 256
"""A longer value is text: none of the kinds above is that long, and the patterns stay cheap on hostile values."""


def kind_of(value: str) -> MaskKind:
    """Name the kind of a parameter value.

    Parameters
    ----------
    value : str
        The exact text of the value; blanks around it do not count.

    Returns
    -------
    MaskKind
        ``EMPTY`` when nothing is left, ``TEXT`` when no other kind fits.

    Examples
    --------
    >>> [str(kind_of(v)) for v in ("17", "-0.5", "0x1F", "10.0.0.1:80", "/var/log", "5.2 KB", "true")]
    ['integer', 'decimal', 'hex', 'ip', 'path', 'quantity', 'literal']
    >>> [str(kind_of(v)) for v in ("b9000564-fe1a-409b-b8cc-1e88b294cd1d", "00:01:07", "a@b.org", "http://x/y")]
    ['uuid', 'time', 'email', 'url']
    >>> [str(kind_of(v)) for v in ("blk_-38", "root", "two words", "", "build.example.com")]
    ['identifier', 'word', 'text', 'empty', 'host']
    """
    text = value.strip()
    if not text:
        return MaskKind.EMPTY
    if len(text) > _KIND_CHARS:
        return MaskKind.TEXT
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(text)), MaskKind.TEXT)
