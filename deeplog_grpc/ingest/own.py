"""Records that this product made itself: what comes back from the pipeline is not scored again."""

from collections.abc import Mapping
from typing import Any

OUTPUT_ATTRIBUTE = "deeplog.output"
"""On every record that is sent out, and on its OTLP resource: the name of the output."""

_MARKS = frozenset({"output", "verdict_id"})


def is_own(attributes: Mapping[str, Any]) -> bool:
    """Whether attributes of a record, or of its resource, are those of a record that was sent out.

    Pipelines rewrite dots: ``deeplog_output``, and ``output`` in a mapping ``deeplog``, count too.

    Examples
    --------
    >>> is_own({"deeplog.output": "collector"}), is_own({"deeplog": {"verdict_id": "7-12"}}), is_own({"output": "x"})
    (True, True, False)
    """
    if "deeplog.output" in attributes or "deeplog.verdict_id" in attributes:
        return True
    if "deeplog_output" in attributes or "deeplog_verdict_id" in attributes:
        return True
    nested = attributes.get("deeplog")
    return isinstance(nested, Mapping) and not _MARKS.isdisjoint(nested)
