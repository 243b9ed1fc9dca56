"""Events of Vector's ``vector`` sink -> records.

Two shapes: an event that is a map (Vector's legacy namespace, or parsed before), with its line under ``message``; and
an event that is the line itself (Vector namespace), with what the source says of it in the metadata.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from deeplog_grpc.errors import InputError
from deeplog_grpc.foreign.vector_pb2 import PushEventsRequest
from deeplog_grpc.ingest.native import text
from deeplog_grpc.ingest.records import Origin, Records, body_of
from deeplog_grpc.ingest.values import MAX_DEPTH, json_text, known_time, number, time_text

SERVICE = "vector.Vector"
"""The gRPC service; it has the methods ``PushEvents`` and ``HealthCheck``. An empty response to either says yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorEvents:
    """What a request holds."""

    records: Records
    """Of its log events."""
    ignored: int
    """How many events were not logs."""


def decode_events(raw: bytes, headers: Mapping[str, str]) -> VectorEvents:
    """Decode a ``PushEventsRequest``.

    Parameters
    ----------
    raw : bytes
        The request, not compressed.
    headers : mapping of str to str
        What came beside it, for its origin.

    Returns
    -------
    VectorEvents
        The attributes of a record are the other fields of its event, what the metadata says under names that the event
        does not have, and ``source_event_id`` (hex) if the source gave one. Times in them are RFC 3339 text.

    Raises
    ------
    InputError
        If the bytes are not such a request.

    Examples
    --------
    >>> request = PushEventsRequest()
    >>> request.events.add().log.root.text = b"disk full"
    >>> events = decode_events(request.SerializeToString(), {"x-deeplog-application": "orders"})
    >>> events.records.bodies, events.ignored
    (['disk full'], 0)
    """
    try:
        request = PushEventsRequest.FromString(raw)
    except DecodeError:
        raise InputError(f"the {len(raw)} bytes received are not a PushEventsRequest message") from None
    bodies: list[str] = []
    times_ns: list[int] = []
    attributes: list[Mapping[str, Any]] = []
    for event in request.events:
        if event.HasField("log"):
            body, time_ns, rest = _record(event.log)
            bodies.append(body)
            times_ns.append(time_ns)
            attributes.append(rest)
    origins = [Origin(headers=headers)] * len(bodies)
    records = Records(bodies=bodies, times_ns=times_ns, attributes=attributes, origins=origins)
    return VectorEvents(records=records, ignored=len(request.events) - len(bodies))


def _record(log: Any) -> tuple[str, int, Mapping[str, Any]]:
    """Body, time in ns and attributes of a log event."""
    metadata = log.metadata
    content = metadata.content.map.fields or log.legacy_metadata.map.fields
    attributes = _mapping(content, 1) if content else {}
    time_ns = _ingest_time_ns(content)
    if (event_id := metadata.source_event_id) and any(event_id):
        attributes.setdefault("source_event_id", event_id.hex())
    root = log.root
    kind = root.WhichOneof("kind")
    if kind == "text":
        return text(root.text), time_ns, attributes
    if kind and kind != "map":
        return json_text(_value(root, 0)), time_ns, attributes
    # a root that says nothing comes with a pair that means nothing
    pairs = root.map.fields if log.HasField("root") else log.fields
    record = {}
    for pair in pairs:
        if pair.key == b"timestamp" and pair.value.HasField("time"):
            time_ns = _time_ns(pair.value.time) or time_ns
        else:
            record[text(pair.key)] = _value(pair.value, 1)
    body, rest = _body(record)
    return body, time_ns, {**attributes, **rest} if attributes else rest


def _body(record: dict[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """As :func:`body_of`, but ``message`` comes first: Vector's own place for the line."""
    if isinstance(record.get("message"), str) and record["message"]:
        return record.pop("message"), record
    return body_of(record) if record else ("", record)


def _ingest_time_ns(content: Iterable[Any]) -> int:
    """When Vector took the event in; the time of an event that has no field for it."""
    for pair in content:
        if pair.key == b"vector":
            for inner in pair.value.map.fields:
                if inner.key == b"ingest_timestamp":
                    return _time_ns(inner.value.time)
    return 0


def _time_ns(time: Any) -> int:
    return known_time(time.seconds * 1_000_000_000 + time.nanos)


def _mapping(pairs: Iterable[Any], depth: int) -> dict[str, Any]:
    return {text(pair.key): _value(pair.value, depth) for pair in pairs}


def _list(items: Iterable[Any], depth: int) -> list[Any]:
    return [_value(item, depth) for item in items]


def _value(value: Any, depth: int) -> Any:
    """A value inside so many others; one that is not set is None."""
    kind = value.WhichOneof("kind")
    read = _READERS.get(kind)
    return read(getattr(value, kind), depth + 1) if read and depth < MAX_DEPTH else None


_READERS: dict[str | None, Callable[[Any, int], Any]] = {
    "text": lambda value, _: text(value),
    "time": lambda value, _: time_text(value.seconds * 1_000_000_000 + value.nanos),
    "integer": lambda value, _: value,
    "number": lambda value, _: number(value),
    "boolean": lambda value, _: value,
    "map": lambda value, depth: _mapping(value.fields, depth),
    "array": lambda value, depth: _list(value.items, depth),
}
