"""Decoding of large requests beside the event loop, where it would hold up all other calls."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

LARGE_BYTES = 1 << 18
"""A request from which on decoding takes some ten milliseconds."""
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="decoding")
"""One for all: the interpreter runs one thread at a time."""

Decoded = TypeVar("Decoded")


async def decoded(decode: Callable[[bytes], Decoded], raw: bytes) -> Decoded:
    """Decode what has come; raises as ``decode``."""
    if len(raw) < LARGE_BYTES:
        return decode(raw)
    return await asyncio.get_running_loop().run_in_executor(_THREAD, decode, raw)
