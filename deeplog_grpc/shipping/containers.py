"""Lines as container runtimes write them: Docker's json-file and Kubernetes' CRI, and what their file names say."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import orjson

ContainerFormat = Literal["docker", "cri"]

_POD = re.compile(r"(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<container>.+)-[0-9a-f]{64}\.log")
_DOCKER = re.compile(r"(?P<id>[0-9a-f]{64})-json\.log")
_STREAMS = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One line of a container's log."""

    time: str
    """RFC 3339; empty where the line is none of its format."""
    stream: str
    """`stdout` or `stderr`; empty as above."""
    text: str
    """Without line end."""
    is_partial: bool = False
    """Whether the next record of the stream goes on with it."""


def read_docker(line: str) -> ContainerRecord:
    r"""Read a line of json-file; one that is none is all text.

    Examples
    --------
    >>> read_docker('{"log":"up\\n","stream":"stdout","time":"2024-05-01T10:00:00.5Z"}')
    ContainerRecord(time='2024-05-01T10:00:00.5Z', stream='stdout', text='up', is_partial=False)
    """
    try:
        fields = orjson.loads(line)
        text, stream, time = fields["log"], fields["stream"], fields["time"]
        if stream not in _STREAMS or not isinstance(time, str):
            return ContainerRecord("", "", line)
        if text.endswith("\n"):
            return ContainerRecord(time, stream, text.rstrip("\r\n"))
        return ContainerRecord(time, stream, text, is_partial=True)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ContainerRecord("", "", line)


def read_cri(line: str) -> ContainerRecord:
    """Read a line of a CRI runtime; one that is none is all text.

    Examples
    --------
    >>> read_cri("2024-05-01T10:00:00.5Z stderr P half of")
    ContainerRecord(time='2024-05-01T10:00:00.5Z', stream='stderr', text='half of', is_partial=True)
    """
    parts = line.split(" ", 3)
    if len(parts) < 3 or parts[1] not in _STREAMS or parts[2][:1] not in ("P", "F") or parts[0][4:5] != "-":
        return ContainerRecord("", "", line)
    text = parts[3] if len(parts) == 4 else ""
    # Tags after the first are of the future, divided by colons.
    return ContainerRecord(parts[0], parts[1], text, is_partial=parts[2].split(":", 1)[0] == "P")


READERS: Mapping[ContainerFormat, Callable[[str], ContainerRecord]] = {"docker": read_docker, "cri": read_cri}


def format_of(line: str) -> ContainerFormat | None:
    """The format that a file with this line has; None = none of a container.

    Examples
    --------
    >>> format_of("2024-05-01T10:00:00Z stdout F started"), format_of("2024-05-01 10:00:00 started")
    ('cri', None)
    """
    return next((name for name, read in READERS.items() if read(line).stream), None)


class Joiner:
    """Puts records together that a runtime has divided.

    Parameters
    ----------
    partials : mapping
        What is not whole: stream -> time of the first part, text so far.
    max_text : int
        Characters of a record that is put together; it is cut to this.

    Examples
    --------
    >>> joiner = Joiner({}, max_text=100)
    >>> joiner.join([read_cri("2024-05-01T10:00:00Z stdout P one "), read_cri("2024-05-01T10:00:01Z stdout F two")])
    [ContainerRecord(time='2024-05-01T10:00:00Z', stream='stdout', text='one two', is_partial=False)]
    """

    def __init__(self, partials: Mapping[str, tuple[str, str]], *, max_text: int) -> None:
        self.partials = dict(partials)
        """What is not whole now."""
        self._max_text = max_text

    def join(self, records: Sequence[ContainerRecord]) -> list[ContainerRecord]:
        """The records that are whole now, in the order in which they became so."""
        whole = []
        for record in records:
            if record.stream not in self.partials and not record.is_partial:
                whole.append(record)
                continue
            time, text = self.partials.pop(record.stream, (record.time, ""))
            text = (text + record.text)[: self._max_text]
            if record.is_partial:
                self.partials[record.stream] = (time, text)
            else:
                whole.append(ContainerRecord(time, record.stream, text))
        return whole


def attributes_of(path: str) -> dict[str, str]:
    """What the name of a container's log says.

    Examples
    --------
    >>> attributes_of("/var/log/containers/web-1_shop_nginx-" + "0" * 64 + ".log")
    {'kubernetes.pod_name': 'web-1', 'kubernetes.namespace_name': 'shop', 'kubernetes.container_name': 'nginx'}
    """
    name = PurePath(path).name
    if found := _POD.fullmatch(name):
        return {
            "kubernetes.pod_name": found["pod"],
            "kubernetes.namespace_name": found["namespace"],
            "kubernetes.container_name": found["container"],
        }
    if found := _DOCKER.fullmatch(name):
        return {"container_id": found["id"]}
    return {}
