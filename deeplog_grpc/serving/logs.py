"""Structured logs on standard error: for people on a terminal, else one JSON object a line.

Neither the text of log entries nor a secret is ever logged, at any level. What happens during a call that belongs to a
trace has its ``trace_id`` and ``span_id``.
"""

import logging
import sys
from collections import Counter
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_COUNTED = ("warning", "error")
MESSAGES: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
"""Messages of this process, by level."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class LogsConfig:
    """What the server logs of itself, on standard error.

    Examples
    --------
    >>> LogsConfig(level="warning").format
    'auto'
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important messages that are logged. No level logs the text of log entries."""

    format: Literal["auto", "json", "text"] = "auto"
    """json = one object a line, text = for people, auto = text on a terminal, else json."""


def configure_logging(config: LogsConfig | None = None) -> None:
    """Set up structlog for a server process; default: from level info on."""
    config = config or LogsConfig()
    is_text = config.format == "text" or (config.format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if is_text else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _count,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[config.level]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # of the moment: who runs it may put another there
    )


def _count(_: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if level in MESSAGES:
        MESSAGES[level] += 1
    return event
