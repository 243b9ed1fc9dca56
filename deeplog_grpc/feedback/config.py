"""Settings of updates and of drift."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class FeedbackConfig:
    """What an update of the models may do."""

    margin: Annotated[float, Field(ge=0, le=1)] = 0.0005
    """How much larger a share of the known-normal sessions (of training, held out of all updates) a new version may
    flag than the version that training made, all updates taken together; more is refused. One session is always
    allowed: less cannot be seen."""
    max_lessons: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Distinct lessons of an application that each update looks after; of more, the newest."""
    max_cases: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """Distinct cases of one update; more in a group, a session or a range of time are refused, with the remedy."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class DriftConfig:
    """When a rise of alarms is called drift."""

    window_s: Annotated[float, Field(ge=1, le=7 * 86_400)] = 600.0
    """Length of a window, in seconds of event time. Longer than a burst, so that a burst is one window and no drift."""
    windows: Annotated[int, Field(ge=1, le=1000)] = 3
    """Windows in a row that must be far above usual before it is called drift, and must not be before it is over."""
    min_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Entries that a window needs to be judged; one with fewer goes on until it has them. Of few entries, a single
    alarm would be a large share."""
    ratio: Annotated[float, Field(gt=1, le=1000)] = 3.0
    """How many times the usual rate is still no drift: load and time of day double a rate. A share of alarms that is
    usually above 1 / ratio can therefore not drift."""
