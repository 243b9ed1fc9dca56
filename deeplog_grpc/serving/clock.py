"""Event time while no entries come. Pure: the time of the process comes in as a number."""

import math

from deeplog_grpc.detection.watermark import NS_PER_S


class EventClock:
    """An application's event time between its entries: the latest one known, and what has passed since.

    It is set with every batch of entries. So it is never ahead of the log by more than the silence after it, whatever
    the date of the log is; and without a known event time it stands still for ever.

    Examples
    --------
    >>> clock = EventClock()
    >>> clock.now_ns(5.0)
    0
    >>> clock.set(1_000_000_000, at_s=10.0)
    >>> clock.now_ns(12.5), clock.time_of(4_000_000_000)
    (3500000000, 13.0)
    """

    def __init__(self) -> None:
        self._event_ns = 0
        self._at_s = 0.0

    def set(self, event_ns: int, *, at_s: float) -> None:
        """At ``at_s`` (seconds) it is ``event_ns`` (since 1970-01-01 UTC; 0 = not known)."""
        self._event_ns, self._at_s = event_ns, at_s

    def now_ns(self, at_s: float) -> int:
        """Event time at ``at_s``; 0 = not known."""
        return self._event_ns + int((at_s - self._at_s) * NS_PER_S) if self._event_ns else 0

    def time_of(self, event_ns: int) -> float:
        """Seconds at which it is ``event_ns``, if no entries come until then; infinity if that is not known."""
        return self._at_s + (event_ns - self._event_ns) / NS_PER_S if self._event_ns else math.inf
