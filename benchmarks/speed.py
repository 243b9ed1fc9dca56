"""Speed of the parts and of the whole: ``make bench`` (``DATA=folder``).

``stages``: what each stage of the path costs. ``curves``: how speed depends on what is served. ``peers``: beside others
and beside limits. ``training``: time to the accuracy bars. ``server``, ``latency``, ``memory``, ``workers``: a server
on a core of its own. Each part is a module ``benchmarks.speed_<part>`` with ``run(data)``, which gives flat figures:
medians, with ``_min`` and ``_max``. Writes benchmarks/results/speed.json and speed.png.
"""

import os
import platform
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import RESULTS, console, run_parts
from benchmarks.speed_picture import draw

PARTS = ("stages", "curves", "peers", "training", "server", "latency", "memory", "workers")
FIRST = (
    "entries_per_s",
    "echo_ratio",
    "otlp_entries_per_s",
    "parse_ratio_drain3",
    "detect_entries_per_s",
    "single_p50_ms",
    "single_p99_ms",
    "mixed_p99_ms",
    "templates_10k_cost_ratio",
    "sessions_1m_cost_ratio",
    "train_s",
    "peak_mb",
    "workers2_ratio",
)
"""Figures in the order in which they stand in the results; the others follow."""
BUSY = 0.5
"""Other load, in cores, from which figures are not to be trusted."""


def machine() -> dict[str, Any]:
    """What was measured on."""
    return {
        "machine_cpu": _cpu_model(),
        "machine_cores": os.cpu_count(),
        "machine_memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "machine_kernel": platform.release(),
        "machine_python": platform.python_version(),
        **{f"machine_{package}": version(package) for package in ("torch", "grpcio", "numpy", "protobuf")},
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _run(part: str, data: Path) -> Mapping[str, Any]:
    """Import a part and run it."""
    figures: Mapping[str, Any] = import_module(f"benchmarks.speed_{part}").run(data)
    return figures


def main() -> None:
    """Measure, say on what, and draw."""
    before = os.getloadavg()[0]

    def arrange(figures: Mapping[str, Any]) -> Mapping[str, Any]:
        own = {**machine(), "machine_load_before": before, "machine_load_after": os.getloadavg()[0]}
        found = {**figures, **own}
        draw(found, RESULTS / "speed.png")
        return {name: found[name] for name in dict.fromkeys((*FIRST, *found)) if name in found}

    run_parts("speed", {part: partial(_run, part) for part in PARTS}, arrange=arrange)
    if before > BUSY:
        console.print(f"the machine was busy before the start (load {before:.2f}): do not trust these", style="yellow")


if __name__ == "__main__":
    main()
