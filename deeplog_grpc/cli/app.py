"""The commands put together, and the one place that turns an error into a line and an exit code."""

import os
import sys

import typer

from deeplog_grpc import __version__
from deeplog_grpc.cli.adapt import adapt
from deeplog_grpc.cli.anomalies import anomalies
from deeplog_grpc.cli.applications import applications
from deeplog_grpc.cli.config import config
from deeplog_grpc.cli.console import MESSAGES
from deeplog_grpc.cli.demo import demo
from deeplog_grpc.cli.drift import drift
from deeplog_grpc.cli.evaluate import evaluate
from deeplog_grpc.cli.feedback import feedback
from deeplog_grpc.cli.models import models
from deeplog_grpc.cli.outputs import outputs
from deeplog_grpc.cli.parse import parse
from deeplog_grpc.cli.score import score
from deeplog_grpc.cli.serve import serve
from deeplog_grpc.cli.ship import ship
from deeplog_grpc.cli.templates import templates
from deeplog_grpc.cli.train import train
from deeplog_grpc.cli.workflow import workflow
from deeplog_grpc.errors import DeepLogError

EXIT_INPUT = 2
"""The caller can mend it: a wrong option, file, key or address."""

app = typer.Typer(
    name="deeplog-grpc",
    help="Learn how an application's logs normally run, and say what is abnormal and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (train, serve, score, ship, parse, feedback, adapt, drift, workflow, demo, config):
    app.command(no_args_is_help=command not in (ship, drift, demo, config))(command)
app.add_typer(evaluate, name="evaluate")
app.add_typer(templates, name="templates")
app.add_typer(anomalies, name="anomalies")
app.add_typer(models, name="models")
app.add_typer(outputs, name="outputs")
app.add_typer(applications, name="applications")


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    """Options of the program itself."""
    if show:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the program; exit code 0 = done, 2 = the caller can mend it, 3 = an update was refused, 130 = interrupted."""
    try:
        app()
    except DeepLogError as error:
        MESSAGES.print(f"deeplog-grpc: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(EXIT_INPUT)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
