"""What a server listens with beside gRPC."""

from typing import Protocol


class Listener(Protocol):
    """Takes deliveries at an address of its own."""

    @property
    def name(self) -> str:
        """In the log, for example ``forward``."""
        ...

    async def start(self) -> int:
        """Begin to listen; returns the port.

        Raises
        ------
        InputError
            If the address cannot be bound.
        """
        ...

    async def stop(self) -> None:
        """Accept and read nothing more, finish what was read, answer it, and close.

        What is still open when this is cancelled is cut off. Called again, it does nothing.
        """
        ...
