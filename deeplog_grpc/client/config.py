"""How clients reach a server: by which certificates, and with which token."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, SecretStr, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.errors import ConfigError


def _text(value: Any) -> Any:
    """Only text is a token: an error on anything else would show it."""
    if not isinstance(value, str | SecretStr | None):
        raise ConfigError("must be text: put it in quotes", field="client.token")
    return value


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ClientConfig:
    """What a client shows a server, and what it asks of it.

    Raises
    ------
    ConfigError
        If there are both a token and a file of it, or a certificate without its key.

    Examples
    --------
    >>> ClientConfig(ca_file="/etc/deeplog/ca.crt").speaks_tls, ClientConfig().speaks_tls
    (True, False)
    """

    tls: bool = False
    """Whether to speak TLS; with `ca_file` or `cert_file` that is so anyway."""

    ca_file: Path | None = None
    """PEM file of the authorities that the server's certificate may be of; null = those that gRPC brings along."""

    cert_file: Path | None = None
    """PEM file of the client's certificate and those that lead to its authority, for servers that ask for one."""

    key_file: Path | None = None
    """PEM file of the certificate's key."""

    token_file: Path | None = None
    """File that holds a token and nothing else. It is read with each call, so that a new one counts at once."""

    token: Annotated[SecretStr | None, BeforeValidator(_text)] = None
    """The token itself. Better given by the variable DEEPLOG_GRPC_CLIENT__TOKEN than in a file of many keys."""

    allow_plain_token: bool = False
    """Whether the token may be sent without TLS to other machines, where something else encrypts."""

    @property
    def speaks_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.tls or self.ca_file is not None or self.cert_file is not None

    @model_validator(mode="after")
    def _check(self) -> "ClientConfig":
        if self.token is not None and self.token_file is not None:
            raise ConfigError("there is a token too: give one of them", field="client.token_file")
        if (self.cert_file is None) != (self.key_file is None):
            missing = "cert_file" if self.cert_file is None else "key_file"
            raise ConfigError("a certificate and its key go together: set both", field=f"client.{missing}")
        return self
