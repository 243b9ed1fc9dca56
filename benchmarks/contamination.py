"""Training on a log that nobody labelled: F1 with some abnormal sessions among those of training, and without.

Key sequences: abnormal sessions are drawn from the test set, added to the training sessions, and judged no more.
Sessions like them stay in the test set. What words tell of log keys is measured apart: key sequences have none, so the
templates of the data set are given in one case and not in the other.

Raw lines: all lines up to the cut are learned from, with the abnormal blocks that there really are.
"""

import argparse
import csv
import gzip
import random
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.detect import scaled_f1
from benchmarks.harness import console, write_results
from benchmarks.hdfs import only, split_raw
from deeplog_grpc.detection import Detector, EntryBatch
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import KeyModelConfig, ThresholdConfig, TrainingSession, fit_behaviour, set_threads
from deeplog_grpc.training import SequenceScorer, Trainer, evaluate_sequences

SEEDS = (0, 1, 2)
SHARE = 0.01
"""Abnormal sessions added, per training session."""
RAW_SHARE = 0.6
"""Part of the raw log's time span that is learned from."""
RAW_CONTAMINATION = 0.05
"""For raw lines: 3.8 % of the blocks up to the cut are abnormal, which is more than the default allows for."""
BATCH_ENTRIES = 10_000


def run(data: Path, share: float = SHARE) -> dict[str, Any]:
    """All figures."""
    set_threads(1)
    return {**sequences(data / "hdfs_sequences", share), **raw(data / "hdfs_raw_2pct")}


def sequences(folder: Path, share: float) -> dict[str, Any]:
    """Train on HDFS key sequences with and without abnormal sessions among them; medians over the seeds."""
    train, normal, abnormal = (
        _sequences(only(folder, f"{name}*")) for name in ("hdfs_train", "hdfs_test_normal", "hdfs_test_abnormal")
    )
    table = Table("training", "set aside", "FN", "FP", "F1", "seconds", title=f"HDFS, {share:.0%} of training abnormal")
    found: dict[str, Any] = {}
    for name, templates in (("", _templates(only(folder, "*raw_form.csv"))), ("keys_", {})):
        clean = _evaluated(train, normal, abnormal, SEEDS[0], templates)
        _row(table, f"{name}clean", clean)
        reports = []
        for seed in SEEDS:
            mixed, rest = _mixed(train, abnormal, share, seed)
            reports.append(_evaluated(mixed, normal, rest, seed, templates))
            _row(table, f"{name}contaminated, seed {seed}", reports[-1])
        f1 = statistics.median(scaled_f1(report, report) for report in reports)
        found |= {
            f"contamination_{name}f1_clean": scaled_f1(clean, clean),
            f"contamination_{name}f1": f1,
            f"contamination_{name}f1_drop": scaled_f1(clean, clean) - f1,
            f"contamination_{name}fn": statistics.median(report["fn"] for report in reports),
            f"contamination_{name}fp": statistics.median(report["fp"] for report in reports),
        }
    console.print(table)
    return found


def raw(folder: Path) -> dict[str, Any]:
    """Train on raw lines as they are, with and without setting sessions aside; judge the blocks that begin later."""
    clean, whole = (split_raw(folder, RAW_SHARE, learn_abnormal=learn) for learn in (False, True))
    shares = {"clean": ThresholdConfig().contamination, "without": 0.0, "default": ThresholdConfig().contamination}
    shares["with"] = RAW_CONTAMINATION
    table = Table("training", "set aside", "FN", "FP", "recall", "FPR", "F1", title="raw HDFS, all lines learned from")
    found: dict[str, Any] = {}
    for name, share in shares.items():
        lines = clean.train if name == "clean" else whole.train
        flagged, set_aside = _flagged(lines, whole.rest, share)
        bad = {block for block, is_abnormal in whole.begun.items() if is_abnormal}
        good = whole.begun.keys() - bad
        hits, fp = len(bad & flagged), len(good & flagged)
        f1 = 2 * hits / max(1, hits + fp + len(bad))
        table.add_row(
            f"{name}, contamination {share:g}", str(set_aside), str(len(bad) - hits), str(fp),
            f"{hits / len(bad):.4f}", f"{fp / len(good):.4f}", f"{f1:.4f}",
        )  # fmt: skip
        found |= {
            f"contamination_raw_{name}_recall": hits / len(bad),
            f"contamination_raw_{name}_fpr": fp / len(good),
            f"contamination_raw_{name}_f1": f1,
        }
    console.print(table)
    return found


def _evaluated(
    train: Sequence[Sequence[int]],
    normal: Sequence[Sequence[int]],
    abnormal: Sequence[Sequence[int]],
    seed: int,
    templates: Mapping[int, Sequence[str]],
) -> dict[str, Any]:
    """Errors, sessions judged, sessions set aside, seconds of training."""
    sessions, started = [TrainingSession(keys=keys) for keys in train], time.perf_counter()
    fit = fit_behaviour(sessions, KeyModelConfig(), ThresholdConfig(), templates=templates, seed=seed)
    seconds = time.perf_counter() - started
    errors = evaluate_sequences(SequenceScorer(fit.behaviour), normal=normal, abnormal=abnormal).comparison.combined
    counts = {"normal": len(normal), "abnormal": len(abnormal), "fp": errors.fp, "fn": errors.fn}
    return {**counts, "set_aside": fit.set_aside, "train_s": seconds}


def _flagged(train: Sequence[str], rest: Sequence[str], contamination: float) -> tuple[set[str], int]:
    """Blocks with an anomaly, and how many training sessions were set aside."""
    trainer = Trainer()
    for batch in _entries(train):
        trainer.add(batch)
    thresholds = ThresholdConfig(contamination=contamination)
    model, report = trainer.fit(application="hdfs", version=1, thresholds=thresholds)
    detector = Detector(model)
    flagged: set[str] = set()
    for batch in _entries(rest):
        scored = detector.score(batch)
        flagged |= {scored.sessions[row] for row in scored.anomalies()}
        flagged |= {end.session for end in scored.session_ends if end.is_anomaly}
    flagged |= {end.session for end in detector.flush().session_ends if end.is_anomaly}
    return flagged, report.set_aside


def _entries(lines: Sequence[str]) -> list[EntryBatch]:
    reader = LineReader(source="hdfs")
    return [reader.read(list(lines[at : at + BATCH_ENTRIES])).batch for at in range(0, len(lines), BATCH_ENTRIES)]


def _mixed(
    train: list[list[int]], abnormal: list[list[int]], share: float, seed: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Training sessions with abnormal ones among them, and the abnormal sessions that are left."""
    draw = random.Random(seed)
    shuffled = draw.sample(abnormal, len(abnormal))
    count = round(share * len(train))
    mixed = train + shuffled[:count]
    return draw.sample(mixed, len(mixed)), shuffled[count:]


def _row(table: Table, name: str, report: dict[str, Any]) -> None:
    counts = (f"{report[figure]:,}" for figure in ("set_aside", "fn", "fp"))
    table.add_row(name.replace("_", ", "), *counts, f"{scaled_f1(report, report):.4f}", f"{report['train_s']:.0f}")


def _sequences(path: Path) -> list[list[int]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [[int(word) for word in line.split()] for line in file]


def _templates(path: Path) -> dict[int, list[str]]:
    """The constant pieces of each log key's line, its severity among them."""
    with path.open(newline="") as file:
        return {
            int(row["key"]): re.split(r"\{\w+\}", f"{row['level']} {row['component']}: {row['message_form']}")
            for row in csv.DictReader(file)
        }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--share", type=float, default=SHARE)
    arguments = parser.parse_args()
    write_results("contamination", run(arguments.data, arguments.share))


if __name__ == "__main__":
    main()
