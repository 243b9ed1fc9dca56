"""The paths of sessions: log keys and times, kept so that an anomaly can be diagnosed by the workflow.

Invariant: the past of an entry depends on the order of its session's entries alone, not on how they were batched. It
is put together only for entries that are asked for; all others cost three appends to lists.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

TAIL_ENTRIES = 32
"""Entries that wait in a list until they are packed, 12 bytes each: arrays take five times as long to append to."""

Path: TypeAlias = list[Any]
"""A session's :class:`Past` as far as it is packed, then log keys and times of the entries since, in turn.

It is only appended to, and another list takes its place when it is packed: who holds the path of an earlier entry
finds all of that entry's past there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A session up to an entry and with it, or up to its end."""

    keys: "array[int]"
    """Log keys, oldest first."""
    times_ns: "array[int]"
    """In nanoseconds since 1970-01-01 UTC; 0 = not known, or not believed."""
    whole: bool
    """Whether the session is known from its begin."""
    dropped: int
    """Entries known once and no longer remembered, before the first one."""

    @property
    def begins(self) -> bool:
        """Whether the first entry is the session's first."""
        return self.whole and not self.dropped


_WHOLE = Past(keys=array("i"), times_ns=array("q"), whole=True, dropped=0)
_PART = Past(keys=array("i"), times_ns=array("q"), whole=False, dropped=0)


def new_path(*, whole: bool) -> Path:
    """The path of a session before its first entry."""
    return [_WHOLE if whole else _PART]


def tail_items(entries: int) -> int:
    """Length past which a path is to be packed, when so many entries at most are remembered; 0 when none are.

    Examples
    --------
    >>> [tail_items(entries) for entries in (0, 1, 5, 256)]
    [0, 2, 4, 64]
    """
    return 2 * max(1, min(TAIL_ENTRIES, entries // 2)) if entries else 0


def packed(path: Path, entries: int) -> Path:
    """The same in little memory. The older half is dropped once there could be more than so many entries.

    Examples
    --------
    >>> path = new_path(whole=True)
    >>> for number in range(8):
    ...     if len(path) > tail_items(4):
    ...         path = packed(path, 4)
    ...     path += (number, 10 * number)
    >>> past_of(path)
    Past(keys=array('i', [4, 5, 6, 7]), times_ns=array('q', [40, 50, 60, 70]), whole=True, dropped=4)
    """
    past = past_of(path)
    if len(past.keys) + len(path) // 2 <= entries:
        return [past]
    start = len(past.keys) - entries // 2
    return [
        Past(keys=past.keys[start:], times_ns=past.times_ns[start:], whole=past.whole, dropped=past.dropped + start)
    ]


def past_of(path: Path, *, without: int = 0) -> Past:
    """A path up to its last entry, or without so many of its last ones."""
    packed: Past = path[0]
    end = len(path) - 2 * without
    return Past(
        keys=packed.keys + array("i", islice(path, 1, end, 2)),
        times_ns=packed.times_ns + array("q", islice(path, 2, end, 2)),
        whole=packed.whole,
        dropped=packed.dropped,
    )


class BatchPaths:
    """The paths of the entries of a batch. Ask before the next one is walked.

    Parameters
    ----------
    paths : sequence of Path
        One an entry; empty where none are kept.

    Examples
    --------
    >>> one, other = [*new_path(whole=True), 7, 10, 8, 30], [*new_path(whole=True), 7, 20]
    >>> BatchPaths([one, other, one]).past(0)
    Past(keys=array('i', [7]), times_ns=array('q', [10]), whole=True, dropped=0)
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def past(self, row: int) -> Past | None:
        """The session of a row up to it and with it; None where no paths are kept."""
        if not self._paths:
            return None
        path = self._paths[row]
        return past_of(path, without=int(np.count_nonzero(self._numbers[row + 1 :] == id(path))))

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        """Of the paths; those of the same path are equal."""
        return np.fromiter(map(id, self._paths), np.int64, count=len(self._paths))
