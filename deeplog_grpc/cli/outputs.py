"""``deeplog-grpc outputs``: where anomalies and scored records go, and whether they get there."""

import asyncio
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT, ConfigOption, SetOption, settings_of
from deeplog_grpc.errors import InputError
from deeplog_grpc.outputs.config import (
    OUTPUT_TYPES,
    AlertmanagerOutput,
    FileOutput,
    ForwardOutput,
    OtlpOutput,
    Output,
    RecordOutput,
    WebhookOutput,
)
from deeplog_grpc.outputs.failures import NotTakenError, TryAgainError

_SHOWN = 300
"""Characters of an answer."""

outputs = typer.Typer(help="See the outputs of the configuration, and try them.", no_args_is_help=True)


@outputs.command(name="list")
def list_(config: ConfigOption = None, assignments: SetOption = None) -> None:
    """Show the outputs of the configuration.

    **Example:** `deeplog-grpc outputs list --config deeplog.yaml`
    """
    configured = settings_of(config, assignments).outputs
    if not configured:
        OUTPUT.print("no outputs: --config names a file with a section outputs", markup=False, highlight=False)
        return
    table = Table("name", "type", "what", "to", box=None, padding=(0, 2, 0, 0))
    for name, output in configured.items():
        kind = next(kind for kind, found in OUTPUT_TYPES.items() if isinstance(output, found))
        what = output.what if isinstance(output, RecordOutput) else "alerts"
        table.add_row(name, kind, what, Text(_place(output), overflow="fold"))
    OUTPUT.print(table)


def _place(output: Output) -> str:
    """Where it goes, without what may be secret: all of a Slack address, the path of another."""
    match output:
        case OtlpOutput():
            return output.endpoint
        case ForwardOutput():
            return output.address
        case FileOutput():
            return output.path
        case AlertmanagerOutput() | WebhookOutput():
            scheme, netloc, *_ = urlsplit(output.url)
            return f"{scheme}://{netloc}"
    return ""


@outputs.command(name="test", no_args_is_help=True)
def try_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The output's name.")],
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Send a made-up anomaly to an output, once, and say what came back; the server need not run.

    **Example:** `deeplog-grpc outputs test pager --config deeplog.yaml`
    """
    from deeplog_grpc.outputs.trial import try_output  # brings an HTTP client that no other command needs

    configured = settings_of(config, assignments).outputs
    if name not in configured:
        known = ", ".join(configured) or "none"
        raise InputError(f"there is no output '{name}' in the configuration; there are: {known}", field="NAME")
    try:
        asyncio.run(try_output(name, configured[name]))
    except (TryAgainError, NotTakenError) as error:
        what = "did not take it, and may do so later" if isinstance(error, TryAgainError) else "refused it"
        answer = f": {' '.join(error.answer.split())[:_SHOWN]}" if error.answer else ""
        raise InputError(f"{what}: {error}{answer}", field=name) from error
    OUTPUT.print(f"{name} took it", markup=False, highlight=False)
