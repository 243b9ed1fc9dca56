"""A workflow as one page of HTML that needs nothing from elsewhere."""

from importlib import resources

import jinja2

from deeplog_grpc.drawing.mermaid import mermaid
from deeplog_grpc.drawing.svg import inline
from deeplog_grpc.drawing.tables import facts, loop_rows, point_rows, slow_rows, task_rows
from deeplog_grpc.drawing.view import View

SHOWN_SLOW = 20


def page(view: View, *, title: str, picture: str | None, chart: str | None = None) -> str:
    """The page.

    Parameters
    ----------
    title : str
        What it is the workflow of.
    picture : str, optional
        The SVG; None = there is none, and the Mermaid text stands in its place.
    chart : str, optional
        The Mermaid text. Default: that of the view.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    return template.render(
        title=title,
        facts=facts(view),
        picture="" if picture is None else inline(picture),
        chart="" if picture is not None else chart or mermaid(view),
        tables=[task_rows(view), point_rows(view), loop_rows(view), slow_rows(view, SHOWN_SLOW)],
        suggestion=view.suggestion,
    )
