"""OTLP logs in JSON -> records.

Names in camel case, as the specification has them, and in snake case, as some senders write them. A leaf of the wrong
type is read as if it were not there; lists that are none cost the request, since whole records would be lost unseen.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.native import text
from deeplog_grpc.ingest.otlp import merged
from deeplog_grpc.ingest.records import Origin, Records
from deeplog_grpc.ingest.values import MAX_DEPTH, json_text, known_time

_Object = Mapping[str, Any]


def decode_logs_json(raw: bytes, headers: Mapping[str, str]) -> Records:
    """Decode an ``ExportLogsServiceRequest`` in JSON; what becomes of its records: :func:`~.otlp.decode_logs`.

    Raises
    ------
    InputError
        If the bytes are not such a request.

    Examples
    --------
    >>> record = b'{"timeUnixNano": "5", "body": {"stringValue": "a"}}'
    >>> records = decode_logs_json(b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [%b]}]}]}' % record, {})
    >>> records.bodies, records.times_ns
    (['a'], [5])
    """
    bodies: list[str] = []
    times_ns: list[int] = []
    attributes: list[Mapping[str, Any]] = []
    origins: list[Origin] = []
    for resource_logs, field in _objects(_parse(raw), "resourceLogs", "resource_logs", ""):
        resource = _mapping(_object(resource_logs, "resource").get("attributes"), 1)
        for scope_logs, field_of_scope in _objects(resource_logs, "scopeLogs", "scope_logs", field):
            scope = _text(_object(scope_logs, "scope").get("name"))
            origin = Origin(resource=resource, scope=scope, headers=headers)
            for record, _ in _objects(scope_logs, "logRecords", "log_records", field_of_scope):
                body, rest = _body_and_attributes(record)
                bodies.append(body)
                times_ns.append(_time_ns(record))
                attributes.append(rest)
                origins.append(origin)
    return Records(bodies=bodies, times_ns=times_ns, attributes=attributes, origins=origins)


def _parse(raw: bytes) -> _Object:
    try:
        # orjson refuses bytes that are not UTF-8
        request = orjson.loads(raw if raw.isascii() else raw.decode(errors="replace"))
    except orjson.JSONDecodeError as error:
        raise InputError(f"the {len(raw)} bytes received are not JSON: {error}") from None
    if not isinstance(request, dict):
        raise InputError("must be a JSON object with resourceLogs, as OTLP/JSON has it")
    return request


def _objects(owner: _Object, camel: str, snake: str, path: str) -> Iterator[tuple[_Object, str]]:
    """Objects of a list, each with the path of its field."""
    items = _get(owner, camel, snake)
    field = f"{path}.{camel}" if path else camel
    if not isinstance(items, list | None):
        raise InputError("must be a list", field=field)
    for position, item in enumerate(items or ()):
        if not isinstance(item, dict):
            raise InputError("must be an object", field=f"{field}[{position}]")
        yield item, f"{field}[{position}]"


def _get(owner: _Object, camel: str, snake: str) -> Any:
    value = owner.get(camel)
    return owner.get(snake) if value is None else value


def _object(owner: _Object, name: str) -> _Object:
    value = owner.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: Any) -> int | None:
    """A whole number of 64 bits, written as a number or as text."""
    if isinstance(value, str) and len(value) <= len(str(-(2**63))):
        try:
            value = int(value)
        except ValueError:
            return None
    is_integer = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64
    return value if is_integer else None


def _time_ns(record: _Object) -> int:
    time_ns = _integer(_get(record, "timeUnixNano", "time_unix_nano"))
    observed_ns = _integer(_get(record, "observedTimeUnixNano", "observed_time_unix_nano"))
    return known_time(time_ns or observed_ns or 0)


def _body_and_attributes(record: _Object) -> tuple[str, Mapping[str, Any]]:
    body, attributes = _value(record.get("body"), 0), _attributes(record)
    if isinstance(body, dict):
        return merged(body, attributes)
    if body is None or body == "":
        return _text(_get(record, "eventName", "event_name")), attributes
    return body if isinstance(body, str) else json_text(body), attributes


def _attributes(record: _Object) -> dict[str, Any]:
    attributes = _mapping(record.get("attributes"), 1)
    for name, camel in (("trace_id", "traceId"), ("span_id", "spanId")):
        if (identifier := _text(_get(record, camel, name))).strip("0"):
            attributes.setdefault(name, identifier.lower())
    if severity_text := _text(_get(record, "severityText", "severity_text")):
        attributes.setdefault("severity_text", severity_text)
    if severity_number := _integer(_get(record, "severityNumber", "severity_number")):
        attributes.setdefault("severity_number", severity_number)
    return attributes


def _mapping(pairs: Any, depth: int) -> dict[str, Any]:
    if not isinstance(pairs, list):
        return {}
    return {_text(pair.get("key")): _value(pair.get("value"), depth) for pair in pairs if isinstance(pair, dict)}


def _value(value: Any, depth: int) -> Any:
    """An ``AnyValue`` inside so many others; what is empty, or a type not known here, is None."""
    if not isinstance(value, dict) or depth >= MAX_DEPTH:
        return None
    for names, read in _READERS:
        for name in names:
            if (content := value.get(name)) is not None:
                return read(content, depth + 1)
    return None


def _items(value: Any) -> Any:
    return value.get("values") if isinstance(value, dict) else None


def _list(items: Any, depth: int) -> list[Any]:
    return [_value(item, depth) for item in items] if isinstance(items, list) else []


def _number(value: Any) -> float | None:
    """A number; the specification writes those that are not finite as text, and they are none here."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bytes(value: Any) -> str | None:
    """The text that bytes in base 64 hold."""
    try:
        return text(base64.b64decode(value)) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None


_READERS = (
    (("stringValue", "string_value"), lambda value, _: _text(value)),
    (("intValue", "int_value"), lambda value, _: _integer(value)),
    (("doubleValue", "double_value"), lambda value, _: _number(value)),
    (("boolValue", "bool_value"), lambda value, _: value if isinstance(value, bool) else None),
    (("kvlistValue", "kvlist_value"), lambda value, depth: _mapping(_items(value), depth)),
    (("arrayValue", "array_value"), lambda value, depth: _list(_items(value), depth)),
    (("bytesValue", "bytes_value"), lambda value, _: _bytes(value)),
)
