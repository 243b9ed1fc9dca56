"""``deeplog-grpc evaluate``: how good detection is on labelled data."""

import gzip
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from deeplog_grpc.cli.comparison import table, to_json
from deeplog_grpc.cli.console import (
    OUTPUT,
    ConfigOption,
    JsonOption,
    ReportOption,
    SetOption,
    ThreadsOption,
    TrainingBars,
    print_json,
    settings_of,
    training_threads,
)
from deeplog_grpc.cli.evaluate_logs import logs
from deeplog_grpc.cli.html_report import Level, Report, prepare, write
from deeplog_grpc.errors import InputError
from deeplog_grpc.models import TrainingSession, fit_behaviour, set_threads
from deeplog_grpc.settings import Settings
from deeplog_grpc.training import SequenceReport, SequenceScorer, SimpleRules, evaluate_sequences

evaluate = typer.Typer(help="Measure detection on labelled data.", no_args_is_help=True)
evaluate.command(no_args_is_help=True)(logs)

END_RULE = "A line is a session from begin to end: the end of the line is the end that is judged."
NO_END_RULE = "Neither begin nor end of a session is judged: a session shorter than the window cannot be flagged."


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRun:
    """Sessions judged, and how long it took."""

    report: SequenceReport
    sessions: int
    """Sessions learned from."""
    train_s: float
    score_s: float


@evaluate.command(no_args_is_help=True)
def sequences(
    train: Annotated[Path, typer.Option(help="Normal sessions to learn from.")],
    normal: Annotated[list[Path], typer.Option(help="Normal sessions to judge.")],
    abnormal: Annotated[list[Path], typer.Option(help="Abnormal sessions to judge.")],
    seed: Annotated[int, typer.Option(help="Same seed, same figures.")] = 0,
    threads: ThreadsOption = None,
    begin_end: Annotated[
        bool | None, typer.Option("--begin-end/--no-begin-end", help="Model the begin and end of sessions.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also judge by simple rules under the same false positive rate.")
    ] = False,
    report: ReportOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train on key sequences and judge others: a line is a session of key numbers; .gz is read too.

    **Example:** `deeplog-grpc evaluate sequences --train hdfs_train --normal normal.gz --abnormal abnormal.gz --json`
    """
    settings = settings_of(config, assignments, key_model__begin_end=begin_end)
    prepare(report)
    set_threads(1)
    found = run_sequences(
        read_sequences(train),
        [sequence for path in normal for sequence in read_sequences(path)],
        [sequence for path in abnormal for sequence in read_sequences(path)],
        settings,
        seed=seed,
        threads=training_threads(threads),
        baselines=baselines,
    )
    if report is not None:
        write(report, _html(found, settings, title=f"Key sequences: {train.name}", seed=seed))
    if json:
        print_json(_figures(found, baselines=baselines))
    else:
        OUTPUT.print(table("sessions judged", found.report.comparison), _summary(found))


def run_sequences(
    train: list[list[int]],
    normal: list[list[int]],
    abnormal: list[list[int]],
    settings: Settings,
    *,
    seed: int,
    threads: int,
    baselines: bool,
) -> SequenceRun:
    """Train, judge, count.

    Raises
    ------
    InputError
        If there is too little to learn from.
    """
    bars = TrainingBars()
    started = time.perf_counter()
    try:
        with bars.progress:
            behaviour = fit_behaviour(
                [TrainingSession(keys=keys) for keys in train],
                settings.key_model,
                settings.thresholds,
                seed=seed,
                threads=threads,
                on_epoch=bars.on_epoch,
                on_fold=bars.on_fold,
            ).behaviour
    except ValueError as error:
        raise InputError(str(error), field="--train") from error
    trained = time.perf_counter()
    report = evaluate_sequences(
        SequenceScorer(behaviour),
        normal=normal,
        abnormal=abnormal,
        rules=_rules(train, settings) if baselines else None,
    )
    scored = time.perf_counter()
    return SequenceRun(report=report, sessions=len(train), train_s=trained - started, score_s=scored - trained)


def _rules(train: list[list[int]], settings: Settings) -> SimpleRules:
    """The simple rules, under the same rate."""
    return SimpleRules(
        train,
        min_sessions=settings.key_model.min_sessions,
        false_positive_rate=settings.thresholds.false_positive_rate,
    )


def _figures(run: SequenceRun, *, baselines: bool) -> dict[str, Any]:
    """The report for machines; what was added later stands behind what scripts know."""
    found = to_json(run.report.comparison)
    known = ("normal", "abnormal", "fp", "fn", "precision", "recall", "f1", "fpr")
    return {
        **{name: found[name] for name in known},
        "recall_by_class": run.report.recall_by_class,
        "train_s": round(run.train_s, 3),
        "score_s": round(run.score_s, 3),
        "by_detector": found["by_detector"],
        **({"baselines": found["baselines"]} if baselines else {}),
        "pr_auc": found["pr_auc"],
        "sessions": run.sessions,
    }


def _facts(run: SequenceRun) -> dict[str, str]:
    return {
        "learned from": f"{run.sessions:,} sessions in {run.train_s:,.1f} s",
        "judged in": f"{run.score_s:,.1f} s",
        **{f"recall: {name}": f"{share:.4f}" for name, share in run.report.recall_by_class.items()},
    }


def _summary(run: SequenceRun) -> Table:
    shown = Table(show_header=False)
    for name, value in _facts(run).items():
        shown.add_row(name, value)
    return shown


def _html(run: SequenceRun, settings: Settings, *, title: str, seed: int) -> Report:
    return Report(
        title=title,
        levels=[Level(title="Sessions", comparison=run.report.comparison)],
        facts={**_facts(run), "seed": str(seed)},
        end_of_session=END_RULE if settings.key_model.begin_end else NO_END_RULE,
        settings=settings,
    )


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
