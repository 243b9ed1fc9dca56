"""What the parts of the speed benchmark that run in this process share: a core of its own, processor time, spreads."""

import os
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from benchmarks.harness import cores
from deeplog_grpc.serving.garbage import COLLECT_S, SWEEP_CHECK, ShortPauses


@contextmanager
def on_one_core() -> Iterator[None]:
    """Stay on the core that a server would have, so that nothing is moved about meanwhile."""
    core, _ = cores()
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Collecting:
    """Has cyclic garbage collected between messages as a server does, by processor time."""

    def __init__(self) -> None:
        self._pauses = ShortPauses()
        self._pauses.start()
        self._last_s = time.thread_time()
        self._times = 0

    def between_messages(self) -> None:
        """Collect if it is time."""
        if time.thread_time() - self._last_s < COLLECT_S:
            return
        self._pauses.collect()
        self._times += 1
        if self._times % SWEEP_CHECK == 0:
            self._pauses.sweep_if_due(is_quiet=False)
        self._last_s = time.thread_time()

    def stop(self) -> None:
        """Leave the collector as it was."""
        self._pauses.stop()


def cpu_s(work: Callable[[], object]) -> float:
    """Processor time of some work of this thread, in seconds; others on a busy machine do not count."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Median, least and most of some runs, as figures.

    Examples
    --------
    >>> spread("parse_ns", [3.0, 1.0, 2.0])
    {'parse_ns': 2.0, 'parse_ns_min': 1.0, 'parse_ns_max': 3.0}
    """
    return {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}


def medians(runs: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(values) for name, values in runs.items()}


Name = TypeVar("Name", bound=Hashable)


def alternately(works: Mapping[Name, Callable[[], float]], runs: int) -> dict[Name, list[float]]:
    """Measure each in turn, so many times: what else the machine does meets all of them alike."""
    found: dict[Name, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            found[name].append(work())
    return found
