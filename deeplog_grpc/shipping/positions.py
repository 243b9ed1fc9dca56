"""Up to where a file is read, and how it is known again."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

HEAD_BYTES = 1024
"""The first bytes of a file, which tell it from another one with its number."""
PREFIX = "file:"
"""Begins the names of positions of files; the spool keeps others too."""
LAST_BYTES = 64
"""The bytes before the place, which tell a file from one that was written anew with the same head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place between two lines of a file. Only what is before it was read."""

    path: str
    """Where the file was seen last."""
    device: int
    inode: int
    offset: int = 0
    """Bytes before the place."""
    head_bytes: int = 0
    """Bytes of the head that are known; all of them are before the place."""
    head_crc32: int = 0
    last_bytes: int = 0
    """Bytes before the place that are known."""
    last_crc32: int = 0
    is_skipping: bool = False
    """Whether the place is within a line that was cut: the rest of it is passed over."""
    partials: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Records of a container that are not whole: stream -> time of the first part, text so far."""

    @property
    def name(self) -> str:
        """The file, as the spool names it."""
        return f"{PREFIX}{self.device}:{self.inode}"

    def pack(self) -> bytes:
        """As bytes for the spool."""
        # The text of a log may hold bytes that are not UTF-8, as surrogates: this module keeps them.
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    def begin(self) -> "Position":
        """The beginning of the same file."""
        return Position(path=self.path, device=self.device, inode=self.inode)

    def advance(self, chunk: bytes, size: int, *, is_skipping: bool) -> "Position":
        """The place after some bytes.

        Parameters
        ----------
        chunk : bytes
            What stands from this place on.
        size : int
            How much of it is read, at most its length.
        is_skipping : bool
            Of the new place.
        """
        missing = chunk[: min(size, HEAD_BYTES - self.head_bytes)] if self.head_bytes == self.offset else b""
        last = chunk[max(0, size - LAST_BYTES) : size]
        return replace(
            self,
            offset=self.offset + size,
            head_bytes=self.head_bytes + len(missing),
            head_crc32=zlib.crc32(missing, self.head_crc32),
            last_bytes=len(last),
            last_crc32=zlib.crc32(last),
            is_skipping=is_skipping,
        )


def unpack(packed: bytes) -> Position:
    r"""A position from its bytes.

    Examples
    --------
    >>> place = Position(path="app.log", device=1, inode=2).advance(b"one\ntwo", 4, is_skipping=False)
    >>> unpack(place.pack()) == place, place.offset
    (True, 4)
    """
    fields: dict[str, Any] = json.loads(packed)
    partials = {stream: (time, text) for stream, (time, text) in fields.pop("partials").items()}
    return Position(**fields, partials=partials)
