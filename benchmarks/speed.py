"""Speed of the parts and of the whole: ``make bench``. Input is a simulated log, so it runs anywhere.

Server and client have a core each; the bare echo server answers the same messages in the same run, so that its column
is the limit of the wire. Writes benchmarks/results/speed.json.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.harness import PROGRAM, console, cores, measure, median, run, server_process, write_results
from benchmarks.hdfs import write_lines
from deeplog_grpc.detection import Detector, EntryBatch
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import set_threads
from deeplog_grpc.storage import load_bundle
from deeplog_grpc.testing import EPOCH_S, simulate_log

TRAIN_SESSIONS = 2_000
SCORED_SESSIONS = 20_000
REPEATS = 5
BATCH = 1_000
LSTM_WINDOWS = 8_192
CALLS: tuple[tuple[str, int, int | None], ...] = (
    ("unary", 1, 2_000),
    ("unary", 100, 50_000),
    ("unary", 1_000, None),
    ("stream", 1, 4_000),
    ("stream", 100, 100_000),
    ("stream", 1_000, None),
)
"""Style, entries in a message, entries at most: single entries cost 500 times as much as those in large messages."""
DAY_S = 86_400.0


def parts(bundle: Path, batch: EntryBatch) -> dict[str, Any]:
    """Rates of the parts, one after the other in this process on one thread."""
    set_threads(1)
    model = load_bundle(bundle)
    windows = np.random.default_rng(0).integers(3, model.key_model.vocabulary.assigned, (LSTM_WINDOWS, 10))
    slices = [batch.slice(at, at + BATCH) for at in range(0, len(batch), BATCH)]

    def parse() -> None:
        for part in slices:
            model.parser.parse(part.bodies)

    def detect() -> None:
        detector = Detector(load_bundle(bundle))
        for part in slices:
            detector.score(part)

    parsed = [model.parser.parse(part.bodies) for part in slices]

    def read_values() -> int:
        return sum(len(slot.numbers()) for part in parsed for columns in part.columns() for slot in columns.slots)

    return {
        "parse_lines_per_s": _rate(parse, len(batch)),
        "values_per_s": _rate(read_values, read_values()),
        "lstm_windows_per_s": _rate(lambda: model.key_model.predict(windows), LSTM_WINDOWS),
        "detector_entries_per_s": _rate(detect, len(batch)),
    }


def _rate(work: Callable[[], object], count: int) -> float:
    """Items a second, the median of some runs after a warm-up."""

    def once() -> float:
        started = time.perf_counter()
        work()
        return count / (time.perf_counter() - started)

    once()
    return median(once, REPEATS)


def calls(bundle: Path, lines: Path) -> dict[str, Any]:
    """Rates and latencies over gRPC, beside the bare echo server."""
    core, _ = cores()
    serve = [PROGRAM, "serve", "--model", str(bundle), "--listen", "127.0.0.1:0"]
    figures: dict[str, Any] = {}
    table = Table("calls over gRPC", "entries/s", "p50 ms", "p99 ms", "echo: entries/s", "p50 ms", "p99 ms", "ratio")
    echo_command = [sys.executable, "-m", "benchmarks.echo", "bare"]
    with server_process(serve, core=core) as server, server_process(echo_command, core=core) as echo:
        for style, size, limit in CALLS:
            runs = [
                [measure(target.address, lines, style=style, batch=size, limit=limit) for target in (server, echo)]
                for _ in range(REPEATS)
            ]
            ours, bare = ({name: _median(pair[side][name] for pair in runs) for name in runs[0][0]} for side in (0, 1))
            ratio = ours["entries_per_s"] / bare["entries_per_s"]
            cells = (
                f"{found[name]:,.{0 if name == 'entries_per_s' else 2}f}" for found in (ours, bare) for name in found
            )
            table.add_row(f"{style}, {size:,} a message", *cells, f"{ratio:.2f}")
            figures |= {f"{style}_{size}_{name}": value for name, value in ours.items()}
            figures[f"{style}_{size}_echo_ratio"] = ratio
        figures["peak_mb"] = server.peak_mb()
    console.print(table)
    return figures


def _median(values: Any) -> float:
    return float(np.median(list(values)))


def main() -> None:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        train = write_lines(work / "train.log", simulate_log(TRAIN_SESSIONS, seed=1).lines)
        log = simulate_log(SCORED_SESSIONS, seed=2, fault_rate=0.01, start_s=EPOCH_S + DAY_S)
        run("train", str(train), "--out", str(work / "model"))
        figures = parts(work / "model", LineReader(source="benchmark").read(log.lines).batch)
        figures |= calls(work / "model", write_lines(work / "scored.log", log.lines))
    write_results("speed", figures)


if __name__ == "__main__":
    main()
