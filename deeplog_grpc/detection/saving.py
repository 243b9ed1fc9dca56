"""Open sessions as columns, so that another process can go on with them.

Invariant: sessions restored from what was saved behave, entry by entry, as those that were saved. Units are those of
the version that saved them; a version that gave others to some log keys reads those as unseen.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.paths import Past, Path
from deeplog_grpc.detection.sessions import Session
from deeplog_grpc.detection.states import WindowState
from deeplog_grpc.models import UNSEEN, Vocabulary

State = Mapping[str, Any]
"""Plain data: numbers, texts, columns (or their bytes), and lists and mappings of them."""

Element = TypeVar("Element", bound=np.generic)


class UnitsNow:
    """The units of another version of the models, now.

    Parameters
    ----------
    before : sequence of int
        Log keys of the other version's units, as in :class:`~deeplog_grpc.models.Vocabulary`.
    vocabulary : Vocabulary
        Of now.

    Examples
    --------
    >>> units = UnitsNow([7, 4], Vocabulary.of([4, 9], reserve=0))
    >>> units.column.tolist(), units.of(1, unseen=lambda key: ~key), units.of(3, unseen=lambda key: ~key)
    ([0, 1, 2, 2, 3], 1, -8)
    """

    def __init__(self, before: Iterable[int], vocabulary: Vocabulary) -> None:
        known, self._keys = vocabulary.unit_table(), list(before)
        special = list(range(UNSEEN + 1))
        self.column = np.array([*special, *(known.get(key, UNSEEN) for key in self._keys)], np.int64)
        """Unit then -> unit now."""

    def of(self, counted: int, *, unseen: Callable[[int], int]) -> int:
        """What a session counts a log key under now; ``unseen`` says it of a log key without a unit."""
        if counted <= UNSEEN:
            return counted
        unit = int(self.column[counted])
        return unit if unit != UNSEEN else unseen(self._keys[counted - UNSEEN - 1])


def sessions_state(sessions: Iterable[Session]) -> dict[str, Any]:
    """Sessions as columns, in their order; 2 to 4 us each."""
    found = list(sessions)
    states = list(dict.fromkeys([session.state for session in found]))
    places = {state: place for place, state in enumerate(states)}
    counts = [session.counts for session in found]
    return {
        "identifiers": [session.identifier for session in found],
        "last_ns": np.array([session.last_ns for session in found], np.int64),
        "time_ns": np.array([session.time_ns for session in found], np.int64),
        "whole": np.array([session.whole for session in found], np.bool_),
        "states": np.array([places[session.state] for session in found], np.int32),
        "windows": np.array([state.window for state in states], np.int32),
        "known": np.array([state.known for state in states], np.int32),
        "count_sizes": np.array(list(map(len, counts)), np.int32),
        "counted": np.array(list(chain.from_iterable(counts)), np.int32),
        "times": np.array(list(chain.from_iterable(own.values() for own in counts)), np.int32),
        **_paths_state([session.path for session in found]),
    }


def restored_sessions(
    state: State, at: Callable[[tuple[int, ...], int], WindowState], units: UnitsNow
) -> Iterator[Session]:
    """The sessions of :func:`sessions_state`, in their order.

    Parameters
    ----------
    state : mapping
    at : callable
        A window of units, how many of them are known -> where a session stands.
    units : UnitsNow
        The units of the version that saved the sessions.
    """
    known = column(state["known"], np.int32)
    windows = units.column[column(state["windows"], np.int32)].reshape(len(known), -1).tolist() if len(known) else []
    states = [at(tuple(window), own) for window, own in zip(windows, known.tolist(), strict=True)]
    counted, times = column(state["counted"], np.int32).tolist(), column(state["times"], np.int32).tolist()
    columns = zip(
        state["identifiers"],
        column(state["states"], np.int32).tolist(),
        column(state["last_ns"], np.int64).tolist(),
        column(state["time_ns"], np.int64).tolist(),
        column(state["whole"], np.bool_).tolist(),
        _ranges(state["count_sizes"]),
        _restored_paths(state),
        strict=True,
    )
    for identifier, place, last_ns, time_ns, whole, (start, stop), path in columns:
        session = Session(identifier, states[place])
        session.last_ns, session.time_ns, session.whole, session.path = last_ns, time_ns, whole, path
        for code, count in zip(counted[start:stop], times[start:stop], strict=True):
            session.counts[units.of(code, unseen=session.unseen)] += count
        yield session


def joined(states: Sequence[State]) -> dict[str, Any]:
    """The states of trackers that share an application's sessions as one.

    Parameters
    ----------
    states : sequence of mapping
        Of :meth:`~deeplog_grpc.detection.tracker.SessionTracker.state`, at least one.
    """
    return {
        "keys": states[0]["keys"],
        "sessions": [table for state in states for table in state["sessions"]],
        "streams": [table for state in states for table in state["streams"]],
        "held": next((state["held"] for state in states if state["held"] is not None), None),
        "cold_until_ns": max((own for state in states if (own := state["cold_until_ns"]) is not None), default=None),
        "began_ns": max(state["began_ns"] for state in states),
        "values": [tail for state in states for tail in state["values"]],
    }


def in_order(tables: Iterable[Iterable[Session]]) -> list[Session]:
    """Sessions of several tables, least recently used first."""
    found = [list(table) for table in tables]
    return found[0] if len(found) == 1 else sorted(chain.from_iterable(found), key=lambda session: session.last_ns)


def column(content: Any, kind: type[Element]) -> NDArray[Element]:
    """A column, or what its bytes say; not to be written to.

    Examples
    --------
    >>> column(np.array([1, 2], np.int32).tobytes(), np.int32).tolist()
    [1, 2]
    """
    return np.frombuffer(content, kind)


def _paths_state(paths: list[Path]) -> dict[str, Any]:
    pasts: list[Past] = [path[0] for path in paths]
    keys, times_ns = array("i"), array("q")
    for path, past in zip(paths, pasts, strict=True):
        keys += past.keys
        times_ns += past.times_ns
        keys.extend(path[1::2])
        times_ns.extend(path[2::2])
    return {
        "path_keys": column(keys, np.int32),
        "path_times_ns": column(times_ns, np.int64),
        "path_sizes": np.array(
            [len(past.keys) + len(own) // 2 for past, own in zip(pasts, paths, strict=True)], np.int32
        ),
        "path_packed": np.array([len(past.keys) for past in pasts], np.int32),
        "path_dropped": np.array([past.dropped for past in pasts], np.int64),
        "path_whole": np.array([past.whole for past in pasts], np.bool_),
    }


def _restored_paths(state: State) -> Iterator[Path]:
    keys = array("i", column(state["path_keys"], np.int32).tobytes())
    times_ns = array("q", column(state["path_times_ns"], np.int64).tobytes())
    columns = zip(
        _ranges(state["path_sizes"]),
        column(state["path_packed"], np.int32).tolist(),
        column(state["path_dropped"], np.int64).tolist(),
        column(state["path_whole"], np.bool_).tolist(),
        strict=True,
    )
    for (start, stop), packed, dropped, whole in columns:
        middle = start + packed
        past = Past(keys=keys[start:middle], times_ns=times_ns[start:middle], whole=whole, dropped=dropped)
        tail = zip(keys[middle:stop], times_ns[middle:stop], strict=True)
        yield [past, *chain.from_iterable(tail)]


def _ranges(sizes: Any) -> Iterator[tuple[int, int]]:
    return pairwise(accumulate(column(sizes, np.int32).tolist(), initial=0))
