"""End to end over gRPC: entries a second of the real server, beside servers that do nothing with the same messages.

HDFS lines (:mod:`benchmarks.served`) in messages of 1,000, parser and all detectors on. The server has one core, the
client the others, with its messages serialised before the clock starts. Each run has a new server with cold caches;
the servers take turns, so that what else the machine does meets all of them. Figures are medians of ``PAIRS`` runs.

Ratios are those of the medians: to the ``bare`` and to the ``read`` echo (:mod:`benchmarks.echo`). Processor time of
the server an entry is beside each rate: it is less noisy, for waiting is not in it.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import ServerProcess, console, cores, measure, show_figures
from benchmarks.load import MESSAGE_ENTRIES
from benchmarks.served import Trained, deeplog, echo, trained

PAIRS = 5
CALL_RUNS = 3
ECHO_PASSES = 10
"""An echo is done with the messages in a tenth of a second, too little to be timed."""
CALLS: tuple[tuple[str, int, int | None], ...] = (
    ("unary", 1, 2_000),
    ("unary", 100, 50_000),
    ("unary", 1_000, None),
    ("stream", 1, 4_000),
    ("stream", 100, 100_000),
    ("stream", 1_000, None),
)
"""Style, entries in a message, entries at most: single entries cost 500 times as much as those in large messages."""

Serve = Callable[[], AbstractContextManager[ServerProcess]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the servers that take turns, how it is called, and what was found."""

    serve: Serve
    style: str
    flags: tuple[str, ...] = ()
    passes: int = 1
    """How often all messages are sent in one run."""
    rates: list[float] = field(default_factory=list)
    """Entries a second, a run each."""
    cpu_us: list[float] = field(default_factory=list)
    """Processor time of the server in microseconds an entry, a run each."""

    def run_once(self, lines: Path) -> None:
        """Measure with a new server."""
        with self.serve() as server:
            address = server.otlp_http if self.style == "otlp_http" else server.address
            before_s = server.cpu_s()
            found = measure(
                address, lines, *self.flags, "--passes", str(self.passes), style=self.style, batch=MESSAGE_ENTRIES
            )
            self.cpu_us.append(1e6 * (server.cpu_s() - before_s) / found["entries"])
            self.rates.append(found["entries_per_s"])

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rates)


def run(data: Path) -> dict[str, Any]:
    """All figures, flat."""
    material = trained(data)
    return _streams(material) | _calls(material)


def _streams(material: Trained) -> dict[str, Any]:
    core, _ = cores()
    ours = partial(deeplog, material.bundle, core=core)
    bare, read = (partial(echo, mode, core=core) for mode in ("bare", "read"))
    sides = {
        "": Side(serve=ours, style="stream", flags=("--judged",)),
        "echo": Side(serve=bare, style="stream", passes=ECHO_PASSES),
        "echo_read": Side(serve=read, style="stream", passes=ECHO_PASSES),
        "raw_bodies": Side(serve=ours, style="stream", flags=("--raw", "--judged")),
        "otlp": Side(serve=ours, style="otlp", flags=("--judged",)),
        "otlp_echo": Side(serve=bare, style="otlp", passes=ECHO_PASSES),
        "otlp_http": Side(serve=ours, style="otlp_http", flags=("--judged",)),
    }
    for _ in range(PAIRS):
        for side in sides.values():
            side.run_once(material.stream)
    _show(sides)
    figures: dict[str, Any] = {}
    for name, side in sides.items():
        prefix = f"{name}_" if name else ""
        figures |= {
            f"{prefix}entries_per_s": side.rate,
            f"{prefix}entries_per_s_min": min(side.rates),
            f"{prefix}entries_per_s_max": max(side.rates),
            f"{prefix}cpu_us_per_entry": statistics.median(side.cpu_us),
        }
    return figures | _ratios(sides)


def _ratios(sides: Mapping[str, Side]) -> dict[str, float]:
    pairs = {
        "echo_ratio": ("", "echo"),
        "echo_read_ratio": ("", "echo_read"),
        "otlp_echo_ratio": ("otlp", "otlp_echo"),
    }
    return {name: sides[own].rate / sides[limit].rate for name, (own, limit) in pairs.items()}


def _show(sides: Mapping[str, Side]) -> None:
    table = Table("server", "entries/s", "least", "most", "CPU us an entry", "least", "most", title_justify="left")
    table.title = f"messages of {MESSAGE_ENTRIES:,}, one core, cold caches"
    for name, side in sides.items():
        rates = (f"{rate:,.0f}" for rate in (side.rate, min(side.rates), max(side.rates)))
        costs = (f"{cost:.2f}" for cost in (statistics.median(side.cpu_us), min(side.cpu_us), max(side.cpu_us)))
        table.add_row(name.replace("_", " ") or "stream", *rates, *costs)
    console.print(table)


def _calls(material: Trained) -> dict[str, Any]:
    """Rates and latencies of calls of different sizes, beside the bare echo; one server for all, its caches warm."""
    core, _ = cores()
    figures: dict[str, Any] = {}
    table = Table("calls", "entries/s", "p50 ms", "p99 ms", "echo: entries/s", "p50 ms", "p99 ms", "ratio")
    repetitions = count(1)
    with deeplog(material.bundle, core=core) as server, echo("bare", core=core) as limit:
        for style, size, most in CALLS:
            runs = []
            for _ in range(CALL_RUNS):
                anew = ("--anew", str(next(repetitions)))
                call = partial(measure, style=style, batch=size, limit=most)
                runs.append([call(target.address, material.rest, *anew) for target in (server, limit)])
            ours, bare = (_medians([pair[side] for pair in runs]) for side in (0, 1))
            ratio = ours["entries_per_s"] / bare["entries_per_s"]
            cells = (f"{found[name]:,.{digits}f}" for found in (ours, bare) for name, digits in _CALL_FIGURES.items())
            table.add_row(f"{style}, {size:,} a message", *cells, f"{ratio:.2f}")
            figures |= {f"{style}_{size}_{name}": value for name, value in ours.items()}
            figures[f"{style}_{size}_echo_ratio"] = ratio
    console.print(table)
    return figures


def _medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(found[name] for found in runs) for name in _CALL_FIGURES}


_CALL_FIGURES = {"entries_per_s": 0, "p50_ms": 2, "p99_ms": 2}
"""What is shown of a call, and with how many decimals."""


if __name__ == "__main__":
    show_figures(run)
