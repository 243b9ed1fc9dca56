"""Numbers with a unit, brought to one scale: milliseconds, bytes, percent, bytes or bits a second, hertz.

K, M, G before bytes are powers of 1024, written "KB" or "KiB": that is what kernels, JVMs and storage systems mean by
them in their logs (Proxifier writes "1165 bytes (1.13 KB)"). Before bits and hertz they are powers of 1000.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from deeplog_grpc.parsing.kinds import ValueKind

_KIB = 1024.0
_POWERS = ("", "k", "m", "g", "t", "p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit as it is written in logs."""

    kind: ValueKind
    """What a number with it is."""
    name: str
    """The unit of the normalised number."""
    scale: float
    """How many of those it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A normalised number, and the unit it was written with."""

    number: float
    unit: Unit


def _table() -> dict[str, Unit]:
    durations = {
        "ns nano nanos nsec nsecs nanosecond nanoseconds": 1e-6,
        "us µs μs micro micros usec usecs microsecond microseconds": 1e-3,
        "ms milli millis msec msecs millisecond milliseconds": 1.0,
        "s sec secs second seconds": 1e3,
        "m min mins minute minutes": 6e4,
        "h hr hrs hour hours": 3.6e6,
        "d day days": 8.64e7,
        "week weeks": 6.048e8,
    }
    table = {
        name: Unit(kind=ValueKind.DURATION, name="ms", scale=scale)
        for names, scale in durations.items()
        for name in names.split()
    }
    table.update(dict.fromkeys(("%", "percent", "pct"), Unit(kind=ValueKind.QUANTITY, name="%", scale=1.0)))
    long_prefixes = ("", "kilo", "mega", "giga", "tera", "peta")
    for power, (letter, prefix) in enumerate(zip(_POWERS, long_prefixes, strict=True)):
        size = Unit(kind=ValueKind.SIZE, name="bytes", scale=_KIB**power)
        for name in ("byte", "bytes"):
            table[letter + name] = table[prefix + name] = size
        table[f"{letter}b" if letter else "B"] = size
        if letter:
            table[f"{letter}ib"] = size
        bits = Unit(kind=ValueKind.QUANTITY, name="bits", scale=1000.0**power)
        for name in ("bit", "bits"):
            table[letter + name] = table[prefix + name] = bits
        table[f"{letter}hz"] = Unit(kind=ValueKind.QUANTITY, name="Hz", scale=1000.0**power)
    return table


_UNITS = _table()
_RATE = re.compile(r"([kKmMgGtT]?i?)(B|b|[Bb]ytes?|[Bb]its?)(?:ps|/s|/sec|/second)")


@lru_cache(4096)
def unit_named(name: str) -> Unit | None:
    """Find a unit by its name.

    Case counts where it tells units apart only: a single letter ("s" is seconds, "S" nothing, "B" bytes), and in rates
    ("Mb/s" is bits, "MB/s" bytes).

    Examples
    --------
    >>> unit_named("sec").scale, unit_named("KB").scale, unit_named("MiB").name
    (1000.0, 1024.0, 'bytes')
    >>> unit_named("Mbps").name, unit_named("MB/s").name, unit_named("S"), unit_named("pieces")
    ('bits/s', 'bytes/s', None, None)
    """
    found = _UNITS.get(name) or (_UNITS.get(name.lower()) if len(name) > 1 else None)
    if found is not None:
        return found
    rate = _RATE.fullmatch(name)
    if rate is None:
        return None
    power = _POWERS.index(rate[1][:1].lower())
    if rate[2] == "B" or rate[2].lower().startswith("byte"):
        return Unit(kind=ValueKind.QUANTITY, name="bytes/s", scale=_KIB**power)
    return Unit(kind=ValueKind.QUANTITY, name="bits/s", scale=1000.0**power)


PLAIN_NUMBER = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]*)?|[+-]?(\.[0-9]+)")
"""A number without exponent; group 1 or 2 is there if it has a decimal point."""

AMOUNT_STARTS = "0123456789+-.<>~≈P"
"""The first characters of all amounts, plain numbers too."""

_SINGLE = re.compile(
    r"(?:[<>~≈]=?\s?)?([+-]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+))\s?([A-Za-zµμ%][A-Za-zµμ/]*)"
    r"(?:\s?\([^()]*\))?"  # "1165 bytes (1.13 KB)" says the same twice
)
_COMPOUND = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?\s?[A-Za-zµμ]+(?:,\s?|\s(?:and\s)?)?){2,}")
_PART = re.compile(r"([0-9.]+)\s?([A-Za-zµμ]+)")
_ISO = re.compile(r"P(?:([0-9]+)D)?(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+(?:\.[0-9]+)?)S)?)?")
_ISO_MS = (8.64e7, 3.6e6, 6e4, 1e3)
_MILLISECONDS = Unit(kind=ValueKind.DURATION, name="ms", scale=1.0)


def amount_of(text: str) -> Amount | None:
    """Read a number with its unit.

    Parameters
    ----------
    text : str
        A value without blanks around it; at most a few hundred characters.

    Examples
    --------
    >>> [amount_of(text).number for text in ("5 min", "1.2s", "1h2m3.5s", "2 hours, 5 min", "<1 sec", "PT1M30S")]
    [300000.0, 1200.0, 3723500.0, 7500000.0, 1000.0, 90000.0]
    >>> [amount_of(text).number for text in ("1.5 GB", "1165 bytes (1.13 KB)", "12 KB/s", "97.5%", "2.4GHz")]
    [1610612736.0, 1165.0, 12288.0, 97.5, 2400000000.0]
    >>> amount_of("5 pieces") is None, amount_of("12") is None
    (True, True)
    """
    single = _SINGLE.fullmatch(text)
    if single is not None:
        unit = unit_named(single[2])
        return None if unit is None else Amount(number=float(single[1].replace(",", "")) * unit.scale, unit=unit)
    if _COMPOUND.fullmatch(text):
        return _compound(text)
    iso = _ISO.fullmatch(text)
    if iso is not None and any(iso.groups()):
        number = sum(float(part or 0) * scale for part, scale in zip(iso.groups(), _ISO_MS, strict=True))
        return Amount(number=number, unit=_MILLISECONDS)
    return None


def _compound(text: str) -> Amount | None:
    """Add the parts of a duration, largest unit first; anything else is no amount."""
    total, last = 0.0, float("inf")
    for number, name in _PART.findall(text):
        unit = unit_named(name)
        if unit is None or unit.kind is not ValueKind.DURATION or unit.scale >= last:
            return None
        total, last = total + float(number) * unit.scale, unit.scale
    return Amount(number=total, unit=_MILLISECONDS)


_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,4}):([0-9]{2}(?:[.,][0-9]{1,9})?)")


def clock_ms(text: str) -> float | None:
    """Read ``hours:minutes:seconds`` or ``minutes:seconds`` as a duration.

    Examples
    --------
    >>> clock_ms("00:01:23"), clock_ms("01:07"), clock_ms("12:30:00.250"), clock_ms("7")
    (83000.0, 67000.0, 45000250.0, None)
    """
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return float(hours or 0) * 3.6e6 + float(minutes) * 6e4 + float(seconds.replace(",", ".")) * 1e3
