"""The commands put together, and the one place that turns an error into a line and an exit code."""

import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from deeplog_grpc import __version__
from deeplog_grpc.cli.given import before_command
from deeplog_grpc.errors import DeepLogError

EXIT_INPUT = 2
"""The caller can mend it: a wrong option, file, key or address."""

COMMANDS = {
    "train": "Learn normal behaviour from raw log lines or JSON lines.",
    "serve": "Serve until SIGTERM or SIGINT; accepted work is finished first.",
    "score": "Judge log lines and print what is abnormal.",
    "ship": "Follow log files, read standard input or take what shippers send, and stream all lines to a server.",
    "parse": "Find the message templates of log lines and count them, or compare them with others.",
    "feedback": "Say what an anomaly was: a false positive, which the models learn at once, or confirmed.",
    "adapt": "Learn the open anomalies of a range of time as normal, after a deployment for example.",
    "health": "Ask a server whether it serves; exit code 0 = yes, 1 = no, or no answer.",
    "drift": "Tell whether an application's logs have moved away from training, and which log keys make that up.",
    "workflow": "Show the workflow of an application: tasks, where they branch, loops, slow steps, and what h and g it "
    "suggests.",
    "demo": "Learn from a simulated log, start a server, stream a second log with known faults, and compare.",
    "token": "Make a token for callers of a server: print it, once, and the line for the server's file.",
    "config": "Print every key of the configuration with its value, meaning and range.",
    "evaluate": "Measure detection on labelled data.",
    "templates": "See and edit the message templates of a model bundle.",
    "anomalies": "See the anomalies of a server and their groups; mute groups.",
    "models": "See the versions of a server's models, and go back to one.",
    "outputs": "See the outputs of the configuration, and try them.",
    "applications": "See where a server's applications stand, and train one.",
    "top": "Show how a server is doing: rates, latencies, queue, memory, applications, alarms; q or Ctrl-C ends it.",
}
"""Name -> what it is for, as its own help begins. Each is in the module of its name."""
NEED_NOTHING = ("serve", "ship", "health", "drift", "demo", "config", "top")
"""Commands that can be called without an argument."""


class CalledCommands(TyperGroup):
    """A group that imports a command when it is called: most need torch, and to list them needs none."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is called, and its arguments."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else loaded(name), rest


app = typer.Typer(
    name="deeplog-grpc",
    cls=CalledCommands,
    help="Learn how an application's logs normally run, and say what is abnormal and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _listed() -> None:
    """Stands for a command in the list of commands."""


for command, purpose in COMMANDS.items():
    app.command(command, help=purpose)(_listed)


def loaded(name: str) -> Any:
    """A command, imported."""
    found = getattr(import_module(f"deeplog_grpc.cli.{name}"), name)
    group = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="markdown")
    if isinstance(found, typer.Typer):
        group.add_typer(found, name=name)
    else:
        group.command(name, no_args_is_help=name not in NEED_NOTHING)(found)
    return get_group(group).commands[name]


@app.callback(invoke_without_command=True)
def program(
    show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    tls: Annotated[bool | None, typer.Option("--tls", help="Speak TLS with servers.", show_default=False)] = None,
    ca_file: Annotated[str | None, typer.Option(metavar="PEM", help="Authorities of servers; means --tls.")] = None,
    cert_file: Annotated[str | None, typer.Option(metavar="PEM", help="Certificate for servers that ask.")] = None,
    key_file: Annotated[str | None, typer.Option(metavar="PEM", help="Key of that certificate.")] = None,
    token_file: Annotated[str | None, typer.Option(metavar="FILE", help="File with the token for servers.")] = None,
) -> None:
    """Options of the program itself; those on servers stand before the command, and in the section `client`."""
    if show:
        print(__version__)
        raise typer.Exit
    given = {"tls": tls, "ca_file": ca_file, "cert_file": cert_file, "key_file": key_file, "token_file": token_file}
    before_command.set({f"client.{name}": value for name, value in given.items() if value is not None})


def main() -> None:
    """Run the program; exit code 0 = done, 2 = the caller can mend it, 3 = an update was refused, 130 = interrupted."""
    if os.getpid() == 1:  # of a container: the kernel ignores a SIGTERM that such a process does not handle itself
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except DeepLogError as error:
        from deeplog_grpc.cli.console import MESSAGES

        MESSAGES.print(f"deeplog-grpc: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(EXIT_INPUT)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
