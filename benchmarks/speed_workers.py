"""``serve --workers N``: what a second scoring process brings, the client taken out of the account.

A stream of messages of 1,000 to a server with one worker and with two, in turns, each run a new server; nothing is
pinned to a core. On a machine of two cores the client, the front process and both scoring processes share these, so
that the rate on the clock (``workers2_wall_ratio``) is that of all of them together and no measure of the server.

Therefore the processor time of each process of the server is taken for itself. A process does no more than one core's
work at a time, so that the busiest one limits what the server can take where each process has a core::

    capacity = entries / processor seconds of the busiest process

``workers2_ratio`` is the capacity with two workers by that with one. The client's time is in neither. Left out is what
cores of their own would change: waiting for each other, shared caches and memory bandwidth, and that the two
scoring processes are never equally busy at each moment (over the whole run their difference is in the figure). Threads
beside the interpreter's, such as those of gRPC, count as if they ran in turn: this makes the capacity too low rather
than too high.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import console, measure, show_figures
from benchmarks.load import MESSAGE_ENTRIES
from benchmarks.served import Trained, deeplog, has_workers, trained

WORKERS = (1, 2)
RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: processor seconds per million entries, and memory, of each process."""

    entries_per_s: float
    """On the clock, the client on the same cores."""
    front_s: float
    """Of the process that was started."""
    worker_s: tuple[float, ...]
    """Of those that it started, the busiest first; empty if it scores by itself."""
    worker_mb: tuple[float, ...]
    """Memory of the same that no other process shares, in MiB."""

    @property
    def capacity(self) -> float:
        """Entries a second where each process has a core of its own."""
        return 1e6 / max(self.front_s, *self.worker_s, 0.0)

    @property
    def front_share(self) -> float:
        """Share of the server's processor time that the front process takes."""
        return self.front_s / (self.front_s + sum(self.worker_s))


def run(data: Path) -> dict[str, Any]:
    """All figures, flat."""
    if not has_workers():
        raise SystemExit("speed_workers: 'deeplog-grpc serve' has no option --workers; leave this part out")
    material = trained(data)
    runs: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
    for _ in range(RUNS):
        for workers, found in runs.items():
            found.append(_run(material, workers))
    _show(runs)
    return figures_of(runs)


def _run(material: Trained, workers: int) -> Run:
    with deeplog(material.bundle, "--workers", str(workers)) as server:
        before_s = server.family_cpu_s()
        flags = ("--judged",)
        found = measure(server.address, material.stream, *flags, style="stream", batch=MESSAGE_ENTRIES, pinned=False)
        after_s, unique_mb = server.family_cpu_s(), server.unique_mb()
    if workers > 1 and len(before_s) <= workers:
        raise RuntimeError(f"a server with {workers} workers has only {len(before_s) - 1} processes beside its first")
    cost_s = {pid: 1e6 * (after_s[pid] - before_s[pid]) / found["entries"] for pid in before_s}
    front, *others = before_s
    # Other helpers of the server's do not score: what scores is largest.
    scoring = sorted(others, key=unique_mb.__getitem__, reverse=True)[:workers]
    scoring.sort(key=cost_s.__getitem__, reverse=True)
    return Run(
        entries_per_s=found["entries_per_s"],
        front_s=cost_s[front],
        worker_s=tuple(cost_s[pid] for pid in scoring),
        worker_mb=tuple(unique_mb[pid] for pid in scoring),
    )


def figures_of(runs: Mapping[int, list[Run]]) -> dict[str, Any]:
    """Figures of the runs with one worker and with two: medians, and ratios of medians."""
    one, two = (runs[workers] for workers in WORKERS)
    capacity = [statistics.median(run.capacity for run in found) for found in (one, two)]
    wall = [statistics.median(run.entries_per_s for run in found) for found in (one, two)]
    pairs = [second.capacity / first.capacity for first, second in zip(one, two, strict=True)]
    return {
        "workers2_ratio": capacity[1] / capacity[0],
        "workers2_ratio_min": min(pairs),
        "workers2_ratio_max": max(pairs),
        "workers2_wall_ratio": wall[1] / wall[0],
        "workers1_capacity_per_s": capacity[0],
        "workers2_capacity_per_s": capacity[1],
        "workers2_front_cpu_us_per_entry": statistics.median(run.front_s for run in two),
        "workers2_front_share": statistics.median(run.front_share for run in two),
        "worker_mb": statistics.median(mb for run in two for mb in run.worker_mb) if two[0].worker_mb else 0.0,
    }


def _show(runs: Mapping[int, list[Run]]) -> None:
    table = Table("workers", "entries/s on the clock", "capacity", "front: CPU us an entry", "scoring processes")
    table.title = "medians; capacity = entries a second by the busiest process"
    for workers, found in runs.items():
        each = zip(*(run.worker_s for run in found), strict=True)
        table.add_row(
            str(workers),
            f"{statistics.median(run.entries_per_s for run in found):,.0f}",
            f"{statistics.median(run.capacity for run in found):,.0f}",
            f"{statistics.median(run.front_s for run in found):.2f}",
            " ".join(f"{statistics.median(costs):.2f}" for costs in each),
        )
    console.print(table)


if __name__ == "__main__":
    show_figures(run)
