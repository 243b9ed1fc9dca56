"""Addresses to listen on: how they are written, which may be used, and what is said of one that cannot."""

import ipaddress
import os
import socket

from deeplog_grpc.errors import ConfigError, InputError


def host_and_port(listen: str) -> tuple[str, int]:
    """Host and port of a checked ``HOST:PORT``.

    Examples
    --------
    >>> host_and_port("[::1]:4318")
    ('::1', 4318)
    """
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_listen(listen: str, *, section: str) -> None:
    """Refuse an address that is none; ``section`` is where the configuration has it, for example ``server``.

    Raises
    ------
    ConfigError
        Naming the key, with an example.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"'{listen}' is not HOST:PORT, for example 127.0.0.1:50051", field=f"{section}.listen")


GUARD = "set tls.cert and tls.key together with access.tokens_file or tls.client_ca"
"""What makes the ports of gRPC and OTLP/HTTP fit for other machines."""


def check_public(listen: str | None, *, allow_public: bool, is_guarded: bool, section: str, guard: str = GUARD) -> None:
    """Refuse an address that other machines reach where neither TLS and a login nor the user's leave stand for it.

    Parameters
    ----------
    listen : str, optional
        A checked ``HOST:PORT``; None = nothing listens.
    allow_public : bool
        Whether other machines may reach it, however it is guarded.
    is_guarded : bool
        Whether there is TLS, and callers must prove who they are.
    section : str
        Where the configuration has ``listen`` and ``allow_public``, for example ``server``.
    guard : str
        What would guard it.

    Raises
    ------
    ConfigError
        Naming the key and the remedies.
    """
    if listen is None or allow_public or is_guarded:
        return
    host = host_and_port(listen)[0]
    if not is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines, and nothing keeps strangers out: {guard}; or listen on "
            f"127.0.0.1; or set {section}.allow_public to true if the network is trusted",
            field=f"{section}.listen",
        )


_REMEDY = "choose another, or port 0 for any free one"


def bound_socket(listen: str, *, field: str, remedy: str = _REMEDY) -> socket.socket:
    """A socket that listens on a checked ``HOST:PORT``, to be closed by the caller.

    Raises
    ------
    InputError
        If it cannot: the port is taken, the address is not this machine's.
    """
    host, port = host_and_port(listen)
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise cannot_listen(listen, error, field=field, remedy=remedy) from error


def cannot_listen(listen: str, error: Exception, *, field: str, remedy: str = _REMEDY) -> InputError:
    """What to say of an address that cannot be bound."""
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return InputError(f"cannot listen on {listen} ({reason}): {remedy}", field=field)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
