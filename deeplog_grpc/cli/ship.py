"""``deeplog-grpc ship``: follow log files and stream them to a server."""

import asyncio
import glob
import os
from pathlib import Path
from typing import Annotated

import typer

from deeplog_grpc.cli.console import ConfigOption, SetOption, settings_of
from deeplog_grpc.errors import InputError
from deeplog_grpc.shipping import ship as ship_lines

EXIT_UNFINISHED = 1
"""With --once: not all is answered; the rest is in the spool."""


def ship(
    files: Annotated[list[str] | None, typer.Argument(help="Log files, quoted globs, or - for standard input.")] = None,
    server: Annotated[str | None, typer.Option(help="HOST:PORT of the server.")] = None,
    spool: Annotated[Path | None, typer.Option(help="File in which lines wait [default: deeplog-ship.spool].")] = None,
    application: Annotated[str | None, typer.Option(help="Application of lines that name none.")] = None,
    forward: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Also take what comes by the Forward protocol here.")
    ] = None,
    annotate: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write entries with their verdicts here; - = standard output.")
    ] = None,
    annotate_anomalies: Annotated[
        bool | None, typer.Option("--annotate-anomalies", help="Write anomalies there only.", show_default=False)
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when all that is there now is answered.")] = False,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Follow log files, read standard input or take what shippers send, and stream all lines to a server.

    Lines wait in a spool on disk while the server is away. Rotation, restarts and kills lose nothing and count nothing
    twice. SIGTERM stops it; what is not answered then is sent by the next run with the same spool. With --once the
    exit code is 0 only if every line was answered.

    **Example:** `deeplog-grpc ship '/var/log/app/*.log' --server 127.0.0.1:50051 --spool ./ship.spool`
    """
    settings = settings_of(
        config,
        assignments,
        ship__files=files or None,
        ship__server=server,
        ship__spool=spool,
        ship__application=application,
        ship__forward__listen=forward,
        ship__annotate=annotate,
        ship__annotate_anomalies=annotate_anomalies,
    )
    for path in settings.ship.files:
        if path != "-" and not glob.has_magic(path) and not os.path.exists(path):
            raise InputError("no such file: give a path, a quoted glob, or - for standard input", field=path)
        if os.path.isdir(path):
            raise InputError("is a folder: give a quoted glob, such as '*.log' in it", field=path)
    is_answered = asyncio.run(ship_lines(settings.ship, is_once=once, client=settings.client))
    if once and not is_answered:
        raise typer.Exit(EXIT_UNFINISHED)
