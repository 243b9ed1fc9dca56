"""Standard input as a source of entries."""

import os
import select
import time
from collections.abc import Callable, Iterator

from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.followed import CHUNK_BYTES, EntryReader, Portion
from deeplog_grpc.shipping.splitting import split_lines


class StandardInput:
    """Reads lines from a pipe, in portions that are worth a message.

    What is read cannot be read again: a kill loses what is not in the spool yet, at most one portion.

    Parameters
    ----------
    reader : EntryReader
    counts : Counts
    wait_s : float
        Seconds that one look waits for something new, at most.
    batch_s : float
        Seconds that the first line waits for more.
    max_line_bytes : int
    descriptor : int
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        reader: EntryReader,
        counts: Counts,
        *,
        wait_s: float,
        batch_s: float,
        max_line_bytes: int,
        descriptor: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._counts = counts
        self._wait_s = wait_s
        self._batch_s = batch_s
        self._max_line_bytes = max_line_bytes
        self._descriptor = descriptor
        self._clock = clock
        self._rest = b""
        self._is_skipping = False
        self.is_finished = False
        """Whether the writer has closed it."""

    def portions(self) -> Iterator[Portion]:
        """What comes within a short time, as one portion; nothing if nothing does."""
        blocks, size = [self._rest], len(self._rest)
        deadline = self._clock() + self._wait_s
        while size < CHUNK_BYTES and not self.is_finished and self._is_ready(deadline - self._clock()):
            block = os.read(self._descriptor, CHUNK_BYTES)
            if len(blocks) == 1:
                deadline = self._clock() + self._batch_s
            blocks.append(block)
            size += len(block)
            self.is_finished = not block
        if len(blocks) == 1:
            return
        chunk = b"".join(blocks)
        split = split_lines(
            chunk, max_line_bytes=self._max_line_bytes, is_skipping=self._is_skipping, is_final=self.is_finished
        )
        self._rest, self._is_skipping = chunk[split.size :], split.is_skipping
        self._counts.lines_read += len(split.lines)
        self._counts.lines_cut += split.cut
        self._counts.bytes_read += split.size
        yield Portion(entries=self._reader.read(split.lines, time.time_ns()))

    def take_gone(self) -> list[str]:
        """No position is ever kept."""
        return []

    def close(self) -> None:
        """Leave it as it is: it is not ours."""

    def _is_ready(self, wait_s: float) -> bool:
        return bool(select.select([self._descriptor], [], [], max(0.0, wait_s))[0])
