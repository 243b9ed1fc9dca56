"""Settings of the parser. One default fits all systems; nothing here is meant to be tuned for one log."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.parsing.user_masks import UserMasks


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ParserConfig:
    """Limits and thresholds of the parser.

    Raises
    ------
    pydantic.ValidationError
        If a value is outside its range; it is a `ValueError` and names the field.

    Examples
    --------
    >>> ParserConfig().tau
    0.5
    >>> ParserConfig(tau=1.5)
    Traceback (most recent call last):
    ...
    pydantic_core._pydantic_core.ValidationError: ...
    """

    tau: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a line's constant words that must stand in a template, in order, for the two to become one template.
    Half, as in Spell: the constants are normally the larger part of a print statement."""

    sealed_tau: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The same share for templates that were there when the parser was sealed. Higher, for an abnormal line must not
    be taken in by a trained template: it has to show itself as a new key."""

    max_templates: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Templates at most. All further kinds of lines share one more key, the catch-all ``<*>``. Systems have hundreds;
    a log that needs more does not fall into kinds at all."""

    max_line_chars: Annotated[int, Field(ge=16, le=1_000_000)] = 8_192
    """Characters of a line's first row that are looked at; the rest is one last parameter. No constant of interest
    stands further behind."""

    max_tokens: Annotated[int, Field(ge=4, le=10_000)] = 400
    """Words, blanks and separators of a line that are looked at; the rest is part of the last variable. Bounds the
    work for a line never seen before to some milliseconds."""

    max_forms: Annotated[int, Field(ge=16, le=10_000_000)] = 50_000
    """Forms of lines (variables masked) whose key is remembered, about 200 bytes each. When they are that many all are
    forgotten at once and looked up again; templates and keys are not touched."""

    cache_entries: Annotated[int, Field(ge=0, le=10_000_000)] = 50_000
    """Outlines, and as many skeletons, in the caches in front; 0 switches them off. They never change a result."""

    seed_templates: tuple[str, ...] = ()
    """Templates known beforehand, with ``<*>`` for a parameter. They get the first log keys, in this order, and are
    sealed. A word with a digit is a parameter in a template as it is in a line."""

    masks: Mapping[str, str] = Field(default_factory=dict)
    """Kinds of values beside the built-in ones: name to regular expression (RE2 syntax). What one matches is a
    parameter. Costs some microseconds a line and mask; without masks nothing."""

    @field_validator("masks")
    @classmethod
    def _masks_compile(cls, masks: Mapping[str, str]) -> Mapping[str, str]:
        UserMasks(masks)
        return masks
