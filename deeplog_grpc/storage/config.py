"""Where the server keeps its state, and how much of it."""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class StateConfig:
    """The server's databases: the journal of feedback with the model versions, and the anomalies."""

    directory: Path | None = None
    """Folder of the databases and of learned models; made if it is not there. null = beside the first model bundle,
    with `.state` after its name; `deeplog-grpc.state` where there is none."""
    keep_versions: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Model versions of an application that one can go back to, 1 MB each or less for most models."""
    max_age_s: Annotated[float, Field(gt=0)] | None = 30 * 86_400.0
    """Seconds after which a stored anomaly goes; null = never. The journal is kept for ever."""
    max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 1_024
    """Mebibytes of evidence of stored anomalies; the oldest go. The file is a third larger."""
    context_entries: Annotated[int, Field(ge=0, le=100)] = 5
    """Entries of its session before an anomaly that are stored with it. 0 = no log text but the entry's own."""
