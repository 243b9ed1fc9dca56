"""Structured logs on standard error: for people on a terminal, else one JSON object a line."""

import logging
import sys

import structlog


def configure_logging(level: int = logging.INFO) -> None:
    """Set up structlog for a server process, from a level on. Log entries' text is never logged."""
    tty = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if tty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
