"""What the server needs of a detector; :class:`deeplog_grpc.detection.Detector` has it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import Judges
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.verdicts import Verdict
from deeplog_grpc.parsing import Parameter


class ScoredBatch(Protocol):
    """Verdicts on n entries as columns of length n."""

    @property
    def kinds(self) -> NDArray[np.int8]:
        """Numbers of :class:`~deeplog_grpc.detection.verdicts.Kind`."""
        ...

    @property
    def keys(self) -> NDArray[np.int32]:
        """Log keys."""
        ...

    @property
    def ranks(self) -> NDArray[np.int32]:
        """Places among the predictions; 0 = not judged, or an unseen key."""
        ...

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """In [0, 1]."""
        ...

    @property
    def scores(self) -> NDArray[np.float32]:
        """In [0, 1]."""
        ...

    @property
    def sessions(self) -> Sequence[str]:
        """The session of each entry."""
        ...

    @property
    def session_ends(self) -> tuple[Verdict, ...]:
        """Sessions that ended, in order; ``index`` is the entry at whose time it was seen."""
        ...

    @property
    def stands_for(self) -> Mapping[int, int]:
        """Row -> the known log key as which its new one was judged; only rows where that is so."""
        ...

    def verdict(self, i: int, /) -> Verdict:
        """Row i with its evidence."""
        ...


class ParsedBodies(Protocol):
    """Log keys of n bodies."""

    @property
    def keys(self) -> NDArray[np.int32]:
        """Log keys [n]."""
        ...

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Whether the key was not known before [n]."""
        ...

    @property
    def is_changed(self) -> NDArray[np.bool_]:
        """Whether this body made a known template more general [n]."""
        ...

    def typed_parameters(self, i: int, /) -> tuple[Parameter, ...]:
        """Values at the ``<*>`` of row i's template."""
        ...


class Scorer(Protocol):
    """Judges the entries of one application; used by one thread at a time."""

    @property
    def application(self) -> str:
        """Name of the application."""
        ...

    @property
    def model_version(self) -> int:
        """From 1."""
        ...

    @property
    def event_time_ns(self) -> int:
        """The latest believed time of an entry, in ns since 1970-01-01 UTC; 0 = none is known."""
        ...

    @property
    def next_deadline_ns(self) -> int:
        """Event time up to which ``advance`` has nothing to do."""
        ...

    def score(self, batch: EntryBatch, /) -> ScoredBatch:
        """Judge entries in their order."""
        ...

    def advance(self, now_ns: int, /) -> ScoredBatch:
        """End the sessions whose time-out has passed by an event time; no rows, only ends."""
        ...

    def flush(self, sessions: Sequence[str] | None = None, /) -> ScoredBatch:
        """End open sessions, or all; no rows, only ends."""
        ...

    def parse(self, bodies: Sequence[str], /) -> ParsedBodies:
        """Parse without judging."""
        ...

    def template(self, key: int, /) -> str:
        """Text of a log key."""
        ...

    def workflow_path(self, session: str, /) -> tuple[int, ...] | None:
        """States of the workflow that an open session went through, oldest first; None = it is not open."""
        ...

    def adopt(self, judges: Judges, /) -> None:
        """Judge by another version from the next batch on."""
        ...

    def parser_state(self) -> Mapping[str, Any]:
        """The parser's state, as plain data."""
        ...
