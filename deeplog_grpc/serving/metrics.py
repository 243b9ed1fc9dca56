"""What a server says of itself to Prometheus.

=============================== ========= ==========================================================================
name                            kind      what
=============================== ========= ==========================================================================
``deeplog_loop_lag_seconds``    histogram how much later than due the event loop ran a timer, ten times a second
``deeplog_gc_pause_seconds``    histogram time of each collection of cyclic garbage, in which all else stands still
``deeplog_scoring_run_seconds`` histogram time of each run of the scoring thread, with the way there and back
``deeplog_queue_wait_seconds``  histogram from the acceptance of a job to the start of its run; jobs of the server's
                                          own too
``deeplog_queue_entries``       gauge     entries that were accepted and are not answered
=============================== ========= ==========================================================================

Each server has a registry of its own. Another metric is one more attribute of :class:`Metrics`, and one more row above.
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram

SAMPLE_S = 0.1
"""Seconds between two looks at the lag of the event loop."""
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Bounds of the buckets of all times."""
_MAX_PAUSES = 10_000
"""Pauses that wait to be counted; there are never so many in a tenth of a second."""


class Metrics:
    """The metrics of one server; see the module.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.queue_wait.observe(0.002)
    >>> metrics.registry.get_sample_value("deeplog_queue_wait_seconds_count")
    1.0
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        """Where they are read."""
        self.loop_lag = self._seconds("deeplog_loop_lag_seconds", "How much later than due the event loop ran a timer.")
        self.gc_pause = self._seconds("deeplog_gc_pause_seconds", "Time of a collection of cyclic garbage.")
        self.scoring_run = self._seconds("deeplog_scoring_run_seconds", "Time of a run of the scoring thread.")
        self.queue_wait = self._seconds("deeplog_queue_wait_seconds", "Time that a job waited for its run.")

    def count_entries(self, entries: Callable[[], int]) -> None:
        """Have a function asked for ``deeplog_queue_entries``; once."""
        gauge = Gauge(
            "deeplog_queue_entries", "Entries that were accepted and are not answered.", registry=self.registry
        )
        gauge.set_function(entries)

    def _seconds(self, name: str, about: str) -> Histogram:
        return Histogram(name, about, buckets=_SECONDS, registry=self.registry)


class Sampler:
    """Measures the lag of the running event loop and the pauses of the garbage collector.

    Parameters
    ----------
    metrics : Metrics
        Take what is measured.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pauses: deque[float] = deque(maxlen=_MAX_PAUSES)
        self._began = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        gc.callbacks.append(self._collector)
        self._task = asyncio.create_task(self._run(), name="sampler")

    def stop(self) -> None:
        """End; called again, or before :meth:`start`, it does nothing."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            gc.callbacks.remove(self._collector)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SAMPLE_S
            await asyncio.sleep(SAMPLE_S)
            self._metrics.loop_lag.observe(max(0.0, loop.time() - due))
            while self._pauses:
                self._metrics.gc_pause.observe(self._pauses.popleft())

    def _collector(self, phase: str, _: dict[str, Any]) -> None:
        # Only noted: a collection may begin anywhere, and whoever it stops may hold the lock of the metric.
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._pauses.append(time.perf_counter() - self._began)
