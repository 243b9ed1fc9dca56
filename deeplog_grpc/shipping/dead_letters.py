"""Entries that the server refused, with the reason: a bounded file of JSON lines."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson


class DeadLetters:
    """Appends refused entries to a file; when it is full, it takes the place of the one before with ``.1``.

    Parameters
    ----------
    path : Path
        Made with the first entry.
    max_bytes : int
        Of the file.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def write(self, letters: Iterable[Mapping[str, Any]]) -> None:
        """Append entries and wait until they are on the disk.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        lines = b"".join(orjson.dumps(letter, option=orjson.OPT_APPEND_NEWLINE) for letter in letters)
        if not lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size + len(lines) > self._max_bytes:
            self.path.replace(f"{self.path}.1")
        with self.path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
