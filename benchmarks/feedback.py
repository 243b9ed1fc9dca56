"""The figures of feedback on real logs: ``make bench-feedback`` (``DATA=folder``).

Writes benchmarks/results/feedback.json, and the curves of false alarms and labels as feedback_hdfs.csv and .png. The
data folder holds ``hdfs_sequences`` (sessions of key numbers) and ``bgl`` (lines with a label each).
"""

import csv
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.crashes import run as run_crashes
from benchmarks.harness import RESULTS, console, run_parts
from benchmarks.hdfs import only
from benchmarks.oracle import Clicks, Service
from benchmarks.update_latency import scoring_during_updates
from deeplog_grpc.cli.evaluate import read_sequences
from deeplog_grpc.cli.labels import NORMAL_LABELS, LineLabel, read_entries
from deeplog_grpc.detection import ApplicationModel, EntryBatch, SessionConfig
from deeplog_grpc.models import (
    KeyModelConfig,
    ThresholdConfig,
    TrainingSession,
    ValueModel,
    ValueModelConfig,
    ValueSets,
    fit_behaviour,
)
from deeplog_grpc.parsing import Parser, ParserConfig
from deeplog_grpc.training import Trainer
from deeplog_grpc.training.labelled import NORMAL

SHUFFLE_SEED = 0
LABELS = 100
"""False alarms are also counted after so many labels."""
BGL_SHARE = 0.1
CRASH_RUNS = 200
UPDATES = 200
"""Updates after which forgetting is measured."""
HELD_BACK = 20_000
"""Known-normal sessions that forgetting is measured on."""
CONFIRMED = 20
"""Abnormal sessions whose alarms are confirmed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was said of a session, in the order of the stream."""

    abnormal: bool
    flagged: bool
    labels: int
    """Given so far."""


class Sequences:
    """Sessions of key numbers as log entries: each number is a message of its own."""

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        self._parser = Parser(ParserConfig())
        keys = sorted({key for sequence in sequences for key in sequence})
        self._key_of = dict(zip(keys, self._parser.parse([text_of(key) for key in keys]).keys.tolist(), strict=True))
        self._sequences = sequences

    def trained(self, thresholds: ThresholdConfig) -> ApplicationModel:
        """A model of them, with the default configuration."""
        sessions = [TrainingSession(keys=[self._key_of[key] for key in keys]) for keys in self._sequences]
        behaviour = fit_behaviour(sessions, KeyModelConfig(), thresholds).behaviour
        self._parser.seal()
        return ApplicationModel(
            application="hdfs",
            version=1,
            parser=Parser.from_state(self._parser.state()),
            behaviour=behaviour,
            value_model=ValueModel(ValueModelConfig(), [], [], {}),
            value_sets=ValueSets({}, {}),
            sessions=SessionConfig(),
            timeout_s=0.0,
        )


def text_of(key: int) -> str:
    """A message for a key number; no two are alike."""
    letters = "".join(chr(ord("a") + int(digit)) for digit in f"{key:04d}")
    return f"{letters} {letters[::-1]}q x{letters}"


def as_entries(name: str, keys: Sequence[int]) -> EntryBatch:
    """A session as entries without times."""
    return EntryBatch.of([text_of(key) for key in keys], sessions=[name] * len(keys))


def hdfs(folder: Path, work: Path) -> dict[str, Any]:
    """The loop of the paper: every false alarm is clicked at once."""
    normal, abnormal = _test_sessions(folder)
    stream = [(keys, False) for keys in normal] + [(keys, True) for keys in abnormal]
    random.Random(SHUFFLE_SEED).shuffle(stream)
    model = Sequences(read_sequences(only(folder, "hdfs_train*"))).trained(ThresholdConfig())
    judged: list[Judged] = []
    with Service(model, work / "hdfs") as service:
        for number, (keys, is_abnormal) in enumerate(stream):
            found = service.score(as_entries(f"s{number}", keys), end=f"s{number}")
            alarms = [verdict.verdict_id for verdict in (*found.verdicts, *found.session_ends)]
            if not is_abnormal:
                service.false_positives(alarms)
            judged.append(Judged(abnormal=is_abnormal, flagged=bool(alarms), labels=service.clicks.labels))
        clicks = service.clicks
    _write_curve(judged)
    false_alarms = [one for one in judged if one.flagged and not one.abnormal]
    after = [one for one in judged if one.labels >= min(LABELS, clicks.labels) and not one.abnormal]
    missed = sum(not one.flagged for one in judged if one.abnormal)
    figures = {
        "hdfs_sessions": len(judged),
        "hdfs_labels": clicks.labels,
        "hdfs_fp": len(false_alarms),
        "hdfs_fpr": len(false_alarms) / len(normal),
        "hdfs_fpr_after_100_labels": sum(one.flagged for one in after[1:]) / max(1, len(after) - 1),
        "hdfs_fn": missed,
        "hdfs_recall": 1 - missed / len(abnormal),
        "hdfs_explained": clicks.explained,
        "hdfs_refused": len(clicks.refused),
    }
    _show("HDFS, every false alarm clicked at once", figures, clicks)
    return figures


def forgetting(folder: Path, work: Path) -> dict[str, Any]:
    """What many updates do to what is normal, and to what was confirmed.

    False alarms are too few for that, so the operator is one who is always wrong: what is clicked away are alarms of
    abnormal sessions, each far from anything normal.
    """
    normal, abnormal = _test_sessions(folder)
    chance = random.Random(SHUFFLE_SEED)
    chance.shuffle(normal)
    chance.shuffle(abnormal)
    held_back, confirmed, wrong = normal[:HELD_BACK], abnormal[:CONFIRMED], abnormal[CONFIRMED:]
    model = Sequences(read_sequences(only(folder, "hdfs_train*"))).trained(ThresholdConfig())
    with Service(model, work / "forgetting") as service:
        before = _flagged(service, "before", held_back)
        for number, keys in enumerate(confirmed):
            found = service.score(as_entries(f"c{number}", keys), end=f"c{number}")
            for verdict in (*found.verdicts, *found.session_ends):
                service.confirm(verdict.verdict_id)
        flagged_before = _flagged(service, "confirmed", confirmed)
        for number, keys in enumerate(wrong):
            found = service.score(as_entries(f"w{number}", keys), end=f"w{number}")
            service.false_positives([verdict.verdict_id for verdict in (*found.verdicts, *found.session_ends)])
            if len(service.clicks.update_s) >= UPDATES:
                break
        after = _flagged(service, "after", held_back)
        flagged_after = _flagged(service, "confirmed again", confirmed)
        clicks = service.clicks
    times_ms = np.array(clicks.update_s) * 1000
    figures = {
        "forgetting_updates": len(clicks.update_s),
        "forgetting_steps": sum(clicks.steps),
        "forgetting_points": 100 * (len(after) - len(before)) / len(held_back),
        "forgetting_flagged_before": len(before) / len(held_back),
        "forgetting_flagged_after": len(after) / len(held_back),
        "forgetting_newly_flagged": len(after - before),
        "forgetting_refused": len(clicks.refused),
        "forgetting_update_ms_p50": float(np.median(times_ms)),
        "forgetting_update_ms_p99": float(np.quantile(times_ms, 0.99)),
        "confirmed": len(flagged_before),
        "confirmed_flagged_after": len(flagged_before & flagged_after),
    }
    _show(f"forgetting: {len(clicks.update_s)} updates by an operator who is always wrong", figures, clicks)
    return figures


def bgl(folder: Path, work: Path) -> dict[str, Any]:
    """Entries without sessions, judged one by one: with updates and without."""
    entries = read_entries([str(only(folder, "*.log.gz"))], LineLabel(r"^(\S+) ", NORMAL_LABELS), [0])
    nodes = [body.split(maxsplit=2)[1] for body in entries.batch.bodies]
    entries = replace(entries, batch=replace(entries.batch, sources=nodes))
    early = np.arange(len(entries)) < BGL_SHARE * len(entries)
    train, test = entries.take(early & (entries.labels == NORMAL)).batch, entries.take(~early)
    trainer = Trainer()
    trainer.add(train)
    model, _ = trainer.fit(application="bgl", version=1)
    state = model.parser.state()
    figures: dict[str, Any] = {}
    for prefix, learns in (("bgl_plain", False), ("bgl", True)):
        own = replace(model, parser=Parser.from_state(state))
        flagged = np.zeros(len(test), np.bool_)
        with Service(own, work / prefix) as service:
            for row in range(len(test)):
                found = service.score(test.batch.slice(row, row + 1))
                flagged[row] = bool(found.verdicts)
                if learns and flagged[row] and test.labels[row] == NORMAL:
                    service.false_positives([verdict.verdict_id for verdict in found.verdicts])
            clicks = service.clicks
        normal = test.labels == NORMAL
        tp, fp = int((flagged & ~normal).sum()), int((flagged & normal).sum())
        recall = tp / max(1, int((~normal).sum()))
        precision = tp / max(1, tp + fp)
        figures |= {
            f"{prefix}_fp": fp,
            f"{prefix}_fpr": fp / int(normal.sum()),
            f"{prefix}_recall": recall,
            f"{prefix}_precision": precision,
            f"{prefix}_f1": 2 * precision * recall / max(1e-12, precision + recall),
        }
        if learns:
            figures |= {"bgl_labels": clicks.labels, "bgl_refused": len(clicks.refused)}
            _show("BGL, every false alarm clicked at once", figures, clicks)
    return figures


def _test_sessions(folder: Path) -> tuple[list[list[int]], list[list[int]]]:
    return read_sequences(only(folder, "hdfs_test_normal*")), read_sequences(only(folder, "hdfs_test_abnormal*"))


def _flagged(service: Service, prefix: str, sessions: Sequence[Sequence[int]]) -> set[int]:
    """Which sessions have any alarm."""
    found = set()
    for number, keys in enumerate(sessions):
        answer = service.score(as_entries(f"{prefix} {number}", keys), end=f"{prefix} {number}")
        if answer.verdicts or answer.session_ends:
            found.add(number)
    return found


def _write_curve(judged: Sequence[Judged]) -> None:
    """False alarms and labels over the stream, as CSV and as a picture."""
    import matplotlib.pyplot as plt

    sessions = np.arange(1, len(judged) + 1)
    false_alarms = np.cumsum([one.flagged and not one.abnormal for one in judged])
    missed = np.cumsum([one.abnormal and not one.flagged for one in judged])
    labels = np.array([one.labels for one in judged])
    changed = np.flatnonzero(np.diff(np.stack([false_alarms, missed, labels]), axis=1, prepend=-1).any(axis=0))
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "feedback_hdfs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["sessions", "false_alarms", "labels", "missed"])
        for row in [*changed.tolist(), len(judged) - 1]:
            rows.writerow([int(sessions[row]), int(false_alarms[row]), int(labels[row]), int(missed[row])])
    figure, axes = plt.subplots(figsize=(8, 4.5), constrained_layout=True)
    axes.step(sessions, labels, where="post", label="labels given", color="tab:blue")
    axes.step(sessions, false_alarms, where="post", label="false alarms", color="tab:orange")
    axes.step(sessions, missed, where="post", label="anomalies missed", color="tab:red")
    axes.set(xlabel="sessions streamed", ylabel="so far", title="HDFS: every false alarm is clicked at once")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(RESULTS / "feedback_hdfs.png", dpi=110)
    plt.close(figure)


def _show(title: str, figures: dict[str, Any], clicks: Clicks) -> None:
    table = Table("figure", "value", title=title, title_justify="left")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.5f}" if isinstance(value, float) else f"{value:,}")
    console.print(table)
    for reason in clicks.refused[:3]:
        console.print(f"refused: {reason}", markup=False)


def crashes(_: Path, __: Path) -> dict[str, Any]:
    """Updates killed at seeded points."""
    report = run_crashes(CRASH_RUNS, SHUFFLE_SEED)
    console.print(report)
    return {
        "crash_runs": report.runs,
        "crash_kills": report.kills,
        "crash_acked": report.acked,
        "feedback_lost": report.lost,
        "half_versions": report.half_versions,
    }


PARTS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "latency": lambda data, work: scoring_during_updates(work / "latency", data),
    "hdfs": lambda data, work: hdfs(data / "hdfs_sequences", work),
    "forgetting": lambda data, work: forgetting(data / "hdfs_sequences", work),
    "bgl": lambda data, work: bgl(data / "bgl", work),
    "crashes": crashes,
}


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as work:
        run_parts("feedback", {name: partial(_in_folder, part, Path(work)) for name, part in PARTS.items()})


def _in_folder(part: Callable[[Path, Path], dict[str, Any]], work: Path, data: Path) -> dict[str, Any]:
    return part(data, work)


if __name__ == "__main__":
    main()
