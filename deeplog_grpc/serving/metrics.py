"""What a server says of itself to Prometheus; docs/observability.md lists all of it.

Times and sizes of runs are histograms that are told of each; all else is read where it is counted anyway, when somebody
asks (:mod:`~deeplog_grpc.serving.collectors`). Each server has a registry of its own.
"""

import asyncio
import gc
import time
from collections import deque
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector

from deeplog_grpc.serving.call_metrics import CallCounter
from deeplog_grpc.serving.entries import EntryBook

SAMPLE_S = 0.1
"""Seconds between two looks at the lag of the event loop."""
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Bounds of the buckets of all times, but for those of updates."""
_UPDATE_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RUN_ENTRIES = (1, 10, 100, 1_000, 2_500, 5_000, 10_000)
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
        self.entries = EntryBook()
        """What became of all that was received."""
        self.loop_lag = self._seconds("deeplog_loop_lag_seconds", "How much later than due the event loop ran a timer.")
        self.gc_pause = self._seconds("deeplog_gc_pause_seconds", "Time of a collection of cyclic garbage.")
        self.scoring_run = self._seconds("deeplog_scoring_run_seconds", "Time of a run of the scoring thread.")
        self.scoring_run_entries = Histogram(
            "deeplog_scoring_run_entries", "Entries of a run.", buckets=_RUN_ENTRIES, registry=self.registry
        )
        self.queue_wait = self._seconds("deeplog_queue_wait_seconds", "Time that a job waited for its run.")
        self.update = self._seconds(
            "deeplog_update_seconds", "Time of an update of models by feedback.", buckets=_UPDATE_SECONDS
        )
        self.request = self._seconds(
            "deeplog_request_seconds", "Time of a unary call, from its arrival to its answer.", labels=("method",)
        )
        self.calls = CallCounter(self.request)
        """Interceptor that counts the calls."""
        ProcessCollector(registry=self.registry)

    def _seconds(
        self, name: str, about: str, *, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        return Histogram(name, about, labels, buckets=buckets, registry=self.registry)


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
