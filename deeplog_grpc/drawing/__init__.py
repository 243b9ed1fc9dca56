"""Workflows for people: pictures and texts of them, with the way of a session marked.

A :class:`View` is what is drawn; all languages write the same view. Only ``svg`` starts a program, and only ``page``
needs an extra.
"""

from deeplog_grpc.drawing.dot import dot
from deeplog_grpc.drawing.mermaid import mermaid
from deeplog_grpc.drawing.page import page
from deeplog_grpc.drawing.svg import svg, svg_of_dot
from deeplog_grpc.drawing.tables import Rows
from deeplog_grpc.drawing.view import NOTHING, Anomaly, Highlight, TaskView, View, view

__all__ = [
    "NOTHING",
    "Anomaly",
    "Highlight",
    "Rows",
    "TaskView",
    "View",
    "dot",
    "mermaid",
    "page",
    "svg",
    "svg_of_dot",
    "view",
]
