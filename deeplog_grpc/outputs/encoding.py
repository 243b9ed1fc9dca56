"""Log records as bytes: OTLP, JSON lines, and what waits in a queue. Any value has a form in each of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgpack
import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs, SeverityNumber

from deeplog_grpc.outputs.shapes import OutRecord

_SEVERITIES = {"WARN": SeverityNumber.SEVERITY_NUMBER_WARN}
_LEAST, _GREATEST = -(2**63), 2**63 - 1
_MAX_TIME_NS = 2**64 - 1


def otlp_request(records: Sequence[OutRecord]) -> ExportLogsServiceRequest:
    """The request of ``LogsService/Export`` for records; those of one resource and scope stand together."""
    request = ExportLogsServiceRequest()
    names: dict[int, bytes] = {}
    scopes: dict[tuple[bytes, str], ScopeLogs] = {}
    for record in records:
        # Records that came together share their resource: most are told apart by identity alone.
        if id(record.resource) not in names:
            names[id(record.resource)] = _packed(record.resource)
        place = (names[id(record.resource)], record.scope)
        if place not in scopes:
            resource = request.resource_logs.add()
            resource.resource.attributes.extend(_key_values(record.resource))
            scopes[place] = resource.scope_logs.add()
            scopes[place].scope.name = _text(record.scope)
        scopes[place].log_records.append(_log_record(record))
    return request


def plain_record(record: OutRecord) -> dict[str, Any]:
    """A record as plain data: what :func:`json_line` writes."""
    plain: dict[str, Any] = {"time": rfc3339(record.time_ns)} if record.time_ns else {}
    if record.severity:
        plain["severity"] = record.severity
    plain["body"] = record.body
    plain["attributes"] = dict(record.attributes)
    if record.resource:
        plain["resource"] = dict(record.resource)
    if record.tag:
        plain["tag"] = record.tag
    return plain


def json_line(record: OutRecord) -> bytes:
    """A record as a line of JSON, with its line feed."""
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(plain_record(record), default=_odd, option=options)
    except TypeError:  # an integer beyond 64 bits, or a surrogate
        return orjson.dumps(tame(plain_record(record)), default=_odd, option=options)


def pack(records: Sequence[OutRecord]) -> bytes:
    """Records as a payload of a queue."""
    resources: dict[int, tuple[int, Mapping[str, Any]]] = {}
    rows = []
    for one in records:
        place, _ = resources.setdefault(id(one.resource), (len(resources), one.resource))
        rows.append((one.body, one.time_ns, one.severity, one.attributes, place, one.scope, one.tag))
    return _packed(([resource for _, resource in resources.values()], rows))


def unpack(payload: bytes) -> list[OutRecord]:
    """The records of a payload."""
    resources, rows = msgpack.unpackb(payload, strict_map_key=False, unicode_errors="surrogatepass")
    return [
        OutRecord(
            body=body,
            time_ns=time_ns,
            severity=severity,
            attributes=attributes,
            resource=resources[place],
            scope=scope,
            tag=tag,
        )
        for body, time_ns, severity, attributes, place, scope, tag in rows
    ]


def rfc3339(time_ns: int) -> str:
    """A time with nanoseconds; the bare number where the calendar has no such year.

    Examples
    --------
    >>> rfc3339(1_000_000_001)
    '1970-01-01T00:00:01.000000001Z'
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    except (ValueError, OverflowError, OSError):
        return str(time_ns)


def _log_record(record: OutRecord) -> LogRecord:
    log = LogRecord(
        time_unix_nano=min(max(0, record.time_ns), _MAX_TIME_NS),
        severity_text=record.severity,
        severity_number=_SEVERITIES.get(record.severity, SeverityNumber.SEVERITY_NUMBER_UNSPECIFIED),
        body=AnyValue(string_value=_text(record.body)),
    )
    log.attributes.extend(_key_values(record.attributes))
    return log


def _key_values(values: Mapping[Any, Any]) -> list[KeyValue]:
    return [KeyValue(key=_text(str(key)), value=_any_value(value)) for key, value in values.items()]


def _any_value(value: Any) -> AnyValue:
    match value:
        case None:
            return AnyValue()
        case str():
            return AnyValue(string_value=_text(value))
        case bool():
            return AnyValue(bool_value=value)
        case int() if _LEAST <= value <= _GREATEST:
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case Mapping():
            return AnyValue(kvlist_value=KeyValueList(values=_key_values(value)))
        case list() | tuple():
            return AnyValue(array_value=ArrayValue(values=map(_any_value, value)))
        case _:
            return AnyValue(string_value=_text(str(value)))


def _text(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _odd(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return dict(value) if isinstance(value, Mapping) else str(value)


def tame(value: Any) -> Any:
    """The same with what JSON or msgpack cannot hold as text."""
    if isinstance(value, Mapping):
        return {_text(key) if isinstance(key, str) else key: tame(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [tame(one) for one in value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not _LEAST <= value <= _GREATEST:
        return str(value)
    return value


def _packed(value: Any) -> bytes:
    try:
        return bytes(msgpack.packb(value, unicode_errors="surrogatepass", default=_odd))
    except (OverflowError, ValueError):
        return bytes(msgpack.packb(tame(value), unicode_errors="surrogatepass", default=_odd))
