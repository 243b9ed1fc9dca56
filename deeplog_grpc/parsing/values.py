"""Typed values: the kind, the normalised number and the place of each parameter.

A value is judged by its own form, and by the constants of its template on both sides (`SlotContext`): "took <*> ms",
"duration_ms=<*>", "port <*>", "lifetime <*>". The parser does not depend on any of this.

Invariants: a parameter's text stands in the body at its span, to the letter; any text has a kind; only amounts have
a number, and it is finite.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import isfinite

from deeplog_grpc.parsing.kinds import LONGEST_FORM, ValueKind, form_of
from deeplog_grpc.parsing.units import PLAIN_NUMBER, Unit, amount_of, clock_ms, unit_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One value of a line."""

    text: str
    """The exact text at the slot."""
    kind: ValueKind
    start: int
    """Where it begins in the body, in characters from 0; ``body[start:end] == text``."""
    end: int
    number: float | None = None
    """The amount in ``unit``; None where the value is no amount. Never NaN nor infinite."""
    unit: str = ""
    """Of the number: ``ms``, ``bytes``, ``%``, ``bytes/s``, ``bits/s``, ``bits``, ``Hz``; empty for a plain number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a value says by itself, wherever it stands: see the fields of `Parameter`."""

    kind: ValueKind
    number: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotContext:
    """What the constants around a slot say about its values."""

    unit: Unit | None = None
    """Unit of plain numbers."""
    is_port: bool = False
    is_duration: bool = False
    """``01:07`` is a minute and seven seconds here, not a time of day."""
    is_size: bool = False
    """``512k`` is kilobytes here."""


NO_CONTEXT = SlotContext()

_CONTEXT_CHARS = 80
"""Constant text looked at on each side of a slot."""
_NAME_PARTS = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])")
_SECONDS = re.compile(r"[_(]s\)?\s*[=:]\Z")
_AFTER = re.compile(r"\s?([A-Za-zµμ%][A-Za-zµμ/]*)(?![\w/-])")
_ASSIGNS = ("=", ":")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONNECTIVES = _words("is was are of to in for at about only total approximately approx time")
_DURATIONS = _words(
    "duration lifetime uptime elapsed runtime took taken takes lasted lasting latency age ttl timeout waited wait "
    "after within delay"
)
_SIZES = _words(
    "size memory mem heap stack buffer cache disk storage space used free available allocated swap rss length bytes "
    "capacity limit footprint"
)
_NO_NAME_UNITS = _words("b m h d s min bit byte second minute hour day week")
"""Units in which a name ends for another reason: ``pool_min`` is a minimum, ``hour`` a part of a date."""
_PORTS = _words("port sport dport spt dpt")


@lru_cache(16_384)
def context_of(before: str, after: str) -> SlotContext:
    """Read what the constants on both sides of a slot say about its values.

    Examples
    --------
    >>> context_of("took ", " ms").unit.name, context_of("free: ", " KB").unit.scale
    ('ms', 1024.0)
    >>> context_of("duration_s=", "").unit.scale, context_of("latency(us): ", "").unit.scale
    (1000.0, 0.001)
    >>> context_of("from port ", "").is_port, context_of("lifetime ", "").is_duration, context_of("pool_min=", "").unit
    (True, True, None)
    """
    before = before[-_CONTEXT_CHARS:]
    bare = before.rstrip(" \t\"'[(<")
    parts = [part.lower() for part in _NAME_PARTS.findall(before)]
    name = next((n for n in range(len(parts) - 1, -1, -1) if parts[n] not in _CONNECTIVES), -1)
    nearest = set(parts[max(0, name - 1) : name + 1]) if name >= 0 else set()
    unit = None
    if (found := _AFTER.match(after[:_CONTEXT_CHARS])) is not None:
        unit = unit_named(found[1])
    if unit is None and parts and bare.endswith(_ASSIGNS):
        named = parts[-1] not in _NO_NAME_UNITS or _SECONDS.search(bare) is not None
        unit = unit_named(parts[-1]) if named else None
    return SlotContext(
        unit=unit,
        is_port=not _PORTS.isdisjoint(parts[-1:]),
        is_duration=bool(nearest & _DURATIONS) or parts[-1:] == ["in"],
        is_size=bool(nearest & _SIZES),
    )


def read(value: str, context: SlotContext = NO_CONTEXT) -> Reading:
    """Name the kind of a value, and its number if it is an amount.

    Parameters
    ----------
    value : str
        The exact text; blanks around it do not count.
    context : SlotContext
        What the template says about it.

    Examples
    --------
    >>> read("17"), read("1.5 GB").number
    (Reading(kind=<ValueKind.INTEGER: 'integer'>, number=17.0, unit=''), 1610612736.0)

    The template's constants decide what the value alone leaves open:

    >>> read("17", context_of("took ", " s")).number, read("8080", context_of("port ", "")).number
    (17000.0, None)
    >>> read("01:07").kind.value, read("01:07", context_of("lifetime ", "")).number
    ('time', 67000.0)
    >>> read("512k").kind.value, read("512k", context_of("heap size ", "")).number
    ('identifier', 524288.0)
    """
    text = value.strip()
    if not text:
        return Reading(kind=ValueKind.EMPTY)
    if len(text) > LONGEST_FORM:
        return Reading(kind=ValueKind.TEXT)
    plain = PLAIN_NUMBER.fullmatch(text)
    if plain is not None:
        return _plain(text, is_integer=plain.lastindex is None, context=context)
    amount = amount_of(text + "B" if context.is_size and _SUFFIXED.fullmatch(text) else text)
    if amount is not None:
        return Reading(kind=amount.unit.kind, number=amount.number, unit=amount.unit.name)
    if context.is_duration and (number := clock_ms(text)) is not None:
        return Reading(kind=ValueKind.DURATION, number=number, unit="ms")
    kind = form_of(text)
    if kind is ValueKind.DECIMAL:
        return _plain(text, is_integer=False, context=context)
    return Reading(kind=ValueKind.LIST if _is_list(text, kind) else kind)


_SUFFIXED = re.compile(r"[0-9]+(?:\.[0-9]+)?[kKmMgGtT]")
_PORT_MAX = 65_535


def _plain(text: str, *, is_integer: bool, context: SlotContext) -> Reading:
    number = float(text.replace(",", ""))
    if context.is_port and is_integer and 0 <= number <= _PORT_MAX:
        return Reading(kind=ValueKind.PORT)
    if context.unit is not None and isfinite(number * context.unit.scale):
        return Reading(kind=context.unit.kind, number=number * context.unit.scale, unit=context.unit.name)
    kind = ValueKind.INTEGER if is_integer else ValueKind.DECIMAL
    return Reading(kind=kind, number=number) if isfinite(number) else Reading(kind=kind)


def _is_list(text: str, kind: ValueKind) -> bool:
    if "," not in text or kind not in (ValueKind.TEXT, ValueKind.IDENTIFIER):
        return False
    items = text.strip("[](){}").split(",")
    kinds = {read(item).kind for item in items}
    return len(items) > 1 and len(kinds) == 1 and kinds.isdisjoint(_NO_ITEMS)


_NO_ITEMS = frozenset((ValueKind.EMPTY, ValueKind.WORD, ValueKind.TEXT))
"""Commas between these are those of a sentence."""


def kind_of(value: str) -> ValueKind:
    """Name the kind of a value by its form alone.

    Examples
    --------
    >>> [str(kind_of(v)) for v in ("17", "-0.5", "5.2 KB", "30 ms", "97%", "root", "two words", "", "3921, 3811")]
    ['integer', 'decimal', 'size', 'duration', 'quantity', 'word', 'text', 'empty', 'list']
    """
    return read(value).kind


def contexts_of(pieces: Sequence[str]) -> list[SlotContext]:
    """Give the context of each slot of a template (`Template.pieces`)."""
    return [context_of(before, after) for before, after in pairwise(pieces)]


def typed(pieces: Sequence[str], values: Sequence[str]) -> tuple[Parameter, ...]:
    """Type the values that a template read from a line.

    Parameters
    ----------
    pieces : sequence of str [slots + 1]
        The template's constants.
    values : sequence of str [slots]
        The exact texts at its slots.

    Returns
    -------
    tuple of Parameter [slots]
        In order; spans count from the begin of the line.

    Examples
    --------
    >>> for p in typed(("took ", " ms from ", ""), ("17", "10.0.0.1:80")):
    ...     print(p.start, p.end, p.text, p.kind, p.number, p.unit)
    5 7 17 duration 17.0 ms
    16 27 10.0.0.1:80 ip None
    """
    parameters = []
    start = 0
    for piece, value, context in zip(pieces, values, contexts_of(pieces), strict=False):
        start += len(piece)
        found = read(value, context)
        end = start + len(value)
        parameters.append(
            Parameter(text=value, kind=found.kind, start=start, end=end, number=found.number, unit=found.unit)
        )
        start = end
    return tuple(parameters)
