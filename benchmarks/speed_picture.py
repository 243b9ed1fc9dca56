"""The picture of the speed benchmark: the stages as one bar, a panel for each curve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed_curves import CURVES, Curve
from benchmarks.speed_stages import STAGES

LABELLED = 0.04
"""Share from which a stage is named in the bar; the others are in the legend alone."""
COLUMNS = 3


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Draw what was measured; stages or curves that were not are left out."""
    import matplotlib.pyplot as plt

    curves = [curve for curve in CURVES if _rates(curve, figures)]
    rows = -(-len(curves) // COLUMNS)
    figure = plt.figure(figsize=(13, 3.4 + 3.2 * rows), constrained_layout=True)
    grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[1.0] + [1.3] * rows)
    if "stages_total_ns" in figures:
        _draw_stages(figure.add_subplot(grid[0, :]), figures)
    for number, curve in enumerate(curves):
        _draw_curve(figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS]), curve, figures)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_stages(axes: Any, figures: Mapping[str, Any]) -> None:
    import matplotlib.pyplot as plt

    colours = map(plt.get_cmap("tab20"), range(len(STAGES)))
    left, total = 0.0, figures["stages_total_ns"]
    for stage, colour in zip(STAGES, colours, strict=True):
        ns = figures[f"stage_{stage.name}_ns"]
        axes.barh(0, ns, left=left, color=colour, edgecolor="white", label=f"{stage.name} ({stage.what})")
        if figures[f"stage_{stage.name}_share"] >= LABELLED:
            axes.text(left + ns / 2, 0, f"{stage.name}\n{ns:,.0f}", ha="center", va="center", fontsize=9)
        left += ns
    axes.set(xlabel="ns an entry, one core", xlim=(0, left), yticks=[])
    axes.set_title(f"From the bytes of a message to those of its answer: {total:,.0f} ns an entry (HDFS lines)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(ncols=4, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.28), frameon=False)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_curve(axes: Any, curve: Curve, figures: Mapping[str, Any]) -> None:
    rates = _rates(curve, figures)
    xs = list(rates)
    # Shares begin at 0, which a logarithmic scale does not have: their points stand side by side.
    places = list(range(len(xs))) if 0 in xs else xs
    middle = [rates[x] for x in xs]
    least, most = ([_figure(curve, x, figures, end) for x in xs] for end in ("_min", "_max"))
    axes.fill_between(places, least, most, alpha=0.2, color="tab:blue", linewidth=0)
    axes.plot(places, middle, marker="o", color="tab:blue")
    if 0 in xs:
        axes.set_xticks(places, [f"{100 * x:g} %" for x in xs])
    else:
        axes.set_xscale("log")
        axes.set_xticks(xs, [_count(x) for x in xs])
        axes.minorticks_off()
    axes.set(xlabel=curve.label, ylabel="entries/s", ylim=(0, 1.15 * max(most)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)


def _count(x: float) -> str:
    return f"{x / 1e6:g} M" if x >= 1e6 else f"{x / 1e3:g} k" if x >= 1e4 else f"{x:,g}"


def _rates(curve: Curve, figures: Mapping[str, Any]) -> dict[float, float]:
    return {x: _figure(curve, x, figures) for x in curve.points if curve.figure(x) in figures}


def _figure(curve: Curve, x: float, figures: Mapping[str, Any], end: str = "") -> float:
    return float(figures[curve.figure(x) + end])
