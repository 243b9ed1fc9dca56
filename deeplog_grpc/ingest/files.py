"""Lines of log files: plain, gzip or standard input, in chunks of bounded memory."""

import glob
import gzip
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from deeplog_grpc.errors import InputError

BLOCK_BYTES = 1 << 20
"""Bytes read at once; about 10,000 lines, so that a batch is worth its overhead."""

MAX_LINE_BYTES = 1 << 20
"""A longer line is cut: a file without line ends must not fill the memory."""

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place between two chunks of a file, in bytes of its content: of what a gzip file holds."""

    line: int
    """Where the next line begins."""
    read: int
    """How far the file is read, so that later chunks end where they would have ended."""


BEGINNING = Place(line=0, read=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChunk:
    """Consecutive lines of one file."""

    path: str
    first_line: int
    """Number of the first line, 1-based, counted from where reading began."""
    lines: list[str]
    """Without line ends; bytes that are not UTF-8 are replaced."""
    read_bytes: int
    """How much of the file (as it lies on the disk) has been read so far."""
    place: Place
    """Where it ends."""


def expand(patterns: Sequence[str]) -> list[str]:
    """Files that paths and globs name, in order; ``-`` is standard input.

    Raises
    ------
    InputError
        If one names nothing, or something that cannot be read.
    """
    paths = []
    for pattern in patterns:
        found = [pattern] if pattern == STDIN or os.path.exists(pattern) else _matching(pattern)
        if not found:
            raise InputError("no such file: give a path, a quoted glob, or - for standard input", field=pattern)
        paths += found
    for path in paths:
        if path != STDIN:
            _open(path).close()
    return paths


def size_bytes(paths: Sequence[str]) -> int | None:
    """Bytes of all files on the disk; None when standard input is among them."""
    return None if STDIN in paths else sum(os.path.getsize(path) for path in paths)


def read_chunks(path: str, *, start: Place = BEGINNING) -> Iterator[LineChunk]:
    """The lines of a file, chunk by chunk.

    Parameters
    ----------
    start : Place
        Where to begin: the ``place`` of a chunk gives the chunks after it. Not for standard input.

    Raises
    ------
    InputError
        If it cannot be read, or is not the gzip file that its name says.
    """
    raw: BinaryIO = sys.stdin.buffer if path == STDIN else _open(path)
    try:
        yield from _chunks(path, raw, gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw, start)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", field=path) from error
    finally:
        if path != STDIN:
            raw.close()


def _chunks(path: str, raw: BinaryIO, content: BinaryIO | gzip.GzipFile, start: Place) -> Iterator[LineChunk]:
    rest, line_number, line, read = b"", 1, start.line, start.read
    if start != BEGINNING:
        content.seek(start.line)
        rest = content.read(start.read - start.line)[:MAX_LINE_BYTES]
    # read1: what standard input has now, without waiting for more
    reader = getattr(content, "read1", content.read) if path == STDIN else content.read
    while block := reader(BLOCK_BYTES):
        read += len(block)
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            line = read - len(rest)
        if len(rest) > MAX_LINE_BYTES:
            rest = rest[:MAX_LINE_BYTES]
        if lines:
            yield _chunk(path, line_number, lines, raw, Place(line=line, read=read))
            line_number += len(lines)
    if rest:
        yield _chunk(path, line_number, [rest], raw, Place(line=read, read=read))


def _chunk(path: str, first_line: int, lines: list[bytes], raw: BinaryIO, place: Place) -> LineChunk:
    decoded = [line[:MAX_LINE_BYTES].rstrip(b"\r").decode(errors="replace") for line in lines]
    position = raw.tell() if raw.seekable() else 0
    return LineChunk(path=path, first_line=first_line, lines=decoded, read_bytes=position, place=place)


def _matching(pattern: str) -> list[str]:
    """Files that a glob names, in order; folders, which ``**`` names too, are passed over."""
    return sorted(path for path in glob.glob(pattern, recursive=True) if not os.path.isdir(path))


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", field=path) from error
