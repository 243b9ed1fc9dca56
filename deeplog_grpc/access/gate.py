"""Decides on a call by its token. Knows no protocol: it is given the header ``authorization``, and raises."""

from collections import Counter
from typing import Any

import structlog

from deeplog_grpc.access.config import AccessConfig
from deeplog_grpc.access.grants import Grant
from deeplog_grpc.access.roles import Role, with_included
from deeplog_grpc.access.tokens import digest_of, read_tokens
from deeplog_grpc.access.watched import signature
from deeplog_grpc.errors import AccessError, ConfigError, RoleMissingError, TokenMissingError, TokenUnknownError

HEADER = "authorization"
_SCHEME = "bearer"

_log: Any = structlog.get_logger("deeplog_grpc.access")


class Gate:
    """Knows the tokens.

    Parameters
    ----------
    config : AccessConfig
        With a file of tokens.

    Raises
    ------
    ConfigError
        If the file cannot be read, or has an error.
    """

    def __init__(self, config: AccessConfig) -> None:
        if config.tokens_file is None:
            raise ConfigError("must be given", field="access.tokens_file")
        self.config = config
        """How callers are asked."""
        self._path = config.tokens_file
        self._seen = signature([self._path])
        self._tokens = read_tokens(self._path)
        self._without = Grant(roles=with_included(config.without_token))
        self.failed_reloads = 0
        """Times that the file was changed to something that cannot be used."""
        self.refusals: Counter[str] = Counter()
        """How often callers were refused, by reason."""

    def admit(self, header: str | None, role: Role) -> tuple[Grant, bytes]:
        """What the caller may do, and the digest of its token (empty = it has none).

        Parameters
        ----------
        header : str, optional
            What stands in ``authorization``.
        role : Role
            That the call needs.

        Raises
        ------
        AccessError
            If the caller may not call this.
        """
        try:
            return self._admitted(header, role)
        except AccessError as error:
            self.refusals[error.reason] += 1
            raise

    def recheck(self, digest: bytes) -> Grant | None:
        """What the token with a digest is for now; None = it is gone."""
        return self._tokens.find_digest(digest) if digest else self._without

    def reload(self) -> bool:
        """Read the file again if it has changed; whether there are other tokens now."""
        now = signature([self._path])
        if now == self._seen:
            return False
        self._seen = now
        try:
            self._tokens = read_tokens(self._path)
        except ConfigError as error:
            self.failed_reloads += 1
            _log.error("tokens not read again: those of before count", reason=str(error))
            return False
        _log.info("tokens read again", count=len(self._tokens))
        return True

    def _admitted(self, header: str | None, role: Role) -> tuple[Grant, bytes]:
        digest = b""
        if header is None:
            if not self._without.roles:
                raise TokenMissingError("there is no token: send 'authorization: Bearer TOKEN'")
            grant: Grant | None = self._without
        else:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != _SCHEME or not token.strip():
                raise TokenMissingError("authorization must be 'Bearer TOKEN'")
            digest = digest_of(token.strip())
            grant = self._tokens.find_digest(digest)
        if grant is None:
            raise TokenUnknownError("the token is not known here: it is wrong, or has been taken back")
        if role not in grant.roles:
            who = f"the token '{grant.name}'" if grant.name else "a call without a token"
            raise RoleMissingError(f"{who} does not have the role '{role}', which this needs")
        return grant, digest
