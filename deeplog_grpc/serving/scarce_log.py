"""Warnings that a sender could bring about as often as it likes, logged once in a while."""

import time
from collections.abc import Callable
from typing import Any

INTERVAL_S = 10.0


class ScarceLog:
    """Logs a warning, then counts its like for a while before it logs the next.

    Parameters
    ----------
    log : structlog logger
    clock : callable
        Seconds that never run backwards.
    """

    def __init__(self, log: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def warning(self, event: str, **fields: Any) -> None:
        """Log an event, unless it was logged less than ``INTERVAL_S`` ago; ``unsaid`` is how often that was so."""
        now = self._clock()
        if now - self._logged_at.get(event, -INTERVAL_S) < INTERVAL_S:
            self._unsaid[event] = self._unsaid.get(event, 0) + 1
            return
        self._logged_at[event] = now
        if unsaid := self._unsaid.pop(event, 0):
            fields["unsaid"] = unsaid
        self._log.warning(event, **fields)
