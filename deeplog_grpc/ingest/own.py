"""Records that this product made itself: what comes back from the pipeline is not scored again, nor sent on."""

from collections.abc import Mapping
from typing import Any

from deeplog_grpc.ingest.records import Records

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


def which_are_own(records: Records) -> list[bool]:
    """Of each record, whether its attributes or its resource say that it was sent out.

    Examples
    --------
    >>> from deeplog_grpc.ingest.records import Origin
    >>> sent = {"deeplog.output": "back"}
    >>> origins = [Origin(), Origin(), Origin(resource=sent)]
    >>> which_are_own(Records(bodies=["a", "b", "c"], times_ns=[0] * 3, attributes=[{}, sent, {}], origins=origins))
    [False, True, True]
    """
    resources = {id(one): is_own(one.resource) for one in {id(one): one for one in records.origins}.values()}
    if not any(resources.values()) and not any(records.attributes):
        return [False] * len(records)
    return [
        resources[id(origin)] or bool(given and is_own(given))
        for origin, given in zip(records.origins, records.attributes, strict=True)
    ]
