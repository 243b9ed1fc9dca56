"""Compressed content of foreign protocols, unpacked within bounds: a few bytes must not fill the memory."""

import zlib
from collections.abc import Callable, Mapping

import zstandard

from deeplog_grpc.errors import InputError

_BLOCK_BYTES = 1 << 16
"""Input given to zlib at once: what it has left over at the end of a member is copied, and members may be tiny."""
_OUTPUT_BLOCK_BYTES = 1 << 20
_GZIP = zlib.MAX_WBITS | 16
_MAX_ZSTD_WINDOW_BYTES = 8 << 20
"""Memory that a frame may ask for: what the format wants every reader to have."""


def decompress(raw: bytes, compression: str, *, max_bytes: int) -> bytes:
    """Unpack bytes.

    Parameters
    ----------
    raw : bytes
        Members or frames may follow one another; the contents are joined.
    compression : {"gzip", "zstd"}
    max_bytes : int
        Of the content.

    Raises
    ------
    InputError
        If they are not of this form, end too early, or hold more than ``max_bytes``; or if the form is another.

    Examples
    --------
    >>> import gzip
    >>> decompress(gzip.compress(b"disk ") + gzip.compress(b"full"), "gzip", max_bytes=100)
    b'disk full'
    """
    if not (unpack := _UNPACK.get(compression)):
        raise InputError(
            f"'{compression[:32]}' is not known here: use one of {', '.join(_UNPACK)}", field="compression"
        )
    try:
        return unpack(raw, max_bytes)
    except (zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"the {len(raw)} bytes received are not {compression}: {error}") from None


def _gunzip(raw: bytes, max_bytes: int) -> bytes:
    content = bytearray()
    member = zlib.decompressobj(_GZIP)
    for start in range(0, len(raw), _BLOCK_BYTES):
        rest = raw[start : start + _BLOCK_BYTES]
        while rest:
            if member.eof:
                member = zlib.decompressobj(_GZIP)
            content += member.decompress(rest, max_bytes + 1 - len(content))
            _check(len(content), max_bytes)
            rest = member.unused_data
    if not member.eof:
        raise zlib.error("the end is missing")
    return bytes(content)


def _unzstd(raw: bytes, max_bytes: int) -> bytes:
    content = bytearray()
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)
    with decompressor.stream_reader(raw, read_across_frames=True) as reader:
        while block := reader.read(_OUTPUT_BLOCK_BYTES):
            content += block
            _check(len(content), max_bytes)
    return bytes(content)


def _check(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise InputError(f"the content is longer than {max_bytes} bytes: send it in several")


_UNPACK: Mapping[str, Callable[[bytes, int], bytes]] = {"gzip": _gunzip, "zstd": _unzstd}
