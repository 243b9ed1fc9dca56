"""Bytes of a growing file divided into whole lines."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What some bytes hold."""

    lines: list[bytes]
    """Whole lines without their ends."""
    size: int
    """Bytes that are done with; what follows them is the begin of a line."""
    is_skipping: bool
    """Whether what follows is the rest of a line that was cut."""
    cut: int
    """Lines that were cut."""


def split_lines(chunk: bytes, *, max_line_bytes: int, is_skipping: bool = False, is_final: bool = False) -> Split:
    r"""Divide bytes into lines.

    Parameters
    ----------
    chunk : bytes
    max_line_bytes : int
        Longer lines are cut to this, or up to 3 bytes less so as not to divide a character.
    is_skipping : bool
        Whether the chunk begins within a line that was cut.
    is_final : bool
        Whether what comes after the last line end is a line too.

    Examples
    --------
    >>> split_lines(b"one\r\ntwo\nthr", max_line_bytes=80)
    Split(lines=[b'one', b'two'], size=9, is_skipping=False, cut=0)
    >>> split_lines(b"rest\nabcdef", max_line_bytes=4, is_skipping=True)
    Split(lines=[b'abcd'], size=11, is_skipping=True, cut=1)
    """
    end = chunk.rfind(b"\n") + 1
    lines = chunk[: end - 1].split(b"\n") if end else []
    rest = chunk[end:]
    if lines and is_skipping:
        del lines[0]
        is_skipping = False
    size = end
    if is_skipping:
        size = len(chunk)
    elif rest and (is_final or len(rest) > max_line_bytes):
        lines.append(rest)
        size = len(chunk)
        is_skipping = len(rest) > max_line_bytes and not is_final
    cut = 0
    if len(chunk) > max_line_bytes:
        for place, line in enumerate(lines):
            if len(line) > max_line_bytes:
                lines[place] = _cut(line, max_line_bytes)
                cut += 1
    if b"\r" in chunk:
        lines = [line.rstrip(b"\r") for line in lines]
    return Split(lines=lines, size=size, is_skipping=is_skipping, cut=cut)


def _cut(line: bytes, size: int) -> bytes:
    """The first bytes, without a character that would not be whole."""
    for end in range(size, max(size - 4, 0), -1):
        if line[end] & 0xC0 != 0x80:
            return line[:end]
    return line[:size]
