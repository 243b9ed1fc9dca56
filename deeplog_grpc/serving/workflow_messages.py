"""Workflows as messages, and what is highlighted of them read from verdicts."""

from math import isnan, nan

from google.protobuf import json_format

from deeplog_grpc.drawing import Anomaly, Highlight, TaskView, View
from deeplog_grpc.drawing.texts import duration_text
from deeplog_grpc.v1 import verdict_pb2, workflow_pb2
from deeplog_grpc.workflow import Edge, EdgeKind, Elapsed, State, StateKind
from deeplog_grpc.workflow.deviations import NO_STATE
from deeplog_grpc.workflow.suggestion import Suggestion

STATE_KINDS = {kind: f"STATE_KIND_{kind.name}" for kind in StateKind}
EDGE_KINDS = {kind: f"EDGE_KIND_{kind.name}" for kind in EdgeKind}
_STATE_KINDS_OF = {int(workflow_pb2.StateKind.Value(name)): kind for kind, name in STATE_KINDS.items()}
_EDGE_KINDS_OF = {int(workflow_pb2.EdgeKind.Value(name)): kind for kind, name in EDGE_KINDS.items()}

DEVIATIONS = {
    verdict_pb2.DEVIATION_ALLOWED: "rare here",
    verdict_pb2.DEVIATION_SKIPPED: "steps were skipped",
    verdict_pb2.DEVIATION_REPEATED: "comes once more",
    verdict_pb2.DEVIATION_OUT_OF_ORDER: "comes at another place",
    verdict_pb2.DEVIATION_OTHER_TASK: "is of another task",
    verdict_pb2.DEVIATION_UNKNOWN: "no task has it",
    verdict_pb2.DEVIATION_TRUNCATED: "ended too early",
    verdict_pb2.DEVIATION_SLOW: "slower than usual",
    verdict_pb2.DEVIATION_FAST: "faster than usual",
    verdict_pb2.DEVIATION_VALUE: "has an odd value",
}
"""What is wrong, as it stands in a drawing."""
AS_USUAL = (
    verdict_pb2.DEVIATION_ALLOWED,
    verdict_pb2.DEVIATION_SLOW,
    verdict_pb2.DEVIATION_FAST,
    verdict_pb2.DEVIATION_VALUE,
)
"""Where the steps are those of the workflow, and none is missing."""


def workflow_message(view: View) -> workflow_pb2.Workflow:
    """A workflow, as much of it as is shown."""
    return workflow_pb2.Workflow(
        method=view.method,
        sessions=view.sessions,
        fitness=None if isnan(view.fitness) else view.fitness,
        tasks=[
            workflow_pb2.WorkflowTask(
                number=task.number,
                name=task.name,
                sessions=task.sessions,
                shortest=task.shortest,
                states=[_state_message(state, view) for state in task.states],
                edges=[_edge_message(edge, view) for edge in task.edges],
            )
            for task in view.tasks
        ],
        successions=[
            workflow_pb2.TaskSuccession(first=first, second=second, count=count)
            for (first, second), count in sorted(view.follows.items())
        ],
        suggested_history=view.suggestion.history,
        suggested_candidates=view.suggestion.candidates,
    )


def workflow_json(message: workflow_pb2.Workflow) -> str:
    """The message as JSON, by the names of the contract; zeros are told."""
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, ensure_ascii=False
    )


def view_of(message: workflow_pb2.Workflow) -> View:
    """What a server shows, to be drawn or told here; what it does not tell, the anomaly itself, is left out."""
    edges = [edge for task in message.tasks for edge in task.edges]
    return View(
        method=message.method,
        sessions=message.sessions,
        fitness=message.fitness if message.HasField("fitness") else nan,
        tasks=tuple(
            TaskView(
                number=task.number,
                name=task.name,
                sessions=task.sessions,
                shortest=task.shortest,
                states=tuple(map(_state_of, task.states)),
                edges=tuple(map(_edge_of, task.edges)),
            )
            for task in message.tasks
        ),
        follows={(one.first, one.second): one.count for one in message.successions},
        suggestion=Suggestion(history=message.suggested_history, candidates=message.suggested_candidates),
        states=frozenset(state.number for task in message.tasks for state in task.states if state.is_highlighted),
        links=frozenset((edge.source, edge.target) for edge in edges if edge.is_highlighted),
    )


def highlight_of(verdict: verdict_pb2.Verdict) -> Highlight:
    """What is marked of an anomaly: the way of its session, where it left, and what should have come."""
    diagnosis = verdict.diagnosis
    is_usual = diagnosis.deviation in AS_USUAL
    expected = [] if is_usual or diagnosis.skipped else [step.state for step in diagnosis.expected]
    return Highlight(
        path=tuple(diagnosis.path),
        missing=(*diagnosis.skipped, *expected),
        anomaly=Anomaly(
            text=DEVIATIONS.get(diagnosis.deviation, "left the workflow"),
            came=verdict.template,
            state=diagnosis.state if diagnosis.HasField("state") else NO_STATE,
            task=diagnosis.task if diagnosis.HasField("task") else NO_STATE,
        ),
        notes={
            step.state: f"took {duration_text(step.elapsed_s)}, usually ≤ {duration_text(step.p99_s)}"
            for step in diagnosis.slow_steps
        },
    )


def _state_message(state: State, view: View) -> workflow_pb2.WorkflowState:
    return workflow_pb2.WorkflowState(
        number=state.number,
        task=state.task,
        kind=STATE_KINDS[state.kind],
        key=state.key,
        template=state.template,
        count=state.count,
        is_highlighted=state.number in view.states,
    )


def _edge_message(edge: Edge, view: View) -> workflow_pb2.WorkflowEdge:
    message = workflow_pb2.WorkflowEdge(
        source=edge.source,
        target=edge.target,
        kind=EDGE_KINDS[edge.kind],
        count=edge.count,
        probability=edge.probability,
        least=edge.least,
        most=edge.most,
        is_highlighted=(edge.source, edge.target) in view.links,
    )
    if edge.elapsed is not None:
        elapsed = edge.elapsed
        message.elapsed.p50_s, message.elapsed.p95_s = elapsed.p50, elapsed.p95
        message.elapsed.p99_s, message.elapsed.count = elapsed.p99, elapsed.count
    return message


def _state_of(message: workflow_pb2.WorkflowState) -> State:
    return State(
        number=message.number,
        task=message.task,
        kind=_STATE_KINDS_OF.get(message.kind, StateKind.KEY),
        key=message.key,
        template=message.template,
        count=message.count,
    )


def _edge_of(message: workflow_pb2.WorkflowEdge) -> Edge:
    elapsed = message.elapsed
    return Edge(
        source=message.source,
        target=message.target,
        kind=_EDGE_KINDS_OF.get(message.kind, EdgeKind.SEQUENCE),
        count=message.count,
        probability=message.probability,
        least=message.least,
        most=message.most,
        elapsed=Elapsed(p50=elapsed.p50_s, p95=elapsed.p95_s, p99=elapsed.p99_s, count=elapsed.count)
        if message.HasField("elapsed")
        else None,
    )
