"""Where the server listens for what shippers speak, beside its gRPC port."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.serving.address import check_listen, check_public


def _text(value: Any) -> Any:
    """Only text is a secret: an error on anything else would show it."""
    if not isinstance(value, str | SecretStr | None):
        raise ConfigError("must be text: put it in quotes", field="forward.shared_key or forward.users")
    return value


def _mapping(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ConfigError("must be a mapping of names to passwords", field="forward.users")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_text)]
Secrets = Annotated[dict[str, Secret], BeforeValidator(_mapping)]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class OtlpHttpConfig:
    """OTLP logs over HTTP: ``POST /v1/logs``.

    Raises
    ------
    ConfigError
        As :class:`~deeplog_grpc.serving.ServerConfig` for ``listen``.
    """

    listen: str | None = "127.0.0.1:4318"
    """Address and port, `HOST:PORT`; port 0 = any free one, null = do not listen."""

    allow_public: bool = False
    """Whether `listen` may be an address that other machines reach although there is not both TLS and a login (tokens
    or client certificates)."""

    max_connections: Annotated[int, Field(ge=1)] = 1_000
    """Connections at once; more are closed."""

    receive_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds in which the head of a first request, and the body of any, must have come."""

    @model_validator(mode="after")
    def _check(self) -> "OtlpHttpConfig":
        if self.listen is not None:
            check_listen(self.listen, section="receivers.otlp_http")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ForwardConfig:
    """The Forward protocol of Fluent Bit, Fluentd and Docker's fluentd driver.

    Raises
    ------
    ConfigError
        As :class:`~deeplog_grpc.serving.ServerConfig` for ``listen``; if there are users and no shared key, a
        certificate without its key, or authorities of clients without a certificate.

    Examples
    --------
    >>> ForwardConfig(users={"node-1": "secret"})
    Traceback (most recent call last):
        ...
    deeplog_grpc.errors.ConfigError: receivers.forward.users: are only asked for with a shared_key: set that too
    """

    section: ClassVar[str] = "receivers.forward"
    """Where it stands in the configuration."""

    listen: str | None = "127.0.0.1:24224"
    """Address and port, `HOST:PORT`; port 0 = any free one, null = do not listen."""

    allow_public: bool = False
    """Whether `listen` may be an address that other machines reach although there is not both TLS and a login:
    `shared_key` or `tls_client_ca`. Without `shared_key` anybody there can send."""

    shared_key: Secret | None = None
    """What every sender must know; null = senders are not asked. Better given by the variable
    DEEPLOG_GRPC_RECEIVERS__FORWARD__SHARED_KEY than in a file."""

    users: Secrets = Field(default_factory=dict)
    """Passwords by user; with any, senders must name one of them besides knowing the shared key."""

    self_hostname: str = "deeplog-grpc"
    """How the server names itself to senders that know the shared key."""

    tls_cert: Path | None = None
    """PEM file of the server's certificate and those that lead to its authority; null = no TLS."""

    tls_key: Path | None = None
    """PEM file of the certificate's key."""

    tls_client_ca: Path | None = None
    """PEM file of the authorities of client certificates; with it, senders without such a certificate are refused."""

    max_connections: Annotated[int, Field(ge=1)] = 1_000
    """Connections at once; more are closed."""

    max_message_bytes: Annotated[int, Field(ge=2**10, le=2**30)] = 64 * 2**20
    """Bytes of one message, and of its entries when it is compressed. Fluent Bit's have 2 MiB, Fluentd's as many as its
    `chunk_limit_size`."""

    max_message_entries: Annotated[int, Field(ge=1)] = 1_000_000
    """Entries of one message."""

    receive_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds between two pieces of a message, and for the handshakes; silence between messages has no limit."""

    @model_validator(mode="after")
    def _check(self) -> "ForwardConfig":
        section = self.section
        if self.listen is not None:
            check_listen(self.listen, section=section)
        check_public(
            self.listen,
            allow_public=self.allow_public,
            is_guarded=self.tls_cert is not None and (self.shared_key is not None or self.tls_client_ca is not None),
            section=section,
            guard=f"set {section}.tls_cert and tls_key together with shared_key or tls_client_ca",
        )
        if self.users and self.shared_key is None:
            raise ConfigError("are only asked for with a shared_key: set that too", field=f"{section}.users")
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_cert" if self.tls_cert is None else "tls_key"
            raise ConfigError("a certificate and its key go together: set both", field=f"{section}.{missing}")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ConfigError("needs tls_cert and tls_key: set them too", field=f"{section}.tls_client_ca")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ReceiversConfig:
    """All receivers with an address of their own; OTLP/gRPC and Vector come in at ``server.listen``.

    Examples
    --------
    >>> ReceiversConfig(forward={"listen": None}).otlp_http.listen
    '127.0.0.1:4318'
    """

    otlp_http: OtlpHttpConfig = OtlpHttpConfig()
    """OTLP logs over HTTP, `POST /v1/logs`, in protobuf and JSON. OTLP over gRPC comes in at `server.listen`."""

    forward: ForwardConfig = ForwardConfig()
    """The Forward protocol of Fluent Bit, Fluentd and Docker's fluentd driver."""
