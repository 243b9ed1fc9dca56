"""Settings of the value models."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ValueModelConfig:
    """Shape and training of the value models. The paper states none of these numbers."""

    interval: Literal["quantile", "gaussian"] = "quantile"
    """How far from its prediction a normal value may be. ``quantile``: quantiles of validation errors, position by
    position, and of the elapsed time of each transition. ``gaussian``: the paper's, a zero-mean Gaussian on the mean
    square error of whole vectors; it honours its rate poorly, for such errors are not Gaussian."""
    confidence: Annotated[float, Field(ge=0.98, lt=1)] | None = None
    """Share of normal vectors inside their intervals, instead of what `thresholds.false_positive_rate` comes to; the
    paper has 0.98, 0.99 and 0.999. null = from the rate."""
    new_values: Annotated[int, Field(ge=0, le=128)] = 64
    """Distinct values, at most, of a slot whose new values are reported; 0 = none are."""
    history: Annotated[int, Field(ge=1, le=100)] = 4
    """h: vectors of the same log key that the next one is predicted from."""
    hidden: Annotated[int, Field(ge=1, le=512)] = 8
    """Memory units of a log key's LSTM: a vector has a few numbers, and more units predict them no better."""
    min_vectors: Annotated[int, Field(ge=40, le=1_000_000)] = 100
    """Vectors from which a log key gets an LSTM; with fewer, the median is the prediction."""
    max_vectors: Annotated[int, Field(ge=100, le=10_000_000)] = 10_000
    """Vectors of a log key that are learned from; of more, the last ones."""
    max_positions: Annotated[int, Field(ge=1, le=64)] = 8
    """Numbers of a vector, the elapsed time included; of more slots, the first ones."""
    min_gain: Annotated[float, Field(ge=0, lt=1)] | None = 0.3
    """Share by which an LSTM's validation error must be below that of the mean and of the median to be used, for a
    network costs as much time as all else together; null = it is always used, as in the paper."""
    slack_s: Annotated[float, Field(ge=0, le=3600)] = 0.1
    """Differences of an elapsed time up to this many seconds mean nothing: threads wait for one another that long."""
    blocks: Annotated[int, Field(ge=2, le=10)] = 3
    """Blocks of time of the validation: each is predicted by a network that was trained on the others."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 15
    """Most passes over the vectors."""
    patience: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Passes without a better validation loss of any log key after which training stops."""
    batch_rows: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Vectors of one log key in a gradient step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-2
    """Of Adam."""
