"""The file of tokens: a YAML list that has of each token its digest, and what it is for.

A token of our making has 256 random bits, so that a plain SHA-256 of it is as good as a slow one: there is nothing to
guess. It is looked up by its digest, and what is found is compared in constant time; how long either takes tells of the
digest alone, from which no token follows.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deeplog_grpc.access.grants import Grant
from deeplog_grpc.access.roles import Role, with_included
from deeplog_grpc.errors import ConfigError

PREFIX = "dlg_"
"""Of tokens, so that scanners for secrets know them."""
_TOKEN_BYTES = 32
_MIN_CHARACTERS = 20
"""Of a token of one's own making. Fewer can be guessed."""
_MAX_FILE_BYTES = 16 * 2**20
_DIGEST_CHARACTERS = 64
_KEYS = {"name", "token", "token_sha256", "roles", "applications"}
_NOBODY = bytes(32)
_FIELD = "access.tokens_file"


def new_token() -> str:
    """A token that nobody has had."""
    return PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def digest_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def token_line(name: str, token: str, roles: Iterable[Role], applications: Sequence[str] = ()) -> str:
    """The line of the file for a token.

    Examples
    --------
    >>> token_line("node", "x" * 43, [Role.INGEST], ["shop-*"])[:41]
    '- {name: node, token_sha256: cc0b1c2c66f3'
    """
    entry: dict[str, Any] = {"name": name, "token_sha256": digest_of(token).hex(), "roles": [str(r) for r in roles]}
    if applications:
        entry["applications"] = list(applications)
    return f"- {yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=10_000).strip()}"


class Tokens:
    """Tokens by their digests.

    Parameters
    ----------
    grants : mapping of bytes to Grant
        Digest -> what the token is for.

    Examples
    --------
    >>> tokens = Tokens({digest_of("secret"): Grant(name="node")})
    >>> tokens.find("secret").name, tokens.find("secreT")
    ('node', None)
    """

    def __init__(self, grants: Mapping[bytes, Grant]) -> None:
        self._grants = {digest: (digest, grant) for digest, grant in grants.items()}

    def __len__(self) -> int:
        return len(self._grants)

    def find(self, token: str) -> Grant | None:
        """What a token is for; None = it is not one of these."""
        return self.find_digest(digest_of(token))

    def find_digest(self, digest: bytes) -> Grant | None:
        """What the token with a digest is for; None = there is none."""
        kept, grant = self._grants.get(digest, (_NOBODY, None))
        return grant if hmac.compare_digest(kept, digest) else None


def read_tokens(path: Path) -> Tokens:
    """Read the file.

    Raises
    ------
    ConfigError
        If it cannot be read, or one of its entries is wrong: naming the line and the remedy, and never what stands
        there, which may be a token.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", field=_FIELD) from error
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {_MAX_FILE_BYTES} bytes: give a file of tokens", field=_FIELD)
    return Tokens(_grants(path, _entries(path, raw)))


def _entries(path: Path, raw: bytes) -> list[yaml.MappingNode]:
    try:
        root = yaml.compose(raw, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise _fault(path, line, "is not YAML: mend it, or write the line anew by 'deeplog-grpc token'") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _fault(path, 1, "is not YAML in UTF-8: write the file anew") from None
    if not isinstance(root, yaml.SequenceNode) or not root.value:
        raise _fault(path, 1, "is no list of tokens: give it a line by 'deeplog-grpc token'")
    for node in root.value:
        if not isinstance(node, yaml.MappingNode):
            raise _fault(
                path, node.start_mark.line + 1, "is no mapping: write {name: ..., token_sha256: ..., roles: [...]}"
            )
    return list(root.value)


def _grants(path: Path, entries: Sequence[yaml.MappingNode]) -> dict[bytes, Grant]:
    grants: dict[bytes, Grant] = {}
    for node in entries:
        line = node.start_mark.line + 1
        digest, grant = _read_entry(path, line, _mapping(path, node))
        if digest in grants:
            raise _fault(path, line, "has a token that an earlier line has too: let one of the two go")
        grants[digest] = grant
    return grants


def _mapping(path: Path, node: yaml.MappingNode) -> dict[str, Any]:
    """An entry, without tags, anchors or keys that appear twice."""
    found: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.value not in _KEYS or key.value in found:
            raise _fault(path, line, f"has a key that is unknown or given twice: there are {', '.join(sorted(_KEYS))}")
        if isinstance(value, yaml.ScalarNode):
            found[key.value] = value.value
        elif isinstance(value, yaml.SequenceNode) and all(isinstance(one, yaml.ScalarNode) for one in value.value):
            found[key.value] = [one.value for one in value.value]
        else:
            raise _fault(path, line, f"has a value of {key.value} that is neither a text nor a list of texts")
    return found


def _read_entry(path: Path, line: int, entry: Mapping[str, Any]) -> tuple[bytes, Grant]:
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise _fault(path, line, "has no name: give the token one, for the log")
    roles = entry.get("roles")
    known = [str(role) for role in Role]
    if not isinstance(roles, list) or not roles or not set(roles) <= set(known):
        raise _fault(path, line, f"must have roles, a list of some of {', '.join(known)}")
    applications = entry.get("applications", [])
    if not isinstance(applications, list) or not all(applications) or ("applications" in entry and not applications):
        raise _fault(path, line, "must have applications that are a list of names or globs, or none for all")
    grant = Grant(
        name=name.strip(), roles=with_included(Role(role) for role in roles), applications=tuple(applications)
    )
    return _digest(path, line, entry), grant


def _digest(path: Path, line: int, entry: Mapping[str, Any]) -> bytes:
    token, stated = entry.get("token"), entry.get("token_sha256")
    if (token is None) == (stated is None):
        raise _fault(path, line, "must have either token_sha256 or token")
    if stated is not None:
        try:
            digest = bytes.fromhex(stated) if isinstance(stated, str) and len(stated) == _DIGEST_CHARACTERS else b""
        except ValueError:
            digest = b""
        if not digest:
            raise _fault(
                path, line, "has a token_sha256 that is not 64 hexadecimal digits: 'deeplog-grpc token' prints it"
            )
        return digest
    if not isinstance(token, str) or len(token) < _MIN_CHARACTERS:
        raise _fault(
            path, line, f"has a token of less than {_MIN_CHARACTERS} characters: make one by 'deeplog-grpc token'"
        )
    return digest_of(token)


def _fault(path: Path, line: int, message: str) -> ConfigError:
    return ConfigError(f"line {line} of {path} {message}", field=_FIELD)
