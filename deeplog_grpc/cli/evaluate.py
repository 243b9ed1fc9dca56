"""``deeplog-grpc evaluate``: how good detection is on labelled data."""

import gzip
import time
import zlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from deeplog_grpc.cli.console import (
    OUTPUT,
    ConfigOption,
    JsonOption,
    SetOption,
    print_json,
    settings_of,
    training_progress,
)
from deeplog_grpc.errors import InputError
from deeplog_grpc.models import TrainingSession, fit_behaviour, set_threads
from deeplog_grpc.settings import Settings
from deeplog_grpc.training import SequenceScorer, SimpleRules, evaluate_rules, evaluate_sequences

evaluate = typer.Typer(help="Measure detection on labelled data.", no_args_is_help=True)


@evaluate.callback()
def group() -> None:
    """Keep the name of the only sub-command."""


@evaluate.command(no_args_is_help=True)
def sequences(
    train: Annotated[Path, typer.Option(help="Normal sessions to learn from.")],
    normal: Annotated[list[Path], typer.Option(help="Normal sessions to judge.")],
    abnormal: Annotated[list[Path], typer.Option(help="Abnormal sessions to judge.")],
    seed: Annotated[int, typer.Option(help="Same seed, same figures.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads for training.")] = 1,
    begin_end: Annotated[
        bool | None, typer.Option("--begin-end/--no-begin-end", help="Model the begin and end of sessions.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also judge by simple rules under the same false positive rate.")
    ] = False,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train on key sequences and judge others: a line is a session of key numbers; .gz is read too.

    **Example:** `deeplog-grpc evaluate sequences --train hdfs_train --normal normal.gz --abnormal abnormal.gz --json`
    """
    settings = settings_of(config, assignments, key_model__begin_end=begin_end)
    set_threads(threads)
    report = sequence_report(
        read_sequences(train),
        [sequence for path in normal for sequence in read_sequences(path)],
        [sequence for path in abnormal for sequence in read_sequences(path)],
        settings,
        seed=seed,
        baselines=baselines,
    )
    print_json(report) if json else OUTPUT.print(_table(report))


def sequence_report(
    train: list[list[int]],
    normal: list[list[int]],
    abnormal: list[list[int]],
    settings: Settings,
    *,
    seed: int,
    baselines: bool,
) -> dict[str, Any]:
    """Train, judge, count.

    Raises
    ------
    InputError
        If there is too little to learn from.
    """
    progress, on_epoch = training_progress()
    started = time.perf_counter()
    try:
        with progress:
            behaviour = fit_behaviour(
                [TrainingSession(keys=keys) for keys in train],
                settings.key_model,
                settings.thresholds,
                seed=seed,
                on_epoch=on_epoch,
            ).behaviour
    except ValueError as error:
        raise InputError(str(error), field="--train") from error
    trained = time.perf_counter()
    report = evaluate_sequences(SequenceScorer(behaviour), normal=normal, abnormal=abnormal)
    scored = time.perf_counter()
    return {
        "normal": report.normal,
        "abnormal": report.abnormal,
        "fp": report.fp,
        "fn": report.fn,
        "precision": report.precision,
        "recall": report.recall,
        "f1": report.f1,
        "fpr": report.fpr,
        "recall_by_class": report.recall_by_class,
        "train_s": round(trained - started, 3),
        "score_s": round(scored - trained, 3),
        "by_detector": _rates(report.by_detector),
        **({"baselines": _rates(_baselines(train, normal, abnormal, settings))} if baselines else {}),
    }


def _baselines(
    train: list[list[int]], normal: list[list[int]], abnormal: list[list[int]], settings: Settings
) -> dict[str, tuple[int, int]]:
    """FP and FN of the simple rules, under the same rate."""
    rules = SimpleRules(
        train,
        min_sessions=settings.key_model.min_sessions,
        false_positive_rate=settings.thresholds.false_positive_rate,
    )
    return evaluate_rules(rules, normal=normal, abnormal=abnormal)


def _rates(found: dict[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    return {name: {"fp": fp, "fn": fn} for name, (fp, fn) in found.items()}


def read_sequences(path: Path) -> list[list[int]]:
    """Sessions of key numbers, one a line; empty lines are passed over.

    Raises
    ------
    InputError
        If the file cannot be read, or a word in it is not a number.
    """
    sequences = []
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            for number, line in enumerate(file, start=1):
                try:
                    keys = [int(word) for word in line.split()]
                except ValueError as error:
                    raise InputError(
                        f"is not a sequence of key numbers: {line[:60].strip()!r}", field=f"{path}:{number}"
                    ) from error
                if keys:
                    sequences.append(keys)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", field=str(path)) from error
    return sequences


_GROUPS = {"recall_by_class": "recall", "by_detector": "alone", "baselines": "simple rule"}


def _figure(value: float | dict[str, int]) -> str:
    """A share, or false positives and negatives."""
    return f"FP {value['fp']:,}  FN {value['fn']:,}" if isinstance(value, dict) else f"{value:.4f}"


def _table(report: dict[str, Any]) -> Table:
    table = Table(show_header=False, title="sessions judged", title_justify="left")
    for name, value in report.items():
        if isinstance(value, dict):
            for part, figure in value.items():
                table.add_row(f"{_GROUPS[name]}: {part}", _figure(figure))
        else:
            table.add_row(name, f"{value:.4f}" if isinstance(value, float) else f"{value:,}")
    return table
