"""Detection on key sequences beside simple rules: ``make bench-detect`` (``DATA=folder``).

Every detector and rule has the same false positive rate, calibrated on the normal training sessions alone. Writes
benchmarks/results/detect.json. F1 depends on the share of abnormal sessions, so it is scaled to the paper's.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import semantic, sets, throughput, values
from benchmarks.harness import console, run, write_results
from benchmarks.hdfs import only

SEEDS = (0, 1, 2)
PAPER_NORMAL, PAPER_ABNORMAL = 553_366, 16_838


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


def evaluated(train: Path, normal: Path, abnormal: Path, seed: int) -> dict[str, Any]:
    """The program's own report."""
    files = ("--train", str(train), "--normal", str(normal), "--abnormal", str(abnormal))
    report: dict[str, Any] = json.loads(
        run("evaluate", "sequences", "--json", "--baselines", "--seed", str(seed), *files)
    )
    return report


def scaled_f1(report: dict[str, Any], errors: dict[str, Any]) -> float:
    """F1 if normal and abnormal sessions were as many as in the paper's test set."""
    fp = float(errors["fp"] / report["normal"] * PAPER_NORMAL)
    fn = float(errors["fn"] / report["abnormal"] * PAPER_ABNORMAL)
    return 2 * (PAPER_ABNORMAL - fn) / (2 * (PAPER_ABNORMAL - fn) + fp + fn)


def show(title: str, report: dict[str, Any]) -> None:
    """Print errors of the whole, of each detector and of each rule."""
    table = Table("", "FP", "FN", title=f"{title}: {report['normal']:,} normal, {report['abnormal']:,} abnormal")
    rows = {"all together": report, **report["by_detector"]}
    rows |= {f"rule: {name}": errors for name, errors in report["baselines"].items()}
    for name, errors in rows.items():
        table.add_row(name, f"{errors['fp']:,}", f"{errors['fn']:,}")
    console.print(table)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    if not data.is_dir():
        raise SystemExit(f"{data}: no such folder; give DATA=folder")
    from benchmarks import contamination  # here, for it uses the functions above

    folder = data / "hdfs_sequences"
    figures = hdfs(folder) | contamination.run(data) | sets.run(data) | semantic.run(data)
    write_results("detect", figures | values.run(data) | throughput.run(data))


if __name__ == "__main__":
    main()
