"""Pieces of a commented YAML file."""

import textwrap
from pathlib import Path
from typing import Any

import annotated_types
import yaml
from pydantic.fields import FieldInfo

WIDTH = 110
_BOUNDS = {annotated_types.Ge: ">=", annotated_types.Gt: ">", annotated_types.Le: "<=", annotated_types.Lt: "<"}


def comment(text: str, indent: str) -> list[str]:
    """A text as lines of comment."""
    mark = f"{indent}# "
    return textwrap.wrap(" ".join(text.split()), WIDTH, initial_indent=mark, subsequent_indent=mark)


def range_of(about: FieldInfo) -> str:
    """The bounds of a number, as ``[>= 1, <= 10]``."""
    bounds = [
        f"{sign} {getattr(limit, kind.__name__.lower()):,}"
        for limit in about.metadata
        for kind, sign in _BOUNDS.items()
        if isinstance(limit, kind)
    ]
    return f" [{', '.join(bounds)}]" if bounds else ""


def yaml_value(value: Any) -> str:
    """A value as YAML on one line."""
    plain = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    return str(yaml.safe_dump(plain, default_flow_style=True, width=10_000)).removesuffix("...\n").strip()
