"""What the commands share in how they speak to people: consoles, progress bars, common options."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from deeplog_grpc.cli.given import before_command
from deeplog_grpc.settings import CONFIG_VARIABLE, Settings, load_settings, parse_overrides

if TYPE_CHECKING:  # the models need torch
    from deeplog_grpc.models import Epoch, ValueEpoch

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
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Models trained at once; the result is the same.  [default: one a core]", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def settings_of(config: Path | None, assignments: list[str] | None, **flags: Any) -> Settings:
    """The configuration; a flag of its own is named by its key with ``__`` for the dot, None = not given."""
    named = {name.replace("__", "."): value for name, value in flags.items() if value is not None}
    return load_settings(config, {**before_command.get(), **parse_overrides(assignments or []), **named})


def training_threads(wanted: int | None) -> int:
    """Models to train at once; None = one a core that this process may use."""
    if wanted is not None:
        return wanted
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


class TrainingBars:
    """A bar for each part of training: values, log keys, calibration; they appear as the parts begin."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=MESSAGES,
            disable=not MESSAGES.is_terminal,  # in a pipe or a log a bar is noise, and an error is one line
        )
        self._tasks: dict[str, TaskID] = {}

    def on_value_epoch(self, epoch: "ValueEpoch") -> None:
        """A pass over the values of some log keys."""
        note = f"{epoch.keys:,} log keys  held back {epoch.validation_loss:.4f}"
        self._show("learning values", epoch.number, epoch.epochs, note)

    def on_epoch(self, epoch: "Epoch") -> None:
        """A pass over the windows of log keys."""
        note = f"loss {epoch.loss:.4f}  held back {epoch.validation_loss:.4f}  accuracy@g {epoch.accuracy:.2%}"
        self._show("learning log keys", epoch.number, epoch.epochs, note)

    def on_fold(self, done: int, folds: int) -> None:
        """A model that was trained without some sessions, to judge them."""
        self._show("calibrating", done, folds, "")

    def _show(self, name: str, done: int, total: int, note: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, total=total, note="")
        self.progress.update(self._tasks[name], total=total, completed=done, note=note)
