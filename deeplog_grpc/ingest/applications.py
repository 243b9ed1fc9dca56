"""Which applications take entries."""

from collections.abc import Sequence
from typing import Protocol

from deeplog_grpc.access.scope import in_scope


class Applications(Protocol):
    """The applications of a server, at this moment. Asked on the event loop only."""

    @property
    def names(self) -> Sequence[str]:
        """Those that are served, in the order in which they came."""
        ...

    @property
    def default(self) -> str:
        """The one of entries that name none; empty = there is none, and such entries are faults."""
        ...

    def admit(self, name: str) -> bool:
        """Whether entries of an application are taken; may begin to serve one that was not known."""
        ...


class FixedApplications:
    """Applications that stay the same.

    Parameters
    ----------
    names : sequence of str

    Examples
    --------
    >>> applications = FixedApplications(["orders"])
    >>> applications.default, applications.admit("orders"), applications.admit("billing")
    ('orders', True, False)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.default = self.names[0] if len(self.names) == 1 else ""

    def admit(self, name: str) -> bool:
        """Whether it is one of them."""
        return name in self.names


def admitted(applications: Applications, name: str) -> str:
    """The application that takes the entries of a routed name; "" = none does.

    Where the name is not served and cannot be, the default takes them: a rule that fits is a guess, not an order.
    """
    if name and not in_scope(name):
        return ""  # what a token is not for must not end up among what it is for
    if name and applications.admit(name):
        return name
    default = applications.default
    return default if default and applications.admit(default) else ""
