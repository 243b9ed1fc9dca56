"""The main job's figures on real logs: ``make bench-main`` (``DATA=folder``).

Writes benchmarks/results/main.json. The data folder holds ``hdfs_sequences`` (sessions of key numbers),
``hdfs_raw_2pct`` (raw lines with a label a block) and ``loghub_2k`` (lines with known templates, a folder a system).
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import PROGRAM, ServerProcess, console, cores, measure, run, server_process, write_results
from benchmarks.hdfs import HdfsSplit, only, repeated, split_raw, write_lines
from benchmarks.load import MESSAGE_ENTRIES
from benchmarks.served import STREAM_REPEATS, TRAIN_SHARE

STREAM_RUNS = 5


def sequences(folder: Path) -> dict[str, Any]:
    """Detection on key sequences, with begin and end modelled and without."""
    arguments = [
        *("evaluate", "sequences", "--json", "--train", str(only(folder, "hdfs_train*"))),
        *("--normal", str(only(folder, "hdfs_test_normal*"))),
        *("--abnormal", str(only(folder, "hdfs_test_abnormal*"))),
    ]
    report, plain = json.loads(run(*arguments)), json.loads(run(*arguments, "--no-begin-end"))
    table = Table("HDFS key sequences", "begin and end", "without", title_justify="left")
    for name in ("normal", "abnormal", "fp", "fn", "precision", "recall", "f1", "fpr", "train_s", "score_s"):
        table.add_row(name, *(f"{found[name]:,.5g}" for found in (report, plain)))
    for name in report["recall_by_class"]:
        table.add_row(f"recall: {name}", *(f"{found['recall_by_class'][name]:.4f}" for found in (report, plain)))
    console.print(table)
    figures = {f"hdfs_{name}": report[name] for name in ("fn", "fp", "fpr", "recall", "precision", "f1", "train_s")}
    return {**figures, "hdfs_plain_fn": plain["fn"], "hdfs_plain_fp": plain["fp"]}


def parsing(folder: Path) -> dict[str, Any]:
    """Parsing accuracy with the one default configuration."""
    table = Table("system", "GA", "FGA", "PA", "FTA", "templates", "true", title="parsing", title_justify="left")
    scores = []
    for truth in sorted(folder.glob("*/*_structured_corrected.csv")):
        report = json.loads(run("parse", "--ground-truth", str(truth), "--json"))
        scores.append(report["ga"])
        shares = (f"{report[name]:.3f}" for name in ("ga", "fga", "pa", "fta"))
        table.add_row(truth.parent.name, *shares, str(report["templates"]), str(report["true_templates"]))
    console.print(table)
    return {"ga_mean": statistics.mean(scores), "ga_min": min(scores)}


def raw(folder: Path, work: Path) -> dict[str, Any]:
    """Raw lines from end to end: train, serve, stream the rest, compare by block; then the speed of the stream."""
    split = split_raw(folder, TRAIN_SHARE)
    train, rest = write_lines(work / "train.log", split.train), write_lines(work / "rest.log", split.rest)
    bundle = str(work / "model")
    run("train", str(train), "--out", bundle)
    serve = [PROGRAM, "serve", "--model", bundle, "--listen", "127.0.0.1:0"]
    with server_process(serve) as server:
        served = _rows(run("score", str(rest), "--server", server.address, "--json"))
    in_process = _rows(run("score", str(rest), "--model", bundle, "--json"))
    figures = _by_block(split, {row["session"] for row in served})
    figures["raw_equal_in_process"] = int(served == in_process)
    lines = write_lines(work / "stream.log", repeated(split.rest, STREAM_REPEATS))
    return {**figures, **_stream_speed(serve, lines)}


def _rows(output: str) -> list[dict[str, Any]]:
    """What was said of lines, but for the names under which a server stores anomalies."""
    return [{**json.loads(line), "verdict_id": ""} for line in output.splitlines()]


def _by_block(split: HdfsSplit, flagged: set[str]) -> dict[str, Any]:
    """Recall and false alarms, of the blocks that begin after the cut and of those running at it."""
    figures: dict[str, Any] = {}
    for prefix, blocks in (("raw", split.begun), ("raw_running", split.running)):
        abnormal = {block for block, is_abnormal in blocks.items() if is_abnormal}
        normal = blocks.keys() - abnormal
        figures[f"{prefix}_abnormal"] = len(abnormal)
        figures[f"{prefix}_normal"] = len(normal)
        figures[f"{prefix}_recall"] = len(abnormal & flagged) / len(abnormal) if abnormal else 1.0
        figures[f"{prefix}_fpr"] = len(normal & flagged) / len(normal) if normal else 0.0
    return figures


def _stream_speed(serve: list[str], lines: Path) -> dict[str, Any]:
    """Entries a second on a stream, server and client on a core each; each run a new server, its caches cold."""
    server_core, _ = cores()
    rates, peaks = [], []
    for _ in range(STREAM_RUNS):
        with server_process(serve, core=server_core) as server:
            rates.append(stream_rate(server, lines))
            peaks.append(server.peak_mb())
    return {
        "stream_entries_per_s": statistics.median(rates),
        "stream_entries_per_s_min": min(rates),
        "stream_entries_per_s_max": max(rates),
        "peak_mb": max(peaks),
    }


def stream_rate(server: ServerProcess, lines: Path) -> float:
    """Entries a second of one stream with messages of 1,000."""
    return float(measure(server.address, lines, style="stream", batch=MESSAGE_ENTRIES)["entries_per_s"])


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    if not data.is_dir():
        raise SystemExit(f"{data}: no such folder; give DATA=folder")
    with tempfile.TemporaryDirectory() as work:
        figures = {**sequences(data / "hdfs_sequences"), **parsing(data / "loghub_2k")}
        figures |= raw(data / "hdfs_raw_2pct", Path(work))
    write_results("main", figures)


if __name__ == "__main__":
    main()
