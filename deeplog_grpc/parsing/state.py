"""The parser's state as JSON values, and the checks a state from outside has to pass.

Only what was learned is kept. Indexes and caches are built anew from it, so they cannot disagree with it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deeplog_grpc.parsing.config import ParserConfig
from deeplog_grpc.parsing.message import Message
from deeplog_grpc.parsing.spell import Spell

FORMAT = 1
_Count = Annotated[int, Field(ge=0)]


class _State(BaseModel):
    """The fields of a state; the meaning of each is with `dump`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    config: ParserConfig
    keys: _Count
    sealed: _Count
    catch_all: tuple[_Count, _Count] | None
    templates: list[tuple[_Count, list[str], _Count]]
    aliases: list[tuple[_Count, _Count]]
    forms: list[tuple[str, _Count]]


def dump(config: ParserConfig, spell: Spell, forms: Mapping[str, int]) -> dict[str, Any]:
    """Give the state as JSON values.

    Returns
    -------
    dict
        ``format``; ``config``; ``keys``: number of keys given; ``sealed``: keys below are sealed; ``catch_all``:
        its key and count, or null; ``templates``: key, tokens and count; ``aliases``: key and the key it became;
        ``forms``: a form and its key.
    """
    table = spell.table
    return {
        "format": FORMAT,
        "config": {name: getattr(config, name) for name in config.__dataclass_fields__},
        "keys": len(table),
        "sealed": table.sealed,
        "catch_all": None if spell.catch_all is None else [spell.catch_all, table.counts[spell.catch_all]],
        "templates": [[key, list(table.messages[key].tokens), table.counts[key]] for key in table.live()],
        "aliases": [[key, table.resolve(key)] for key in sorted(table.aliases)],
        "forms": [[form, key] for form, key in forms.items()],
    }


def load(state: Mapping[str, Any]) -> tuple[ParserConfig, Spell, dict[str, int]]:
    """Build a parser's parts from a state.

    Raises
    ------
    ValueError
        With what is wrong and where.
    """
    fields = _State.model_validate(dict(state))
    live = {key for key, _, _ in fields.templates} | ({fields.catch_all[0]} if fields.catch_all else set())
    _check(fields, live)
    spell = Spell(fields.config)
    table = spell.table
    table.sealed = fields.sealed
    table.counts = [0] * fields.keys
    for key, tokens, count in fields.templates:
        table.insert(key, Message.of(tuple(tokens)))
        table.counts[key] = count
    if fields.catch_all is not None:
        spell.catch_all, table.counts[fields.catch_all[0]] = fields.catch_all
    table.aliases = dict(fields.aliases)
    return fields.config, spell, dict(fields.forms)


def _check(fields: _State, live: set[int]) -> None:
    aliases = dict(fields.aliases)
    given = len(fields.templates) + len(fields.aliases) + (fields.catch_all is not None)
    if given != fields.keys or live | set(aliases) != set(range(fields.keys)):
        raise ValueError(f"templates and aliases must give each key from 0 to {fields.keys - 1} once")
    if len({tuple(tokens) for _, tokens, _ in fields.templates}) != len(fields.templates):
        raise ValueError("templates: two have the same tokens")
    if fields.sealed > fields.keys:
        raise ValueError(f"sealed: {fields.sealed} is more than the {fields.keys} keys")
    for where, target in (*aliases.items(), *fields.forms):
        if target not in live:
            raise ValueError(f"{where!r} points to key {target}, which has no template")
