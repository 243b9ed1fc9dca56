"""When applications that come with their first entry are learned, and trained anew."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class LearningConfig:
    """How the server learns from what it is sent.

    Examples
    --------
    >>> LearningConfig().min_sessions
    200
    """

    enabled: bool = True
    """Whether an application that has no model is learned from its stream, from its first entry on, and applications
    can be trained anew. false = only those with a model are served, and no sample of entries is kept."""

    max_applications: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Applications at most, those with a model included; entries of further ones are refused. Each takes some
    megabytes of memory, and keeps a sample."""

    min_entries: Annotated[int, Field(ge=1)] = 2_000
    """Entries after which an application may be trained. With fewer, rare but normal messages are still missing."""

    min_sessions: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Sessions, or blocks of 100 entries that belong to none, after which it may be trained. Thresholds are calibrated
    on sessions: of fewer, the odd one cannot be told from the usual one."""

    min_s: Annotated[float, Field(ge=0)] = 600.0
    """Seconds, of arrival or of event time, that are to be seen at least: what happens every few minutes belongs to
    normal operation."""

    settled_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    """It is trained once at most this share of its log keys came in the last fifth of its entries: until then, new
    messages still appear too fast. 1 = do not wait for it."""

    max_s: Annotated[float, Field(gt=0)] = 86_400.0
    """Seconds after which it is trained all the same, on what there is, if that is anything to learn from: a day has
    shown most of what an application does."""

    keep_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    """Mebibytes on disk for the newest entries of each application, which it is trained on: about ten times as much
    log text."""

    keep_s: Annotated[float, Field(gt=0)] = 7 * 86_400.0
    """Seconds that these entries are kept, counted from the newest one."""

    retrain_every_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds between two trainings of an application that has a model; null = only on request."""

    held_out_share: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of the entries, the newest, that a new model in the place of another is compared on, and not trained on."""

    max_rise: Annotated[float, Field(ge=0, le=1)] = 0.01
    """How much greater the share of these sessions that the new model flags may be, at most, than that of the old one;
    else the new one is refused."""
