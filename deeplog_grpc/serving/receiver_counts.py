"""What a receiver that is no gRPC service counts of itself."""

from collections import Counter
from collections.abc import Callable


class ReceiverCounts:
    """Counts of one receiver; belongs to the event loop.

    Parameters
    ----------
    connections : callable
        How many are open.
    """

    def __init__(self, connections: Callable[[], int]) -> None:
        self._connections = connections
        self.closed: Counter[str] = Counter()
        """Connections that the server closed, by why: ``limit`` (there are as many as may be), ``input`` (what came
        cannot be read), ``no_room`` (nothing was taken for too long), ``error`` (a defect)."""
        self.requests: Counter[str] = Counter()
        """Requests, or messages that came together, by the name of the gRPC status that they would have."""

    @property
    def connections(self) -> int:
        """Open now."""
        return self._connections()
