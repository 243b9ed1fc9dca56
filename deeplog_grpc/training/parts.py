"""Parts of sessions: the tasks that follow each other inside of one, told apart by the request that each entry names.

What always follows each other, as the creation and the deletion of a virtual machine do, no count of log keys can
divide; but each is one request, and its entries say which.
"""

from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import SessionConfig
from deeplog_grpc.detection.identifiers import REQUESTS, Pattern, compile_patterns, cut

NO_REQUEST = 0
"""Stands where an entry names no request."""


def part_patterns(config: SessionConfig) -> tuple[Pattern, ...]:
    """The patterns that find the request that an entry names, in the order of their trial.

    Raises
    ------
    ConfigError
        Naming the bad expression.
    """
    return compile_patterns(config.part_patterns, field="sessions.part_patterns") + (
        REQUESTS if config.built_in else ()
    )


def requests_of(bodies: Sequence[str], sessions: Sequence[str], patterns: Sequence[Pattern]) -> NDArray[np.uint32]:
    """A number for the request that each entry names: of the first pattern found in the body. Shape [n].

    It is the text's CRC-32, or ``NO_REQUEST`` where none is found, or where it is what names the session itself. Two
    requests with one number, about one of four thousand in a million, divide nothing: they are in two sessions.

    Examples
    --------
    >>> request = "req-0f8fad5b-d9cb-469f-a165-70867728950e"
    >>> numbers = requests_of([f"[{request}] a", "[-] b", f"[{request}] c"], ["vm", "vm", request], REQUESTS)
    >>> numbers.tolist() == [crc32(request.encode()), NO_REQUEST, NO_REQUEST]
    True
    """
    numbers = np.full(len(bodies), NO_REQUEST, np.uint32)
    rest: Sequence[int] = range(len(bodies))
    content = "\n".join(bodies)
    for pattern in patterns:
        needle, search, group = pattern.needle, pattern.search, pattern.group
        if needle not in content:  # one test for all: most logs have none of the needles
            continue
        left = []
        for row in rest:
            body = bodies[row]
            if needle in body and (match := search(body)) is not None and (request := match.group(group)):
                numbers[row] = _number(request, sessions[row])
            else:
                left.append(row)
        rest, content = left, "\n".join([bodies[row] for row in left])
    return numbers


@lru_cache(maxsize=1024)  # the entries of a request are near each other
def _number(request: str, session: str) -> int:
    request = cut(request)
    return NO_REQUEST if request == session else crc32(request.encode()) or 1


def parts_of(
    requests: NDArray[np.uint32], starts: NDArray[np.int64], owners: NDArray[np.int32]
) -> tuple[tuple[int, ...], ...]:
    """The places in each session at which a part begins that is not the first one.

    Rules: 1. A request that two sessions name is nobody's. 2. One that a single entry names does not count. 3. Each
    other one spans from its first entry to its last one; spans that overlap are one part. 4. A part begins where the
    first of its spans does; what is between two parts belongs to the one before, and what is before the first part,
    to that.

    Memory: 31 bytes an entry that names a request while it runs, and a tuple a session that has parts.

    Parameters
    ----------
    requests : uint32 array
        What :func:`requests_of` gives, entries in the order of sessions. Shape [entries].
    starts : int64 array
        Where each session begins. Shape [sessions].
    owners : int32 array
        The session of each entry. Shape [entries].

    Examples
    --------
    >>> requests, owners = np.array([0, 5, 5, 0, 7, 8, 7, 8, 9, 4, 4], np.uint32), np.repeat([0, 1], [9, 2])
    >>> parts_of(requests, np.array([0, 9]), owners)
    ((4,), ())
    """
    parts: list[tuple[int, ...]] = [()] * len(starts)
    firsts, lasts = _spans(requests, owners)
    latest = np.maximum.accumulate(lasts)  # of all sessions before, too: they end before this one begins
    begins = (firsts[1:] > latest[:-1]) & (owners[firsts[1:]] == owners[firsts[:-1]])
    rows = firsts[1:][begins]
    divided, heads = np.unique(owners[rows], return_index=True)
    for session, places in zip(
        divided.tolist(), np.split(rows - starts[owners[rows]], heads[1:]) if len(rows) else (), strict=True
    ):
        parts[session] = tuple(places.tolist())
    return tuple(parts)


def _spans(requests: NDArray[np.uint32], owners: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last entries of the requests that count, in the order of the first ones.

    Examples
    --------
    >>> _spans(np.array([0, 5, 5, 0, 7, 8, 7, 8, 9, 4, 4], np.uint32), np.repeat([0, 1], [9, 2]))
    (array([1, 4, 5, 9]), array([ 2,  6,  7, 10]))
    """
    rows = np.flatnonzero(requests)
    rows = rows[np.argsort(requests[rows], kind="stable")]
    heads = np.flatnonzero(np.diff(requests[rows], prepend=np.uint32(NO_REQUEST)))
    tails = np.roll(heads, -1) - 1  # -1, the last entry of all, for the last request
    firsts, lasts = rows[heads], rows[tails]
    counts = (firsts < lasts) & (owners[firsts] == owners[lasts])
    firsts, lasts = firsts[counts], lasts[counts]
    order = np.argsort(firsts)
    return firsts[order], lasts[order]
