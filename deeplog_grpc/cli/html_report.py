"""``--report DIR``: an evaluation as one HTML file that needs nothing from elsewhere.

Needs the extra ``report`` (matplotlib), imported only when a report is asked for.
"""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from deeplog_grpc import __version__
from deeplog_grpc.cli.comparison import COLUMNS, cells, groups
from deeplog_grpc.errors import InputError
from deeplog_grpc.settings import Settings
from deeplog_grpc.training import Comparison, Curve, Figures
from deeplog_grpc.training.metrics import COMBINED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "report.html"
SECTIONS = ("parser", "sessions", "key_model", "thresholds", "detector")
"""Parts of the configuration that bear on the figures."""
SHOWN_RULES = 4
"""Curves of rules in a picture, the best ones: more cannot be told apart."""
OURS = "#b3261e"
OTHERS = ("#1f5fa8", "#2f7d4f", "#8a6d1d", "#6b4fa0")
DASHES = ("--", "-.", ":", (0, (6, 2, 1, 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One table and its picture."""

    title: str
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report says."""

    title: str
    levels: Sequence[Level]
    facts: Mapping[str, str]
    """What was learned from, what was judged, how long it took."""
    end_of_session: str
    """The rule by which sessions ended."""
    settings: Settings


def prepare(folder: Path | None) -> None:
    """Make sure, before hours of training, that a report can be written; None = none is wanted.

    Raises
    ------
    InputError
        If the extra is not installed, or the folder cannot be made.
    """
    if folder is None:
        return
    if util.find_spec("matplotlib") is None:
        raise InputError("needs matplotlib: pip install 'deeplog-grpc[report]'", field="--report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"no such folder can be made: {error.strerror}", field=f"--report {folder}") from error


def write(folder: Path, report: Report) -> Path:
    """Write the report; :func:`prepare` comes first.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    place = folder / FILE
    try:
        place.write_text(render(report), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", field=str(place)) from error
    return place


def render(report: Report) -> str:
    """The report as HTML."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(resources.files(__package__).joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        title=report.title,
        version=__version__,
        facts=report.facts,
        end_of_session=report.end_of_session,
        columns=COLUMNS,
        levels=[_level(level) for level in report.levels],
        settings=_settings(report.settings),
    )


def _level(level: Level) -> dict[str, Any]:
    comparison = level.comparison
    return {
        "title": level.title,
        "normal": f"{comparison.combined.normal:,}",
        "abnormal": f"{comparison.combined.abnormal:,}",
        "flagged": f"{comparison.combined.tp + comparison.combined.fp:,}",
        "groups": [
            (group.title, [(name, cells(figures)) for name, figures in group.rows.items()])
            for group in groups(comparison)
        ],
        "picture": _data_uri(picture(comparison)),
    }


def _settings(settings: Settings) -> list[tuple[str, str]]:
    """Key and value, by the names that the configuration file has."""
    return [
        (f"{section}.{field.name}", str(getattr(getattr(settings, section), field.name)))
        for section in SECTIONS
        for field in dataclasses.fields(getattr(settings, section))
    ]


def picture(comparison: Comparison) -> "Figure":
    """Precision over recall: all together and the best rules; a mark where the threshold of each lies."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    best = sorted(comparison.baselines, key=lambda name: -comparison.baselines[name].pr_auc)[:SHOWN_RULES]
    figures = comparison.combined
    label = f"all together ({figures.pr_auc:.3f})"
    _draw(axes, comparison.curves[COMBINED], figures, label=label, color=OURS, linestyle="-", linewidth=3)
    for name, color, dashes in zip(best, OTHERS, DASHES, strict=False):  # on top: thin dashes hide no broad line
        figures = comparison.baselines[name]
        label = f"rule {name} ({figures.pr_auc:.3f})"
        _draw(axes, comparison.curves[name], figures, label=label, color=color, linestyle=dashes, linewidth=1.3)
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes.get_legend_handles_labels(),
        title="PR-AUC in brackets; a dot is the threshold in force",
        title_fontsize="small",
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize="small",
    )
    return figure


def _draw(axes: Any, curve: Curve, figures: Figures, *, label: str, **style: Any) -> None:
    """A curve in steps, since nothing lies between two thresholds, and the point at which it is used."""
    if len(curve.recall):
        recall = [0.0, *curve.recall.tolist()]
        precision = [float(curve.precision[0]), *curve.precision.tolist()]
        axes.plot(recall, precision, drawstyle="steps-pre", label=label, **style)
    dot = {"color": style["color"], "markersize": 7, "markeredgecolor": "white", "zorder": 4 + (style["color"] == OURS)}
    axes.plot([figures.recall], [figures.precision], "o", **dot)


def _data_uri(figure: "Figure") -> str:
    """The picture as text for an ``img``: its names cannot clash with those of another one in the page."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "deeplog-grpc"}):  # same figures, same file
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
