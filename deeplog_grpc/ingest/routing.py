"""Which application, session and source a foreign record belongs to: read from its attributes, by configuration.

A rule is a text with names in braces, ``{kubernetes.namespace_name}/{kubernetes.labels.app}``; a single name needs no
braces. It holds if every name has a value; the first rule that holds counts.

A name is looked for in the record's attributes, then in its resource, then among the headers (``x-deeplog-*``),
``tag`` and ``scope``. ``attributes.NAME`` and ``resource.NAME`` look there only. Dots lead into mappings, and keys that
hold dots themselves (``k8s.pod.name``, ``app.kubernetes.io/name``) are found as they are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as config_dataclass

from deeplog_grpc.detection.identifiers import Pattern, compile_patterns
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.ingest.records import Origin

REGEX = "regex:"
"""Begins a session rule that is searched for in the body."""

_NAME = re.compile(r"\{([^{}]+)\}")
_PLANS_CACHED = 4_096

APPLICATION_RULES = (
    "deeplog.application",
    "x-deeplog-application",
    # Fluent Bit's and Fluentd's kubernetes filter
    "{kubernetes.namespace_name}/{kubernetes.labels.app.kubernetes.io/name}",
    "{kubernetes.namespace_name}/{kubernetes.labels.app}",
    "{kubernetes.namespace_name}/{kubernetes.labels.k8s-app}",
    "{kubernetes.namespace_name}/{kubernetes.container_name}",
    # Vector's kubernetes_logs
    "{kubernetes.pod_namespace}/{kubernetes.pod_labels.app.kubernetes.io/name}",
    "{kubernetes.pod_namespace}/{kubernetes.pod_labels.app}",
    "{kubernetes.pod_namespace}/{kubernetes.container_name}",
    # OpenTelemetry's semantic conventions
    "{service.namespace}/{service.name}",
    "service.name",
    "{k8s.namespace.name}/{k8s.deployment.name}",
    "{k8s.namespace.name}/{k8s.statefulset.name}",
    "{k8s.namespace.name}/{k8s.daemonset.name}",
    "{k8s.namespace.name}/{k8s.cronjob.name}",
    "{k8s.namespace.name}/{k8s.container.name}",
    # Docker, journald, syslog
    "container_name",
    "container.name",
    "_SYSTEMD_UNIT",
    "appname",
    "ident",
)
SOURCE_RULES = (
    "deeplog.source",
    "{kubernetes.pod_name}/{kubernetes.container_name}",
    "kubernetes.pod_name",
    "{k8s.pod.name}/{k8s.container.name}",
    "k8s.pod.name",
    "service.instance.id",
    "container_id",
    "container.id",
    "{host}:{file}",
    "file",
    "log.file.path",
    "x-deeplog-source",
    "host.name",
    "host",
    "hostname",
    "tag",
)


@config_dataclass(
    frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True)
)
class RoutingConfig:
    """Where entries belong that do not say so themselves: records of foreign protocols, and attributes of our own.

    Raises
    ------
    ConfigError
        If a rule has no name, or an expression is not one.

    Examples
    --------
    >>> RoutingConfig(application=["{namespace}/"]).application
    ('{namespace}/',)
    >>> RoutingConfig(application=["{}"])
    Traceback (most recent call last):
        ...
    deeplog_grpc.errors.ConfigError: routing.application[0]: '{}' names no attribute: write {NAME}, or NAME alone
    """

    application: tuple[str, ...] = APPLICATION_RULES
    """Rules for the application; the first whose names all have values counts. Entries that none fits go to the only
    application, or to the one called `default`."""

    session: tuple[str, ...] = ("deeplog.session", "trace_id", "request_id")
    """Rules for the session. `regex:EXPRESSION` (RE2) is searched for in the body; its first group is the session.
    Entries that none fits: what the model's session patterns find in the body, else the source."""

    source: tuple[str, ...] = SOURCE_RULES
    """Rules for the source: host, pod, container or file. Entries without any session are one session a source."""

    time: Literal["record", "body"] = "record"
    """Which time counts where the text begins with a time stamp too: that of the record, or `body`: that of the text,
    for shippers that give their time of reading; a line without a time stamp has that of the line before it then. A
    sender may say it itself, by a header `x-deeplog-time`. The time stamp is taken off the text either way."""

    max_id_chars: Annotated[int, Field(ge=16, le=4_096)] = 256
    """Characters of an application, a session or a source that count; longer ones are cut."""

    @model_validator(mode="after")
    def _check(self) -> "RoutingConfig":
        searched = [rule.removeprefix(REGEX) if rule.startswith(REGEX) else "" for rule in self.session]
        compile_patterns(searched, field="routing.session")
        for field, rules in (("application", self.application), ("session", self.session), ("source", self.source)):
            for place, rule in enumerate(rules):
                if not _names(rule) and not (field == "session" and rule.startswith(REGEX)):
                    where = f"routing.{field}[{place}]"
                    raise ConfigError(f"'{rule}' names no attribute: write {{NAME}}, or NAME alone", field=where)
        return self


class Route(NamedTuple):
    """Where a record belongs; "" = no rule says so."""

    application: str
    session: str
    source: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """A compiled rule: ``%s`` stands for the names' values."""

    names: tuple[str, ...]
    format: str
    roots: tuple[frozenset[str], ...]
    """Of each name, the keys under which it can begin."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rules that can hold for records of the same keys."""

    application: tuple[_Rule, ...]
    session: tuple[_Rule, ...]
    source: tuple[_Rule, ...]


class Router:
    """Applies the rules of a configuration.

    Examples
    --------
    >>> router = Router(RoutingConfig())
    >>> pod = {"namespace_name": "shop", "pod_name": "cart-1", "container_name": "cart", "labels": {"app": "cart"}}
    >>> router.route({"kubernetes": pod, "trace_id": "4bf9"}, Origin())
    Route(application='shop/cart', session='4bf9', source='cart-1/cart')
    >>> router.route({}, Origin(resource={"service.name": "cart"}, headers={"x-deeplog-source": "node-1"}))
    Route(application='cart', session='', source='node-1')
    """

    def __init__(self, config: RoutingConfig) -> None:
        self._max_chars = config.max_id_chars
        self._application = tuple(map(_rule, config.application))
        self._session = tuple(_rule(rule) for rule in config.session if not rule.startswith(REGEX))
        self._source = tuple(map(_rule, config.source))
        expressions = [rule.removeprefix(REGEX) for rule in config.session if rule.startswith(REGEX)]
        self._patterns: tuple[Pattern, ...] = compile_patterns(expressions, field="routing.session")
        rules = (*self._application, *self._session, *self._source)
        self._names = frozenset(name for rule in rules for name in rule.names)
        self._plans: dict[tuple[tuple[str, ...], tuple[str, ...], bool], _Plan] = {}

    @property
    def names(self) -> frozenset[str]:
        """All that the rules look for."""
        return self._names

    def route(self, attributes: Mapping[str, Any], origin: Origin) -> Route:
        """Where a record with these attributes belongs."""
        plan = self._plan(attributes, origin)
        return Route(
            self._first(plan.application, attributes, origin).removeprefix("/"),  # so Docker writes its names
            self._first(plan.session, attributes, origin),
            self._first(plan.source, attributes, origin),
        )

    def session_in(self, body: str) -> str:
        """What the expressions of the configuration find in a body; "" = nothing."""
        for pattern in self._patterns:
            if (match := pattern.search(body)) is not None and (found := match.group(pattern.group)):
                return str(found)[: self._max_chars]
        return ""

    @property
    def searches_bodies(self) -> bool:
        """Whether :meth:`session_in` can find anything."""
        return bool(self._patterns)

    def _plan(self, attributes: Mapping[str, Any], origin: Origin) -> _Plan:
        """Most rules cannot hold for a record, and that is seen from its keys; alike records have the same."""
        keys = (tuple(attributes), (*origin.resource, *origin.headers), bool(origin.tag))
        plan = self._plans.get(keys)
        if plan is None:
            present = {*keys[0], *keys[1], "tag", "scope"}
            if len(self._plans) >= _PLANS_CACHED:
                self._plans.clear()
            plan = self._plans[keys] = _Plan(
                *(
                    tuple(rule for rule in rules if all(not roots.isdisjoint(present) for roots in rule.roots))
                    for rules in (self._application, self._session, self._source)
                )
            )
        return plan

    def _first(self, rules: Sequence[_Rule], attributes: Mapping[str, Any], origin: Origin) -> str:
        for rule in rules:
            values = []
            for name in rule.names:
                value = _find(name, attributes, origin)
                if not (text := value.strip() if isinstance(value, str) else _text(value)):
                    break
                values.append(text)
            else:
                return (rule.format % tuple(values))[: self._max_chars]
        return ""


def look_up(mapping: Mapping[str, Any], name: str) -> Any:
    """What stands under a name, whose dots are part of keys or lead into mappings; None = nothing.

    Examples
    --------
    >>> look_up({"labels": {"app.kubernetes.io/name": "cart"}}, "labels.app.kubernetes.io/name")
    'cart'
    >>> look_up({"k8s.pod.name": "cart-1"}, "k8s.pod.name")
    'cart-1'
    """
    if name in mapping:
        return mapping[name]
    for head, rest in _splits(name):
        if isinstance(inner := mapping.get(head), dict) and (found := look_up(inner, rest)) is not None:
            return found
    return None


@lru_cache(_PLANS_CACHED)
def _splits(name: str) -> tuple[tuple[str, str], ...]:
    """The ways to divide a name at a dot."""
    return tuple((name[:place], name[place + 1 :]) for place, letter in enumerate(name) if letter == ".")


def _find(name: str, attributes: Mapping[str, Any], origin: Origin) -> Any:
    if (found := look_up(attributes, name)) is not None:
        return found
    for place in (origin.resource, origin.headers):
        if place and (found := look_up(place, name)) is not None:
            return found
    scope, _, rest = name.partition(".")
    if scope == "attributes":
        return look_up(attributes, rest)
    if scope == "resource":
        return look_up(origin.resource, rest)
    return origin.tag if name == "tag" else origin.scope if name == "scope" else None


def _text(value: Any) -> str:
    """A value that is no text as an identifier; "" for what cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return str(value)


def _names(rule: str) -> tuple[str, ...]:
    """The names in a rule; none if it is not one."""
    if "{" in rule or "}" in rule:
        found = tuple(name.strip() for name in _NAME.findall(rule))
        return found if all(found) and not set("{}") & set(_NAME.sub("", rule)) else ()
    return (rule.strip(),) if rule.strip() else ()


def _rule(text: str) -> _Rule:
    names = _names(text)
    layout = _NAME.sub("\0", text).replace("%", "%%").replace("\0", "%s") if "{" in text else "%s"
    return _Rule(names, layout, tuple(map(_roots, names)))


def _roots(name: str) -> frozenset[str]:
    """Keys of a mapping under which a name, or the first part of it, can stand."""
    bare = name.removeprefix("attributes.").removeprefix("resource.")
    return frozenset(
        part for whole in (name, bare) for part in (whole, *(whole[:i] for i, c in enumerate(whole) if c == "."))
    )
