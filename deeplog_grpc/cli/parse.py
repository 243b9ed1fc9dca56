"""``deeplog-grpc parse``: the templates of log files, or how well they fit known ones."""

import csv
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT, ConfigOption, JsonOption, SetOption, print_json, settings_of
from deeplog_grpc.cli.train import reference_ns
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.files import expand, read_chunks
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.parsing import Parser, ParserConfig, grouping_accuracy

TRUTH_COLUMNS = ("Content", "EventTemplate")


def parse(
    files: Annotated[list[str] | None, typer.Argument(help="Log files, quoted globs, .gz, or -.")] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(help="CSV with columns Content and EventTemplate: judge the parser instead.")
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Find the message templates of log lines and count them.

    **Example:** `deeplog-grpc parse app.log` or `deeplog-grpc parse --ground-truth HDFS_2k.log_structured.csv --json`
    """
    if (ground_truth is None) == (not files):
        raise InputError("give either log files or --ground-truth", field="FILES")
    settings = settings_of(config, assignments)
    if ground_truth is not None:
        report = accuracy_report(ground_truth, settings.parser)
        print_json(report) if json else OUTPUT.print(_report_table(report))
        return
    parser = _parsed(Parser(settings.parser), expand(files or []))
    rows = sorted(parser.templates(), key=lambda template: -template.count)
    if json:
        print_json([{"key": row.key, "count": row.count, "template": row.text} for row in rows])
    else:
        OUTPUT.print(_template_table([(row.key, row.count, row.text) for row in rows]))


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


def _parsed(parser: Parser, paths: list[str]) -> Parser:
    for path in paths:
        reader = LineReader(source=path, reference_ns=reference_ns(path))
        for chunk in read_chunks(path):
            parser.parse(reader.read(chunk.lines).batch.bodies)
    return parser


def _template_table(rows: list[tuple[int, int, str]]) -> Table:
    total = sum(count for _, count, _ in rows) or 1
    table = Table("key", "count", "share", "template", title=f"{len(rows):,} templates", title_justify="left")
    for key, count, text in rows:
        table.add_row(str(key), f"{count:,}", f"{count / total:.1%}", Text(text, overflow="fold"))
    return table


def _report_table(report: dict[str, Any]) -> Table:
    table = Table(show_header=False, title="parsing accuracy", title_justify="left")
    for name, value in report.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else f"{value:,}")
    return table
