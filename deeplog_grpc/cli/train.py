"""``deeplog-grpc train``: learn an application's normal behaviour from log files."""

import os
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import (
    OUTPUT,
    ConfigOption,
    JsonOption,
    SetOption,
    ThreadsOption,
    TrainingBars,
    print_json,
    reading_progress,
    settings_of,
    training_threads,
)
from deeplog_grpc.cli.resume import Progress
from deeplog_grpc.errors import BundleError
from deeplog_grpc.ingest.files import STDIN, expand, size_bytes
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import set_threads
from deeplog_grpc.storage import check_place, read_info, save_bundle
from deeplog_grpc.training import TrainingReport
from deeplog_grpc.training.learned_keys import LearnedKey, LearnedNumber
from deeplog_grpc.training.workflows import WorkflowReport
from deeplog_grpc.workflow import Method

SHOWN_KEYS = 30
TEMPLATE_CHARS = 90


def train(
    files: Annotated[list[str], typer.Argument(help="Log files, quoted globs, .gz, or - for standard input.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the model bundle; replaced as a whole.")],
    application: Annotated[str, typer.Option(help="Name of the application.")] = "default",
    session_pattern: Annotated[
        list[str] | None,
        typer.Option(help="Regular expression (RE2) that finds the session's identifier; repeat for several."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same log: same model.")] = 0,
    threads: ThreadsOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Folder for progress: the same command goes on from there after a kill. Removed at the end."),
    ] = None,
    checkpoint_s: Annotated[float, typer.Option(min=0, help="Seconds between two saves of the progress.")] = 30.0,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    r"""Learn normal behaviour from raw log lines or JSON lines.

    The log should hold normal operation. Sessions are found by a field, your patterns, or built-in ones (block ids,
    UUIDs, request ids, trace ids); entries without any are the stream of their file, judged by a rolling window. Give
    rotated files oldest first.

    **Example:** `deeplog-grpc train 'logs/*.log.gz' --out model --session-pattern 'order=(\w+)'`
    """
    settings = settings_of(config, assignments, sessions__patterns=session_pattern or None)
    paths = expand(files)
    check_place(out)
    version = _next_version(out)
    set_threads(1)
    given = {"application": application, "seed": seed}
    reading = Progress(settings, paths, given, checkpoint, checkpoint_s)
    _read(reading, paths)
    bars = TrainingBars()
    with bars.progress:
        model, report = settings.recipe(seed=seed).fit(
            reading.trainer,
            application=application,
            version=version,
            threads=training_threads(threads),
            on_epoch=bars.on_epoch,
            on_value_epoch=bars.on_value_epoch,
            on_fold=bars.on_fold,
        )
    save_bundle(model, out, report=report.to_json())
    reading.done()
    if json:
        print_json({"out": str(out), "application": application, "version": version, **report.to_json()})
    else:
        OUTPUT.print(_key_table(report.keys))
        OUTPUT.print(_table(report, out, version))


def _read(reading: Progress, paths: list[str]) -> None:
    """Feed the trainer with all lines of the files that it does not have yet."""
    trainer = reading.trainer
    before = [0, *accumulate(0 if path == STDIN else os.path.getsize(path) for path in paths)]
    readers = [LineReader(source=path, reference_ns=reference_ns(path)) for path in paths]
    with reading_progress() as progress:
        task = progress.add_task("reading", total=size_bytes(paths), note="")
        for file, chunk in reading.chunks():
            trainer.add(readers[file].read(chunk.lines).batch)
            note = f"{trainer.entries:,} entries, {trainer.templates:,} templates"
            progress.update(task, completed=before[file] + chunk.read_bytes, note=note)


def reference_ns(path: str) -> int:
    """A time near that of a log: when the file was last written; 0 for standard input."""
    return 0 if path == STDIN else os.stat(path).st_mtime_ns


def _next_version(out: Path) -> int:
    """One more than the version of the bundle that is replaced."""
    try:
        return read_info(out).version + 1
    except BundleError:
        return 1


def _calibrated_on(report: TrainingReport) -> str:
    """What the thresholds rest on."""
    if not report.calibration_sessions:
        return "not calibrated"
    few = ": too few to measure it, so thresholds are kept wide" if report.conservative else ""
    return f"{_per_day(report)}calibrated on {report.calibration_sessions:,} sessions{few}"


def _per_day(report: TrainingReport) -> str:
    """What the rate comes to."""
    alarms = report.false_positive_rate * report.sessions_per_day
    return f"about {alarms:.2g} a day, " if alarms else ""


def _table(report: TrainingReport, out: Path, version: int) -> Table:
    table = Table(title=f"model version {version} in {out}", show_header=False, title_justify="left")
    timeout = f"{report.timeout_s:,.0f} s" if report.timeout_s else "none"
    for name, value in (
        ("entries", f"{report.entries:,}"),
        ("sessions", f"{report.sessions:,} ({report.open_at_end:,} still open where the log stops)"),
        ("set aside as not normal", f"{report.set_aside:,} sessions"),
        ("blocks of streams", f"{report.stream_blocks:,}"),
        ("templates", f"{report.templates:,}"),
        ("windows", f"{report.windows:,} ({report.distinct_windows:,} distinct)"),
        ("passes", f"{report.epochs}"),
        ("accuracy@g, held back", f"{report.accuracy:.2%}"),
        ("loss, held back", f"{report.validation_loss:.4f}"),
        ("session time-out", timeout),
        ("values predicted by an LSTM", f"{report.value_networks:,} log keys; of the others by the median"),
        ("normal sessions flagged, at most", f"{report.false_positive_rate:.2%}, {_calibrated_on(report)}"),
        ("workflow", _workflow(report.workflow)),
        ("h and g by the workflow", _suggestion(report.workflow)),
    ):
        table.add_row(name, value)
    return table


def _workflow(workflow: WorkflowReport) -> str:
    """What was built, and how far it holds."""
    if not workflow.tasks:
        return "none: too few whole sessions, or workflow.method is off"
    judged = "tasks found in it" if workflow.method == Method.DENSITY else "sessions held back"
    fits = "" if workflow.fitness is None else f"; {workflow.fitness:.1%} of the {judged} keep to it"
    agrees = (
        "" if workflow.agreement is None else f"; {workflow.agreement:.1%} of the steps that the key model predicts do"
    )
    tasks = "1 task" if workflow.tasks == 1 else f"{workflow.tasks} tasks"
    return f"{tasks}, {workflow.states} states, from {workflow.method}{fits}{agrees}"


def _suggestion(workflow: WorkflowReport) -> str:
    """What the paper's rule would take, and how to take it."""
    if not workflow.tasks:
        return "-"
    own = f"{workflow.suggested_history} and {workflow.suggested_candidates}"
    return f"{own} (--set workflow.apply_suggestion=true takes them)"


def _key_table(keys: tuple[LearnedKey, ...]) -> Table:
    """What was learned of the most frequent log keys."""
    rest = len(keys) - SHOWN_KEYS
    table = Table(
        title="log keys, the most frequent first",
        title_justify="left",
        caption=f"{rest:,} more: see --json" if rest > 0 else None,
        caption_justify="left",
    )
    for name in ("key", "entries"):
        table.add_column(name, justify="right")
    for name in ("template", "normal numbers", "left out", "few values"):
        table.add_column(name, overflow="fold")
    for learned in keys[:SHOWN_KEYS]:
        table.add_row(
            str(learned.key),
            f"{learned.count:,}",
            Text(learned.template[:TEMPLATE_CHARS]) if learned.is_known else Text("too rare to be normal", style="dim"),
            Text("\n".join(map(_interval, learned.numbers)) or "-"),
            Text(_left_out(learned)),
            Text("\n".join(f"{_slot(slot)}: {count}" for slot, count in learned.few_values)),
        )
    return table


def _interval(number: LearnedNumber) -> str:
    return f"{_slot(number.slot)}: {number.low:.3g} to {number.high:.3g} {number.unit}".rstrip()


def _left_out(learned: LearnedKey) -> str:
    """Reasons, each with its slots: ``constant: 1, 2``."""
    slots: dict[str, list[str]] = {}
    for slot, reason in learned.left_out:
        slots.setdefault(reason.partition(":")[0], []).append("elapsed" if slot < 0 else str(slot + 1))
    return "\n".join(f"{reason}: {', '.join(found)}" for reason, found in slots.items())


def _slot(slot: int) -> str:
    """``<*> 2``, or the elapsed time."""
    return "elapsed" if slot < 0 else f"<*> {slot + 1}"
