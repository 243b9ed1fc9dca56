"""What every way out has: one try to send, and two ways to fail."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item", contravariant=True)


class Sender(Protocol[Item]):
    """Sends to one place. One task uses it."""

    batch: int
    """Items that it takes at once, at most."""

    async def send(self, items: Sequence[Item]) -> None:
        """Send all of them, or fail; what was sent in part is sent again.

        Raises
        ------
        TryAgainError
            If the other side is away or busy.
        NotTakenError
            If it refuses them for ever.
        """
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...
