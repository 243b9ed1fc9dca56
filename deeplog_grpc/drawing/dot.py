"""A view in the language of Graphviz. Pure; :mod:`deeplog_grpc.drawing.svg` makes a picture of it."""

from collections.abc import Iterable, Iterator, Mapping

from deeplog_grpc.drawing import marks
from deeplog_grpc.drawing.marks import Line
from deeplog_grpc.drawing.texts import TOOLTIP_CHARS, legible
from deeplog_grpc.drawing.view import TaskView, View
from deeplog_grpc.workflow import EdgeKind, State, StateKind
from deeplog_grpc.workflow.deviations import NO_STATE

LARGE = 150
"""States from which on the layout is made in a way that takes seconds rather than minutes."""
ANOMALY = "anomaly"

_FONT = "Helvetica,Arial,sans-serif"
_ROUND = {"shape": "circle", "fixedsize": "true", "width": "0.5", "fontsize": "10"}
_BAR = {"shape": "box", "style": "filled", "label": "", "fixedsize": "true", "width": "1.2", "height": "0.07"}
_SHAPES: Mapping[StateKind, Mapping[str, str]] = {
    StateKind.START: _ROUND,
    StateKind.END: {**_ROUND, "peripheries": "2"},
    StateKind.FORK: {**_BAR, "fillcolor": marks.LINE, "color": marks.LINE},
    StateKind.JOIN: {**_BAR, "fillcolor": marks.LINE, "color": marks.LINE},
    StateKind.KEY: {},
}
_STATE_MARKS: Mapping[str, Mapping[str, str]] = {
    "": {},
    "path": {"color": marks.PATH, "fillcolor": marks.PATH_FILL, "penwidth": "2.4"},
    "missing": {"color": marks.ODD, "penwidth": "2", "style": "rounded,filled,dashed"},
    "odd": {"color": marks.ODD, "fillcolor": marks.ODD_FILL, "penwidth": "2.4"},
}
_EDGE_MARKS: Mapping[str, Mapping[str, str]] = {
    "": {},
    "path": {"color": marks.PATH, "fontcolor": marks.PATH},
    "missing": {"color": marks.ODD, "fontcolor": marks.ODD, "style": "dashed"},
}


def dot(view: View) -> str:
    """The text of a graph: top to bottom, a cluster a task."""
    return "\n".join(["digraph workflow {", *_head(view), *_body(view), "}", ""])


def quoted(text: str) -> str:
    r"""A text as one of the language, in which it says nothing but itself.

    Examples
    --------
    >>> print(quoted('a "b" \\N &lt;'))
    "a \"b\" \\N &amp;lt;"
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") + '"'


def label(lines: Iterable[str], *, is_left: bool = False) -> str:
    r"""Lines as the label of a state or an edge, centred or from the left.

    Examples
    --------
    >>> print(label(["one", 'two "2"']))
    "one\ntwo \"2\"\n"
    """
    return '"' + "".join(quoted(line)[1:-1] + ("\\l" if is_left else "\\n") for line in lines) + '"'


def _head(view: View) -> Iterator[str]:
    graph = {
        "rankdir": "TB",
        "nodesep": "0.35",
        "ranksep": "0.38",
        "bgcolor": "white",
        "fontname": _FONT,
        "fontsize": "11",
        "fontcolor": marks.LINE,
        "labelloc": "b",
        "labeljust": "l",
        "tooltip": "workflow",
    }
    if len(view.state_of) >= LARGE:
        graph |= {"nslimit": "2", "nslimit1": "2", "mclimit": "0.2"}
    node = {
        "shape": "box",
        "style": "rounded,filled",
        "fillcolor": marks.FAINT,
        "color": marks.LINE,
        "fontname": _FONT,
        "fontsize": "11",
        "fontcolor": marks.TEXT,
        "margin": "0.12,0.06",
        "height": "0.3",
    }
    edge = {"color": marks.LINE, "fontname": _FONT, "fontsize": "10", "fontcolor": marks.LINE, "arrowsize": "0.7"}
    yield f"  graph [label={label(marks.legend(view), is_left=True)} {_attributes(graph)}]"
    yield f"  node [{_attributes(node)}]"
    yield f"  edge [{_attributes(edge)}]"


def _body(view: View) -> Iterator[str]:
    own: dict[int, list[Line]] = {}
    task_of = {number: state.task for number, state in view.state_of.items()}
    for line in marks.lines(view):
        own.setdefault(task_of[line.edge.source], []).append(line)
    for task in view.tasks:
        yield f"  subgraph cluster_{task.number} {{"
        yield f'    graph [label={quoted(marks.title(view, task.number))} labelloc="t" labeljust="l" {_FRAME}]'
        yield from _states(view, task)
        yield from (f"    {_edge(line)}" for line in own.get(task.number, ()))
        if view.left_at in {state.number for state in task.states}:
            yield from (f"    {line}" for line in _anomaly(view))
        yield "  }"
    if view.left_at == NO_STATE:
        yield from (f"  {line}" for line in _anomaly(view))


_FRAME = 'style="rounded" color="#d0d3d7" fontsize="13" fontcolor="#1c1b1f" margin="14"'


def _states(view: View, task: TaskView) -> Iterator[str]:
    for state in task.states:
        yield f"    s{state.number} [{_state(view, state)}]"


def _state(view: View, state: State) -> str:
    attributes = {**_SHAPES[state.kind], **_state_mark(view, state)}
    words = "" if "label" in attributes else f"label={label(marks.state_lines(view, state))} "
    return f"{words}tooltip={quoted(_tooltip(state))} {_attributes(attributes)}"


def _state_mark(view: View, state: State) -> Mapping[str, str]:
    mark = marks.state_mark(view, state.number)
    if state.kind is StateKind.KEY or not mark:
        return _STATE_MARKS[mark]
    colour = marks.PATH if mark == "path" else marks.ODD
    is_bar = state.kind in (StateKind.FORK, StateKind.JOIN)
    return {"color": colour, "fillcolor": colour} if is_bar else {"color": colour, "penwidth": "2.4"}


def _tooltip(state: State) -> str:
    """The template at more length, for who points at it."""
    return f"{state.number}: {legible(state.template, TOOLTIP_CHARS) or state.kind.value}"


def _edge(line: Line) -> str:
    edge = line.edge
    attributes = {**_EDGE_MARKS[line.mark], "penwidth": f"{line.width:.2f}"}
    if line.mark:
        attributes["penwidth"] = f"{max(line.width, 2.4):.2f}"
    if edge.kind is EdgeKind.LOOP:
        attributes["constraint"] = "false"
    told = [f"  {word}" for word in line.label]
    words = f"label={label(told, is_left=True)} " if told else ""
    count = f"{edge.source} to {edge.target}: {edge.count:,} times"
    return f"s{edge.source} -> s{edge.target} [{words}tooltip={quoted(count)} {_attributes(attributes)}]"


def _anomaly(view: View) -> Iterator[str]:
    """What came where the session left its workflow."""
    if view.anomaly is None:
        return
    box = {"shape": "octagon", "style": "filled", "color": marks.ODD, "fillcolor": marks.ODD_FILL, "penwidth": "2.4"}
    came = legible(view.anomaly.came or view.anomaly.text, TOOLTIP_CHARS)
    yield f"{ANOMALY} [label={label(marks.anomaly_lines(view))} tooltip={quoted(came)} {_attributes(box)}]"
    if view.left_at != NO_STATE:
        way = {"color": marks.ODD, "penwidth": "2.4", "tooltip": "left here"}
        yield f"s{view.left_at} -> {ANOMALY} [{_attributes(way)}]"


def _attributes(attributes: Mapping[str, str]) -> str:
    return " ".join(f"{name}={quoted(value)}" for name, value in attributes.items())
