"""Pipelines into the server: routes, shipper, learning mode, and Fluent Bit where ``FLUENT_BIT`` names its program."""

import asyncio
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import fluent_bit, learning_mode, shipping
from benchmarks.congruence import judged, lines_of
from benchmarks.harness import console, run_parts
from benchmarks.hdfs import split_raw
from benchmarks.routes import ROUTES, native_plugin
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import KeyModelConfig
from deeplog_grpc.storage import load_bundle, save_bundle
from deeplog_grpc.training import Trainer

TRAINING_SHARE = 0.6
CONGRUENT_LINES = 20_000
EPOCHS = 3
"""Few: what is looked at is whether verdicts are the same, not whether they are good."""


def routes(data: Path) -> dict[str, Any]:
    """Whether the same lines get the same verdicts by every route."""
    split = split_raw(data / "hdfs_raw_2pct", TRAINING_SHARE)
    lines = lines_of(split.rest[:CONGRUENT_LINES])
    table = Table("route", "entries", "anomalies", "the same as Score", title="routes", title_justify="left")
    with tempfile.TemporaryDirectory(prefix="deeplog-grpc-routes-") as folder:
        bundle = _trained(split.train, Path(folder) / "model")
        ways = {**ROUTES, "native plugin": native_plugin(_plugin(Path(folder)))}
        found = {name: asyncio.run(judged(load_bundle(bundle), lines, route)) for name, route in ways.items()}
    expected = found["Score"]
    for name, rows in found.items():
        abnormal = sum(row.kind != Kind.NORMAL for row in rows)
        table.add_row(name, f"{len(rows):,}", f"{abnormal:,}", "yes" if rows == expected else "NO")
    console.print(table)
    return {"routes_congruent": sum(rows == expected for rows in found.values()), "routes_total": len(found)}


def _trained(lines: list[str], bundle: Path) -> Path:
    trainer = Trainer()
    trainer.add(LineReader(source="").read(lines).batch)
    model, report = trainer.fit(application="hdfs", version=1, config=KeyModelConfig(epochs=EPOCHS))
    save_bundle(model, bundle, report=report.to_json())
    return bundle


def shipper(data: Path) -> dict[str, Any]:
    """The shipper under a log that is written and rotated, with a server that is killed and away."""
    return shipping.measure(data)


def faults(data: Path) -> dict[str, Any]:
    """Faults found by a server that began with nothing."""
    return learning_mode.measure(data)


def stock_fluent_bit(_: Path) -> dict[str, Any]:
    """Lines through Fluent Bit itself, where ``FLUENT_BIT`` names one."""
    binary = os.environ.get("FLUENT_BIT")
    if not binary:
        console.print("FLUENT_BIT names no program: its routes are left out")
        return {}
    figures: dict[str, Any] = {"fluent_bit_version": fluent_bit.version(binary)}
    with tempfile.TemporaryDirectory(prefix="deeplog-grpc-plugin-") as folder:
        plugin = _plugin(Path(folder))
        for route in fluent_bit.ROUTES:
            found = fluent_bit.measure(route, binary, plugin=plugin)
            figures |= {f"fluent_bit_{route}_{name}": value for name, value in found.items()}
    return figures


def _plugin(folder: Path) -> Path:
    """The native output plugin, built; with nghttp2 in it where ``NGHTTP2`` names its sources."""
    sources = fluent_bit.PLUGINS / "out_deeplog"
    command = ["make", "-C", str(sources), f"BUILD={folder}", f"NGHTTP2={os.environ.get('NGHTTP2', '')}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "out_deeplog.so"


if __name__ == "__main__":
    run_parts("pipeline", {"routes": routes, "shipper": shipper, "faults": faults, "fluent_bit": stock_fluent_bit})
