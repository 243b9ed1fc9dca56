"""``deeplog-grpc workflow``: the workflow of an application, from a model bundle or a server."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.table import Table
from rich.text import Text

from deeplog_grpc import drawing
from deeplog_grpc.cli.console import MESSAGES, OUTPUT, JsonOption, print_json
from deeplog_grpc.cli.messages import plain
from deeplog_grpc.cli.remote import ApplicationOption, connected
from deeplog_grpc.client import WorkflowFields
from deeplog_grpc.drawing import Rows, View
from deeplog_grpc.drawing.tables import facts, loop_rows, point_rows, slow_rows, task_rows
from deeplog_grpc.errors import DrawingError, InputError, NotFoundError, PreconditionError
from deeplog_grpc.serving.workflow_messages import view_of, workflow_json, workflow_message
from deeplog_grpc.storage import load_bundle
from deeplog_grpc.v1 import workflow_pb2

SHOWN_ROWS = 15
"""Rows of a table in a terminal; a page has them all."""
OPTION_OF = {
    "format": "--format",
    "min_probability": "--min-probability",
    "session": "--session",
    "task": "--task",
    "verdict_id": "--verdict",
}
"""Field of the contract -> the option that sets it."""


class Format(StrEnum):
    """How a workflow is shown."""

    TABLE = "table"
    SVG = "svg"
    HTML = "html"
    DOT = "dot"
    MERMAID = "mermaid"
    JSON = "json"


ENDINGS = {
    ".svg": Format.SVG,
    ".html": Format.HTML,
    ".dot": Format.DOT,
    ".gv": Format.DOT,
    ".mmd": Format.MERMAID,
    ".json": Format.JSON,
}
"""How a file is written whose name ends so."""
_FORMATS = {
    Format.SVG: workflow_pb2.WORKFLOW_FORMAT_SVG,
    Format.DOT: workflow_pb2.WORKFLOW_FORMAT_DOT,
    Format.MERMAID: workflow_pb2.WORKFLOW_FORMAT_MERMAID,
    Format.JSON: workflow_pb2.WORKFLOW_FORMAT_JSON,
}


class Source(Protocol):
    """Where a workflow comes from."""

    def response(self) -> workflow_pb2.GetWorkflowResponse:
        """The workflow as a message."""
        ...

    def text(self, form: Format) -> str:
        """The workflow in a language, or as a picture."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSource:
    """A model bundle, drawn in this process."""

    path: Path
    task: int | None
    min_probability: float

    def response(self) -> workflow_pb2.GetWorkflowResponse:
        """The workflow as a message."""
        application, version, view = self._read()
        return workflow_pb2.GetWorkflowResponse(
            application=application, model_version=version, workflow=workflow_message(view)
        )

    def text(self, form: Format) -> str:
        """The workflow in a language, or as a picture."""
        _, _, view = self._read()
        match form:
            case Format.DOT:
                return drawing.dot(view)
            case Format.MERMAID:
                return drawing.mermaid(view)
            case Format.JSON:
                return workflow_json(workflow_message(view))
            case _:
                return drawing.svg(view)

    def _read(self) -> tuple[str, int, View]:
        model = load_bundle(self.path)
        if not model.workflow.tasks:
            raise PreconditionError("has no workflow: train it anew from its normal sessions", field=str(self.path))
        view = drawing.view(model.workflow, task=self.task, min_probability=self.min_probability)
        return model.application, model.version, view


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSource:
    """A server, which draws; pictures are made here where it has no Graphviz."""

    address: str
    fields: WorkflowFields

    def response(self) -> workflow_pb2.GetWorkflowResponse:
        """The workflow as a message."""
        return self._ask(workflow_pb2.WORKFLOW_FORMAT_MESSAGE)

    def text(self, form: Format) -> str:
        """The workflow in a language, or as a picture."""
        try:
            return self._ask(_FORMATS[form]).text
        except PreconditionError as error:
            if form is not Format.SVG or error.field != "format":
                raise
            return drawing.svg_of_dot(self._ask(workflow_pb2.WORKFLOW_FORMAT_DOT).text)

    def _ask(self, form: workflow_pb2.WorkflowFormat) -> workflow_pb2.GetWorkflowResponse:
        asked = self.fields.copy()
        asked["format"] = form
        with connected(self.address) as client:
            return client.get_workflow(**asked)


def workflow(
    model_or_server: Annotated[str, typer.Argument(help="Model bundle, or HOST:PORT of a server.")],
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: by the name of --out, else a table.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it here instead of printing it.")] = None,
    task: Annotated[int | None, typer.Option(min=0, help="Only this task.")] = None,
    min_probability: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave rarer edges of choices and loops out.")
    ] = 0.0,
    session: Annotated[str, typer.Option(help="Mark the way of a session (server).")] = "",
    verdict: Annotated[
        str, typer.Option(metavar="ID", help="Mark where the session of a stored anomaly left (server).")
    ] = "",
    application: ApplicationOption = "",
    json: JsonOption = False,
) -> None:
    """Show the workflow of an application: tasks, where they branch, loops, slow steps, and what h and g it suggests.

    **Example:** `deeplog-grpc workflow model --out workflow.html`, or
    `deeplog-grpc workflow 127.0.0.1:50051 --verdict 3-128 --out why.svg`
    """
    chosen = _format(form, out, json=json)
    source = _source(model_or_server, application, task, min_probability, session, verdict)
    try:
        text = _shown(source, chosen, json=json)
    except (NotFoundError, InputError) as error:
        if error.field not in OPTION_OF:
            raise
        raise type(error)(error.message, field=OPTION_OF[error.field]) from None
    if text is None:
        return
    if out is None:
        OUTPUT.out(text.rstrip("\n"), highlight=False)
    else:
        _write(out, text)


def _format(form: Format | None, out: Path | None, *, json: bool) -> Format:
    if json and (form is not None or out is not None):
        raise InputError("is printed, as a line: leave --format and --out out, or give --format json", field="--json")
    if form is None:
        form = Format.TABLE if out is None else ENDINGS.get(out.suffix.lower())
    if form is None:
        raise InputError(f"'{out}' does not tell how to write it: give --format", field="--out")
    if form is Format.TABLE and out is not None:
        raise InputError("a table is printed: give another --format, html for example", field="--out")
    return form


def _source(
    given: str, application: str, task: int | None, min_probability: float, session: str, verdict: str
) -> Source:
    if Path(given).exists() or ":" not in given:
        for name, value in (("--session", session), ("--verdict", verdict), ("--application", application)):
            if value:
                raise InputError("is asked of a server: give HOST:PORT instead of a model bundle", field=name)
        return BundleSource(path=Path(given), task=task, min_probability=min_probability)
    if session and verdict:
        raise InputError("give at most one of them", field="--session, --verdict")
    fields: WorkflowFields = {
        "application": application,
        "min_probability": min_probability,
        "session": session,
        "verdict_id": verdict,
    }
    if task is not None:
        fields["task"] = task
    return ServerSource(address=given, fields=fields)


def _shown(source: Source, form: Format, *, json: bool) -> str | None:
    """What is to be written; None = it has been printed."""
    if json:
        print_json(plain(source.response()))
    elif form is Format.TABLE:
        _print_tables(source.response())
    elif form is Format.HTML:
        return _page(source)
    else:
        return source.text(form)
    return None


def _page(source: Source) -> str:
    response = source.response()
    picture, chart = None, None
    try:
        picture = source.text(Format.SVG)
    except DrawingError as error:
        MESSAGES.print(f"no picture, Mermaid instead: {error.message}", style="yellow", markup=False, highlight=False)
        chart = source.text(Format.MERMAID)
    return drawing.page(view_of(response.workflow), title=_title(response), picture=picture, chart=chart)


def _print_tables(response: workflow_pb2.GetWorkflowResponse) -> None:
    view = view_of(response.workflow)
    OUTPUT.print(Text(_title(response), style="bold"))
    for name, value in facts(view).items():
        OUTPUT.print(Text.assemble((f"{name}: ", "dim"), value))
    for rows in (
        task_rows(view),
        point_rows(view, SHOWN_ROWS),
        loop_rows(view, SHOWN_ROWS),
        slow_rows(view, SHOWN_ROWS),
    ):
        if rows.rows:
            OUTPUT.print(_table(rows))
    OUTPUT.print(
        Text.assemble(
            "suggested by the workflow: ",
            (f"key_model.history = {view.suggestion.history}", "bold"),
            " (h, steps of the shortest task), ",
            (f"key_model.candidates = {view.suggestion.candidates}", "bold"),
            " (g, log keys at the widest divergence point)",
        )
    )


def _table(rows: Rows) -> Table:
    table = Table(title=rows.title, title_justify="left", caption_justify="left")
    for number, column in enumerate(rows.columns):
        is_words = number < rows.words
        table.add_column(column, justify="left" if is_words else "right", no_wrap=not is_words)
    for row in rows.rows:
        cells: list[Any] = [Text(cell, overflow="fold") for cell in row]
        table.add_row(*cells)
    if rows.left_out:
        table.caption = f"and {rows.left_out:,} more: --format html shows all"
    return table


def _title(response: workflow_pb2.GetWorkflowResponse) -> str:
    return f"Workflow of {response.application}, version {response.model_version}"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", field=f"--out {path}") from error
    MESSAGES.print(f"written: {path}", markup=False, highlight=False)
