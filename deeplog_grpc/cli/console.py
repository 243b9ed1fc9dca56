"""What the commands share in how they speak to people: consoles, progress bars, common options."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from deeplog_grpc.models import Epoch
from deeplog_grpc.settings import CONFIG_VARIABLE, Settings, load_settings, parse_overrides

OUTPUT = Console()
"""Results."""
MESSAGES = Console(stderr=True)
"""Progress and errors, so that results can be piped."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="YAML configuration file.", show_envvar=True),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. key_model.history=5.")
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="Also write DIR/report.html (extra 'report').")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def settings_of(config: Path | None, assignments: list[str] | None, **flags: Any) -> Settings:
    """The configuration; a flag of its own is named by its key with ``__`` for the dot, None = not given."""
    named = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(
        config, {**parse_overrides(assignments or []), **{k: v for k, v in named.items() if v is not None}}
    )


def print_json(value: Any) -> None:
    """One JSON object on a line of its own."""
    OUTPUT.out(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode(), highlight=False)


def reading_progress() -> Progress:
    """A bar over bytes of log read."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=MESSAGES,
        disable=not MESSAGES.is_terminal,  # in a pipe or a log a bar is noise, and an error is one line
    )


def training_progress() -> tuple[Progress, Callable[[Epoch], None]]:
    """A bar over passes, and the callback that moves it."""
    progress = Progress(
        TextColumn("learning"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=MESSAGES,
        disable=not MESSAGES.is_terminal,  # in a pipe or a log a bar is noise, and an error is one line
    )
    task = progress.add_task("learning", total=None, note="")

    def on_epoch(epoch: Epoch) -> None:
        note = f"loss {epoch.loss:.4f}  held back {epoch.validation_loss:.4f}  accuracy@g {epoch.accuracy:.2%}"
        progress.update(task, total=epoch.epochs, completed=epoch.number, note=note)

    return progress, on_epoch
