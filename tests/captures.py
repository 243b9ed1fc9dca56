"""Recorded traffic of real log shippers, and what is in it by another reading than ours."""

import base64
import json
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import pytest

LOCAL = Path(__file__).parent / "data" / "captures"
SHARED = Path(os.environ.get("DATA") or Path(__file__).parents[1] / ".." / "shared" / "data").parent / "captures"


class Entry(NamedTuple):
    """A record as a recording has it."""

    body: str
    time_ns: int
    attributes: dict[str, Any]


def cases(kind: str, file: str) -> list[Any]:
    """Folders of a kind that have a file of that name: parameters of a test; the large ones need the shared data."""
    local = [pytest.param(path.parent, id=path.parent.name) for path in sorted((LOCAL / kind).glob(f"*/{file}"))]
    shared = [
        pytest.param(path.parent, id=f"shared-{path.parent.name}", marks=pytest.mark.shared)
        for path in sorted((SHARED / kind).glob(f"*/{file}"))
    ]
    return local + shared


def expected(case: Path) -> Any:
    """The messages of a case; bytes that are not UTF-8 have become U+FFFD."""
    return _read(json.loads((case / "expected.json").read_text()))


def forward_entries(message: Any) -> list[Entry]:
    """The records of one Forward message."""
    content = message[1]
    if isinstance(content, dict):
        content = next(iter(content.values()))  # unpacked when it was recorded
    if not _is_entries(content):
        metadata = message[3].get("metadata") if len(message) > 3 else None
        return [_forward_entry(content, metadata, message[2])]
    return [
        _forward_entry(entry[0][0] if has_metadata else entry[0], entry[0][1] if has_metadata else None, entry[1])
        for entry in content
        for has_metadata in [_has_metadata(entry[0])]
        if _seconds(entry[0]) < 0xFFFFFFFE
    ]


def otlp_entries(scope: Any) -> list[Entry]:
    """The records of one scope of an OTLP request."""
    entries = []
    for record in scope["records"]:
        body, attributes = record["body"], record["attributes"]
        if isinstance(body, dict):
            body = body["log"]
        entries.append(Entry(body, int(record["time_unix_nano"]), attributes))
    return entries


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds bytes, text or a message; ``number`` < 16."""
    size, head = len(content), bytes([number << 3 | 2])
    while size >= 0x80:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + bytes([size]) + content


def _read(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="surrogateescape").decode(errors="replace")
    if isinstance(value, list):
        return [_read(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"__bytes__"}:
            return base64.b64decode(value["__bytes__"])
        return {_read(key): _read(item) for key, item in value.items()}
    return value


def _is_entries(content: Any) -> bool:
    return isinstance(content, list) and (not content or isinstance(content[0], list))


def _has_metadata(time: Any) -> bool:
    return isinstance(time, list) and isinstance(time[1], dict)


def _seconds(time: Any) -> float:
    if isinstance(time, int | float):
        return time
    return _seconds(time[0]) if _has_metadata(time) else float(struct.unpack(">I", time[1][:4])[0])


def _forward_entry(time: Any, metadata: Any, record: dict[str, Any]) -> Entry:
    if isinstance(time, list):
        seconds, nanoseconds = struct.unpack(">II", time[1])
        time_ns = seconds * 10**9 + nanoseconds
    else:
        time_ns = round(time * 10**9)
    key = "message" if "message" in record else "log"
    rest = {name: value for name, value in record.items() if name != key}
    return Entry(record[key], time_ns, {**(metadata or {}), **rest})
