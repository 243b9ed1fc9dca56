"""The applications of a server as the caller of the running call may see them."""

from collections.abc import Sequence
from typing import Protocol

from deeplog_grpc.access.grants import current_grant
from deeplog_grpc.errors import ApplicationForbiddenError

FORBIDDEN = ApplicationForbiddenError.reason
"""Reason of the faults of entries whose application the caller's token is not for."""
_SHOWN_CHARACTERS = 64


class _Applications(Protocol):
    """What is narrowed; see :class:`~deeplog_grpc.ingest.Applications`."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def default(self) -> str: ...

    def admit(self, name: str) -> bool: ...


def in_scope(application: str) -> bool:
    """Whether the caller's token is for an application."""
    return current_grant.get().allows(application)


def scope_message(application: str) -> str:
    """What to say of one that it is not for."""
    return f"the token is not for '{application[:_SHOWN_CHARACTERS]}': use one whose applications include it"


def check_scope(application: str, *, field: str) -> None:
    """Refuse an application that the caller's token is not for, whether or not it is served.

    Raises
    ------
    ApplicationForbiddenError
        Naming the field.
    """
    if not in_scope(application):
        raise ApplicationForbiddenError(scope_message(application), field=field)


class ScopedApplications:
    """Applications of which each caller sees its own; implements :class:`~deeplog_grpc.ingest.Applications`.

    Parameters
    ----------
    applications : Applications
        All.
    """

    def __init__(self, applications: _Applications) -> None:
        self.all = applications
        """Whoever asks."""

    @property
    def names(self) -> Sequence[str]:
        """Those that are served and that the caller's token is for."""
        grant = current_grant.get()
        return [name for name in self.all.names if grant.allows(name)] if grant.applications else self.all.names

    @property
    def default(self) -> str:
        """The one of entries that name none; empty = there is none, or the token is not for it."""
        default = self.all.default
        return default if default and in_scope(default) else ""

    def admit(self, name: str) -> bool:
        """Whether entries of an application are taken from this caller; one out of scope is not begun either."""
        return in_scope(name) and self.all.admit(name)
