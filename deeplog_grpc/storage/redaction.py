"""Secrets out of texts: what the configuration names is replaced, whatever else stands there stays.

Every expression is of RE2, whose time is linear in the text; what it finds may be looked at once more by a function,
whose time is linear too. A text that was redacted is not changed by redacting it again.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import re2

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.storage.redaction_config import RedactionConfig

Span = tuple[int, int]
_DOUBLED = str.maketrans("0123456789", "0246813579")
"""A digit -> the sum of the digits of its double."""
_ROUNDS = 5
"""A replacement may end a word, so that what stands beside it is found too: a text that changed is looked at again."""
_DIGIT_GROUP = re.compile(r"\d+")
_CARD_DIGITS = range(13, 20)
_SURROGATES = re.compile("[\ud800-\udfff]")

_EMAIL = r"([\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IPV4 = rf"\b({_OCTET}(?:\.{_OCTET}){{3}})\b"
_IPV6 = r"(?:^|[^\w:.])((?:[0-9A-Fa-f]{0,4}:){2,8}(?:\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f]{1,4}))\b"
_CARD = r"\b(\d{3,19}(?:[ -]\d{3,19})*)\b"
_BEARER = r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})"
_JWT = r"\b(eyJ[\w-]{5,}\.[\w-]+\.[\w-]*)"
_KEY = (
    r"\b((?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}"
    r"|sk[-_][\w-]{16,}|AIza[\w-]{30,})"
)
_NAME = (
    r"(?i)(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)"
    r"""["']?\s*[=:]\s*"""
)
_NAMED = (rf"""{_NAME}"([^"]+)\"""", rf"{_NAME}'([^']+)'", rf"""{_NAME}["']?([^\s,;&"']+)""")
_USERINFO = r"://([^\s/@]+)@"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An expression, and what stands in the place of what it finds."""

    search: Callable[..., Any]
    find_all: Callable[[str], Iterator[Any]]
    group: int
    """The group that is replaced; 0 = all that matches."""
    replacement: str
    needles: tuple[str, ...] = ("",)
    """A text without any of these cannot match: a cheap test in front of the expression."""
    spans: "Callable[[str], Iterator[Span]] | None" = None
    """Looks at what was found; gives the spans in it that are meant. None = all of it."""


class Redactor:
    r"""Replaces what a configuration names.

    Parameters
    ----------
    config : RedactionConfig

    Examples
    --------
    >>> redactor = Redactor(RedactionConfig(built_in=("email", "credentials"), patterns={"[order]": r"ORD-\d+"}))
    >>> redactor.text("ORD-17 of bo@example.org, password=hunter2")
    '[order] of [email], password=[redacted]'
    """

    def __init__(self, config: RedactionConfig) -> None:
        self._rules = (*own_rules(config.patterns), *(rule for name in config.built_in for rule in _BUILT_IN[name]))

    def text(self, text: str) -> str:
        """A text without what is to be redacted."""
        return self.with_hidden(text)[0]

    def texts(self, texts: Sequence[str]) -> Sequence[str]:
        """A column of texts; see :meth:`text`."""
        return [self.text(text) for text in texts]

    def with_hidden(self, text: str) -> tuple[str, dict[str, str]]:
        """A redacted text, and what was taken out: secret -> what stands in its place."""
        hidden: dict[str, str] = {}
        for _ in range(_ROUNDS):
            before = text
            for rule in self._rules:
                if any(needle in text for needle in rule.needles):
                    text = _without(text, rule, hidden)
            if text == before:
                break
        return text, hidden


def own_rules(patterns: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules of users' expressions.

    Raises
    ------
    ConfigError
        Naming the bad one.
    """
    rules = []
    for replacement, expression in patterns.items():
        try:
            rules.append(_rule(expression, replacement))
        except (re2.error, UnicodeEncodeError) as error:
            raise ConfigError(
                f"not a regular expression (RE2 syntax): {expression!r}", field=f"redaction.patterns.{replacement}"
            ) from error
    return tuple(rules)


def _rule(
    expression: str,
    replacement: str,
    needles: tuple[str, ...] = ("",),
    spans: "Callable[[str], Iterator[Span]] | None" = None,
) -> Rule:
    options = re2.Options()
    options.log_errors = False
    compiled = re2.compile(expression, options=options)
    return Rule(
        search=compiled.search,
        find_all=compiled.finditer,
        group=min(compiled.groups, 1),
        replacement=replacement,
        needles=needles,
        spans=spans,
    )


def _without(text: str, rule: Rule, hidden: dict[str, str]) -> str:
    """The text with what a rule finds replaced; what that was is noted."""
    try:
        found = list(rule.find_all(text))
    except UnicodeEncodeError:  # half a pair of surrogates, which is no text
        text = _SURROGATES.sub("\ufffd", text)
        found = list(rule.find_all(text))
    pieces, end = [], 0
    for match in found:
        start, stop = match.span(rule.group)
        for first, last in [(0, stop - start)] if rule.spans is None else rule.spans(text[start:stop]):
            secret = text[start + first : start + last]
            if secret and secret != rule.replacement:
                pieces += [text[end : start + first], rule.replacement]
                end = start + last
                hidden[secret] = rule.replacement
    return "".join([*pieces, text[end:]]) if pieces else text


def _cards(digits: str) -> Iterator[Span]:
    """The card numbers in groups of digits: whole groups, 13 to 19 digits, with the right check digit."""
    if len(digits) < _CARD_DIGITS[0]:
        return
    groups = [match.span() for match in _DIGIT_GROUP.finditer(digits)]
    first = 0
    while first < len(groups):
        number, found = "", 0
        for last in range(first, len(groups)):
            number += digits[slice(*groups[last])]
            if len(number) > _CARD_DIGITS[-1]:
                break
            if len(number) in _CARD_DIGITS and _has_check_digit(number):
                found = last + 1
        if found:
            yield groups[first][0], groups[found - 1][1]
        first = found or first + 1


def _has_check_digit(number: str) -> bool:
    """Luhn's formula; a row of zeros, which fits it too, is no card."""
    total = sum(map(int, number[::-2])) + sum(map(int, number[-2::-2].translate(_DOUBLED)))
    return total > 0 and total % 10 == 0


def _addresses(text: str) -> Iterator[Span]:
    """The text, if it is an address of version 6: times and hardware addresses look like one."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return
    yield 0, len(text)


_BUILT_IN: Mapping[str, tuple[Rule, ...]] = {
    "email": (_rule(_EMAIL, "[email]", ("@",)),),
    "ip": (_rule(_IPV6, "[ip]", (":",), _addresses), _rule(_IPV4, "[ip]", (".",))),
    "credit_card": (_rule(_CARD, "[card]", spans=_cards),),
    "credentials": (
        _rule(_USERINFO, "[redacted]", ("://",)),
        _rule(_JWT, "[redacted]", ("eyJ",)),
        _rule(_KEY, "[redacted]", ("AKIA", "ASIA", "gh", "glpat", "xox", "sk", "AIza")),
        _rule(_BEARER, "[redacted]"),
        *(_rule(expression, "[redacted]", ("=", ":")) for expression in _NAMED),
    ),
}
