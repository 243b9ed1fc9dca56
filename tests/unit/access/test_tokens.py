"""The file of tokens: what it may hold, what is said of what it may not, and how tokens are compared."""

import hmac
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.access import tokens as tokens_module
from deeplog_grpc.access.grants import Grant
from deeplog_grpc.access.roles import Role
from deeplog_grpc.access.tokens import Tokens, digest_of, new_token, read_tokens, token_line
from deeplog_grpc.errors import ConfigError

SECRET = "a-token-of-some-length-0123456789"
DIGEST = digest_of(SECRET).hex()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


def test_what_is_made_is_read(file: Path) -> None:
    shipper, person = new_token(), new_token()
    lines = (
        token_line("shipper", shipper, [Role.INGEST], ["shop-*", "a: b, [c]"]),
        token_line("1234", person, [Role.READ, Role.FEEDBACK]),
    )
    file.write_text("# tokens\n" + "\n".join(lines) + "\n")
    found = read_tokens(file)
    assert found.find(shipper) == Grant(
        name="shipper", roles=frozenset({Role.INGEST}), applications=("shop-*", "a: b, [c]")
    )
    assert found.find(person) == Grant(name="1234", roles=frozenset({Role.READ, Role.FEEDBACK}))
    assert found.find(shipper + "x") is None
    assert shipper not in file.read_text()


def test_json_and_plain_tokens_are_read_too(file: Path) -> None:
    file.write_text(f'[{{"name": "x", "token": "{SECRET}", "roles": ["admin"]}}]')
    found = read_tokens(file).find(SECRET)
    assert found is not None
    assert found.roles == frozenset(Role)  # admin includes the others


def test_the_same_name_may_stand_twice_while_a_token_is_exchanged(file: Path) -> None:
    old, new = new_token(), new_token()
    file.write_text("\n".join(token_line("shipper", token, [Role.INGEST]) for token in (old, new)))
    found = read_tokens(file)
    assert found.find(old) == found.find(new) is not None


GOOD = f"- {{name: good, token_sha256: {DIGEST}, roles: [read]}}\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "no list of tokens"),
        ("[]", 1, "no list of tokens"),
        ("name: x", 1, "no list of tokens"),
        (f"{GOOD}- text of {SECRET}", 2, "no mapping"),
        (f"{GOOD}- {{name: x, token: [{SECRET}]}}", 2, "must have roles"),
        (f"{GOOD}- {{name: x, token: [{SECRET}], roles: [read]}}", 2, "less than 20 characters"),
        (f"{GOOD}- {{token: {SECRET}, roles: [read]}}", 2, "has no name"),
        (f"{GOOD}- {{name: '', token: {SECRET}, roles: [read]}}", 2, "has no name"),
        (f'{GOOD}- {{name: "x\\n", token: {SECRET}, roles: [read]}}', 2, "has no name"),
        (f"{GOOD}- {{name: x, token: {SECRET}, roles: []}}", 2, "ingest, read, feedback, admin"),
        (f"{GOOD}- {{name: x, token: {SECRET}, roles: read}}", 2, "must have roles"),
        (f"{GOOD}- {{name: x, token: {SECRET}, roles: [root]}}", 2, "must have roles"),
        (f"{GOOD}- {{name: x, roles: [read]}}", 2, "either token_sha256 or token"),
        (f"{GOOD}- {{name: x, token: {SECRET}, token_sha256: {DIGEST}, roles: [read]}}", 2, "either"),
        (f"{GOOD}- {{name: x, token: short, roles: [read]}}", 2, "less than 20"),
        (f"{GOOD}- {{name: x, token_sha256: {SECRET}, roles: [read]}}", 2, "64 hexadecimal digits"),
        (f"{GOOD}- {{name: x, token_sha256: {'g' * 64}, roles: [read]}}", 2, "64 hexadecimal digits"),
        (f"{GOOD}- {{name: x, token_sha256: {DIGEST}, roles: [read]}}", 2, "an earlier line has too"),
        (f"{GOOD}- {{name: x, tokem: {SECRET}, roles: [read]}}", 2, "unknown or given twice"),
        (f"{GOOD}- {{name: x, name: y, token: {SECRET}, roles: [read]}}", 2, "unknown or given twice"),
        (f"{GOOD}- {{name: x, token: {SECRET}, roles: [read], applications: []}}", 2, "must have applications"),
        (f"{GOOD}- {{name: x, token: {SECRET}, roles: [read], applications: ['']}}", 2, "must have applications"),
        (f"{GOOD}- {{name: x, token: {SECRET}, roles: [read], applications: shop}}", 2, "must have applications"),
        (f"{GOOD}- {{name: x, token: {{a: {SECRET}}}, roles: [read]}}", 2, "neither a text nor a list"),
        (f"{GOOD}- {{name: x, token: {SECRET}", 2, "is not YAML"),
        (f"{GOOD}- name: x\n  token: '{SECRET}\n", 4, "is not YAML"),
        (f"{GOOD}\x00{SECRET}", 1, "is not YAML"),
    ],
)
def test_what_is_wrong_is_named_by_its_line_and_never_shown(file: Path, text: str, line: int, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_tokens(file)
    assert refusal.value.field == "access.tokens_file"
    assert refusal.value.message.startswith(f"line {line} of {file} ")
    assert said in refusal.value.message
    assert SECRET not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^access\.tokens_file: .* cannot be read: No such file"):
        read_tokens(tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="is not YAML"):
        read_tokens(tmp_path / "binary")


@pytest.mark.parametrize("token", [SECRET, "another", ""])
def test_each_token_known_or_not_costs_one_digest_and_one_comparison_of_equal_length(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    compared: list[tuple[int, int]] = []
    digested: list[str] = []

    def compare(kept: Any, given: Any) -> bool:
        compared.append((len(kept), len(given)))
        return hmac.compare_digest(kept, given)

    def digest(text: str) -> bytes:
        digested.append(text)
        return digest_of(text)

    monkeypatch.setattr(tokens_module, "digest_of", digest)
    monkeypatch.setattr(tokens_module, "hmac", type("h", (), {"compare_digest": staticmethod(compare)}))
    found = Tokens({bytes.fromhex(DIGEST): Grant(name="x")}).find(token)
    assert (found is not None) == (token == SECRET)
    assert compared == [(32, 32)]
    assert digested == [token]
