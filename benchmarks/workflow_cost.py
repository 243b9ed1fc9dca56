"""What diagnoses cost: the same lines scored with a workflow and without, in turns."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import console
from benchmarks.hdfs import split_raw
from deeplog_grpc.detection import ApplicationModel, Detector
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.parsing import Parser
from deeplog_grpc.training import Trainer
from deeplog_grpc.workflow import NO_WORKFLOW

TRAIN_SHARE = 0.6
BATCH = 1_000
"""Entries scored at once."""
RUNS = 7
"""Of each side, in turns; each with a detector of its own, cold."""
ASKED_RATE = 0.01
"""Share of the entries that are anomalies, for which the cost is told."""


def run(data: Path) -> dict[str, Any]:
    """The ratio of both sides' times, as it is on this log and where 1 % of the entries are anomalies; medians."""
    split = split_raw(data / "hdfs_raw_2pct", TRAIN_SHARE)
    trainer = Trainer()
    trainer.add(LineReader(source="hdfs").read(split.train).batch)
    model, _ = trainer.fit(application="hdfs", version=1)
    reader = LineReader(source="hdfs")
    parts = [reader.read(split.rest[start : start + BATCH]).batch for start in range(0, len(split.rest), BATCH)]
    sides = {"with": model, "without": replace(model, workflow=NO_WORKFLOW)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    state = model.parser.state()
    anomalies = 0
    for _ in range(RUNS):
        for side, own in sides.items():
            took_s, anomalies = _scored(replace(own, parser=Parser.from_state(state)), parts)
            seconds[side].append(took_s)
    ratio = statistics.median(seconds["with"]) / statistics.median(seconds["without"])
    entries = sum(map(len, parts))
    rate = anomalies / entries
    at_rate = 1.0 + (ratio - 1.0) * ASKED_RATE / rate
    _show(seconds, entries, rate)
    return {"scoring_cost_ratio": at_rate, "scoring_cost_ratio_measured": ratio, "scoring_anomaly_rate": rate}


def _scored(model: ApplicationModel, parts: Sequence[EntryBatch]) -> tuple[float, int]:
    """Seconds to score the entries, with the evidence of all anomalies, and how many these are."""
    detector, found = Detector(model), 0
    began = time.perf_counter()
    for part in parts:
        scored = detector.score(part)
        found += sum(scored.verdict(row).is_anomaly for row in scored.anomalies())
        found += sum(end.is_anomaly for end in scored.session_ends)
    return time.perf_counter() - began, found


def _show(seconds: dict[str, list[float]], entries: int, rate: float) -> None:
    title = f"scoring {entries:,} entries of HDFS, {rate:.2%} anomalies"
    table = Table("workflow", "us an entry, median", "least", "most", title=title, title_justify="left")
    for side, own in seconds.items():
        shown = (statistics.median(own), min(own), max(own))
        table.add_row(side, *(f"{1e6 * value / entries:.2f}" for value in shown))
    console.print(table)
