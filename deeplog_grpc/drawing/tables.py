"""What tables say of a view: the same on a page and in a terminal."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

from deeplog_grpc.drawing.texts import duration_text, legible, range_text
from deeplog_grpc.drawing.view import View
from deeplog_grpc.workflow import Method, State, StateKind
from deeplog_grpc.workflow.suggestion import DivergencePoint

STEP_CHARS = 60
METHODS = {
    "sessions": "the sessions of training",
    "model": "the log key LSTM",
    "density": "which log keys come close to each other",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    """Columns from the left that hold words; the rest hold figures."""
    left_out: int = 0
    """Rows that are not shown."""


def facts(view: View) -> dict[str, str]:
    """What the workflow as a whole is."""
    judged = "tasks found in it" if view.method == Method.DENSITY else "sessions held back"
    known = {
        "built from": METHODS.get(view.method, view.method),
        "sessions": f"{view.sessions:,}",
        "fitness": "not known" if isnan(view.fitness) else f"{view.fitness:.2%} of the {judged} replay on it",
        "tasks shown": str(len(view.tasks)),
        "states shown": str(len(view.state_of)),
    }
    if view.follows:
        known["tasks in turn"] = ", ".join(
            f"{first} → {second} ({count:,} times)" for (first, second), count in sorted(view.follows.items())
        )
    if view.anomaly is not None:
        came = f": {legible(view.names.name(view.anomaly.came), STEP_CHARS)}" if view.anomaly.came else ""
        known["marked"] = f"{legible(view.anomaly.text, 300)}{came}"
    return known


def step(view: View, state: State) -> str:
    """A state in words: its log key and its short name, or its kind."""
    if state.kind is not StateKind.KEY:
        return state.kind.value
    return f"{state.key} {legible(view.names.name(state.template), STEP_CHARS)}"


def task_rows(view: View) -> Rows:
    """One row a task."""
    return Rows(
        title="Tasks",
        columns=("task", "first step", "times", "log keys", "fewest steps", "branches at", "loops"),
        rows=tuple(
            (
                str(task.number),
                legible(view.names.name(task.name), STEP_CHARS),
                f"{task.sessions:,}",
                str(len({state.key for state in task.states if state.kind is StateKind.KEY})),
                f"{task.shortest:,}",
                f"{len(task.points):,}",
                f"{len(task.loops):,}",
            )
            for task in view.tasks
        ),
        words=2,
    )


def point_rows(view: View, limit: int | None = None) -> Rows:
    """Where the tasks branch, the widest first."""
    points = sorted(
        ((task.number, point) for task in view.tasks for point in task.points), key=lambda pair: -pair[1].width
    )
    return _cut(
        "Divergence points",
        ("task", "after", "what follows", "log keys"),
        [(str(number), step(view, point.state), _branches(view, point), str(point.width)) for number, point in points],
        words=3,
        limit=limit,
    )


def loop_rows(view: View, limit: int | None = None) -> Rows:
    """What is repeated."""
    states = view.state_of
    return _cut(
        "Loops",
        ("task", "from", "back to", "in a row", "share", "times"),
        [
            (
                str(task.number),
                step(view, states[edge.source]),
                step(view, states[edge.target]),
                range_text(edge.least, edge.most),
                f"{edge.probability:.2%}",
                f"{edge.count:,}",
            )
            for task in view.tasks
            for edge in task.loops
        ],
        words=3,
        limit=limit,
    )


def slow_rows(view: View, limit: int | None = None) -> Rows:
    """Steps by the time that they take, the slowest first."""
    states = view.state_of
    timed = sorted(
        ((edge.elapsed, edge) for task in view.tasks for edge in task.slowest if edge.elapsed is not None),
        key=lambda pair: -pair[0].p99,
    )
    return _cut(
        "Slowest steps",
        ("from", "to", "half of the time", "95 %", "99 %", "times"),
        [
            (
                step(view, states[edge.source]),
                step(view, states[edge.target]),
                *(duration_text(seconds) for seconds in (elapsed.p50, elapsed.p95, elapsed.p99)),
                f"{elapsed.count:,}",
            )
            for elapsed, edge in timed
        ],
        words=2,
        limit=limit,
    )


def _branches(view: View, point: DivergencePoint) -> str:
    texts = (
        f"{'' if point.is_fork else f'{branch.probability:.1%} '}{step(view, branch.state)}"
        for branch in point.branches
    )
    return ("side by side: " if point.is_fork else "") + "; ".join(texts)


def _cut(
    title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, words: int, limit: int | None
) -> Rows:
    found = tuple(rows)
    shown = found[:limit]
    return Rows(title=title, columns=columns, rows=shown, words=words, left_out=len(found) - len(shown))
