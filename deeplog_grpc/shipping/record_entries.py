"""Records of a foreign protocol as entries of the contract, so that a server judges them as if they had come to it."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from deeplog_grpc.ingest import Origin, Records, RoutingConfig
from deeplog_grpc.ingest.lines import ArrivedLines
from deeplog_grpc.ingest.own import is_own
from deeplog_grpc.ingest.routing import Router
from deeplog_grpc.ingest.values import cut_text
from deeplog_grpc.shipping.wire import entries_of, entry_fields

MAX_ATTRIBUTES = 127
"""Of one record: a server takes one more by default (`ingest.max_attributes`)."""
_APPLICATION = "deeplog.application"
_ID_CHARS = 256
"""Of an identifier in a text; a server cuts longer ones too."""


class RecordEntryReader:
    """Reads records as entries: their texts as lines, and all that says where they belong as attributes.

    The server finds the application, the session and the source in the attributes, by its own rules; what a text says
    of them, where it is a JSON object, counts only where the attributes say nothing. Mappings among the attributes are
    flattened, with dots. Records that this project sent out itself, and those without a text, give no entry.

    Parameters
    ----------
    max_body_bytes : int
        Longer texts are cut to this.
    clock_ns : callable
        Nanoseconds since 1970 UTC, for records and texts without a time.

    Examples
    --------
    >>> from deeplog_grpc.v1.deeplog_service_pb2 import EntryBatch
    >>> bodies, attributes = ["2024-05-01 10:00:00 up"], [{"pod": {"name": "p"}}]
    >>> records = Records(bodies=bodies, times_ns=[7], attributes=attributes, origins=[Origin(tag="t")])
    >>> (entry,) = EntryBatch.FromString(b"".join(RecordEntryReader(max_body_bytes=99).read(records))).entries
    >>> entry.body, entry.time_unix_nano, sorted(entry.attributes.items())
    ('up', 7, [('pod.name', 'p'), ('tag', 't')])
    """

    def __init__(self, *, max_body_bytes: int, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._max_body_bytes = max_body_bytes
        self._clock_ns = clock_ns
        self._lines = ArrivedLines()
        self._router = Router(RoutingConfig())

    def read(self, records: Records) -> list[bytes]:
        """Entries, as :func:`~deeplog_grpc.shipping.wire.entries_of` gives them."""
        now_ns = self._clock_ns()
        lines = self._lines.near(now_ns).read([cut_text(body, self._max_body_bytes) for body in records.bodies])
        named = zip(lines.applications, lines.batch.sessions, lines.batch.sources, strict=True)
        common = {id(origin): _of_origin(origin) for origin in {id(one): one for one in records.origins}.values()}
        bodies, times_ns, fields = [], [], []
        for number, body, time_ns, names in zip(
            lines.numbers, lines.batch.bodies, lines.batch.times_ns.tolist(), named, strict=True
        ):
            own, origin = records.attributes[number], records.origins[number]
            if is_own(own) or is_own(origin.resource):
                continue
            attributes = {**common[id(origin)], **dict(_flat(own))}
            bodies.append(body.encode(errors="surrogateescape"))
            times_ns.append(records.times_ns[number] or time_ns or now_ns)
            fields.append(self._fields(names, attributes))
        return entries_of(bodies, times_ns, fields)

    def _fields(self, names: tuple[str, str, str], attributes: Mapping[str, str]) -> bytes:
        if len(attributes) > MAX_ATTRIBUTES:
            kept = sorted(attributes, key=lambda name: name not in self._router.names)[:MAX_ATTRIBUTES]
            attributes = {name: attributes[name] for name in kept}
        session = source = ""
        if any(names):
            route = self._router.route(attributes, Origin())
            application, session, source = (
                "" if routed else name[:_ID_CHARS] for name, routed in zip(names, route, strict=True)
            )
            if application:
                # Not as the entry's own: one that is not served is no fault then, as it is none of a record.
                attributes = {_APPLICATION: application, **attributes}
        return entry_fields(session=session.encode(), source=source.encode(), attributes=attributes)


def _of_origin(origin: Origin) -> dict[str, str]:
    """What many records have in common; of the same name, what counts more comes later."""
    named = {name: value for name, value in (("tag", origin.tag), ("scope", origin.scope)) if value}
    return {**named, **origin.headers, **dict(_flat(origin.resource))}


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, bool | list):
            yield name, orjson.dumps(value).decode()
        elif value is not None:
            yield name, str(value)
