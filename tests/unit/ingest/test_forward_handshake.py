import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.forward import ForwardDecoder
from deeplog_grpc.ingest.forward_handshake import Ping, check_ping, check_pong, hello, ping, pong, read_hello
from deeplog_grpc.ingest.forward_messages import acknowledged, acknowledgement
from tests import captures

NONCE, AUTH, SALT = b"\x00\xffnonce", b"\xfeauth", b"\x80salt"
USERS = {"u1": "p1"}


def recorded(case: str, side: str) -> list[bytes]:
    path = captures.LOCAL / "forward" / case / f"conn001.{side}.bin"
    return list(ForwardDecoder(max_message_bytes=10_000, max_records=10).split(path.read_bytes()))


def check(raw: bytes, *, key: str = "s3cret", users: dict[str, str] | None = None) -> Ping:
    users = users or {}
    auth = AUTH if users else b""
    return check_ping(raw, nonce=NONCE, auth_salt=auth, shared_key=key, users=users, hostname="server")


def test_the_recorded_ping_of_fluent_bit_is_good_and_its_pong_made_again() -> None:
    said, answered = recorded("handshake_user_password", "tx")[:2]
    offer = read_hello(said)
    assert hello(offer.nonce, offer.auth_salt) == said
    checked = check_ping(
        recorded("handshake_user_password", "rx")[0],
        nonce=offer.nonce,
        auth_salt=offer.auth_salt,
        shared_key="s3cret",
        users=USERS,
        hostname="deeplog",
    )
    assert checked == Ping(ok=True, reason="", client_hostname="node-1", pong=answered)


def test_the_recorded_ping_with_another_key_is_refused() -> None:
    offer = read_hello(recorded("handshake_refused", "tx")[0])
    (raw,) = recorded("handshake_refused", "rx")
    checked = check_ping(
        raw, nonce=offer.nonce, auth_salt=offer.auth_salt, shared_key="s3cret", users={}, hostname="deeplog"
    )
    assert (checked.ok, checked.reason) == (False, "shared_key mismatch")
    assert msgpack.unpackb(checked.pong) == ["PONG", False, "shared_key mismatch", "", ""]


@pytest.mark.parametrize(
    ("key", "user", "password", "reason"),
    [
        ("s3cret", "u1", "p1", ""),
        ("other", "u1", "p1", "shared_key mismatch"),
        ("s3cret", "u1", "p2", "username/password mismatch"),
        ("s3cret", "u2", "p1", "username/password mismatch"),
        ("s3cret", "u2", "", "username/password mismatch"),
        ("s3cret", "", "", "username/password mismatch"),
    ],
)
def test_who_is_let_in(key: str, user: str, password: str, reason: str) -> None:
    offer = read_hello(hello(NONCE, AUTH))
    checked = check(
        ping(offer, hostname="node-1", shared_key=key, salt=SALT, user=user, password=password), users=USERS
    )
    assert (checked.ok, checked.reason) == (not reason, reason)
    if reason:
        with pytest.raises(InputError, match=reason):
            check_pong(checked.pong, nonce=NONCE, salt=SALT, shared_key=key)
    else:
        assert check_pong(checked.pong, nonce=NONCE, salt=SALT, shared_key=key) == "server"


def test_a_server_that_does_not_know_the_key_is_found_out() -> None:
    answer = pong(salt=SALT, nonce=NONCE, shared_key="guessed", hostname="server")
    with pytest.raises(InputError, match="shared_key: the server does not know it"):
        check_pong(answer, nonce=NONCE, salt=SALT, shared_key="s3cret")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        msgpack.packb(["PING"]),
        msgpack.packb(["PONG"] * 6),
        msgpack.packb({"PING": 1}),
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_what_is_no_ping_is_named(raw: bytes) -> None:
    with pytest.raises(InputError, match="a PING was expected"):
        check(raw)


def test_fields_of_another_type_are_a_mismatch() -> None:
    assert not check(msgpack.packb(["PING", 1, None, [], {}, 2.5])).ok
    with pytest.raises(InputError, match="no options"):
        read_hello(msgpack.packb(["HELO", 5]))


@given(st.binary(max_size=100))
def test_any_bytes_are_an_answer_or_an_input_error(raw: bytes) -> None:
    for read in (check, read_hello, acknowledged, lambda raw: check_pong(raw, nonce=b"", salt=b"", shared_key="k")):
        try:
            read(raw)
        except InputError:
            continue


@pytest.mark.parametrize("chunk", ["c1\n", b"\xff"])
def test_an_acknowledgement_is_read(chunk: str | bytes) -> None:
    assert acknowledged(acknowledgement(chunk)) == chunk
    with pytest.raises(InputError, match="no acknowledgement"):
        acknowledged(msgpack.packb({"ok": True}))


def test_a_salt_travels_as_text_whatever_its_bytes_are() -> None:
    """Fluent Bit refuses a PING whose salt is binary."""
    raw = ping(read_hello(hello(b"n" * 16)), hostname="h", shared_key="k", salt=b"\xff\x00salt")
    assert isinstance(msgpack.unpackb(raw, unicode_errors="surrogateescape")[2], str)
    checked = check_ping(raw, nonce=b"n" * 16, auth_salt=b"", shared_key="k", users={}, hostname="s")
    assert checked.ok
