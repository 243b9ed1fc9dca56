"""What is not to be stored or sent out as evidence."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.errors import ConfigError

BuiltIn = Literal["email", "ip", "credit_card", "credentials"]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class RedactionConfig:
    r"""Secrets in stored evidence. Detection itself reads entries as they come.

    Raises
    ------
    ConfigError
        If a pattern is not a regular expression, or fits the empty text or its own replacement.

    Examples
    --------
    >>> RedactionConfig(built_in=("email",), patterns={"[order]": r"ORD-\d+"}).is_on
    True
    """

    built_in: tuple[BuiltIn, ...] = ()
    """Kinds that are known: `email`; `ip` (versions 4 and 6); `credit_card` (13 to 19 digits whose check digit is
    right); `credentials` (bearer tokens, keys of known forms, what follows `password=`, `token:` and the like, user and
    password in a URL)."""

    patterns: dict[Annotated[str, Field(min_length=1, max_length=64)], str] = Field(default_factory=dict)
    """What else: replacement -> regular expression (RE2 syntax, so its time is linear). Its first group is replaced,
    all that it matches where it has none. Example: `"[customer]": 'customer (\\d+)'`."""

    samples: bool = True
    """Whether what is redacted is redacted in the samples too that models are trained on. Learned templates and values
    have the replacement then, where the live text has the secret."""

    @property
    def is_on(self) -> bool:
        """Whether anything is redacted."""
        return bool(self.built_in or self.patterns)

    @model_validator(mode="after")
    def _check(self) -> "RedactionConfig":
        from deeplog_grpc.storage.redaction import own_rules  # which takes this class

        for rule in own_rules(self.patterns):
            if rule.search("") is not None:
                raise ConfigError("matches the empty text", field=f"redaction.patterns.{rule.replacement}")
            if rule.search(rule.replacement) is not None:
                raise ConfigError("matches its own replacement", field=f"redaction.patterns.{rule.replacement}")
        return self
