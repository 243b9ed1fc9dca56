"""``deeplog-grpc evaluate logs``: train on log lines, judge labelled ones, count."""

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
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
from deeplog_grpc.cli.html_report import Level, Report, prepare, write
from deeplog_grpc.cli.labels import NORMAL_LABELS, LineLabel, read_entries, read_session_labels
from deeplog_grpc.cli.train import reference_ns
from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.files import expand
from deeplog_grpc.models import set_threads
from deeplog_grpc.settings import Settings
from deeplog_grpc.training import (
    Comparison,
    LabelledEntries,
    LogReport,
    Trainer,
    TrainingReport,
    evaluate_entries,
    is_normal,
    session_names,
)
from deeplog_grpc.training.labelled import BATCH_ENTRIES


class SplitBy(StrEnum):
    """What the share of a split is a share of."""

    LINES = "lines"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What to learn from and what to judge."""

    train: LabelledEntries
    test: LabelledEntries
    is_split: bool
    """Whether they are two parts of one log, so that a session can be in both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRun:
    """Log lines judged, and how long it took."""

    report: LogReport
    training: TrainingReport
    tested: int
    """Entries judged."""
    left_out: int
    """Entries that were not learned from since they are labelled abnormal."""
    train_s: float
    score_s: float


def logs(
    files: Annotated[
        list[str] | None, typer.Argument(help="One log in one or more files, oldest first, cut by --split.")
    ] = None,
    split: Annotated[float | None, typer.Option(help="Share of the log to learn from; the rest is judged.")] = None,
    split_by: Annotated[SplitBy, typer.Option(help="Cut at a share of the lines or of the time.")] = SplitBy.LINES,
    train: Annotated[list[str] | None, typer.Option(help="Log files to learn from; repeat for several.")] = None,
    test: Annotated[list[str] | None, typer.Option(help="Log files to judge; repeat for several.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV with a head line: a session and its label a line ('session,label').")
    ] = None,
    line_label: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Regular expression (RE2) that finds a line's label, its first group; what it matches is taken out.",
        ),
    ] = None,
    normal_label: Annotated[
        list[str] | None, typer.Option(help="A label that means normal; repeat for several.  [default: - 0 normal]")
    ] = None,
    learn_abnormal: Annotated[
        bool, typer.Option("--learn-abnormal", help="Also learn from what is labelled abnormal, as without labels.")
    ] = False,
    session_pattern: Annotated[
        list[str] | None,
        typer.Option(help="Regular expression (RE2) that finds the session's identifier; repeat for several."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same figures.")] = 0,
    threads: ThreadsOption = None,
    report: ReportOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    r"""Train on log lines and judge labelled ones, by entry and by session.

    Give either one log with --split, or --train and --test; and --labels, --line-label or both. A label never reaches
    the detector. Whatever is labelled abnormal is not learned from.

    **Example:** `deeplog-grpc evaluate logs bgl.log.gz --split 0.6 --line-label '^(\S+) '`

    **Example:** `deeplog-grpc evaluate logs --train a.log --test b.log --labels blocks.csv --report out`
    """
    settings = settings_of(config, assignments, sessions__patterns=session_pattern or None)
    if labels is None and line_label is None:
        raise InputError("one of them is needed, or there is nothing to compare with", field="--labels, --line-label")
    prepare(report)
    normal = normal_label or NORMAL_LABELS
    sessions = read_session_labels(labels, normal) if labels else {}
    label = LineLabel(line_label, normal) if line_label else None
    parts = _parts(files or [], split, split_by, train or [], test or [], label)
    set_threads(1)
    found = run_logs(
        parts,
        sessions,
        settings,
        seed=seed,
        threads=training_threads(threads),
        learn_abnormal=learn_abnormal,
    )
    if report is not None:
        title = f"Log lines: {Path((files or test or [''])[0]).name}"
        write(report, _html(found, settings, title=title, seed=seed))
    if json:
        print_json(_figures(found))
    else:
        shown = [table(level.title, level.comparison) for level in _levels(found.report)]
        OUTPUT.print(*shown, _summary(found))


def run_logs(
    parts: Parts, sessions: dict[str, bool], settings: Settings, *, seed: int, threads: int, learn_abnormal: bool
) -> LogRun:
    """Train, judge, count.

    Raises
    ------
    InputError
        If there is too little to learn from, or nothing that is judged has a label.
    """
    names = _names(parts.train.batch, settings)
    chosen = np.full(len(parts.train), True) if learn_abnormal else is_normal(parts.train, names, sessions)
    normal = parts.train.take(chosen).batch
    started = time.perf_counter()
    trainer = Trainer(parser=settings.parser, sessions=settings.sessions)
    for start in range(0, len(normal), BATCH_ENTRIES):
        trainer.add(normal.slice(start, min(start + BATCH_ENTRIES, len(normal))))
    bars = TrainingBars()
    with bars.progress:
        model, training = trainer.fit(
            application="evaluation",
            version=1,
            config=settings.key_model,
            thresholds=settings.thresholds,
            seed=seed,
            threads=threads,
            on_epoch=bars.on_epoch,
            on_value_epoch=bars.on_value_epoch,
            on_fold=bars.on_fold,
        )
    trained = time.perf_counter()
    found = evaluate_entries(
        model,
        train=normal,
        test=parts.test,
        sessions=sessions,
        running=frozenset(names) & frozenset(_names(parts.test.batch, settings)) if parts.is_split else frozenset(),
        config=settings.detector,
        min_sessions=settings.key_model.min_sessions,
        false_positive_rate=settings.thresholds.false_positive_rate,
    )
    if found.entries is None and found.sessions is None:
        raise InputError("nothing that is judged has a label: no line matches, and no session is named in the table")
    return LogRun(
        report=found,
        training=training,
        tested=len(parts.test),
        left_out=int((~chosen).sum()),
        train_s=trained - started,
        score_s=time.perf_counter() - trained,
    )


def _names(batch: EntryBatch, settings: Settings) -> list[str]:
    return session_names(batch, settings.sessions)


def _parts(
    files: list[str], split: float | None, split_by: SplitBy, train: list[str], test: list[str], label: LineLabel | None
) -> Parts:
    """Read what the options name."""
    if bool(files) == bool(train or test) or bool(train) != bool(test) or bool(files) != (split is not None):
        raise InputError("give either one log and --split, or --train and --test", field="FILES, --train, --test")
    if split is None:
        learned, judged = (_read(paths, label) for paths in (train, test))
        return Parts(train=learned, test=judged, is_split=False)
    if not 0 < split < 1:
        raise InputError(f"{split} is not between 0 and 1: 0.6 learns from the first 60 %", field="--split")
    whole = _read(files, label)
    early = early_part(whole.batch.times_ns, split, split_by)
    return Parts(train=whole.take(early), test=whole.take(~early), is_split=True)


def _read(patterns: list[str], label: LineLabel | None) -> LabelledEntries:
    paths = expand(patterns)
    return read_entries(paths, label, [reference_ns(path) for path in paths])


def early_part(times_ns: NDArray[np.int64], share: float, split_by: SplitBy) -> NDArray[np.bool_]:
    """Which entries come before the cut. Shape [n].

    Raises
    ------
    InputError
        If the cut is one of time and no entry has a time.

    Examples
    --------
    >>> early_part(np.array([10, 0, 20, 90, 110]), 0.5, SplitBy.TIME).tolist()
    [True, True, True, False, False]
    >>> early_part(np.array([10, 0, 20, 90, 110]), 0.8, SplitBy.LINES).tolist()
    [True, True, True, True, False]
    """
    rows = np.arange(len(times_ns))
    if split_by is SplitBy.LINES:
        return rows < round(share * len(times_ns))
    known = times_ns > 0
    if not known.any():
        raise InputError("no line has a time stamp: split by lines", field="--split-by")
    # A line without a time came with the one before it; those ahead of the first time, with that one.
    before = np.maximum.accumulate(np.where(known, rows, -1))
    filled = times_ns[np.where(before < 0, int(known.argmax()), before)]
    early: NDArray[np.bool_] = filled <= filled.min() + share * (filled.max() - filled.min())
    return early


def _levels(report: LogReport) -> list[Level]:
    named = (("Entries judged", report.entries), ("Sessions judged", report.sessions))
    return [Level(title=title, comparison=found) for title, found in named if found is not None]


def _figures(run: LogRun) -> dict[str, Any]:
    """The report for machines; null for a level without labels."""

    def plain(comparison: Comparison | None) -> dict[str, Any] | None:
        return None if comparison is None else to_json(comparison)

    report = run.report
    return {
        "entries": plain(report.entries),
        "sessions": plain(report.sessions),
        "learned_entries": run.training.entries,
        "learned_sessions": run.training.sessions,
        "left_out_entries": run.left_out,
        "judged_entries": run.tested,
        "unlabelled_entries": report.unlabelled_entries,
        "unlabelled_sessions": report.unlabelled_sessions,
        "running_sessions": report.running_sessions,
        "templates": run.training.templates,
        "timeout_s": run.training.timeout_s,
        "train_s": round(run.train_s, 3),
        "score_s": round(run.score_s, 3),
    }


def end_rule(run: LogRun, settings: Settings) -> str:
    """The rule by which sessions ended, in one or two sentences."""
    timeout_s = run.training.timeout_s
    learned = "learned in training" if settings.sessions.timeout_s is None else "configured"
    ways = [
        *(["with an entry that an end pattern matches"] if settings.sessions.end_patterns else []),
        *([f"after {timeout_s:,.0f} s of event time without an entry ({learned})"] if timeout_s else []),
        "after the last line judged",
    ]
    rule = f"A session ends {', or '.join(ways)}."
    if run.report.running_sessions:
        rule += f" {run.report.running_sessions:,} sessions that were running at the cut are judged but not counted."
    return rule


def _facts(run: LogRun) -> dict[str, str]:
    report, training = run.report, run.training
    facts = {
        "learned from": f"{training.entries:,} entries, {training.sessions:,} sessions in {run.train_s:,.1f} s"
        f" ({run.left_out:,} entries labelled abnormal left out)",
        "judged": f"{run.tested:,} entries in {run.score_s:,.1f} s",
        "templates": f"{training.templates:,}",
    }
    for name, count in (
        ("entries without a label", report.unlabelled_entries),
        ("sessions without a label", report.unlabelled_sessions),
    ):
        if count:
            facts[name] = f"{count:,} (judged, not counted)"
    return facts


def _summary(run: LogRun) -> Table:
    shown = Table(show_header=False)
    for name, value in _facts(run).items():
        shown.add_row(name, value)
    if run.report.running_sessions:
        shown.add_row("sessions running at the cut", f"{run.report.running_sessions:,} (judged, not counted)")
    return shown


def _html(run: LogRun, settings: Settings, *, title: str, seed: int) -> Report:
    return Report(
        title=title,
        levels=_levels(run.report),
        facts={**_facts(run), "seed": str(seed)},
        end_of_session=end_rule(run, settings),
        settings=settings,
    )
