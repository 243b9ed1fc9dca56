"""The parser's state as JSON values, and the checks a state from outside has to pass.

Only what was learned is kept. Indexes and caches are built anew from it, so they cannot disagree with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deeplog_grpc.parsing.config import ParserConfig
from deeplog_grpc.parsing.forms import Forms
from deeplog_grpc.parsing.limiter import Limiter
from deeplog_grpc.parsing.message import Message
from deeplog_grpc.parsing.spell import Spell

FORMAT = 2
_Count = Annotated[int, Field(ge=0)]


class _State(BaseModel):
    """The fields of a state; the meaning of each is with `dump`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[2]
    config: ParserConfig
    keys: _Count
    lines: _Count
    sealed: _Count
    catch_all: tuple[_Count, _Count] | None
    templates: list[tuple[_Count, list[str], _Count]]
    aliases: list[tuple[_Count, _Count]]
    forgotten: list[tuple[_Count, list[str], _Count]]
    firm: list[_Count]
    forms: list[tuple[str, _Count, _Count]]
    limiter: tuple[bool, _Count, list[str]]
    reviewed: list[tuple[_Count, _Count]]


@dataclass(slots=True)
class Learned:
    """All that a parser has learned."""

    config: ParserConfig
    spell: Spell
    forms: Forms
    limiter: Limiter
    lines: int
    """Lines read."""
    reviewed: dict[int, int]
    """The lines of a template when it was last looked at for a split."""


def dump(learned: Learned) -> dict[str, Any]:
    """Give the state as JSON values.

    Returns
    -------
    dict
        ``format``; ``config``; ``keys``: number of keys given; ``lines``: number of lines read; ``sealed``: keys below
        are sealed; ``catch_all``: its key and count, or null; ``templates`` and ``forgotten``: key, tokens and count;
        ``aliases``: key and the key it became; ``firm``: keys that came from a split; ``forms``: a form, its key and
        its lines; ``limiter``: whether it is on, the news of this window, the forms that wait; ``reviewed``: key and
        its count when it was last looked at for a split.
    """
    config, table, catch_all = learned.config, learned.spell.table, learned.spell.catch_all
    fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
    return {
        "format": FORMAT,
        "config": {**fields, "seed_templates": list(config.seed_templates), "masks": dict(config.masks)},
        "keys": len(table),
        "lines": learned.lines,
        "sealed": table.sealed,
        "catch_all": None if catch_all is None else [catch_all, table.counts[catch_all]],
        "templates": [[key, list(table.messages[key].tokens), table.counts[key]] for key in table.live()],
        "aliases": [[key, table.resolve(key)] for key in sorted(table.aliases)],
        "forgotten": [[key, list(tokens), table.counts[key]] for key, tokens in sorted(table.forgotten.items())],
        "firm": sorted(table.firm),
        "forms": [list(form) for form in learned.forms],
        "limiter": [learned.limiter.is_on, learned.limiter.news, list(learned.limiter.waiting)],
        "reviewed": [list(entry) for entry in sorted(learned.reviewed.items())],
    }


def load(state: Mapping[str, Any]) -> Learned:
    """Build a parser's parts from a state.

    Raises
    ------
    ValueError
        With what is wrong and where.
    """
    fields = _State.model_validate(dict(state))
    _check(fields)
    spell = Spell(fields.config)
    table = spell.table
    table.sealed = fields.sealed
    table.firm = set(fields.firm)
    table.counts = [0] * fields.keys
    for key, tokens, count in fields.templates:
        table.insert(key, Message.of(tuple(tokens)))
        table.counts[key] = count
    for key, tokens, count in fields.forgotten:
        table.forgotten[key], table.counts[key] = tuple(tokens), count
    if fields.catch_all is not None:
        spell.catch_all, table.counts[fields.catch_all[0]] = fields.catch_all
    table.aliases = dict(fields.aliases)
    is_on, news, waiting = fields.limiter
    limiter = Limiter(is_on=is_on, news=news, waiting=waiting)
    return Learned(fields.config, spell, Forms(fields.forms), limiter, fields.lines, dict(fields.reviewed))


def _check(fields: _State) -> None:
    catch_all = [fields.catch_all[0]] if fields.catch_all else []
    live = {key for key, _, _ in fields.templates} | set(catch_all)
    gone = {key for key, _, _ in fields.forgotten}
    aliases = [key for key, _ in fields.aliases]
    given = [*(key for key, _, _ in fields.templates), *catch_all, *gone, *aliases]
    if sorted(given) != list(range(fields.keys)):
        raise ValueError(f"templates, aliases and forgotten must give each key from 0 to {fields.keys - 1} once")
    if len({tuple(tokens) for _, tokens, _ in fields.templates}) != len(fields.templates):
        raise ValueError("templates: two have the same tokens")
    if fields.sealed > fields.keys:
        raise ValueError(f"sealed: {fields.sealed} is more than the {fields.keys} keys")
    targets = [
        *fields.aliases,
        *((form, key) for form, key, _ in fields.forms),
        *(("firm", key) for key in fields.firm),
    ]
    for where, target in targets:
        if target not in live and not (target in gone and where in aliases):
            raise ValueError(f"{where!r} points to key {target}, which has no template")
