"""``deeplog-grpc token``: make a token."""

from typing import Annotated

import typer

from deeplog_grpc.access.roles import Role
from deeplog_grpc.access.tokens import new_token, token_line
from deeplog_grpc.cli.console import MESSAGES, OUTPUT
from deeplog_grpc.errors import InputError


def token(
    name: Annotated[str, typer.Argument(help="What the log calls it: who is to have it.")],
    role: Annotated[list[Role], typer.Option(help="What it is for; repeat it. admin includes the others.")],
    application: Annotated[
        list[str] | None, typer.Option(help="Application, or a glob such as 'shop-*'; repeat it. Default: all.")
    ] = None,
) -> None:
    """Make a token for callers of a server: print it, once, and the line for the server's file.

    The line, on standard output, holds a digest from which nobody finds the token; the token goes to standard error.

    **Example:** `deeplog-grpc token fluent-bit --role ingest --application 'shop-*' >> tokens.yaml`
    """
    if not name.strip() or not name.isprintable():
        raise InputError("must be a printable text", field="NAME")
    made = new_token()
    line = token_line(name.strip(), made, dict.fromkeys(role), application or ())
    OUTPUT.print(line, markup=False, highlight=False, soft_wrap=True)
    MESSAGES.print(f"The token, which is shown this once: {made}", markup=False, highlight=False, soft_wrap=True)
