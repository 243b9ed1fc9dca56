"""``deeplog-grpc applications``: where the applications of a server stand, and an order to train one."""

import sys
import time
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT, JsonOption, print_json
from deeplog_grpc.cli.messages import name_of, plain
from deeplog_grpc.cli.remote import DEFAULT_SERVER, ServerOption, connected
from deeplog_grpc.cli.times import second
from deeplog_grpc.client import DeepLogClient
from deeplog_grpc.v1 import application_pb2 as pb

EXIT_REFUSED = 3
"""The training came to nothing; the model before stays."""
LOOK_S = 1.0
STYLES = {
    pb.APPLICATION_STATE_LEARNING: "yellow",
    pb.APPLICATION_STATE_TRAINING: "cyan",
    pb.APPLICATION_STATE_DETECTING: "bold green",
    pb.APPLICATION_STATE_RETRAINING: "cyan",
}

applications = typer.Typer(help="See where a server's applications stand, and train one.", invoke_without_command=True)


@applications.callback()
def list_(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew each second, until Ctrl-C.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Show the applications of a server: those that learn, with how far they have come, and those that detect.

    Entries and sessions are those to learn from; once it detects, those that were learned.

    **Example:** `deeplog-grpc applications --server 127.0.0.1:50051`
    """
    if context.invoked_subcommand is not None:
        return
    with connected(server) as client:
        if watch:
            _watch(client)
        elif json:
            for found in client.applications():
                print_json(plain(found))
        else:
            OUTPUT.print(_shown(client.applications()))


@applications.command(no_args_is_help=True)
def train(
    application: Annotated[str, typer.Argument(metavar="NAME", help="The application.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code 3 if it came to nothing.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Train an application now, on the entries that the server keeps of it.

    A model that replaces another comes into force only if it does not alarm more on the newest entries, which it has
    not learned from, and still finds what was confirmed.

    **Example:** `deeplog-grpc applications train orders --wait`
    """
    with connected(server) as client:
        found = client.train_application(application)
        while wait and _is_under_way(found):
            time.sleep(LOOK_S)
            (found,) = client.applications(application)
    if json:
        print_json(plain(found))
    else:
        OUTPUT.print(f"{found.application}: {found.message}", markup=False, highlight=False)
    if wait and found.last_refusal:
        sys.exit(EXIT_REFUSED)


def _is_under_way(found: pb.Application) -> bool:
    return found.is_waiting or found.state in (pb.APPLICATION_STATE_TRAINING, pb.APPLICATION_STATE_RETRAINING)


def _watch(client: DeepLogClient) -> None:
    with Live(console=OUTPUT, auto_refresh=False) as live:
        while True:
            live.update(_shown(client.applications()), refresh=True)
            time.sleep(LOOK_S)


def _shown(found: list[pb.Application]) -> Table | str:
    return _table(found) if found else "no application yet: the first entry that arrives makes one"


def _table(found: list[pb.Application]) -> Table:
    table = Table("application", "state", "entries", "sessions", "log keys")
    for one in found:
        state = Text(name_of(one, "state"), style=STYLES.get(one.state, ""), overflow="fold")
        if one.progress < 1:
            state.append(f" {one.progress:.0%}")
        table.add_row(
            Text.assemble(one.application, "\n", (_standing(one), "dim"), overflow="fold"),
            state,
            f"{one.entry_count:,}" if one.entry_count else "",
            f"{one.session_count:,}" if one.session_count else "",
            f"{one.log_key_count:,}",
        )
    return table


def _standing(found: pb.Application) -> str:
    trained = second(found.last_trained_unix_nano)
    return f"{found.message} (trained {trained} UTC)" if trained else found.message
