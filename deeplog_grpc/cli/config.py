"""``deeplog-grpc config``: the configuration in force, as a commented YAML file."""

import dataclasses
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types
import typer
import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from deeplog_grpc.cli.console import ConfigOption, SetOption, settings_of
from deeplog_grpc.settings import ENV_PREFIX, Settings

_WIDTH = 110
_BOUNDS = {annotated_types.Ge: ">=", annotated_types.Gt: ">", annotated_types.Le: "<=", annotated_types.Lt: "<"}


def config(config: ConfigOption = None, assignments: SetOption = None) -> None:
    """Print every key of the configuration with its value, meaning and range.

    **Example:** `deeplog-grpc config > deeplog.yaml`, edit it, then `deeplog-grpc serve --config deeplog.yaml ...`
    """
    typer.echo(commented_yaml(settings_of(config, assignments)), nl=False)


def commented_yaml(settings: Settings) -> str:
    """A YAML file that says what the settings say, with a comment for each key."""
    return "".join(f"{line}\n" for line in _lines(settings))


def _lines(settings: Settings) -> Iterator[str]:
    yield from _comment(
        f"Configuration of deeplog-grpc. Each key has a variable, such as {ENV_PREFIX}SERVER__LISTEN for "
        "server.listen, and a flag, --set server.listen=VALUE. Flags win over variables, and those over this file.",
        "",
    )
    for section, info in Settings.model_fields.items():
        yield ""
        yield from _comment(info.description or "", "")
        yield f"{section}:"
        yield from _group(getattr(settings, section), "  ")


def _group(group: Any, indent: str) -> Iterator[str]:
    """The keys of a dataclass; one that is a dataclass itself is a group in the group."""
    for field in dataclasses.fields(group):
        about: FieldInfo = type(group).__pydantic_fields__[field.name]
        value = getattr(group, field.name)
        yield from _comment(f"{about.description}{_range(about)}", indent)
        if _is_secret(value):
            yield f"{indent}# {field.name} is set, and not shown"
        elif dataclasses.is_dataclass(value):
            yield f"{indent}{field.name}:"
            yield from _group(value, f"{indent}  ")
        elif isinstance(value, tuple) and len(_value(value)) > _WIDTH:
            yield f"{indent}{field.name}:"
            yield from (f"{indent}  - {_value(item)}" for item in value)
        else:
            yield f"{indent}{field.name}: {_value(value)}"


def _is_secret(value: Any) -> bool:
    return isinstance(value, SecretStr) or (isinstance(value, dict) and any(map(_is_secret, value.values())))


def _comment(text: str, indent: str) -> list[str]:
    mark = f"{indent}# "
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent=mark, subsequent_indent=mark)


def _range(about: FieldInfo) -> str:
    """The bounds of a number, as ``[>= 1, <= 10]``."""
    bounds = [
        f"{sign} {getattr(limit, kind.__name__.lower()):,}"
        for limit in about.metadata
        for kind, sign in _BOUNDS.items()
        if isinstance(limit, kind)
    ]
    return f" [{', '.join(bounds)}]" if bounds else ""


def _value(value: Any) -> str:
    """A value as YAML on one line."""
    plain = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    return str(yaml.safe_dump(plain, default_flow_style=True, width=10_000)).removesuffix("...\n").strip()
