"""``deeplog-grpc top`` as it looks on a terminal of 80 columns or more."""

import math
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.messages import name_of
from deeplog_grpc.cli.rows import KIND_STYLE
from deeplog_grpc.cli.times import second
from deeplog_grpc.cli.top_figures import ApplicationFigures, Figures
from deeplog_grpc.v1 import anomaly_pb2

_STATE_STYLE = {"learning": "yellow", "training": "cyan", "detecting": "green", "retraining": "cyan"}
_BAR = 20
_WIDE = 120
_HEAD_LINES = 8
"""Lines above the table of applications."""
_MIB = 1 << 20


class TopView:
    """What is shown of a server: figures, applications, alarms; as many rows as the terminal has room for.

    Parameters
    ----------
    address : str
        Of the metrics.
    figures : Figures or None
        None = there was no answer.
    trouble : str
        Why there was none.
    groups : sequence of AnomalyGroup, or str
        The newest first; or why there are none.
    """

    def __init__(
        self,
        address: str,
        figures: Figures | None,
        *,
        trouble: str = "",
        groups: Sequence[anomaly_pb2.AnomalyGroup] | str = (),
    ) -> None:
        self._address = address
        self._figures = figures
        self._trouble = trouble
        self._groups = groups

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        figures = self._figures
        if figures is None:
            yield Group(_line(f"deeplog-grpc  {self._address}", Text("no answer", style="bold red"), options.max_width))
            yield Text(f"{self._trouble}; asked again until it is back", style="dim")
            return
        height, width = options.height or console.height, options.max_width
        rows = max(2, height - _HEAD_LINES - 5)  # two heads of tables, a rule, and a line for what is left out
        wanted = max(1, len(self._groups)) if not isinstance(self._groups, str) else 1
        alarms = min(wanted, max(1, rows // 2))
        yield _head(self._address, figures, width)
        yield _numbers(figures, width)
        yield _applications(figures.applications, rows - alarms)
        yield Rule("newest alarms", style="dim", align="left")
        yield self._alarms(alarms, width)

    def _alarms(self, rows: int, width: int) -> RenderableType:
        if isinstance(self._groups, str):
            return Text(self._groups, style="dim", overflow="ellipsis", no_wrap=True)
        if not self._groups:
            return Text("none", style="dim")
        table = _table("last (UTC)", "application", "kind", ">times", "=what")
        for group in self._groups[:rows]:
            kind, last_seen = name_of(group, "kind"), second(group.last_seen_unix_nano)
            said = group.reason if group.key < 0 else group.template  # the end of a session has no template
            if width >= _WIDE and group.key >= 0:
                said = f"{said}  ({group.reason})"
            table.add_row(
                last_seen if width >= _WIDE else last_seen[len("2024-05-01T") :],
                group.application,
                Text(kind.replace("_", " "), style=KIND_STYLE.get(group.kind, "")),
                f"{group.count:,}",
                Text(said),
            )
        return table


def _head(address: str, figures: Figures, width: int) -> Text:
    state = Text("ready", style="bold green")
    if not figures.is_ready:
        state = Text(f"not ready: {', '.join(figures.failing_checks)}", style="bold red")
    return _line(f"deeplog-grpc {figures.version}  {address}  up {_span(figures.up_s)}", state, width)


def _line(left: str, right: Text, width: int) -> Text:
    room = max(1, width - len(left) - len(right))
    return Text.assemble((left, "bold"), " " * room, right, no_wrap=True, overflow="ellipsis")


def _numbers(figures: Figures, width: int) -> RenderableType:
    queue = Text.assemble(
        _bar(figures.queue_entries, figures.queue_limit_entries),
        f" {_count(figures.queue_entries)} of {_count(figures.queue_limit_entries)} entries, ",
        f"{figures.queue_bytes / _MIB:,.0f} of {figures.queue_limit_bytes / _MIB:,.0f} MiB",
    )
    rates = Text.assemble(
        (f"{figures.received_per_s:,.0f}", "bold"),
        " received  ",
        (f"{figures.scored_per_s:,.0f}", "bold"),
        " scored",
        *_if_any(figures.refused_per_s, "refused", "yellow"),
        *_if_any(figures.rejected_per_s, "rejected", "red"),
        *_if_any(figures.repeated_per_s, "repeated", "dim"),
        f"  {figures.anomalies_per_min:,.0f} anomalies/min",
    )
    files = f"{figures.open_files:,} of {figures.max_files:,} files"
    process = f"{figures.memory_bytes / _MIB:,.0f} MiB  {figures.cpu_share:.0%} of a core  {files}"
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("entries/s", style="dim"), rates)
    table.add_row(Text("queue", style="dim"), queue)
    table.add_row(Text("process", style="dim"), Text(f"{process}  {figures.open_streams} streams"))
    return Group(table, _latencies(figures, width))


def _if_any(rate: float, said: str, style: str) -> list[str | tuple[str, str]]:
    return ["  ", (f"{rate:,.0f} {said}", style)] if rate else []


def _latencies(figures: Figures, width: int) -> Table:
    """Median and 99 % in a row each; 90 % too where there is room."""
    table = Table.grid(padding=(0, 2))
    names = list(figures.latencies_s)
    table.add_row(Text("ms", style="dim"), *(Text(name, style="dim", justify="right") for name in names))
    shares = {"p50": 0, "p90": 1, "p99": 2}
    for said, place in shares.items():
        if said != "p90" or width >= _WIDE:
            cells = [_ms(figures.latencies_s[name][place]) for name in names]
            table.add_row(Text(said, style="dim"), *(Text(cell, justify="right") for cell in cells))
    return table


def _applications(found: Sequence[ApplicationFigures], rows: int) -> RenderableType:
    table = _table("=application", "state", ">version", ">entries/s", ">sessions", ">anomalies/min")
    shown = found if len(found) <= rows else found[: rows - 1]
    for one in shown:
        table.add_row(
            one.application,
            Text.assemble(
                (one.state, _STATE_STYLE.get(one.state, "")), (" drift" if one.is_drifting else "", "yellow")
            ),
            str(one.model_version or ""),
            f"{one.entries_per_s:,.0f}",
            f"{one.open_sessions:,}",
            Text(f"{one.anomalies_per_min:,.1f}", style="red" if one.anomalies_per_min else "dim"),
        )
    if len(shown) < len(found):
        table.add_row(Text(f"and {len(found) - len(shown):,} more", style="dim"))
    return table if found else Text("no application yet: the first entry that arrives makes one", style="dim")


def _table(*columns: str) -> Table:
    """A table, a row a line; ``>`` before a name sets the column right, ``=`` gives it the rest of the width."""
    table = Table(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style="dim bold")
    for name in columns:
        table.add_column(
            name.lstrip(">="),
            justify="right" if name.startswith(">") else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if name.startswith("=") else None,
        )
    return table


def _bar(value: int, limit: int) -> Text:
    share = min(1.0, value / limit) if limit else 0.0
    filled = math.ceil(share * _BAR)
    style = "red" if share > 0.9 else "yellow" if share > 0.5 else "green"
    return Text.assemble(("━" * filled, style), ("━" * (_BAR - filled), "dim"))


def _count(count: int) -> str:
    return f"{count:,}"


def _ms(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    return f"{seconds * 1e3:,.1f}" if seconds < 0.1 else f"{seconds * 1e3:,.0f}"


def _span(seconds: float) -> str:
    """A span in its two greatest units.

    Examples
    --------
    >>> [_span(s) for s in (5, 65, 3_700, 90_000)]
    ['5 s', '1 min 5 s', '1 h 1 min', '1 d 1 h']
    """
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count or unit == "s")
