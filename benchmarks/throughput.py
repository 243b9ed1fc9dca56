"""What judging values costs: the stream of the main benchmark with everything on, beside the same with values off.

HDFS lines, 1,000 entries a message, server and client on a core each, each run a new server with cold caches. Both
sides have one training; off are ``thresholds.value`` and ``thresholds.new_value``. The runs alternate.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from math import inf
from pathlib import Path

from rich.table import Table

from benchmarks import harness
from benchmarks.harness import PROGRAM, console, cores, server_process
from benchmarks.hdfs import repeated, split_raw, write_lines
from benchmarks.main import STREAM_REPEATS, STREAM_RUNS, TRAIN_SHARE, stream_rate
from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.storage import load_bundle, read_info, save_bundle

SIDES = ("on", "off")


def run(data: Path) -> dict[str, float]:
    """Entries a second on both sides, and their ratio; medians."""
    split = split_raw(data / "hdfs_raw_2pct", TRAIN_SHARE)
    server_core, _ = cores()
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        harness.run("train", str(write_lines(work / "train.log", split.train)), "--out", str(work / "on"))
        model, report = load_bundle(work / "on"), read_info(work / "on").report
        save_bundle(without_values(model), work / "off", report=report)
        lines = write_lines(work / "stream.log", repeated(split.rest, STREAM_REPEATS))
        for _ in range(STREAM_RUNS):
            for side in SIDES:
                serve = [PROGRAM, "serve", "--model", str(work / side), "--listen", "127.0.0.1:0"]
                with server_process(serve, core=server_core) as server:
                    rates[side].append(stream_rate(server, lines))
    table = Table("values", "entries/s", "least", "most", title="stream, 1,000 a message", title_justify="left")
    for side, found in rates.items():
        table.add_row(side, *(f"{rate:,.0f}" for rate in (statistics.median(found), min(found), max(found))))
    console.print(table)
    on, off = (statistics.median(rates[side]) for side in SIDES)
    return {"throughput_ratio": on / off, "throughput_on": on, "throughput_off": off}


def without_values(model: ApplicationModel) -> ApplicationModel:
    """The same model with values switched off by its thresholds."""
    calibration = model.behaviour.calibration
    off = replace(calibration.config, value=inf, new_value=inf)
    return replace(model, behaviour=replace(model.behaviour, calibration=replace(calibration, config=off)))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    for name, value in run(parser.parse_args().data).items():
        console.print(f"{name:20} {value:,.3f}")


if __name__ == "__main__":
    main()
