"""``deeplog-grpc demo``: the main job from end to end, on a log that the project's simulator writes."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from deeplog_grpc.cli.console import OUTPUT, TrainingBars
from deeplog_grpc.cli.rows import print_head
from deeplog_grpc.cli.score import BATCH_ENTRIES, FileBatch, Summary, file_batch, served_rows
from deeplog_grpc.detection import Detector
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import set_threads
from deeplog_grpc.serving import Server, ServerConfig, configure_logging
from deeplog_grpc.serving.logs import LogsConfig
from deeplog_grpc.storage import load_bundle, save_bundle
from deeplog_grpc.testing import EPOCH_S, SimulatedLog, simulate_log
from deeplog_grpc.training import Trainer
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

DAY_S = 86_400.0
SHOWN_ROWS = 20
"""Anomalies shown one by one; all are counted."""


def demo(
    sessions: Annotated[int, typer.Option(min=50, help="Sessions to learn from; as many are judged.")] = 2_000,
    fault_rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of judged sessions with a fault.")] = 0.02,
    seed: Annotated[int, typer.Option(help="Same seed, same run.")] = 7,
) -> None:
    """Learn from a simulated log, start a server, stream a second log with known faults, and compare.

    **Example:** `deeplog-grpc demo --sessions 500`
    """
    set_threads(1)
    learned = simulate_log(sessions, seed=seed)
    faulty = simulate_log(sessions, seed=seed + 1, fault_rate=fault_rate, start_s=EPOCH_S + DAY_S)
    with tempfile.TemporaryDirectory(prefix="deeplog-grpc-demo-") as folder:
        bundle = Path(folder) / "model"
        _train(learned, bundle, seed)
        asyncio.run(_stream(Detector(load_bundle(bundle)), faulty))


def _train(log: SimulatedLog, bundle: Path, seed: int) -> None:
    OUTPUT.print(f"1. Learning from {len(log.lines):,} log lines of {len(log.faults):,} normal sessions, such as\n")
    for line in log.lines[:3]:
        OUTPUT.print(f"   {line}", style="dim", markup=False, highlight=False, no_wrap=True, overflow="ellipsis")
    OUTPUT.print()
    trainer = Trainer()
    trainer.add(LineReader(source="demo").read(log.lines).batch)
    bars = TrainingBars()
    with bars.progress:
        model, report = trainer.fit(
            application="orders",
            version=1,
            seed=seed,
            on_epoch=bars.on_epoch,
            on_value_epoch=bars.on_value_epoch,
            on_fold=bars.on_fold,
        )
    save_bundle(model, bundle, report=report.to_json())
    OUTPUT.print(f"   {report.templates} templates; accuracy@g on held-back sessions {report.accuracy:.2%}\n")


async def _stream(detector: Detector, log: SimulatedLog) -> None:
    configure_logging(LogsConfig(level="warning"))
    server = Server({detector.application: detector}, ServerConfig(listen="127.0.0.1:0"), IngestConfig())
    port = await server.start()
    OUTPUT.print(f"2. Server on 127.0.0.1:{port}; streaming {len(log.lines):,} lines of another day to it\n")
    options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)
    summary = Summary()
    started = time.perf_counter()
    print_head()
    async for row in served_rows(f"127.0.0.1:{port}", options, _batches(log), summary, flush=True):
        summary.add(row)
        if sum(summary.anomalies.values()) <= SHOWN_ROWS:
            row.show()
    summary.seconds = time.perf_counter() - started
    await server.stop()
    OUTPUT.print(_result(log, summary))


def _batches(log: SimulatedLog) -> Iterator[FileBatch]:
    reader = LineReader(source="demo")
    for start in range(0, len(log.lines), BATCH_ENTRIES):
        yield file_batch(reader, "demo", start + 1, log.lines[start : start + BATCH_ENTRIES])


def _result(log: SimulatedLog, summary: Summary) -> Table:
    bad = {session for session, fault in log.faults.items() if fault}
    total = sum(summary.anomalies.values())
    table = Table(title="\n3. What came of it", title_justify="left", show_header=False)
    for name, value in (
        ("entries", f"{summary.entries:,}"),
        ("sessions", f"{len(log.faults):,}, of them {len(bad):,} with a fault"),
        ("anomalies", f"{total:,}" + (f" (the first {SHOWN_ROWS} are shown)" if total > SHOWN_ROWS else "")),
        ("faulty sessions found", f"{len(bad & summary.sessions):,}"),
        ("faulty sessions missed", f"{len(bad - summary.sessions):,}"),
        ("false alarms (sessions)", f"{len(summary.sessions - bad):,}"),
        ("entries/s, client and server in one process", f"{summary.entries / summary.seconds:,.0f}"),
    ):
        table.add_row(name, value)
    for fault in sorted({fault for fault in log.faults.values() if fault}):
        sessions = {session for session, kind in log.faults.items() if kind == fault}
        table.add_row(f"found: {fault}", f"{len(sessions & summary.sessions)} of {len(sessions)}")
    return table
