"""Settings of the log key model."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

PAPER_CANDIDATES = 9
"""g of the paper."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class KeyModelConfig:
    """Shape and training of the log key model. The defaults are the paper's where it gives any."""

    history: Annotated[int, Field(ge=1, le=1000)] = 10
    """h: log keys in a window."""
    candidates: Annotated[int, Field(ge=1, le=1000)] | None = None
    """g: a number pins the paper's rule, a log key is normal if it is among the g most probable ones, whatever its
    probability; the end of the session takes none of these places. null = its probability decides, by `thresholds`
    (without begin_end, where nothing is calibrated, the paper's 9)."""
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    """L: LSTM layers."""
    hidden: Annotated[int, Field(ge=1, le=4096)] = 64
    """alpha: memory units of a layer."""
    embedding: Annotated[int, Field(ge=1, le=4096)] = 32
    """Numbers that stand for a log key at the input."""
    reserve: Annotated[int, Field(ge=0, le=100_000)] = 32
    """Output units kept free for log keys that become normal after training."""
    min_sessions: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    """Training sessions that a log key must occur in to become normal, or one in a thousand if that is fewer: a log
    that nobody labelled may hold a few anomalies, and what they log must not be learned."""
    begin_end: bool = True
    """Model the begin and the end of sessions. Off is the paper's text: windows inside a session only."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 30
    """Most passes over the distinct windows."""
    patience: Annotated[int, Field(ge=1, le=10_000)] = 6
    """Passes without a better validation loss after which training stops."""
    batch_rows: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Distinct windows in a gradient step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """Peak of the one-cycle schedule."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the sessions kept back to stop training and to fit thresholds; never trained on."""
    shorten_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of training windows whose oldest keys are hidden. It teaches short histories: windows never seen are then
    judged by their recent keys, and sessions met in their middle can be judged at all."""
    hide_share: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Share of keys hidden in training windows, so that an unseen key does not upset the entries after it."""

    semantic: bool = False
    """Let words count: the embedding of a log key starts from the words of its template, and a new template that only
    rephrases a known one is judged as that one instead of being an unseen key. It knows English; see
    docs/detection.md."""
    semantic_similarity: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Similarity (cosine of TF-IDF weights) from which a new template may be judged as a known one. 0.7: it may have
    twice the words, if all tell as much as each other, or half of them."""

    @property
    def rank_limit(self) -> int | None:
        """Rank past which a log key is abnormal; None = ranks do not judge."""
        return PAPER_CANDIDATES if self.candidates is None and not self.begin_end else self.candidates

    @property
    def shown(self) -> int:
        """Most probable log keys that a verdict names."""
        return self.candidates or PAPER_CANDIDATES
