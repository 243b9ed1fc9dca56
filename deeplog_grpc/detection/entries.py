"""Log entries as columns: what goes into a :class:`~deeplog_grpc.detection.Detector`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryBatch:
    """Log entries of one application, in arrival order, as columns of equal length.

    The order matters: verdicts depend on it, and on nothing else (not on where a batch begins or ends).

    Raises
    ------
    ValueError
        If the columns differ in length.

    Examples
    --------
    >>> batch = EntryBatch.of(["Receiving block blk_1", "Deleting block blk_1"])
    >>> len(batch), batch.times_ns.tolist(), batch.sessions
    (2, [0, 0], ['', ''])
    """

    bodies: Sequence[str]
    """The message text, without the time stamp that a line may start with."""
    times_ns: NDArray[np.int64]
    """Event time in nanoseconds since 1970-01-01 UTC; 0 = not known. Shape [n]."""
    sessions: Sequence[str]
    """The session identifier where the sender knows it; "" = find it in the body."""
    sources: Sequence[str]
    """Where the entry comes from (host, pod, file); with no identifier at all, a source is one session."""

    def __post_init__(self) -> None:
        lengths = {len(self.bodies), len(self.times_ns), len(self.sessions), len(self.sources)}
        if len(lengths) != 1:
            raise ValueError(f"columns of an EntryBatch differ in length: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.bodies)

    @classmethod
    def of(
        cls,
        bodies: Sequence[str],
        *,
        times_ns: Sequence[int] | NDArray[np.int64] | None = None,
        sessions: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
    ) -> "EntryBatch":
        """Make a batch from bodies alone, or with some of the other columns."""
        count = len(bodies)
        return cls(
            bodies=bodies,
            times_ns=np.zeros(count, np.int64) if times_ns is None else np.asarray(times_ns, np.int64),
            sessions=[""] * count if sessions is None else sessions,
            sources=[""] * count if sources is None else sources,
        )

    def slice(self, start: int, stop: int) -> "EntryBatch":
        """The entries [start, stop) as a batch of their own."""
        return EntryBatch(
            bodies=self.bodies[start:stop],
            times_ns=self.times_ns[start:stop],
            sessions=self.sessions[start:stop],
            sources=self.sources[start:stop],
        )

    @classmethod
    def concat(cls, batches: Sequence["EntryBatch"]) -> "EntryBatch":
        """The batches one after the other."""
        if len(batches) == 1:
            return batches[0]
        return cls(
            bodies=[body for batch in batches for body in batch.bodies],
            times_ns=np.concatenate([batch.times_ns for batch in batches]) if batches else np.zeros(0, np.int64),
            sessions=[session for batch in batches for session in batch.sessions],
            sources=[source for batch in batches for source in batch.sources],
        )
