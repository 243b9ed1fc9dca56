"""``deeplog-grpc config``: the configuration in force, as a commented YAML file."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from deeplog_grpc.cli.config_outputs import outputs_lines
from deeplog_grpc.cli.config_text import WIDTH, comment, range_of, yaml_value
from deeplog_grpc.cli.console import ConfigOption, SetOption, settings_of
from deeplog_grpc.settings import ENV_PREFIX, Settings


def config(config: ConfigOption = None, assignments: SetOption = None) -> None:
    """Print every key of the configuration with its value, meaning and range.

    **Example:** `deeplog-grpc config > deeplog.yaml`, edit it, then `deeplog-grpc serve --config deeplog.yaml ...`
    """
    typer.echo(commented_yaml(settings_of(config, assignments)), nl=False)


def commented_yaml(settings: Settings) -> str:
    """A YAML file that says what the settings say, with a comment for each key."""
    return "".join(f"{line}\n" for line in _lines(settings))


def _lines(settings: Settings) -> Iterator[str]:
    yield from comment(
        f"Configuration of deeplog-grpc. Each key has a variable, such as {ENV_PREFIX}SERVER__LISTEN for "
        "server.listen, and a flag, --set server.listen=VALUE. Flags win over variables, and those over this file.",
        "",
    )
    for section, info in Settings.model_fields.items():
        yield ""
        yield from comment(info.description or "", "")
        if section == "outputs":
            yield from outputs_lines(settings.outputs)
        else:
            yield f"{section}:"
            yield from _group(getattr(settings, section), "  ")


def _group(group: Any, indent: str) -> Iterator[str]:
    """The keys of a dataclass; one that is a dataclass itself is a group in the group."""
    for field in dataclasses.fields(group):
        about = _about(type(group), field.name)
        value = getattr(group, field.name)
        yield from comment(f"{about.description}{range_of(about)}", indent)
        if _is_secret(value):
            yield f"{indent}# {field.name} is set, and not shown"
        elif dataclasses.is_dataclass(value):
            yield f"{indent}{field.name}:"
            yield from _group(value, f"{indent}  ")
        elif isinstance(value, tuple) and len(yaml_value(value)) > WIDTH:
            yield f"{indent}{field.name}:"
            yield from (f"{indent}  - {yaml_value(item)}" for item in value)
        else:
            yield f"{indent}{field.name}: {yaml_value(value)}"


def _about(kind: Any, name: str) -> FieldInfo:
    """What is said of a key, by the class that says it: those that inherit a key have no description of it."""
    fields = [
        base.__pydantic_fields__[name] for base in kind.__mro__ if name in getattr(base, "__pydantic_fields__", {})
    ]
    found: FieldInfo = next((about for about in fields if about.description), fields[0])
    return found


def _is_secret(value: Any) -> bool:
    return isinstance(value, SecretStr) or (isinstance(value, dict) and any(map(_is_secret, value.values())))
