"""Training on a log that nobody labelled: F1 with some abnormal sessions among those of training, and without.

Abnormal sessions are drawn from the test set, added to the training sessions, and judged no more. Sessions like them
stay in the test set: what training has as often as some normal kinds cannot be told from them.
"""

import argparse
import gzip
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.detect import evaluated, scaled_f1
from benchmarks.harness import console, write_results
from benchmarks.hdfs import only, write_lines

SEEDS = (0, 1, 2)
SHARE = 0.01
"""Abnormal sessions added, per training session."""


def run(data: Path, share: float = SHARE) -> dict[str, Any]:
    """Train on HDFS key sequences with and without abnormal sessions among them; medians over the seeds."""
    folder = data / "hdfs_sequences"
    train, normal = only(folder, "hdfs_train*"), only(folder, "hdfs_test_normal*")
    abnormal = only(folder, "hdfs_test_abnormal*")
    table = Table("training", "FN", "FP", "F1", "seconds", title=f"HDFS, {share:.0%} of training abnormal")
    clean = evaluated(train, normal, abnormal, SEEDS[0])
    _row(table, "clean", clean)
    found = []
    with tempfile.TemporaryDirectory() as work:
        for seed in SEEDS:
            mixed, rest = _mixed(_lines(train), _lines(abnormal), share, seed)
            files = (write_lines(Path(work) / "train", mixed), normal, write_lines(Path(work) / "abnormal", rest))
            found.append(evaluated(*files, seed))
            _row(table, f"contaminated, seed {seed}", found[-1])
    console.print(table)
    f1 = [scaled_f1(report, report) for report in found]
    return {
        "contamination_f1_clean": scaled_f1(clean, clean),
        "contamination_f1": statistics.median(f1),
        "contamination_f1_drop": scaled_f1(clean, clean) - statistics.median(f1),
        "contamination_fn": statistics.median(report["fn"] for report in found),
        "contamination_fp": statistics.median(report["fp"] for report in found),
    }


def _mixed(train: list[str], abnormal: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Training sessions with abnormal ones among them, and the abnormal sessions that are left."""
    draw = random.Random(seed)
    shuffled = draw.sample(abnormal, len(abnormal))
    count = round(share * len(train))
    mixed = train + shuffled[:count]
    return draw.sample(mixed, len(mixed)), shuffled[count:]


def _row(table: Table, name: str, report: dict[str, Any]) -> None:
    f1 = scaled_f1(report, report)
    table.add_row(name, f"{report['fn']:,}", f"{report['fp']:,}", f"{f1:.4f}", f"{report['train_s']:.0f}")


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return file.read().splitlines()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--share", type=float, default=SHARE)
    arguments = parser.parse_args()
    write_results("contamination", run(arguments.data, arguments.share))


if __name__ == "__main__":
    main()
