"""Decoding what has come without holding up the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

_LARGE_BYTES = 1 << 18
"""A request from which on decoding takes some ten milliseconds."""

Decoded = TypeVar("Decoded")


async def decoded(decode: Callable[[bytes], Decoded], raw: bytes) -> Decoded:
    """Decode bytes; in a thread where that takes long, for it would hold up all other calls."""
    if len(raw) < _LARGE_BYTES:
        return decode(raw)
    return await asyncio.to_thread(decode, raw)
