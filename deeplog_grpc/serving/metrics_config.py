"""Where the metrics are read."""

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.serving.address import check_listen


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class MetricsConfig:
    """Where Prometheus finds the metrics, and a load balancer or Kubernetes how the server does.

    Raises
    ------
    ConfigError
        As :class:`~deeplog_grpc.serving.ServerConfig` for ``listen``.
    """

    listen: str | None = "127.0.0.1:9464"
    """Address and port, `HOST:PORT`, of `GET /metrics`, `/healthz` and `/readyz`; port 0 = any free one, null =
    do not listen."""

    allow_public: bool = False
    """Whether `listen` may be an address that other machines reach although there is not both TLS and a login: client
    certificates, or tokens and `access.metrics`."""

    @model_validator(mode="after")
    def _check(self) -> "MetricsConfig":
        if self.listen is not None:
            check_listen(self.listen, section="metrics")
        return self
