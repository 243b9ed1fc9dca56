"""What was said before the command."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

before_command: ContextVar[Mapping[str, Any]] = ContextVar("before_command", default={})  # noqa: B039 - nobody adds to it
"""Keys of the configuration, dotted, that options of the program give."""
