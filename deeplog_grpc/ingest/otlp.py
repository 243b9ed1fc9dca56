"""OTLP logs in protobuf -> records.

Reads what any exporter sends, leniently: text that is not UTF-8, as Fluent Bit sends it from a log file, is read as
U+FFFD and costs nothing else. Runs for every line: fields are read by columns, and only what is there costs more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import DESCRIPTOR

from deeplog_grpc.ingest.lenient import LenientDecoder
from deeplog_grpc.ingest.native import text, texts
from deeplog_grpc.ingest.records import Origin, Records, body_of
from deeplog_grpc.ingest.values import MAX_DEPTH, MAX_TIME_NS, json_text, known_time, number

_decode = LenientDecoder("ExportLogsServiceRequest", DESCRIPTOR)
_FIELDS = attrgetter(
    "body.string_value",
    "time_unix_nano",
    "observed_time_unix_nano",
    "attributes",
    *("trace_id", "span_id", "severity_text", "severity_number"),
)
_NOTHING: Mapping[str, Any] = {}


def decode_logs(raw: bytes, headers: Mapping[str, str]) -> Records:
    """Decode an ``ExportLogsServiceRequest``.

    Parameters
    ----------
    raw : bytes
        The request, not compressed.
    headers : mapping of str to str
        What came beside it, for its origins.

    Returns
    -------
    Records
        The attributes of a record are its own and, unless it has such itself, ``trace_id`` and ``span_id`` (hex),
        ``severity_text``, ``severity_number``.

    Raises
    ------
    InputError
        If the bytes are not such a request.

    Examples
    --------
    >>> from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    >>> request = ExportLogsServiceRequest()
    >>> record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=5, severity_text="WARN")
    >>> record.body.string_value = "disk full"
    >>> records = decode_logs(request.SerializeToString(), {})
    >>> records.bodies, records.times_ns, records.attributes
    (['disk full'], [5], [{'severity_text': 'WARN'}])
    """
    bodies: list[str] = []
    times_ns: list[int] = []
    attributes: list[Mapping[str, Any]] = []
    origins: list[Origin] = []
    for resource_logs, plain_logs in zip(_decode(raw).resource_logs, _decode.plain(raw).resource_logs, strict=True):
        resource = _mapping(resource_logs.resource.attributes, 1)
        for scope_logs, plain in zip(resource_logs.scope_logs, plain_logs.scope_logs, strict=True):
            if not plain.log_records:
                continue
            columns = _columns(scope_logs.log_records, plain.log_records)
            bodies += columns[0]
            times_ns += columns[1]
            attributes += columns[2]
            origin = Origin(resource=resource, scope=text(scope_logs.scope.name), headers=headers)
            origins += [origin] * len(columns[0])
    return Records(bodies=bodies, times_ns=times_ns, attributes=attributes, origins=origins)


def _columns(records: Sequence[Any], plain: Sequence[Any]) -> tuple[list[str], list[int], list[Mapping[str, Any]]]:
    """Bodies, times and attributes of the records [n > 0] of one scope, also given as plain ones."""
    lines, times_ns, observed_ns, pairs, *marks = zip(*map(_FIELDS, plain), strict=True)
    bodies, attributes = texts(lines), [_NOTHING] * len(lines)
    if any(pairs) or any(map(any, marks)):
        for place, (has_pairs, *own) in enumerate(zip(pairs, *marks, strict=True)):
            if has_pairs or any(own):
                attributes[place] = _attributes(records[place].attributes if has_pairs else (), *own)
    if not all(lines):
        for place in [place for place, line in enumerate(lines) if not line]:
            bodies[place], attributes[place] = _other_body(records[place], attributes[place])
    if not all(times_ns):
        times_ns = tuple(time_ns or observed for time_ns, observed in zip(times_ns, observed_ns, strict=True))
    return bodies, list(map(known_time, times_ns)) if max(times_ns) > MAX_TIME_NS else list(times_ns), attributes


def merged(body: Mapping[str, Any], attributes: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Body and attributes of a record whose body is a mapping; its attributes win over those in the body.

    Examples
    --------
    >>> merged({"log": "disk full", "host": "a"}, {"host": "b"})
    ('disk full', {'host': 'b'})
    """
    line, rest = body_of(body)
    return line, {**rest, **attributes}


def _attributes(
    pairs: Iterable[Any], trace_id: bytes, span_id: bytes, severity_text: bytes, severity_number: int
) -> dict[str, Any]:
    attributes = _mapping(pairs, 1)
    if any(trace_id):
        attributes.setdefault("trace_id", trace_id.hex())
    if any(span_id):
        attributes.setdefault("span_id", span_id.hex())
    if severity_text:
        attributes.setdefault("severity_text", text(severity_text))
    if severity_number:
        attributes.setdefault("severity_number", severity_number)
    return attributes


def _other_body(record: Any, attributes: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Body and attributes of a record whose body is not a line."""
    body = _value(record.body, 0)
    if isinstance(body, dict):
        return merged(body, attributes)
    if body is None or body == "":
        return text(record.event_name), attributes
    return body if isinstance(body, str) else json_text(body), attributes


def _mapping(pairs: Iterable[Any], depth: int) -> dict[str, Any]:
    return {
        text(pair.key): text(line) if (line := pair.value.string_value) else _value(pair.value, depth) for pair in pairs
    }


def _list(items: Iterable[Any], depth: int) -> list[Any]:
    return [_value(item, depth) for item in items]


def _value(value: Any, depth: int) -> Any:
    """An ``AnyValue`` inside so many others; what is empty, or a type not known here, is None."""
    kind = value.WhichOneof("value")
    read = _READERS.get(kind)
    return read(getattr(value, kind), depth + 1) if read and depth < MAX_DEPTH else None


_READERS: dict[str | None, Callable[[Any, int], Any]] = {
    "string_value": lambda value, _: text(value),
    "bytes_value": lambda value, _: text(value),
    "bool_value": lambda value, _: value,
    "int_value": lambda value, _: value,
    "double_value": lambda value, _: number(value),
    "array_value": lambda value, depth: _list(value.values, depth),
    "kvlist_value": lambda value, depth: _mapping(value.values, depth),
}
