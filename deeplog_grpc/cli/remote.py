"""What the commands that ask a running server share."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from deeplog_grpc.errors import DeepLogError, InputError, RefusedError

DEFAULT_SERVER = "127.0.0.1:50051"

ServerOption = Annotated[str, typer.Option("--server", metavar="HOST:PORT", help="The server.")]
ApplicationOption = Annotated[str, typer.Option(help="The application. Default: the only one of the server.")]
ActorOption = Annotated[str | None, typer.Option(help="Who says so. Default: the login name.")]
NoteOption = Annotated[str, typer.Option(help="Why; kept with it.")]
IdOption = Annotated[
    str, typer.Option("--id", help="Name of this order: the same one again is done once. Default: a new one.")
]


def actor_of(actor: str | None) -> str:
    """Who gives an order: as said, else the login name, else nobody."""
    if actor is not None:
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without a name for its user
        return ""


@contextmanager
def named_order(feedback_id: str) -> Iterator[None]:
    """Say of an order that got no answer how to repeat it without its being done twice.

    Raises
    ------
    RefusedError
        In place of every error but a wrong input.
    """
    try:
        yield
    except InputError:
        raise
    except DeepLogError as error:
        raise RefusedError(f"{error}; to repeat the order, and have it done once, add --id {feedback_id}") from None
