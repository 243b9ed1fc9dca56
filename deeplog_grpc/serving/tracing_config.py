"""Where the traces of calls go."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from deeplog_grpc.errors import ConfigError

if TYPE_CHECKING:  # an extra
    from deeplog_grpc.serving.tracing import Tracing


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class TracingConfig:
    """Where the server sends OpenTelemetry traces of its calls.

    Examples
    --------
    >>> TracingConfig().endpoint is None
    True
    """

    endpoint: str | None = None
    """OTLP over gRPC: `http://HOST:PORT`, or `https://HOST:PORT` for TLS; null = no traces. Needs the extra
    `tracing`."""

    sample_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the calls that are traced of those whose client does not say; a client that does is obeyed."""

    headers_file: Path | None = None
    """A file of `name: value` lines, sent along with each export, for the token of a collector; null = none."""


def start_tracing(config: TracingConfig) -> "Tracing | None":
    """What traces calls; None = nothing does.

    Raises
    ------
    ConfigError
        If OpenTelemetry is not installed, the endpoint is no URL, or the file of headers cannot be read.
    """
    if config.endpoint is None:
        return None
    if not config.endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"{config.endpoint!r} is not http://HOST:PORT or https://HOST:PORT", field="tracing.endpoint")
    headers = {} if config.headers_file is None else _headers(config.headers_file)
    try:
        from deeplog_grpc.serving.tracing import Tracing, otlp_exporter
    except ImportError as error:
        raise ConfigError(
            "traces need OpenTelemetry: pip install 'deeplog-grpc[tracing]', or set this to null",
            field="tracing.endpoint",
        ) from error
    return Tracing(otlp_exporter(config.endpoint, headers), sample_share=config.sample_share)


def _headers(path: Path) -> dict[str, str]:
    """Headers of a file; what is in it may be secret, and is not repeated in errors."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise ConfigError(f"{path} cannot be read: {reason}", field="tracing.headers_file") from error
    headers = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ConfigError(f"line {number} of {path} is not 'name: value'", field="tracing.headers_file")
        headers[name.strip().lower()] = value.strip()
    return headers
