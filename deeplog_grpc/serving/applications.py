"""The applications of a server that learns: one that is not known comes to be with its first entry."""

import asyncio
import time

import structlog

from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.scoring import InstallJob, Job, Reply
from deeplog_grpc.serving.state import ServerState
from deeplog_grpc.serving.status import log_unexpected
from deeplog_grpc.storage import is_application_name

DEFAULT = "default"
"""The application of entries that name none, unless the server was given exactly one model."""
COMPLAIN_S = 60.0
"""Seconds between two complaints about applications that are refused."""

_log = structlog.get_logger("deeplog_grpc.serving")


class LearningApplications:
    """Creates applications on the fly, within a limit; implements :class:`~deeplog_grpc.ingest.Applications`.

    Used on the event loop only.

    Parameters
    ----------
    state : ServerState
        Where they are kept; applications that come are added to it.
    queue : ScoringQueue
        A job that goes before the first entries of an application installs it.
    """

    def __init__(self, state: ServerState, queue: ScoringQueue[Job, Reply]) -> None:
        self._state = state
        self._queue = queue
        self._names = tuple(state.detectors)
        given = [name for name, kept in state.kept.items() if kept.given]
        self._default = given[0] if len(given) == 1 else DEFAULT
        self.refused = 0
        """Times that an application was not admitted."""
        self._complained_s = -COMPLAIN_S

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are served, in the order in which they came."""
        return self._names

    @property
    def default(self) -> str:
        """The one that the server was given a model of, if it was exactly one, else ``default``.

        It stays the same while applications come: entries must not move from one to another.
        """
        return self._default

    def admit(self, name: str) -> bool:
        """Whether entries of an application are taken; one that is not known is begun, if there is room.

        Raises
        ------
        DrainingError
            If it is not known and the server is stopping.
        """
        if name in self._state.kept:
            return True
        if self._is_full_for(name) or not is_application_name(name):
            self._refuse()
            return False
        self._begin(name)
        return True

    def _is_full_for(self, name: str) -> bool:
        """The last place is kept for the default: else a flood of names would leave none for what names nothing."""
        limit = self._state.learning.max_applications
        is_kept = limit > 1 and name != self._default and self._default not in self._names
        return len(self._names) >= limit - is_kept

    def _begin(self, name: str) -> None:
        kept = self._state.begin(name, time.time_ns())
        if kept.learner is None:
            raise AssertionError("what has just begun has no model")
        job = InstallJob(application=name, detector=kept.learner, drift=None, sample=kept.sample)
        self._queue.add(job).add_done_callback(_look_at)
        self._state.kept[name] = kept
        self._names = (*self._names, name)
        _log.info("application created: it is learned from now on", application=name)

    def _refuse(self) -> None:
        self.refused += 1
        if time.monotonic() - self._complained_s >= COMPLAIN_S:
            self._complained_s = time.monotonic()
            # Their names come from whoever sends, and may be anything.
            _log.warning(
                "applications refused: too many, or names that cannot be",
                times=self.refused,
                max_applications=self._state.learning.max_applications,
            )


def _look_at(reply: "asyncio.Future[Reply]") -> None:
    """An application that could not be installed is a defect; its entries will say so too."""
    if not reply.cancelled() and (error := reply.exception()) is not None:
        log_unexpected(error)
