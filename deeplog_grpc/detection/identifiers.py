"""Which session does an entry belong to? An identifier in the entry says (spec: field, pattern, built-in, stream)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import re2

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.parsing.skeletons import valid_text

IDENTIFIER_CHARS = 256
"""A longer identifier is cut: it is kept for every open session, so its length must be bounded."""

STREAM_MARK = "@"
"""A session that is the whole stream of a source is named by this mark and the source."""


class _Match(Protocol):
    def group(self, group: int, /) -> str | Any: ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way to find an identifier in a body."""

    name: str
    needle: str
    """A body without this text cannot match: a cheap test in front of the expression; "" = always search."""
    search: Callable[[str], _Match | None]
    group: int
    """The group that is the identifier; 0 = the whole match."""


def _built_in(name: str, needle: str, expression: str) -> Pattern:
    compiled = re.compile(expression)
    return Pattern(name, needle, compiled.search, min(compiled.groups, 1))


_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

REQUESTS: tuple[Pattern, ...] = (
    _built_in("request id", "req-", rf"req-{_UUID}"),
    *(
        _built_in(
            "trace id", needle, r"(?i:trace[_-]?id)[\"']?\s{0,4}[=:]\s{0,4}[\"']?([0-9a-fA-F]{16,32})(?![0-9a-fA-F])"
        )
        for needle in ("race", "RACE")
    ),
)
"""Identifiers of what is done, not of what it is done to."""

BUILT_IN: tuple[Pattern, ...] = (
    _built_in("block id", "blk_", r"blk_-?\d+"),
    # A bare UUID names the thing worked on (a virtual machine, an order); "req-" names one request about it.
    _built_in("UUID", "-", rf"(?<![\w-]){_UUID}(?![\w-])"),
    *REQUESTS,
)
"""Tried in this order. All are linear: no repeat inside a repeat."""


def compile_patterns(expressions: Sequence[str], *, field: str) -> tuple[Pattern, ...]:
    r"""Compile users' expressions with an engine whose time is linear in the text.

    The first group is the identifier; without a group it is the whole match. An empty one is no identifier.

    Raises
    ------
    ConfigError
        Naming the bad expression, by its place in ``field``.

    Examples
    --------
    >>> compile_patterns([r"order=(\w+)"], field="sessions.patterns")[0].search("order=17 paid").group(1)
    '17'
    >>> compile_patterns(["order=("], field="sessions.patterns")
    Traceback (most recent call last):
    deeplog_grpc.errors.ConfigError: sessions.patterns[0]: not a regular expression (RE2 syntax): 'order=(': ...
    """
    options = re2.Options()
    options.log_errors = False
    patterns = []
    for position, expression in enumerate(expressions):
        try:
            compiled = re2.compile(expression, options=options)
        except (re2.error, UnicodeEncodeError) as error:
            text = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
            raise ConfigError(
                f"not a regular expression (RE2 syntax): {expression!r}: {text}", field=f"{field}[{position}]"
            ) from error
        patterns.append(Pattern(expression, "", _of_any_text(compiled.search), min(compiled.groups, 1)))
    return tuple(patterns)


def _of_any_text(search: Callable[[str], Any]) -> Callable[[str], Any]:
    """The search, also in a text with half a pair of surrogates, which the engine does not take."""

    def found(text: str) -> Any:
        try:
            return search(text)
        except UnicodeEncodeError:
            return search(valid_text(text))

    return found


def session_patterns(expressions: Sequence[str], *, built_in: bool) -> tuple[Pattern, ...]:
    """The patterns that find a session's identifier in the order of their trial: the configured ones come first."""
    return compile_patterns(expressions, field="sessions.patterns") + (BUILT_IN if built_in else ())


def identify(
    bodies: Sequence[str], sessions: Sequence[str], sources: Sequence[str], patterns: Sequence[Pattern]
) -> list[str]:
    """The session of each entry: the given one, else the first pattern found in the body, else the source's stream.

    Examples
    --------
    >>> identify(["got blk_-12 from a", "hello", "x"], ["", "", "s1"], ["", "host", ""], BUILT_IN)
    ['blk_-12', '@host', 's1']
    """
    identifiers = list(sessions)
    rows: Sequence[int] = [row for row, session in enumerate(sessions) if not session]
    for pattern in patterns:
        if not rows:
            break
        texts = bodies if len(rows) == len(bodies) else [bodies[row] for row in rows]
        found = _search_all(pattern, texts)
        if len(found) == len(bodies):
            identifiers = found
        else:
            for row, identifier in zip(rows, found, strict=True):
                identifiers[row] = identifier
        rows = [] if all(found) else [row for row, identifier in zip(rows, found, strict=True) if not identifier]
    for row in rows:
        identifiers[row] = STREAM_MARK + sources[row]
    return list(map(cut, identifiers)) if max(map(len, identifiers), default=0) > IDENTIFIER_CHARS else identifiers


def _search_all(pattern: Pattern, bodies: Sequence[str]) -> list[str]:
    """What a pattern finds in each body; "" = nothing."""
    needle, search, group = pattern.needle, pattern.search, pattern.group
    matches = [search(body) if needle in body else None for body in bodies]
    return [(match.group(group) or "") if match is not None else "" for match in matches]


def cut(identifier: str) -> str:
    """An identifier as sessions keep it."""
    return identifier[:IDENTIFIER_CHARS]


def last_entries(bodies: Sequence[str], end_patterns: Sequence[Pattern]) -> frozenset[int]:
    """Which entries are the last of their sessions: those that an end pattern finds something in.

    Examples
    --------
    >>> last_entries(["begin", "done"], compile_patterns(["^done"], field="sessions.end_patterns"))
    frozenset({1})
    """
    return frozenset(
        index
        for index, body in enumerate(bodies if end_patterns else ())
        if any(pattern.search(body) for pattern in end_patterns)
    )
