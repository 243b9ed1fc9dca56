"""What diagnoses cost: the same lines scored with a workflow and without, in turns. And what `GetWorkflow` costs."""

import statistics
import tempfile
import time
import timeit
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

from rich.table import Table

from benchmarks.harness import PROGRAM, console, server_process
from benchmarks.hdfs import HdfsSplit, repeated, split_raw
from deeplog_grpc.client import DeepLogClient
from deeplog_grpc.detection import ApplicationModel, Detector
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.parsing import Parser
from deeplog_grpc.storage import save_bundle
from deeplog_grpc.training import Trainer, TrainingReport
from deeplog_grpc.v1 import workflow_pb2
from deeplog_grpc.workflow import (
    EMPTY,
    NO_WORKFLOW,
    Block,
    Choice,
    Loop,
    Method,
    Parallel,
    Step,
    build_workflow,
    sequence,
)

TRAIN_SHARE = 0.6
REPEATS = 4
"""Times that the log comes, with other sessions each time: diagnoses are dear only until what goes wrong is known."""
BATCH = 1_000
"""Entries scored at once."""
RUNS = 5
"""Of each side, in turns; each with a detector of its own, cold."""
FORMATS = {
    "message": workflow_pb2.WORKFLOW_FORMAT_MESSAGE,
    "dot": workflow_pb2.WORKFLOW_FORMAT_DOT,
    "mermaid": workflow_pb2.WORKFLOW_FORMAT_MERMAID,
    "json": workflow_pb2.WORKFLOW_FORMAT_JSON,
    "svg": workflow_pb2.WORKFLOW_FORMAT_SVG,
}
KEYS = 500
"""Of the workflow that is asked for."""
ASKED_RATE = 0.01
"""Share of the entries that are anomalies, for which the cost is told."""


def run(data: Path) -> dict[str, Any]:
    """Ratio of both sides' times, and milliseconds of a call."""
    split = split_raw(data / "hdfs_raw_2pct", TRAIN_SHARE)
    trainer = Trainer()
    trainer.add(LineReader(source="hdfs").read(split.train).batch)
    model, report = trainer.fit(application="hdfs", version=1)
    return {**_scoring(model, split), **_calls(model, report)}


def _scoring(model: ApplicationModel, split: HdfsSplit) -> dict[str, Any]:
    """The ratio of the least times, as it is on this log and where 1 % of the entries are anomalies."""
    reader, lines = LineReader(source="hdfs"), repeated(split.rest, REPEATS)
    parts = [reader.read(lines[start : start + BATCH]).batch for start in range(0, len(lines), BATCH)]
    sides = {"with": model, "without": replace(model, workflow=NO_WORKFLOW)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    state = model.parser.state()
    anomalies = 0
    for _ in range(RUNS):
        for side, own in sides.items():
            took_s, anomalies = _scored(replace(own, parser=Parser.from_state(state)), parts)
            seconds[side].append(took_s)
    ratio = min(seconds["with"]) / min(seconds["without"])  # medians of so small a difference are the machine's noise
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


def _calls(model: ApplicationModel, report: TrainingReport) -> dict[str, Any]:
    """Median milliseconds of ``GetWorkflow`` over gRPC, of a workflow of :data:`KEYS` log keys."""
    large = build_workflow(_tasks(), (), method=Method.SESSIONS, template="a step of the task number {} <*>".format)
    forms = [form for form in FORMATS if form != "svg" or which("dot")]
    table = Table("format", "ms", title=f"GetWorkflow, {KEYS} log keys", title_justify="left")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        save_bundle(replace(model, workflow=large), Path(folder) / "model", report=report.to_json())
        serve = [PROGRAM, "serve", "--model", str(Path(folder) / "model"), "--listen", "127.0.0.1:0"]
        with server_process(serve) as server, DeepLogClient(server.address) as client:
            for form in forms:
                call = partial(client.get_workflow, format=FORMATS[form])
                took_s = statistics.median(timeit.repeat(call, number=1, repeat=RUNS))
                figures[f"get_workflow_ms_{form}"] = 1e3 * took_s
                table.add_row(form, f"{1e3 * took_s:.0f}")
    console.print(table)
    return figures


def _tasks() -> list[Block]:
    """Tasks of twenty log keys each: in turn, one of two, and side by side."""
    tasks = []
    for first in range(0, KEYS, 20):
        steps = [Step(key) for key in range(first, first + 20)]
        one, beside = Choice((steps[4], steps[5])), Parallel((sequence(*steps[6:8]), *steps[8:11]))
        tasks.append(sequence(*steps[:4], one, beside, Loop(steps[11], EMPTY), *steps[12:]))
    return tasks
