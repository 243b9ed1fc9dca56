"""How much is tried: a bounded set in every run, more of it with ``HYPOTHESIS_PROFILE=long``."""

import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
LONGER = 100
"""Times as many examples in the long profile, and other ones each time."""
MIB = 1 << 20


def tries(count: int) -> settings:
    """So many examples of a property: the same ones each time, so that a run on another's change does not fail."""
    return settings(
        max_examples=count * LONGER if IS_LONG else count,
        derandomize=not IS_LONG,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def memory_within(most_bytes: int) -> Iterator[None]:
    """Fail where what runs meanwhile takes more memory at once; what C libraries take by themselves is not seen."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= most_bytes, f"{peak / MIB:.1f} MiB were taken, more than {most_bytes / MIB:.1f}"
