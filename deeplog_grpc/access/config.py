"""Certificates of the server, and the file of tokens."""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.access.roles import Role
from deeplog_grpc.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class TlsConfig:
    """Certificates of the gRPC, OTLP/HTTP and metrics ports; the Forward protocol has its own.

    Raises
    ------
    ConfigError
        If a certificate is given without its key, or authorities of clients without a certificate.

    Examples
    --------
    >>> TlsConfig(cert="/etc/deeplog/tls.crt")
    Traceback (most recent call last):
        ...
    deeplog_grpc.errors.ConfigError: tls.key: a certificate and its key go together: set both
    """

    cert: Path | None = None
    """PEM file of the server's certificate and those that lead to its authority; null = no TLS. The three files are
    read again when they change, for the connections that come then; what cannot be used is logged and not taken."""

    key: Path | None = None
    """PEM file of the certificate's key."""

    client_ca: Path | None = None
    """PEM file of the authorities of client certificates; with it, callers without such a certificate are refused. On
    the metrics port only `/metrics` asks for one, since the kubelet has none for its probes."""

    @property
    def is_on(self) -> bool:
        """Whether there is TLS."""
        return self.cert is not None

    @model_validator(mode="after")
    def _check(self) -> "TlsConfig":
        if (self.cert is None) != (self.key is None):
            missing = "cert" if self.cert is None else "key"
            raise ConfigError("a certificate and its key go together: set both", field=f"tls.{missing}")
        if self.client_ca is not None and self.cert is None:
            raise ConfigError("needs cert and key: set them too", field="tls.client_ca")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class AccessConfig:
    """Who may call what.

    Raises
    ------
    ConfigError
        If something is asked for that needs tokens, and there are none.

    Examples
    --------
    >>> AccessConfig(tokens_file="tokens.yaml", without_token=["ingest"]).without_token
    (<Role.INGEST: 'ingest'>,)
    """

    tokens_file: Path | None = None
    """YAML file of tokens; `deeplog-grpc token` makes a line of it. null = callers are not asked for one, and may do
    everything. It is read again when it changes; what cannot be read then is logged and not taken."""

    reload_s: Annotated[float, Field(gt=0, le=3_600)] = 1.0
    """Seconds between two looks at the file. A token that is gone from it is refused from then on, and its streams
    end."""

    without_token: tuple[Role, ...] = ()
    """Roles of callers that send no token, for shippers that cannot: give them client certificates. Forward has a
    shared key of its own, and is not asked for a token."""

    metrics: bool = False
    """Whether `/metrics` needs a token with the role `read`. `/healthz` and `/readyz` never need one."""

    @model_validator(mode="after")
    def _check(self) -> "AccessConfig":
        for name in ("without_token", "metrics"):
            if getattr(self, name) and self.tokens_file is None:
                raise ConfigError("needs access.tokens_file: set it too", field=f"access.{name}")
        return self
