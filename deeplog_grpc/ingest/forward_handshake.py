"""The handshake of the Forward protocol: both sides prove that they know the shared key, without saying it.

The server says HELO with a nonce, the client PING, the server PONG. A digest is the hexadecimal SHA-512 of the salt,
the name of the side that proves, the nonce and the key. Salts are random bytes; some senders pack them as text.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.native import text

SALT_BYTES = 16
"""Of a good nonce or salt."""
_MAX_REASON = 200
"""Characters that are shown of what the other side gives as its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """What a server made of a client's PING."""

    ok: bool
    """False = the PONG says so, and the connection is to be closed after it."""
    reason: str
    """Why not; empty = ok. Fit to be told to the client."""
    client_hostname: str
    """As the client names itself."""
    pong: bytes
    """The answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a server said in its HELO."""

    nonce: bytes
    auth_salt: bytes
    """Empty = it wants no user and password."""


def hello(nonce: bytes, auth_salt: bytes = b"") -> bytes:
    """The server's HELO.

    Parameters
    ----------
    nonce : bytes
        Random, new for each connection.
    auth_salt : bytes
        Random; empty = no user and password are wanted.
    """
    return _pack(["HELO", {"nonce": nonce, "auth": auth_salt, "keepalive": True}])


def check_ping(
    message: bytes,
    *,
    nonce: bytes,
    auth_salt: bytes,
    shared_key: str,
    users: Mapping[str, str],
    hostname: str,
) -> Ping:
    """Check a client's PING.

    Parameters
    ----------
    message : bytes
        One whole msgpack value.
    nonce, auth_salt : bytes
        As in the HELO of this connection.
    users : mapping of str to str
        Passwords by user; empty = none is asked for.
    hostname : str
        How the server names itself.

    Raises
    ------
    InputError
        If it is no PING.

    Examples
    --------
    >>> secrets = {"shared_key": "s3cret", "salt": b"salt"}
    >>> raw = ping(read_hello(hello(b"nonce")), hostname="node-1", **secrets)
    >>> checked = check_ping(raw, nonce=b"nonce", auth_salt=b"", shared_key="s3cret", users={}, hostname="server")
    >>> checked.ok, checked.client_hostname
    (True, 'node-1')
    >>> check_pong(checked.pong, nonce=b"nonce", **secrets)
    'server'
    """
    values = _unpack(message, "PING", 6)
    client, salt, digest, user, password_digest = (_raw(value) for value in values[1:6])
    good_key = hmac.compare_digest(digest, _digest(salt, client, nonce, shared_key.encode()))
    password = users.get(text(user))
    expected = _digest(auth_salt, user, (password or "").encode())
    good_user = hmac.compare_digest(password_digest, expected) and password is not None
    reason = "" if good_key else "shared_key mismatch"
    if good_key and users and not good_user:
        reason = "username/password mismatch"
    answer = pong(salt=salt, nonce=nonce, shared_key=shared_key, hostname=hostname, reason=reason)
    return Ping(ok=not reason, reason=reason, client_hostname=text(client), pong=answer)


def pong(*, salt: bytes, nonce: bytes, shared_key: str, hostname: str, reason: str = "") -> bytes:
    """The server's PONG.

    Parameters
    ----------
    salt : bytes
        The client's.
    reason : str
        Why the client is refused; empty = it is not. Only a client that is not gets the server's proof.
    """
    digest = "" if reason else _digest(salt, hostname.encode(), nonce, shared_key.encode()).decode()
    return _pack(["PONG", not reason, reason, "" if reason else hostname, digest])


def read_hello(message: bytes) -> Hello:
    """Read a server's HELO.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> read_hello(hello(b"nonce")).nonce
    b'nonce'
    """
    options = _unpack(message, "HELO", 2)[1]
    if not isinstance(options, dict):
        raise InputError("the HELO has no options: check that the server speaks Forward")
    return Hello(nonce=_raw(options.get(b"nonce", b"")), auth_salt=_raw(options.get(b"auth", b"")))


def ping(said: Hello, *, hostname: str, shared_key: str, salt: bytes, user: str = "", password: str = "") -> bytes:
    """The client's PING.

    Parameters
    ----------
    said : Hello
        What the server said.
    hostname : str
        How the client names itself.
    salt : bytes
        Random, new for each connection.
    """
    key_digest = _digest(salt, hostname.encode(), said.nonce, shared_key.encode())
    password_digest = _digest(said.auth_salt, user.encode(), password.encode()) if said.auth_salt else b""
    # Fluent Bit takes a salt as text only, whatever its bytes are.
    text_salt = salt.decode("utf-8", "surrogateescape")
    return _pack(["PING", hostname, text_salt, key_digest.decode(), user, password_digest.decode()])


def check_pong(message: bytes, *, nonce: bytes, salt: bytes, shared_key: str) -> str:
    """Check a server's PONG.

    Returns
    -------
    str
        How the server names itself.

    Raises
    ------
    InputError
        If it is none, if it refuses the client, or if the server does not know the shared key.
    """
    _, ok, reason, hostname, digest = _unpack(message, "PONG", 5)[:5]
    if ok is not True:
        raise InputError(
            f"the server refuses: {text(_raw(reason))[:_MAX_REASON] or 'without a reason'}", field="shared_key"
        )
    name = _raw(hostname)
    if not hmac.compare_digest(_raw(digest), _digest(salt, name, nonce, shared_key.encode())):
        raise InputError("the server does not know it: set the same key on both sides", field="shared_key")
    return text(name)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def _unpack(message: bytes, name: str, size: int) -> list[Any]:
    try:
        # raw: salts are bytes, also where they are packed as text
        values = msgpack.unpackb(message, raw=True, strict_map_key=False, max_array_len=size + 8, max_map_len=64)
    except (ValueError, TypeError, msgpack.UnpackException):
        values = None
    if not isinstance(values, list) or len(values) < size or values[0] != name.encode():
        raise InputError(f"a {name} was expected: check that the other side speaks Forward with a shared key")
    return values


def _raw(value: Any) -> bytes:
    """Bytes of a field; one of another type is as good as an empty one."""
    return value if isinstance(value, bytes) else b""


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed
