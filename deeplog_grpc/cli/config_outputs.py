"""The section ``outputs`` of the printed configuration: what is set, and in comments all that can be."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from deeplog_grpc.cli.config_text import comment, range_of, yaml_value
from deeplog_grpc.outputs.config import OUTPUT_TYPES, AlertOutput, Output, RecordOutput

_EXAMPLE = """
  # Examples, and below them all keys of each type:
  #
  # collector:
  #   type: otlp
  #   endpoint: http://otel-collector:4317
  # pager:
  #   type: alertmanager
  #   url: http://alertmanager:9093
  #   labels: {severity: warning}
  # chat:
  #   type: slack
  #   url_file: /run/secrets/slack-webhook
  #   applications: ["shop-*"]
"""


def outputs_lines(outputs: Mapping[str, Output]) -> Iterator[str]:
    """The section, with its head. Secrets are left out."""
    yield "outputs:" if outputs else "outputs: {}"
    for name, output in outputs.items():
        yield f"  {name}:"
        yield f"    type: {_type_of(output)}"
        yield from _set_lines(output)
    yield from _EXAMPLE.strip("\n").splitlines()
    yield from _keys("Every output", Output)
    yield from _keys("Outputs of log records (otlp, forward, file)", RecordOutput, Output)
    yield from _keys("Outputs of alerts (alertmanager, slack, webhook)", AlertOutput, Output)
    for name, kind in OUTPUT_TYPES.items():
        yield from _keys(f"type: {name}", kind, *kind.__mro__[1:])


def _type_of(output: Output) -> str:
    return next(name for name, kind in OUTPUT_TYPES.items() if isinstance(output, kind))


def _set_lines(output: Output) -> Iterator[str]:
    """The keys of an output that are not at their defaults."""
    for field in dataclasses.fields(output):
        value = getattr(output, field.name)
        if field.name == "type" or value == _about(type(output), field.name).get_default(call_default_factory=True):
            continue
        if _holds_secret(value):
            yield f"    # {field.name} is set, and not shown"
        else:
            yield f"    {field.name}: {yaml_value(value)}"


def _holds_secret(value: Any) -> bool:
    return isinstance(value, SecretStr) or (
        isinstance(value, dict) and any(isinstance(one, SecretStr) for one in value.values())
    )


def _keys(title: str, kind: type[Output], *known: type) -> Iterator[str]:
    """The keys of a type that the types before it do not have, as comments."""
    yield "  #"
    doc = " ".join((kind.__doc__ or "").split())
    yield from comment(f"{title}. {doc}", "  ")
    inherited = {field.name for one in known if dataclasses.is_dataclass(one) for field in dataclasses.fields(one)}
    for field in dataclasses.fields(kind):
        if field.name in inherited | {"type"}:
            continue
        about = _about(kind, field.name)
        default = about.get_default(call_default_factory=True)
        shown = "(must be given)" if default is PydanticUndefined else yaml_value(default)
        lines = comment(f"{about.description}{range_of(about)}", "  ")
        yield f"  #   {field.name}: {shown}"
        yield from (line.replace("# ", "#     # ", 1) for line in lines)


def _about(kind: type[Output], name: str) -> FieldInfo:
    fields: dict[str, FieldInfo] = kind.__pydantic_fields__  # type: ignore[attr-defined]  # set by pydantic's decorator
    return fields[name]
