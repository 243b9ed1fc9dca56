"""Cyclic garbage, collected often and without a look at everything that lives.

Left to itself, the collector looks at all containers now and then: with 120,000 open sessions that stops the server for
60 ms. It also comes by how many more containers were made than freed: where each entry replaces a part of its session,
that is hardly any, and what is new piles up until the youngest generation alone takes 40 ms. Nearly all containers live
long, have no cycles, and go by their reference counts.

So the collector is called by the clock. What survives is set aside (frozen), and the next time only what came since is
looked at. A cycle that dies after it was set aside stays in memory until all is looked at again: at a quiet moment when
twice as much is set aside as the last such look left, at any moment when it is four times as much.
"""

import asyncio
import gc
from collections.abc import Callable

COLLECT_S = 0.1
"""Seconds between two collections: some thousand entries under full load, looked at in a millisecond or two."""
SWEEP_CHECK = 100
"""Collections between two questions whether all is to be looked at; asking takes a millisecond or two."""
_BACKSTOP = 100_000
"""Containers more than before at which the collector comes by itself, as it does after 700 without this."""
_DUE, _OVERDUE = 2, 4
"""Times what the last sweep left."""


class ShortPauses:
    """Keeps the pauses of the garbage collector short, from :meth:`start` to :meth:`stop`.

    The collector is the process's: where servers share a process, the first to stop ends it for all.
    """

    def __init__(self) -> None:
        self._usual = gc.get_threshold()
        self._left = 0
        """Containers that the last sweep left."""

    def start(self) -> None:
        """Set aside what is there: modules, models."""
        gc.set_threshold(_BACKSTOP, *self._usual[1:])
        self._sweep()

    def stop(self) -> None:
        """Leave the collector as it was."""
        gc.set_threshold(*self._usual)
        gc.unfreeze()

    async def run(self, is_quiet: Callable[[], bool]) -> None:
        """Collect, for ever; ``is_quiet`` says whether nothing waits for the server."""
        while True:
            for _ in range(SWEEP_CHECK):
                await asyncio.sleep(COLLECT_S)
                self.collect()
            self.sweep_if_due(is_quiet=is_quiet())

    def collect(self) -> None:
        """Look at what came since the last time."""
        gc.collect(1)  # what survives is the third generation, which is empty but for that
        gc.freeze()

    def sweep_if_due(self, *, is_quiet: bool) -> None:
        """Look at everything if much was set aside since the last time."""
        if gc.get_freeze_count() > (_DUE if is_quiet else _OVERDUE) * self._left:
            self._sweep()

    def _sweep(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._left = gc.get_freeze_count()
