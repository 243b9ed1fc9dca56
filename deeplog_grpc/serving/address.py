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


def check_listen(listen: str, *, allow_public: bool, section: str) -> None:
    """Refuse an address that is none, or that other machines reach without leave.

    Parameters
    ----------
    listen : str
        ``HOST:PORT``.
    allow_public : bool
        Whether other machines may reach it.
    section : str
        Where the configuration has ``listen`` and ``allow_public``, for example ``server``.

    Raises
    ------
    ConfigError
        Naming the key and the remedy.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"'{listen}' is not HOST:PORT, for example 127.0.0.1:50051", field=f"{section}.listen")
    host = host_and_port(listen)[0]
    if not allow_public and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines, and the server has neither TLS nor a login: "
            f"listen on 127.0.0.1, or set {section}.allow_public to true if the network is trusted",
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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
