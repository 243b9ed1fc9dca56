"""Verdicts: what comes out of a :class:`~deeplog_grpc.detection.Detector`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from deeplog_grpc.parsing import Parameter
from deeplog_grpc.workflow import Diagnosis

NO_KEY = -1
"""Where there is no log key."""


class Kind(IntEnum):
    """What a verdict says. The numbers are those of ``deeplog_grpc.v1.Kind``."""

    NORMAL = 1
    """Nothing abnormal; also an entry whose history is not known well enough to judge (rank 0)."""
    UNSEEN_KEY = 2
    """The log key was not seen in training, or too seldom to be normal."""
    EXECUTION_PATH = 3
    """The log key is far less probable after this history than log keys of normal sessions are (or, with a pinned g,
    not among the g most probable ones: CCS'17, section 3.1)."""
    INCOMPLETE_SESSION = 4
    """The session ended where the model expects it to go on."""
    SESSION_COUNTS = 5
    """The session ended, and how often its log keys came is like no session of training."""
    SESSION_LENGTH = 6
    """The session ended with far fewer or more entries than any of training."""
    UNSEEN_TRANSITION = 7
    """The log key never followed the one before it, which is rarely followed by anything new."""
    PARAMETER_VALUE = 8
    """A number of the entry is outside the interval around its prediction (CCS'17, section 3.2)."""
    ELAPSED_TIME = 9
    """The entry came much sooner or later after its session's previous entry than is normal (CCS'17, section 3.2)."""
    NEW_VALUE = 10
    """A value that training did not have, in a slot that has few."""


class EndReason(StrEnum):
    """Why a session was taken to have ended."""

    MARKER = "marker"
    TIMEOUT = "timeout"
    FLUSH = "flush"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the g most probable next log keys."""

    key: int
    """Log key, or -1 for the end of the session."""
    template: str
    """The key's template, or ``<end of session>``."""
    probability: float
    """In [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbnormalValue:
    """The value of an entry that fits least."""

    slot: int
    """The template's slot, from 0; -1 = the time since the session's previous entry."""
    unit: str = ""
    """Unit of the numbers (``s`` of the elapsed time); empty for plain numbers and texts."""
    observed: float = 0.0
    """The number; 0 where a text is meant."""
    predicted: float = 0.0
    """What the model expected."""
    low: float = 0.0
    high: float = 0.0
    """Normal is low <= observed <= high, as long as the entry's other numbers are what they are."""
    after: tuple[int, ...] = ()
    """The log keys before, oldest first, when the elapsed time is that of a transition; else empty."""
    text: str = ""
    """The new value; empty where a number is meant."""
    known: tuple[str, ...] = ()
    """The values that training had there, at most :data:`SHOWN_VALUES`; empty where a number is meant."""
    known_count: int = 0
    """How many it had."""
    trained_slot: int = 0
    """The slot by the template of training, which may have grown more general since; -1 = the elapsed time."""


SHOWN_VALUES = 5
"""Known values that are named beside a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueVector:
    """The numbers of an entry as the value models saw them: all that is needed to judge it again, or to learn it."""

    numbers: tuple[tuple[int, str, float], ...]
    """(slot by the template of training, unit, number) of the numbers that there were, all finite; slot -1 = elapsed
    seconds."""
    previous: tuple[int, int]
    """Log keys of the session's two entries before, oldest first; -1 = before the session began, -2 = not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer for one entry, or for one end of a session, with its evidence."""

    index: int
    """Position in the batch of the judged entry, or of the entry at whose time the session was seen to end."""
    kind: Kind
    key: int
    """Log key; -1 for the end of a session."""
    template: str
    parameters: tuple[str, ...]
    score: float
    """Surprise in [0, 1]: -log10(p) / 10, capped at 1, where p is the share of normal sessions that hold something at
    least as surprising; 1 for an unseen key. The highest score of its entries and its end is that of a session."""
    rank: int
    """Place of the key among the predictions, 1 = most probable; 0 = not judged, or an unseen key."""
    probability: float
    """Probability of the key given the window, in [0, 1]; 0 for an unseen key, 1 where not judged."""
    candidates: tuple[Candidate, ...]
    """Most probable first; empty where not judged, and for a normal end of a session."""
    window: tuple[int, ...]
    """The h log keys before, oldest first; -1 = before the session began, -2 = not known."""
    session: str
    session_end: EndReason | None
    """None for an entry; else why the session was taken to have ended."""
    reason: str
    """One sentence for a person; empty when normal, but for a new log key that was judged as a known one."""
    model_version: int
    typed_parameters: tuple[Parameter, ...] = ()
    """`parameters` with kinds, numbers and places; empty for a normal entry, which nobody looks at so closely."""
    abnormal_value: AbnormalValue | None = None
    """What is abnormal, when the kind is PARAMETER_VALUE, ELAPSED_TIME or NEW_VALUE."""
    vector: ValueVector | None = None
    """All numbers of the entry, when the kind is PARAMETER_VALUE or ELAPSED_TIME."""
    counts: Mapping[int, int] = field(default_factory=dict, hash=False)
    """Log key -> times in the session (-2 = further log keys without a unit), when the kind is SESSION_COUNTS or
    SESSION_LENGTH; else empty."""

    stands_for: int = NO_KEY
    """The known log key as which this new one was judged (``key_model.semantic``); -1 = judged as itself."""
    ended_ns: int = 0
    """Event time at which a session's time-out passed, in nanoseconds since 1970-01-01 UTC; 0 for all else."""
    verdict_id: str = ""
    """Its name where it is stored; given by who stores it."""
    diagnosis: Diagnosis | None = None
    """Where the session left its workflow; only of an anomaly, and only where the application has a workflow."""

    @property
    def is_anomaly(self) -> bool:
        """Whether an operator should see it."""
        return self.kind is not Kind.NORMAL
