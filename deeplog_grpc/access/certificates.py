"""Certificates of a listener, read again when their files change: for asyncio, and for gRPC.

Each new connection looks whether the files have changed, which costs microseconds beside a handshake of milliseconds.
What is new is taken whole or not at all: until certificate, key and authorities have been read and fit together, those
of before stay in use.
"""

import os
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from deeplog_grpc.access.config import TlsConfig
from deeplog_grpc.access.watched import Signature, signature
from deeplog_grpc.errors import ConfigError

_TRIES = 3
"""Times that files are read which change meanwhile."""

_log: Any = structlog.get_logger("deeplog_grpc.access")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What the files held at one moment."""

    context: ssl.SSLContext
    lenient: ssl.SSLContext
    """The same, but a caller may have no certificate."""
    chain: bytes
    key: bytes
    authorities: bytes | None


class Certificates:
    """A certificate with its key, and the authorities of clients.

    Parameters
    ----------
    cert, key : Path
        PEM files.
    client_ca : Path, optional
        With it, callers without a certificate of such an authority are refused.
    fields : tuple of str
        Keys of the configuration that name certificate and authorities, for errors.

    Raises
    ------
    ConfigError
        If they cannot be used.
    """

    def __init__(
        self,
        cert: Path,
        key: Path,
        client_ca: Path | None = None,
        *,
        fields: tuple[str, str] = ("tls.cert", "tls.client_ca"),
    ) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._fields = fields
        self._paths = [path for path in (cert, key, client_ca) if path is not None]
        self._lock = threading.Lock()
        """gRPC asks in threads of its own."""
        self._seen: Signature = signature(self._paths)
        self._loaded = self._load()
        self.failed_reloads = 0
        """Times that the files were changed to something that cannot be used."""

    @property
    def asks_clients(self) -> bool:
        """Whether callers need a certificate."""
        return self._client_ca is not None

    def context(self, *, needs_client: bool = True) -> ssl.SSLContext:
        """A context for listeners of asyncio.

        Parameters
        ----------
        needs_client : bool
            Whether a caller without a certificate is refused in the handshake, where certificates are asked for at all;
            else the listener decides, by what the transport tells of the peer.
        """
        return _FollowingContext.of(self, needs_client=needs_client)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Credentials for a port of gRPC."""
        given = self._loaded

        def fetch() -> Any:
            nonlocal given
            if (now := self.current()) is given:
                return None
            given = now
            return _grpc_configuration(now)

        return grpc.dynamic_ssl_server_credentials(
            _grpc_configuration(given), fetch, require_client_authentication=self.asks_clients
        )

    def current(self) -> _Loaded:
        """What is in the files now, or was when they could last be used."""
        with self._lock:
            now = signature(self._paths)
            if now != self._seen:
                self._seen = now
                try:
                    self._loaded = self._load()
                    _log.info("certificate read again", cert=str(self._cert))
                except ConfigError as error:
                    self.failed_reloads += 1
                    _log.error("certificate not read again: that of before counts", reason=str(error))
            return self._loaded

    @classmethod
    def of(cls, config: TlsConfig) -> "Certificates | None":
        """Those of the section ``tls``; None = there are none."""
        if config.cert is None or config.key is None:
            return None
        return cls(config.cert, config.key, config.client_ca)

    def _load(self) -> _Loaded:
        """The files, read while they do not change: they must be of one moment."""
        before = self._read()
        for _ in range(_TRIES):
            context, lenient = self._checked(), self._checked()
            if (after := self._read()) == before:
                break
            before = after
        if self.asks_clients:
            lenient.verify_mode = ssl.CERT_OPTIONAL
        return _Loaded(context, lenient, *before)

    def _checked(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except OSError as error:
            raise _unusable(self._fields[0], f"{self._cert} and {self._key}", error) from error
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
            except OSError as error:
                raise _unusable(self._fields[1], str(self._client_ca), error) from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _read(self) -> tuple[bytes, bytes, bytes | None]:
        chain, key = (self._bytes(path, self._fields[0]) for path in (self._cert, self._key))
        return chain, key, None if self._client_ca is None else self._bytes(self._client_ca, self._fields[1])

    def _bytes(self, path: Path, field: str) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise _unusable(field, str(path), error) from error


class _FollowingContext(ssl.SSLContext):
    """A context whose connections have the certificates of now: each is given over to the latest context."""

    _certificates: Certificates
    _needs_client: bool

    @classmethod
    def of(cls, certificates: Certificates, *, needs_client: bool) -> "_FollowingContext":
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context._certificates = certificates
        context._needs_client = needs_client
        return context

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """What asyncio asks for with each connection."""
        loaded = self._certificates.current()
        return (loaded.context if self._needs_client else loaded.lenient).wrap_bio(*arguments, **named)


def _grpc_configuration(loaded: _Loaded) -> Any:
    return grpc.ssl_server_certificate_configuration([(loaded.key, loaded.chain)], root_certificates=loaded.authorities)


def _no_password() -> str:
    """Answers for a key that is encrypted; without it OpenSSL would ask at the terminal."""
    return ""


def _unusable(field: str, what: str, error: OSError) -> ConfigError:
    reason = os.strerror(error.errno) if error.errno and not isinstance(error, ssl.SSLError) else str(error)
    return ConfigError(f"{what} cannot be used ({reason}): give PEM files that belong together", field=field)
