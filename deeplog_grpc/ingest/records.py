"""Log records of any foreign protocol, before anybody knows what application or session they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from deeplog_grpc.ingest.lines import BODY_FIELDS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Origin:
    """What many records of a request have in common; one object for all of them."""

    resource: Mapping[str, Any] = field(default_factory=dict)
    """OTLP resource attributes, as they came: keys may hold dots, values may be mappings and lists."""
    scope: str = ""
    """Name of the OTLP instrumentation scope."""
    tag: str = ""
    """Tag of the Forward protocol."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Keys in lower case that begin with ``x-deeplog-``, of gRPC metadata or an HTTP request, and Forward options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Columns of n records, in the order in which they came."""

    bodies: Sequence[str]
    """Text of the message, as it came; empty = the record has none. Length n."""
    times_ns: Sequence[int]
    """Nanoseconds since 1970-01-01 UTC; 0 = the record has no time. Length n."""
    attributes: Sequence[Mapping[str, Any]]
    """All else that the record says: text, numbers, booleans, None, lists, mappings. Length n."""
    origins: Sequence[Origin]
    """Length n."""

    def __len__(self) -> int:
        return len(self.bodies)

    def slice(self, start: int, stop: int) -> "Records":
        """Records start..stop-1."""
        return Records(
            bodies=self.bodies[start:stop],
            times_ns=self.times_ns[start:stop],
            attributes=self.attributes[start:stop],
            origins=self.origins[start:stop],
        )

    @property
    def all_have_times(self) -> bool:
        """Whether every record says when it was made: only then are equal bytes the same delivery."""
        return all(self.times_ns)


def body_of(record: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Divide a record that is a mapping into the text of the message and all else.

    Returns
    -------
    str
        What stands under the first of ``BODY_FIELDS`` that has a text; the whole record as JSON where none has.
    mapping
        The record without it.

    Examples
    --------
    >>> body_of({"log": "disk full", "stream": "stderr"})
    ('disk full', {'stream': 'stderr'})
    >>> body_of({"level": "info", "code": 3})
    ('{"level":"info","code":3}', {'level': 'info', 'code': 3})
    """
    for name in BODY_FIELDS:
        if isinstance(text := record.get(name), str) and text:
            return text, {key: value for key, value in record.items() if key != name}
    return orjson.dumps(dict(record), default=str, option=orjson.OPT_NON_STR_KEYS).decode(), record
