"""What the caller of the running call may do."""

from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase

from deeplog_grpc.access.roles import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token is for.

    Examples
    --------
    >>> shop = Grant(name="shop-ci", roles=frozenset({Role.INGEST}), applications=("shop-*",))
    >>> shop.allows("shop-cart"), shop.allows("billing")
    (True, False)
    """

    name: str = ""
    """Of the token, for the log; empty = the caller has none."""
    roles: frozenset[Role] = frozenset(Role)
    applications: tuple[str, ...] = ()
    """Globs of applications; empty = all."""

    def allows(self, application: str) -> bool:
        """Whether it is for an application."""
        return not self.applications or any(fnmatchcase(application, glob) for glob in self.applications)


EVERYTHING = Grant()
"""That of callers whom nobody asks for a token."""

current_grant: ContextVar[Grant] = ContextVar("current_grant", default=EVERYTHING)
"""That of the running call. Tasks that a call begins have it too; a thread has it only if it is given the context."""
