"""Channels to a server, by which every call takes the token along.

gRPC's own credentials for calls want TLS, so that a server on the same machine could not be given a token without. Here
it may, and a token still never leaves the machine in plain text unless the user says so.
"""

from collections.abc import Callable
from typing import Any

import grpc

from deeplog_grpc.access.trust import grpc_credentials
from deeplog_grpc.client.config import ClientConfig
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.serving.address import is_loopback

Options = list[tuple[str, int]] | list[tuple[str, int | str]]


def channel(address: str, config: ClientConfig, options: Options) -> Any:
    """A ``grpc.Channel`` for threads.

    Raises
    ------
    ConfigError
        If a file cannot be read, or a token would be sent in plain text to another machine.
    """
    return _connected(grpc, address, config, options)


def aio_channel(address: str, config: ClientConfig, options: Options) -> Any:
    """A ``grpc.aio.Channel``; raises as :func:`channel`."""
    return _connected(grpc.aio, address, config, options)


def _connected(library: Any, address: str, config: ClientConfig, options: Options) -> Any:
    token = _token(config)
    if token is not None:
        _check_private(address, config)
        token()  # a file that is not there is told now, not with the first call
    if config.speaks_tls:
        credentials = grpc_credentials(config.ca_file, config.cert_file, config.key_file, field="client")
        plain = library.secure_channel(address, credentials, options=options)
    else:
        plain = library.insecure_channel(address, options=options)
    return plain if token is None else _WithToken(plain, token)


class _WithToken:
    """A channel whose calls take a token along; has of a channel what stubs and clients use."""

    def __init__(self, plain: Any, token: Callable[[], str]) -> None:
        self._channel = plain
        self._token = token
        self.close: Any = plain.close

    def unary_unary(self, *given: Any, **named: Any) -> Any:
        return self._with(self._channel.unary_unary(*given, **named))

    def unary_stream(self, *given: Any, **named: Any) -> Any:
        return self._with(self._channel.unary_stream(*given, **named))

    def stream_stream(self, *given: Any, **named: Any) -> Any:
        return self._with(self._channel.stream_stream(*given, **named))

    def _with(self, method: Any) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            return method(*given, **named, metadata=(("authorization", f"Bearer {self._token()}"),))

        return call


def _token(config: ClientConfig) -> Callable[[], str] | None:
    """Tells the token each time that it is asked; None = there is none."""
    if config.token is not None:
        value = config.token.get_secret_value().strip()
        return lambda: value
    path = config.token_file
    if path is None:
        return None

    def read() -> str:
        try:
            found = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"{path} cannot be read: {reason}", field="client.token_file") from None
        if not found.isascii() or not found.isprintable() or not found:
            raise ConfigError(f"{path} must hold a token and nothing else", field="client.token_file")
        return found

    return read


def _check_private(address: str, config: ClientConfig) -> None:
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if not (config.speaks_tls or config.allow_plain_token or is_loopback(host) or address.startswith("unix:")):
        raise ConfigError(
            f"the token would go to {address} in plain text: set client.tls, or client.ca_file (--tls, --ca-file); or "
            "client.allow_plain_token if something else encrypts",
            field="client.token",
        )
