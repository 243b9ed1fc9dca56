"""Entries with their verdicts, written onward as JSON lines: each once, also after a kill.

The size of the file after an answer is kept in the spool, in one step with the acknowledgement of what was answered.
What a killed process wrote beyond it is cut off at the next start, and written again when its answer comes again.
Standard output cannot be cut: there a kill may write some lines twice.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.shipping.answers import AnsweredEntry

POSITION = "annotated"
"""Name of the position in the spool."""


class AnnotatedFile:
    """A file of entries with their verdicts.

    Parameters
    ----------
    target : str
        Its path, or ``-`` for standard output.
    positions : mapping of str to bytes
        What the spool keeps.
    is_synced : bool
        Whether what is written survives a loss of power before it is acknowledged.

    Raises
    ------
    ConfigError
        If it cannot be opened.
    """

    def __init__(self, target: str, positions: Mapping[str, bytes], *, is_synced: bool) -> None:
        self._is_synced = is_synced
        self._is_file = target != "-"
        self._size = self._written = 0
        if not self._is_file:
            self._descriptor = os.dup(sys.stdout.fileno())
            return
        path = str(Path(target).absolute())
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"cannot be written: {error.strerror}", field=path) from error
        status = os.fstat(self._descriptor)
        kept = orjson.loads(positions.get(POSITION, b"{}"))
        is_same = (kept.get("device"), kept.get("inode")) == (status.st_dev, status.st_ino)
        self._size = min(kept["size"], status.st_size) if is_same else status.st_size
        self._identity = {"device": status.st_dev, "inode": status.st_ino}
        os.ftruncate(self._descriptor, self._size)

    def write(self, blocks: Iterable[bytes]) -> Mapping[str, bytes]:
        """Append blocks of lines, each with its end; before :meth:`commit`, the next ones take their place.

        Returns
        -------
        mapping
            What the spool is to keep with the acknowledgement.

        Raises
        ------
        OSError
            If the disk is full, or whoever read standard output has gone.
        """
        place = self._size
        for block in blocks:
            content = memoryview(block)
            while content:
                if self._is_file:
                    written = os.pwrite(self._descriptor, content, place)
                else:
                    written = os.write(self._descriptor, content)
                content, place = content[written:], place + written
        if not self._is_file:
            return {}
        if self._is_synced:
            os.fdatasync(self._descriptor)
        self._written = place
        return {POSITION: orjson.dumps({**self._identity, "size": place})}

    def commit(self) -> None:
        """What was written is acknowledged."""
        self._size = self._written

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def annotated_lines(entries: Iterable[AnsweredEntry], *, anomalies_only: bool) -> bytes:
    """Entries and abnormal ends of sessions as JSON lines."""
    return b"".join(
        orjson.dumps({**entry.fields, "deeplog": entry.verdict}, option=orjson.OPT_APPEND_NEWLINE)
        for entry in entries
        if entry.is_anomaly or not anomalies_only
    )
