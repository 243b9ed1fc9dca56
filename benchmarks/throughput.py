"""What judging values costs: the stream of the main benchmark with everything on, beside the same with values off.

HDFS lines, 1,000 entries a message, server and client on a core each, each run a new server with cold caches. Both
sides have one training; off are ``thresholds.value`` and ``thresholds.new_value``. The runs alternate.

Beside it, what the detectors of whole sessions cost by themselves, in microseconds a question; the Detector asks each
distinct one once.
"""

import statistics
import tempfile
import timeit
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

from rich.table import Table

from benchmarks import harness
from benchmarks.harness import PROGRAM, console, cores, server_process, show_figures
from benchmarks.hdfs import repeated, split_raw, write_lines
from benchmarks.main import STREAM_RUNS, stream_rate
from benchmarks.served import STREAM_REPEATS, TRAIN_SHARE
from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.models import SessionProfile
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT
from deeplog_grpc.storage import load_bundle, read_info, save_bundle

SIDES = ("on", "off")
ASKED = 20
"""Times that all questions are asked."""


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
    values_us = 1e6 / on - 1e6 / off
    rates_found = {"throughput_ratio": on / off, "throughput_on": on, "throughput_off": off}
    return {**rates_found, "cost_us_values": values_us, **_costs(model.behaviour.profile)}


def _costs(profile: SessionProfile) -> dict[str, float]:
    """Microseconds of a question to each of the cheap detectors."""
    units = range(FIRST_KEY_UNIT, FIRST_KEY_UNIT + profile.vectors.shape[1] - 1)
    sessions = [dict(zip(units, vector.tolist(), strict=False)) for vector in profile.vectors]
    questions: dict[str, Callable[[dict[int, int]], float]] = {
        "counts": profile.count_score,
        "length": lambda counts: profile.length_score(3 * len(counts)),
        "transition": lambda counts: profile.transition_score(units[0], len(counts)),
    }
    table = Table("detector", "us", title="a question", title_justify="left")
    found = {}
    for name, ask in questions.items():
        timed = timeit.repeat(partial(_asked, ask, sessions), number=ASKED, repeat=STREAM_RUNS)
        found[f"cost_us_{name}"] = 1e6 * statistics.median(timed) / (ASKED * len(sessions))
        table.add_row(name, f"{found[f'cost_us_{name}']:.2f}")
    console.print(table)
    return found


def _asked(ask: Callable[[dict[int, int]], float], sessions: list[dict[int, int]]) -> None:
    for counts in sessions:
        ask(counts)


def without_values(model: ApplicationModel) -> ApplicationModel:
    """The same model with values switched off by its thresholds."""
    calibration = model.behaviour.calibration
    off = replace(calibration.config, value=inf, new_value=inf)
    return replace(model, behaviour=replace(model.behaviour, calibration=replace(calibration, config=off)))


if __name__ == "__main__":
    show_figures(run)
