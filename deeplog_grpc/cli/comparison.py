"""How a comparison of detectors and simple rules is shown: a table for people, plain data for machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from deeplog_grpc.training import Comparison, Figures

COLUMNS = ("FP", "FN", "precision", "recall", "F1", "FPR", "PR-AUC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows that belong together."""

    title: str
    """"" for all together, which needs none."""
    rows: Mapping[str, Figures]


def groups(comparison: Comparison) -> list[Group]:
    """All together first, then each kind of verdict, then the rules."""
    found = (
        Group(title="", rows={"all together": comparison.combined}),
        Group(title="each kind alone", rows=comparison.by_detector),
        Group(title="simple rules", rows=comparison.baselines),
    )
    return [group for group in found if group.rows]


def cells(figures: Figures) -> tuple[str, ...]:
    """Texts under :data:`COLUMNS`."""
    shares = (figures.precision, figures.recall, figures.f1)
    return (
        *(f"{count:,}" for count in (figures.fp, figures.fn)),
        *(f"{share:.4f}" for share in shares),
        f"{figures.fpr:.5f}",
        f"{figures.pr_auc:.4f}",
    )


def table(title: str, comparison: Comparison) -> Table:
    """Everything in one table."""
    combined = comparison.combined
    shown = Table(
        title=f"{title}: {combined.normal:,} normal, {combined.abnormal:,} abnormal",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),  # so that it fits 80 columns
        pad_edge=False,
    )
    shown.add_column("", no_wrap=True)
    for column in COLUMNS:
        shown.add_column(column, justify="right", no_wrap=True)
    for group in groups(comparison):
        if group.title:
            shown.add_section()
            shown.add_row(f"[dim]{group.title}[/dim]")
        for name, figures in group.rows.items():
            shown.add_row(name, *cells(figures), style="" if group.title else "bold")
    return shown


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Plain data."""
    return {
        "normal": comparison.combined.normal,
        "abnormal": comparison.combined.abnormal,
        **comparison.combined.to_json(),
        "by_detector": {name: figures.to_json() for name, figures in comparison.by_detector.items()},
        "baselines": {name: figures.to_json() for name, figures in comparison.baselines.items()},
    }
