"""Detection on key sequences beside simple rules: ``make bench-detect`` (``DATA=folder``).

Every detector and rule has the same false positive rate, calibrated on the normal training sessions alone. Writes
benchmarks/results/detect.json. F1 depends on the share of abnormal sessions, so HDFS is also scaled to the paper's.
"""

import argparse
import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import console, run, write_results
from benchmarks.hdfs import only
from deeplog_grpc.cli.evaluate import read_sequences

SEEDS = (0, 1, 2)
PAPER_NORMAL, PAPER_ABNORMAL = 553_366, 16_838
TRAIN_SHARE = 0.3
"""Share of the normal sequences to learn from where a set has no split of its own; drawn at random."""


def hdfs(folder: Path) -> dict[str, Any]:
    """The DeepLog authors' split; medians over the seeds."""
    reports = [
        evaluated(
            only(folder, "hdfs_train*"), only(folder, "hdfs_test_normal*"), only(folder, "hdfs_test_abnormal*"), seed
        )
        for seed in SEEDS
    ]
    for seed, report in zip(SEEDS, reports, strict=True):
        show(f"HDFS, seed {seed}", report)
    fps, fns = [report["fp"] for report in reports], [report["fn"] for report in reports]
    return {
        "hdfs_fn": statistics.median(fns),
        "hdfs_fn_max": max(fns),
        "hdfs_fp": statistics.median(fps),
        "hdfs_fp_max": max(fps),
        "hdfs_fpr": statistics.median(report["fpr"] for report in reports),
        "hdfs_f1": statistics.median(scaled_f1(report, report) for report in reports),
        "hdfs_best_rule_f1": max(scaled_f1(reports[0], rule) for rule in reports[0]["baselines"].values()),
        "hdfs_train_s": statistics.median(report["train_s"] for report in reports),
    }


def ait(folder: Path, work: Path) -> dict[str, Any]:
    """A set of the AIT collection: files with ``normal`` and with ``abnormal`` in their names."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and "label" not in path.name)
    abnormal = [path for path in files if "abnormal" in path.name]
    normal = [keys for path in files if "normal" in path.name and path not in abnormal for keys in read_sequences(path)]
    if not normal or not abnormal:
        console.print(f"{folder.name}: passed over, no files of normal and abnormal key sequences")
        return {}
    random.Random(0).shuffle(normal)
    cut = int(TRAIN_SHARE * len(normal))
    parts = [written(work / "train", normal[:cut]), written(work / "normal", normal[cut:])]
    attacks = written(work / "abnormal", [keys for path in abnormal for keys in read_sequences(path)])
    report = evaluated(parts[0], parts[1], attacks, SEEDS[0])
    show(folder.name, report)
    figures = {name: report[name] for name in ("fn", "fp", "fpr", "f1")}
    best = max(f1(rule, report["normal"], report["abnormal"], report) for rule in report["baselines"].values())
    return {f"{folder.name}_{name}": value for name, value in {**figures, "best_rule_f1": best}.items()}


def evaluated(train: Path, normal: Path, abnormal: Path, seed: int) -> dict[str, Any]:
    """The program's own report."""
    files = ("--train", str(train), "--normal", str(normal), "--abnormal", str(abnormal))
    report: dict[str, Any] = json.loads(
        run("evaluate", "sequences", "--json", "--baselines", "--seed", str(seed), *files)
    )
    return report


def written(path: Path, sequences: list[list[int]]) -> Path:
    """Write sequences, one a line."""
    path.write_text("".join(f"{' '.join(map(str, keys))}\n" for keys in sequences))
    return path


def scaled_f1(report: dict[str, Any], errors: dict[str, Any]) -> float:
    """F1 if normal and abnormal sessions were as many as in the paper's test set."""
    return f1(errors, PAPER_NORMAL, PAPER_ABNORMAL, report)


def f1(errors: dict[str, Any], normal: int, abnormal: int, report: dict[str, Any]) -> float:
    """F1 of error shares of a report at given numbers of sessions."""
    fp = errors["fp"] / report["normal"] * normal
    fn = errors["fn"] / report["abnormal"] * abnormal
    return 2 * (abnormal - fn) / (2 * (abnormal - fn) + fp + fn)


def show(title: str, report: dict[str, Any]) -> None:
    """Print errors of the whole, of each detector and of each rule."""
    table = Table("", "FP", "FN", title=f"{title}: {report['normal']:,} normal, {report['abnormal']:,} abnormal")
    rows = {"all together": report, **report["by_detector"]}
    rows |= {f"rule: {name}": errors for name, errors in report["baselines"].items()}
    for name, errors in rows.items():
        table.add_row(name, f"{errors['fp']:,}", f"{errors['fn']:,}")
    console.print(table)


def main() -> None:
    """Measure all sets."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    if not data.is_dir():
        raise SystemExit(f"{data}: no such folder; give DATA=folder")
    figures = hdfs(data / "hdfs_sequences")
    for folder in sorted((data / "ait_sequences").glob("*_cfdr")):
        with tempfile.TemporaryDirectory() as work:
            figures |= ait(folder, Path(work))
    write_results("detect", figures)


if __name__ == "__main__":
    main()
