"""Compressed content of foreign protocols, unpacked within bounds: a few bytes must not fill the memory."""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import zstandard

from deeplog_grpc.errors import InputError

_BLOCK_BYTES = 256
"""Input given to a decompressor at once; a byte of zstd may hold 32 KiB, so the content is 8 MiB too long at most."""
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
    if not (make := _MEMBERS.get(compression)):
        known = ", ".join(_MEMBERS)
        raise InputError(f"'{compression[:32]}' is not known here: use one of {known}", field="compression")
    new_member = make()
    content, member = bytearray(), new_member()
    try:
        for start in range(0, len(raw), _BLOCK_BYTES):
            rest = raw[start : start + _BLOCK_BYTES]
            while rest:
                if member.eof:
                    member = new_member()
                content += member.decompress(rest)
                if len(content) > max_bytes:
                    raise InputError(f"the content is longer than {max_bytes} bytes: send it in several")
                rest = member.unused_data
    except (zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"the {len(raw)} bytes received are not {compression}: {error}") from None
    if not member.eof:
        raise InputError(f"the {len(raw)} bytes received are not {compression}: the end is missing")
    return bytes(content)


# What makes the readers of the members of gzip and of the frames of zstd, which have the same methods. The frames of a
# content share their decompressor, threads must not.
_MEMBERS: Mapping[str, Callable[[], Callable[[], Any]]] = {
    "gzip": lambda: partial(zlib.decompressobj, _GZIP),
    "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES).decompressobj,
}
