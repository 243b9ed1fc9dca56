"""``deeplog-grpc config``: the configuration in force, as a commented YAML file."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import typer
from pydantic.fields import FieldInfo

from deeplog_grpc.cli.config_outputs import outputs_lines
from deeplog_grpc.cli.config_text import comment, range_of, yaml_value
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
        group: Any = getattr(settings, section)
        if section == "outputs":
            yield from outputs_lines(group)
            continue
        yield f"{section}:"
        for field in dataclasses.fields(group):
            about: FieldInfo = type(group).__pydantic_fields__[field.name]
            yield from comment(f"{about.description}{range_of(about)}", "  ")
            yield f"  {field.name}: {yaml_value(getattr(group, field.name))}"
