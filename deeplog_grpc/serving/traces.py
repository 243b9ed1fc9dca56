"""What a trace is told of a call, where tracing is on; without OpenTelemetry.

The queue is where the times of a call are known. It tells the trace of the call; who makes spans of it is
:mod:`~deeplog_grpc.serving.tracing`.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(slots=True, eq=False, kw_only=True)
class Run:
    """A run of the scoring thread. Times are those of the event loop, in seconds."""

    started_at: float
    ended_at: float
    entries: int
    jobs: int
    span: Any = None
    """What the first trace that was told of it made."""


class Trace(Protocol):
    """The trace of a call under way."""

    def scored(self, run: Run, *, accepted_at: float) -> None:
        """A job of the call was scored by a run.

        Parameters
        ----------
        run : Run
        accepted_at : float
            Event loop time at which the queue was offered the job.
        """
        ...


CURRENT_TRACE: ContextVar[Trace | None] = ContextVar("CURRENT_TRACE", default=None)


def current_trace() -> Trace | None:
    """The trace of the call that this task belongs to; None = it is not traced."""
    return CURRENT_TRACE.get()
