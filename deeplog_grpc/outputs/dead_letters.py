"""What the other side refused for ever: one JSON object a line, in a file that does not grow without end."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

_ANSWER_CHARACTERS = 2_000


class DeadLetters:
    """The dead letters of an output.

    Parameters
    ----------
    path : Path
        The file; made with its folder when there is something to write.
    max_bytes : int
        When a letter would pass it, the older half goes.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self.count = 0
        """Letters since the start."""

    def add(self, letter: Mapping[str, Any], *, output: str, error: str, answer: str = "") -> None:
        """Write a letter.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        line = orjson.dumps(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "output": output,
                "error": error,
                "answer": answer[:_ANSWER_CHARACTERS],
                "letter": letter,
            },
            default=str,
            option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size + len(line) > self._max_bytes:
            self._halve()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(line)
        self.count += 1

    def _halve(self) -> None:
        lines = self._path.read_bytes().splitlines(keepends=True)
        left, kept = self._max_bytes // 2, []
        for line in reversed(lines):
            left -= len(line)
            if left < 0:
                break
            kept.append(line)
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_bytes(b"".join(reversed(kept)))
        new.chmod(0o600)
        new.replace(self._path)
