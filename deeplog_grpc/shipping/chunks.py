"""Chunks that were taken, so that one that is sent again is known."""

import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

from deeplog_grpc.serving.delivery import Key

PREFIX = "chunk:"
"""Begins the names of chunks among the positions of a spool."""
MAX_AGE_S = 600.0
"""Seconds for which a chunk is known; a server remembers deliveries for as long by default."""
MAX_CHUNKS = 10_000
_FORGOTTEN_AT_ONCE = 64
_TIME = struct.Struct(">d")


class Chunks:
    """The names of chunks that are in a spool or were, the newest of them.

    A spool keeps them as positions, in one step with what the chunks held: a kill loses neither or both.

    Parameters
    ----------
    positions : mapping of str to bytes
        What the spool keeps.
    clock : callable
        Seconds since 1970 UTC.

    Examples
    --------
    >>> chunks = Chunks({}, clock=lambda: 7.0)
    >>> name = Chunks.name(("forward", "c1"))
    >>> kept = chunks.positions([name])
    >>> chunks.add(kept)
    >>> name in chunks, name in Chunks(kept, clock=lambda: 8.0)
    (True, True)
    """

    def __init__(self, positions: Mapping[str, bytes], *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        kept = {name: _TIME.unpack(packed)[0] for name, packed in positions.items() if name.startswith(PREFIX)}
        self._taken_at = OrderedDict(sorted(kept.items(), key=lambda item: item[1]))

    @staticmethod
    def name(key: Key) -> str:
        """Of the chunk with a key."""
        return f"{PREFIX}{blake2b(repr(key).encode(), digest_size=16).hexdigest()}"

    def __contains__(self, name: str) -> bool:
        return name in self._taken_at and self._taken_at[name] > self._clock() - MAX_AGE_S

    def positions(self, names: Iterable[str]) -> dict[str, bytes]:
        """What the spool is to keep with the content of these chunks."""
        return dict.fromkeys(names, _TIME.pack(self._clock()))

    def add(self, positions: Mapping[str, bytes]) -> None:
        """These are in the spool."""
        for name, packed in positions.items():
            self._taken_at.pop(name, None)
            self._taken_at[name] = _TIME.unpack(packed)[0]

    def take_old(self) -> list[str]:
        """Names that the spool need no longer keep; few are not worth a transaction."""
        limit = self._clock() - MAX_AGE_S
        excess = max(len(self._taken_at) - MAX_CHUNKS, 0)
        old = [
            name for place, (name, taken_at) in enumerate(self._taken_at.items()) if place < excess or taken_at <= limit
        ]
        if len(old) < _FORGOTTEN_AT_ONCE:
            return []
        for name in old:
            del self._taken_at[name]
        return old
