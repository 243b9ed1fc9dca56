"""How the speed of parsing and detecting depends on what is served: a curve for each thing that grows.

Entries of :class:`~deeplog_grpc.testing.SimulatedLoad`; see :mod:`benchmarks.speed_points` for how they are served. All
but one thing is the same along a curve: the entries of sessions, the share of new windows, the share of faults. In the
curve of sessions these may close after any entry, so that ones just begun are like older ones, and no window is new.
Templates are all used alike, which is the worst case (real logs use few of theirs most of the time), and their curve
has no faults, for 10,000 templates are learned from fewer entries each. Ratios compare the largest point with the
smallest.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import console
from benchmarks.speed_measuring import spread
from benchmarks.speed_points import Measured, Point, measure
from deeplog_grpc.testing import LoadShape

NOVELTY = 0.05
"""Share of new windows wherever it is not what grows: the lower end of what real logs have."""
FAULTS = 0.001
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What grows, and the points."""

    name: str
    label: str
    points: dict[float, Point]

    def figure(self, x: float) -> str:
        """Name of the figure of a point."""
        return f"curve_{self.name}_{x}_entries_per_s"


def _shape(
    *, templates: int = 100, open_sessions: int = 1_000, faults: float = FAULTS, novelty: float = NOVELTY
) -> LoadShape:
    return LoadShape(templates=templates, open_sessions=open_sessions, fault_rate=faults, novelty=novelty)


CURVES = (
    Curve(
        name="batch",
        label="entries a message",
        points={
            size: Point(shape=_shape(), batch=size, stretch=stretch)
            for size, stretch in ((1, 3_000), (10, 10_000), (100, 30_000), (1_000, 30_000), (8_192, 32_768))
        },
    ),
    Curve(
        name="templates",
        label="templates",
        points={count: Point(shape=_shape(templates=count, faults=0.0)) for count in (10, 100, 1_000, 10_000)},
    ),
    Curve(
        name="sessions",
        label="open sessions",
        points={
            count: Point(shape=LoadShape(open_sessions=count, memoryless=True), stretch=60_000)
            for count in (1_000, 10_000, 100_000, 1_000_000)
        },
    ),
    Curve(
        name="applications",
        label="applications",
        points={
            count: Point(
                shape=_shape(templates=10, open_sessions=10),
                batch=100,
                applications=count,
                warm_up=400 * count,
                stretch=max(30_000, 100 * count),
            )
            for count in (1, 10, 100, 1_000)
        },
    ),
    Curve(
        name="anomaly_rate",
        label="share of abnormal entries",
        points={rate: Point(shape=_shape(faults=rate)) for rate in (0.0, 0.001, 0.01, 0.1)},
    ),
    Curve(
        name="novelty",
        label="share of new windows",
        points={share: Point(shape=_shape(novelty=share)) for share in (0.0, 0.05, 0.1, 0.2, 0.5)},
    ),
)


def run(data: Path) -> dict[str, Any]:
    """Entries a second along each curve; what the largest point costs beside the smallest; memory."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        for curve in CURVES:
            figures |= _figures(curve, measure(curve.points, Path(work)))
    return figures


def _figures(curve: Curve, found: dict[float, Measured]) -> dict[str, float]:
    _show(curve, found)
    figures: dict[str, float] = {}
    for x, measured in found.items():
        rates = [1e9 / ns for ns in measured.ns]
        figures |= spread(curve.figure(x), rates)
    xs = list(found)
    costs = {x: spread("ns", measured.ns)["ns"] for x, measured in found.items()}
    if curve.name == "templates":
        figures["templates_10k_cost_ratio"] = costs[xs[-1]] / costs[xs[0]]
    if curve.name == "sessions":
        figures["sessions_1m_cost_ratio"] = costs[xs[-1]] / costs[xs[0]]
        figures["curve_session_bytes"] = (found[xs[-1]].memory_bytes - found[xs[0]].memory_bytes) / (xs[-1] - xs[0])
    if curve.name == "applications":
        grown = (found[xs[-1]].memory_bytes - found[xs[1]].memory_bytes) / (xs[-1] - xs[1])
        figures["curve_application_mb"] = grown / MIB
    return figures


def _show(curve: Curve, found: dict[float, Measured]) -> None:
    table = Table(
        curve.label, "entries/s", "least", "most", "ns an entry", "new windows", "abnormal", "MiB", title_justify="left"
    )
    for x, measured in found.items():
        ns = spread("ns", measured.ns)
        table.add_row(
            f"{x:,g}",
            *(f"{1e9 / ns[name]:,.0f}" for name in ("ns", "ns_max", "ns_min")),
            f"{ns['ns']:,.0f}",
            f"{measured.new_windows:.1%}",
            f"{measured.anomalies:.2%}",
            f"{measured.memory_bytes / MIB:,.0f}",
        )
    console.print(table)
