"""``deeplog-grpc parse``: the templates of log files, what changed in them, or how well they fit known ones."""

import csv
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from deeplog_grpc.cli.console import OUTPUT, ConfigOption, JsonOption, SetOption, print_json, settings_of
from deeplog_grpc.cli.difference import TemplateChange, changes_by_key, changes_by_text, changes_table
from deeplog_grpc.cli.survey import Survey, survey_table
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.files import expand
from deeplog_grpc.parsing import Parser, ParserConfig, grouping_accuracy
from deeplog_grpc.storage import load_bundle

TRUTH_COLUMNS = ("Content", "EventTemplate")


def parse(
    files: Annotated[
        list[str] | None, typer.Argument(help="Log files, quoted globs, .gz, or -; with --diff also a model bundle.")
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(help="CSV with columns Content and EventTemplate: judge the parser instead.")
    ] = None,
    diff: Annotated[
        str | None,
        typer.Option(help="Model bundle or log file to compare with: show new, changed and gone templates."),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Example lines to show of each template.")] = 0,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Find the message templates of log lines and count them, or compare them with others.

    With --diff, the files are parsed on top of the templates of the bundle or log file, so keys are the same in both;
    a single model bundle instead of log files is compared with the other bundle by the templates' texts.

    **Example:** `deeplog-grpc parse app.log --examples 2`, `deeplog-grpc parse today.log --diff model` or
    `deeplog-grpc parse --ground-truth HDFS_2k.log_structured.csv --json`
    """
    if (ground_truth is None) == (not files):
        raise InputError("give either log files or --ground-truth", field="FILES")
    settings = settings_of(config, assignments)
    if ground_truth is not None:
        report = accuracy_report(ground_truth, settings.parser)
        print_json(report) if json else OUTPUT.print(_report_table(report))
    elif diff is not None:
        changes = _changes(diff, files or [], settings.parser)
        print_json([change.to_json() for change in changes]) if json else OUTPUT.print(changes_table(changes))
    else:
        survey = Survey(Parser(settings.parser), examples=examples)
        survey.read(expand(files or []))
        rows = survey.rows()
        print_json([row.to_json() for row in rows]) if json else OUTPUT.print(survey_table(rows))


def _changes(before: str, files: list[str], config: ParserConfig) -> list[TemplateChange]:
    if any(os.path.isdir(path) for path in files):
        if len(files) > 1 or not os.path.isdir(before):
            raise InputError("a model bundle is compared with one other model bundle", field="FILES")
        return changes_by_text(_state(before, config).templates(), _state(files[0], config).templates())
    parser = _state(before, config)
    old = parser.templates()
    survey = Survey(parser)
    survey.read(expand(files))
    return changes_by_key(old, [replace(row.template, count=row.count) for row in survey.rows()])


def _state(path: str, config: ParserConfig) -> Parser:
    """The parser of a bundle, or one that has learned a log and is sealed as after a training."""
    if os.path.isdir(path):
        return load_bundle(Path(path)).parser
    parser = Parser(config)
    Survey(parser).read(expand([path]))
    parser.seal()
    return parser


def accuracy_report(path: Path, config: ParserConfig) -> dict[str, Any]:
    """Parse the contents of a labelled CSV in file order and compare with its templates.

    Raises
    ------
    InputError
        If the file cannot be read or lacks a column.
    """
    contents, truth = _labelled(path)
    parser = Parser(config)
    started = time.perf_counter()
    found = parser.parse(contents).keys.tolist()
    seconds = time.perf_counter() - started
    keys = [parser.resolve(key) for key in found]
    templates = [parser.template(key).text for key in keys]
    accuracy = grouping_accuracy(keys, truth, templates)
    return {**asdict(accuracy), "lines_per_s": round(len(contents) / max(seconds, 1e-9))}


def _labelled(path: Path) -> tuple[list[str], list[str]]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", field=str(path)) from error
    missing = [name for name in TRUTH_COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise InputError(f"has no column {' and no column '.join(missing)}", field=str(path))
    short = next((number for number, row in enumerate(rows, start=1) if None in map(row.get, TRUTH_COLUMNS)), None)
    if short is not None:
        raise InputError(f"row {short} has fewer columns than the head", field=str(path))
    return [row["Content"] for row in rows], [row["EventTemplate"] for row in rows]


def _report_table(report: dict[str, Any]) -> Table:
    table = Table(show_header=False, title="parsing accuracy", title_justify="left")
    for name, value in report.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else f"{value:,}")
    return table
