"""How a view looks, whatever the language: colours, widths, the words on states and edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p
from typing import TypeAlias

from deeplog_grpc.drawing.texts import duration_text, legible, lines_of, range_text, share_text
from deeplog_grpc.drawing.view import View
from deeplog_grpc.workflow import Edge, EdgeKind, State, StateKind

PATH = "#0072b2"
"""Blue and vermilion of Okabe and Ito: told apart by people who cannot tell red from green, and in grey."""
ODD = "#d55e00"
PATH_FILL = "#d6ebf7"
ODD_FILL = "#fdeadd"
LINE = "#5f6368"
TEXT = "#1c1b1f"
FAINT = "#f7f7f8"

LEAST_WIDTH = 0.8
GREATEST_WIDTH = 4.0
NOTE_CHARS = 60

LEGEND = "on an edge: share of what follows · usual time, 99 % of the time at most so long"
MARKED_LEGEND = "blue: the way of the session · orange: what is wrong; dashed: what was expected"

Mark: TypeAlias = str
"""``path``, ``missing``, ``odd``, or nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """How an edge is drawn."""

    edge: Edge
    width: float
    mark: Mark
    label: tuple[str, ...]
    """Its lines."""


def state_mark(view: View, number: int) -> Mark:
    """What is to be seen of a state at once; what is wrong counts most."""
    if number in view.notes:
        return "odd"
    if number in view.missing:
        return "missing"
    return "path" if number in view.states else ""


def state_lines(view: View, state: State) -> list[str]:
    """The words in a box."""
    if state.kind is not StateKind.KEY:
        return [state.kind.value]
    note = view.notes.get(state.number, "")
    return [
        *lines_of(view.names.name(state.template)),
        f"key {state.key} · {state.count:,}",
        *([legible(note, NOTE_CHARS)] if note else []),
    ]


def anomaly_lines(view: View) -> list[str]:
    """The words at the place where the session left its workflow."""
    if view.anomaly is None:
        return []
    return [
        legible(view.anomaly.text, NOTE_CHARS),
        *(lines_of(view.names.name(view.anomaly.came)) if view.anomaly.came else []),
    ]


def title(view: View, task: int) -> str:
    """The name of a task."""
    (found,) = (one for one in view.tasks if one.number == task)
    return f"task {task}: {legible(view.names.name(found.name), 60)} ({found.sessions:,} times)"


def legend(view: View) -> list[str]:
    """What one has to know to read it."""
    is_marked = view.states or view.missing or view.anomaly is not None or view.notes
    return [LEGEND, MARKED_LEGEND] if is_marked else [LEGEND]


def lines(view: View) -> list[Line]:
    """All edges, task by task."""
    edges = [edge for task in view.tasks for edge in task.edges]
    most = max((edge.count for edge in edges), default=0)
    kinds = {number: state.kind for number, state in view.state_of.items()}
    return [Line(edge, _width(edge.count, most), _mark(view, edge), tuple(_label(edge, kinds))) for edge in edges]


def _width(count: int, most: int) -> float:
    """By frequency, on a logarithmic scale."""
    return LEAST_WIDTH + (GREATEST_WIDTH - LEAST_WIDTH) * (log1p(count) / log1p(most) if most else 0.0)


def _mark(view: View, edge: Edge) -> Mark:
    link = (edge.source, edge.target)
    if link in view.links:
        return "path"
    return "missing" if link in view.missing_links else ""


def _label(edge: Edge, kinds: Mapping[int, StateKind]) -> list[str]:
    words = []
    if edge.kind is EdgeKind.LOOP:
        words.append(f"again: {range_text(edge.least, edge.most)} in a row")
    elif edge.most > 1:
        words.append(f"{range_text(edge.least, edge.most)} side by side")
    if kinds[edge.source] is not StateKind.FORK and (share := share_text(edge.probability)):
        words.append(share)
    if edge.elapsed is not None:
        words.append(f"{duration_text(edge.elapsed.p50)}, ≤ {duration_text(edge.elapsed.p99)}")
    return words
