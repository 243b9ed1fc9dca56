"""Kinds of values, and the forms by which a value shows its kind without help from its surroundings."""

import re
from enum import StrEnum

from deeplog_grpc.parsing.masks import DAY, LITERALS, MONTH, TOP_LEVEL


class ValueKind(StrEnum):
    """The kind of a parameter's value; `docs/parsing.md` has a table with examples."""

    EMPTY = "empty"
    """Nothing, or blanks."""
    INTEGER = "integer"
    DECIMAL = "decimal"
    DURATION = "duration"
    """A time span with its unit, in the value or in the template."""
    SIZE = "size"
    """An amount of data with its unit."""
    QUANTITY = "quantity"
    """A number with another unit: percent, bytes or bits a second, bits, hertz."""
    TIME = "time"
    """A date, a time of day, or both."""
    IP = "ip"
    """An IPv4 or IPv6 address, with a port or not."""
    PORT = "port"
    MAC = "mac"
    HOST = "host"
    """A host name that shows itself by its domain or port."""
    PATH = "path"
    URL = "url"
    EMAIL = "email"
    UUID = "uuid"
    HEX = "hex"
    LITERAL = "literal"
    """A word that is a value in most languages: true, null, NaN."""
    LIST = "list"
    """Two or more values of one kind with commas between."""
    WORD = "word"
    """Letters only."""
    IDENTIFIER = "identifier"
    """Anything else without a blank."""
    TEXT = "text"
    """Anything else."""


AMOUNTS = frozenset((ValueKind.INTEGER, ValueKind.DECIMAL, ValueKind.DURATION, ValueKind.SIZE, ValueKind.QUANTITY))
"""The kinds whose values are amounts. Only they have a number; a port or a hex id is a name made of digits."""

LONGEST_FORM = 256
"""Characters. A longer value is text: no other kind is that long, and patterns stay cheap on hostile values."""

_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_FORM = re.compile(
    "|".join(
        f"(?P<{kind}>{pattern})"
        for kind, pattern in (
            (ValueKind.DECIMAL, r"[+-]?\d+(?:\.\d*)?e[+-]?\d+|[+-]?\.\d+e[+-]?\d+"),
            (ValueKind.LITERAL, LITERALS),
            (ValueKind.UUID, r"\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}?"),
            (
                ValueKind.IP,
                rf"/?{_OCTET}(?:\.{_OCTET}){{3}}(?:[:/]\d{{1,5}})?"
                r"|(?=.*::)[0-9a-f:]{3,39}|(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
            ),
            (ValueKind.MAC, r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5,}"),
            (ValueKind.HEX, r"0x[0-9a-f]+|(?=\D*\d)(?=.*[a-f])[0-9a-f]{4,}"),
            (
                ValueKind.TIME,
                # The year is at one end, or all have two digits and no dots between: 10.2.31 is a version.
                r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d\d[-/]\d\d[-/]\d\d)"
                r"(?:[ t]\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?)?\s?(?:z|[+-]\d{2}:?\d{2})?"
                rf"|\d{{1,3}}:\d{{2}}(?::\d{{2}})?(?:[.,]\d+)?|(?:{DAY},? +)?{MONTH} +\d{{1,2}}\b[\d: a-z]*"
                rf"|(?:{DAY},? +)?\d{{1,2}}[ /-]{MONTH}[ /-]\d{{4}}[\d: +a-z-]*",
            ),
            (ValueKind.URL, r"[a-z][a-z0-9+.-]*://\S+"),
            (ValueKind.EMAIL, r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
            (ValueKind.PATH, r"(?:~|\.\.?)?/\S+|[a-z]:\\.*"),
            (
                ValueKind.HOST,
                rf"[\w-]+(?:\.[\w-]+)*\.(?:{TOP_LEVEL})(?:\.[a-z]{{2}})?(?::\d+)?|[\w-]+(?:\.[\w-]+)*:\d{{1,5}}",
            ),
        )
    ),
    re.IGNORECASE | re.ASCII,
)


def form_of(text: str) -> ValueKind:
    """Name the kind of a value that is no plain number and no amount, by its form alone.

    Parameters
    ----------
    text : str
        A value without blanks around it.

    Examples
    --------
    >>> [str(form_of(v)) for v in ("0x1F", "10.0.0.1:80", "/var/log", "true", "1e-5", "00:01:07", "blk_-38")]
    ['hex', 'ip', 'path', 'literal', 'decimal', 'time', 'identifier']
    >>> [str(form_of(v)) for v in ("b9000564-fe1a-409b-b8cc-1e88b294cd1d", "a@b.org", "http://x/y", "db.example.com")]
    ['uuid', 'email', 'url', 'host']
    """
    match = _FORM.fullmatch(text)
    if match is not None:
        return ValueKind(match.lastgroup or "")
    if text.isalpha():
        return ValueKind.WORD
    return ValueKind.TEXT if any(map(str.isspace, text)) else ValueKind.IDENTIFIER
