"""What the commands that ask a running server share."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from deeplog_grpc.cli.console import settings_of
from deeplog_grpc.client import ClientConfig, DeepLogClient
from deeplog_grpc.errors import AccessError, DeepLogError, InputError, RefusedError
from deeplog_grpc.settings import CONFIG_VARIABLE

DEFAULT_SERVER = "127.0.0.1:50051"

ServerOption = Annotated[str, typer.Option("--server", metavar="HOST:PORT", help="The server.")]
ApplicationOption = Annotated[str, typer.Option(help="The application. Default: the only one of the server.")]
ActorOption = Annotated[str | None, typer.Option(help="Who says so. Default: the login name.")]
NoteOption = Annotated[str, typer.Option(help="Why; kept with it.")]
IdOption = Annotated[
    str, typer.Option("--id", help="Name of this order: the same one again is done once. Default: a new one.")
]


def client_config() -> ClientConfig:
    """How servers are reached: as the options before the command say, the environment, and the configuration.

    Raises
    ------
    ConfigError
        If a key is wrong.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    return settings_of(Path(path) if path else None, None).client


def connected(server: str) -> DeepLogClient:
    """A client of a server; raises as :func:`client_config`."""
    return DeepLogClient(server, config=client_config())


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
        In place of every error but a wrong input or token.
    """
    try:
        yield
    except (InputError, AccessError):
        raise
    except DeepLogError as error:
        raise RefusedError(f"{error}; to repeat the order, and have it done once, add --id {feedback_id}") from None
