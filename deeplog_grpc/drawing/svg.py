"""Pictures by Graphviz: its program ``dot`` in a process of its own, with a time limit."""

import os
import shutil
import subprocess
from contextlib import suppress

from deeplog_grpc.drawing.dot import dot
from deeplog_grpc.drawing.view import View
from deeplog_grpc.errors import DrawingError

PROGRAM = "dot"
LIMIT_S = 20.0
"""Seconds that a picture may take."""
_NICENESS = 10
"""Whatever else this machine does goes first."""
_REMEDY = "install Graphviz, or ask for mermaid or dot"


def svg(view: View, *, limit_s: float = LIMIT_S) -> str:
    """A picture; raises as :func:`svg_of_dot`. Blocks until it is there."""
    return svg_of_dot(dot(view), limit_s=limit_s)


def svg_of_dot(source: str, *, limit_s: float = LIMIT_S) -> str:
    """The picture of a graph.

    Raises
    ------
    DrawingError
        If Graphviz is not installed, fails, or needs longer.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise DrawingError(f"Graphviz is not installed here: {_REMEDY}", field="format")
    with subprocess.Popen(  # noqa: S603 - its path is the machine's own, and what is drawn comes as input
        [program, "-Tsvg"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        try:
            picture, told = process.communicate(source.encode(), timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise DrawingError(
                f"Graphviz needs more than {limit_s:g} s for it: ask for one task, or give a min_probability, "
                "or ask for mermaid or dot",
                field="format",
            ) from None
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        said = " ".join(told.decode(errors="replace").split())[:200]
        raise DrawingError(f"Graphviz failed ({said}): ask for mermaid or dot", field="format")
    return picture.decode()


def inline(picture: str) -> str:
    """The picture without what belongs to a file of its own, to stand in a page.

    Examples
    --------
    >>> inline('<?xml version="1.0"?><!DOCTYPE svg><svg width="8pt"></svg>')
    '<svg width="8pt"></svg>'
    """
    return picture[picture.index("<svg") :]
