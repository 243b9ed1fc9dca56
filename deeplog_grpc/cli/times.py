"""Times and spans as people write them, and as tables print them."""

import re
from datetime import UTC, datetime, timedelta

from deeplog_grpc.cli.rows import iso_time
from deeplog_grpc.errors import InputError

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def span_ns(text: str, field: str) -> int:
    """A span in nanoseconds.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> [span_ns(text, "--for") // 10**9 for text in ("90s", "15 min", "2h", "1h30m", "3d", "1.5w")]
    [90, 900, 7200, 5400, 259200, 907200]
    """
    span = _span_ns(text)
    if span is None:
        raise InputError(f"'{text}' is not a span: write 90s, 15m, 2h, 3d or 1w", field=field)
    return span


def time_ns(text: str, now_ns: int, field: str) -> int:
    """A time in nanoseconds since 1970 UTC: ISO 8601, in UTC where it names no zone, or a span before now.

    Raises
    ------
    InputError
        If it is neither.

    Examples
    --------
    >>> now_ns = 1_714_557_600_000_000_000
    >>> for text in ("2024-05-01T10:00:00", "2024-05-01 12:00+02:00", "2024-05-01", "2h"):
    ...     print(iso_time(time_ns(text, now_ns, "--since")))
    2024-05-01T10:00:00.000Z
    2024-05-01T10:00:00.000Z
    2024-05-01T00:00:00.000Z
    2024-05-01T08:00:00.000Z
    """
    span = _span_ns(text)
    found = now_ns - span if span is not None else _iso_ns(text)
    if found is None or not 0 <= found < 1 << 63:
        message = f"'{text}' is not a time: write 2024-05-01T10:00:00 (UTC), or 2h or 3d for a time before now"
        raise InputError(message, field=field)
    return found


def second(time_ns: int) -> str:
    """A time for a table: ISO 8601 in UTC with seconds; empty for 0 = not known.

    Examples
    --------
    >>> second(1_714_557_600_000_000_000)
    '2024-05-01T10:00:00'
    """
    return iso_time(time_ns)[:19]


def _span_ns(text: str) -> int | None:
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text.strip()):
        return None
    return round(sum(float(number) * _UNITS_S[unit] for number, unit in parts) * 1e9)


def _iso_ns(text: str) -> int | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1_000
