"""A view in the language of Mermaid, which many viewers of Markdown draw."""

from collections.abc import Iterable, Iterator
from string import ascii_letters, digits

from deeplog_grpc.drawing import marks
from deeplog_grpc.drawing.view import View
from deeplog_grpc.workflow import State, StateKind
from deeplog_grpc.workflow.deviations import NO_STATE

_PLAIN = frozenset(ascii_letters + digits + " .,:()·…≤%-/=")
"""All else is written by its number: it might mean something to Mermaid, to HTML, or to Markdown."""
_ITEM = frozenset(".-")
"""In front of a blank they would begin an item of a list."""
_CLASSES = (
    f"classDef path fill:{marks.PATH_FILL},stroke:{marks.PATH},stroke-width:3px",
    f"classDef missing fill:#ffffff,stroke:{marks.ODD},stroke-width:2px,stroke-dasharray:5 4",
    f"classDef odd fill:{marks.ODD_FILL},stroke:{marks.ODD},stroke-width:3px",
    f"classDef bar fill:{marks.LINE},stroke:{marks.LINE},color:{marks.LINE}",
)
_EDGE_STYLES = {
    "path": f",stroke:{marks.PATH}",
    "missing": f",stroke:{marks.ODD},stroke-dasharray:5 4",
    "": "",
}


def mermaid(view: View) -> str:
    """The text of a flowchart: top to bottom, a subgraph a task."""
    return "\n".join(["flowchart TD", *(f"  {line}" for line in _body(view)), ""])


def escaped(text: str) -> str:
    """A text that says nothing but itself.

    Examples
    --------
    >>> escaped('1. a "b" <c> #2;')
    '1#46; a #34;b#34; #60;c#62; #35;2#59;'
    """
    return "".join(
        char if char in _PLAIN and not (char in _ITEM and onward == " ") else f"#{ord(char)};"
        for char, onward in zip(text, f"{text[1:]} ", strict=False)
    )


def _body(view: View) -> Iterator[str]:
    for task in view.tasks:
        yield f'subgraph task{task.number} ["{escaped(marks.title(view, task.number))}"]'
        yield from (f"  {_state(view, state)}" for state in task.states)
        yield "end"
    drawn = marks.lines(view)
    for line in drawn:
        words = f'|"{_lines(line.label)}"|' if line.label else ""
        yield f"s{line.edge.source} -->{words} s{line.edge.target}"
    if view.anomaly is not None:
        yield f'anomaly{{{{"{_lines(marks.anomaly_lines(view))}"}}}}:::odd'
    if view.anomaly is not None and view.left_at != NO_STATE:
        yield f"s{view.left_at} --> anomaly"
        yield f"linkStyle {len(drawn)} stroke-width:3px,stroke:{marks.ODD}"
    for number, line in enumerate(drawn):
        yield f"linkStyle {number} stroke-width:{line.width:.1f}px{_EDGE_STYLES[line.mark]}"
    yield from _CLASSES


def _state(view: View, state: State) -> str:
    words = _lines(marks.state_lines(view, state))
    mark = marks.state_mark(view, state.number)
    name = f"s{state.number}"
    match state.kind:
        case StateKind.START:
            return f'{name}(("{words}"))' + (f":::{mark}" if mark else "")
        case StateKind.END:
            return f'{name}((("{words}")))' + (f":::{mark}" if mark else "")
        case StateKind.FORK | StateKind.JOIN:
            return f'{name}["{words}"]:::{mark or "bar"}'
        case StateKind.KEY:
            return f'{name}["{words}"]' + (f":::{mark}" if mark else "")


def _lines(lines: Iterable[str]) -> str:
    return "<br/>".join(map(escaped, lines))
