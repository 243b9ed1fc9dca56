"""What a diagnosis says: where a session left its workflow, and how."""

from dataclasses import dataclass
from enum import IntEnum

from deeplog_grpc.workflow.graph import NO_KEY

NO_STATE = -1
"""Where there is no state, or no task."""

NOWHERE = -1
"""Place in a session where there is none."""


class Deviation(IntEnum):
    """What is wrong, seen from the workflow. The numbers are those of ``deeplog_grpc.v1.Deviation``."""

    ALLOWED = 1
    """The workflow allows it: it is rare here, or its values are odd."""
    SKIPPED = 2
    """Steps that come before it did not come."""
    REPEATED = 3
    """It has come already, and does not come again."""
    OUT_OF_ORDER = 4
    """It comes at another place of the task."""
    OTHER_TASK = 5
    """Only other tasks have it."""
    UNKNOWN = 6
    """No task has it."""
    TRUNCATED = 7
    """The session ended before its task did."""
    SLOW = 8
    """A step took longer than usual."""
    FAST = 9
    """A step took shorter than usual."""
    VALUE = 10
    """A value is odd; the steps are as usual."""


class Concern(IntEnum):
    """What a detector objects to: which question the workflow is asked."""

    PATH = 1
    """The log key."""
    END = 2
    """The end of the session, or the session as a whole."""
    ELAPSED = 3
    """The time since the entry before."""
    VALUE = 4
    """Another value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedStep:
    """A step that the workflow has next."""

    state: int
    key: int
    """Log key; -1 = the end of the task."""
    template: str
    probability: float
    """Share of what comes next in training, in [0, 1]."""
    p50_s: float = 0.0
    """Seconds until it comes, half of the time; 0 where no time is known."""
    p99_s: float = 0.0
    """Seconds until it comes, 99 % of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStep:
    """A step of the session that took much longer than usual."""

    state: int
    key: int
    template: str
    elapsed_s: float
    """Since the step before it on its path."""
    p50_s: float
    """Half of the time it takes no longer."""
    p99_s: float
    """99 % of the time it takes no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Where a session left its workflow."""

    deviation: Deviation
    text: str
    """One sentence for a person."""
    task: int = NO_STATE
    """The task that the session was in."""
    state: int = NO_STATE
    """The state reached before; -1 at the begin, and where none is known."""
    key: int = NO_KEY
    """Its log key."""
    template: str = ""
    """Its template."""
    expected: tuple[ExpectedStep, ...] = ()
    """What comes next as a rule, the most probable first."""
    known_states: tuple[int, ...] = ()
    """States elsewhere in the workflow that have the log key that came."""
    skipped: tuple[int, ...] = ()
    """States that should have come before it."""
    first_divergence: int = NOWHERE
    """Place in the session, from 0, of the first entry that left the workflow; -1 = none did before."""
    has_returned: bool = False
    """Whether the session had come back to its workflow since."""
    slow_steps: tuple[SlowStep, ...] = ()
    """Steps of the session that took much longer than usual, the worst first."""
    path: tuple[int, ...] = ()
    """States that the session went through, oldest first; at most the last 256."""
