"""The history of an application: which log keys which session had, when. What models are trained on.

Invariant: columns only; 21 bytes an entry and one dictionary slot a session.
"""

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.identifiers import STREAM_MARK
from deeplog_grpc.detection.vectors import elapsed_s
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.models import NO_PREVIOUS, TrainingSession
from deeplog_grpc.training.parts import NO_REQUEST, parts_of

MIN_TIMEOUT_S = 60.0
"""A learned time-out is not shorter: a logger may buffer its lines for some seconds."""
MAX_TIMEOUT_S = 86_400.0
"""A learned time-out is not longer: a session silent for a day is taken to have ended."""
TIMEOUT_MARGIN = 2.0
"""How much longer than a normal silence a silence must be to end a session."""


DAY_S = 86_400.0
STREAM_BLOCK = 100
"""Entries of a block of a stream: what takes the place of a session in thresholds where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCut:
    """Sessions cut out of a history, and blocks of its streams."""

    sessions: tuple[TrainingSession, ...]
    timeout_s: float
    """Time-out in force, given or learned; 0 = never."""
    open_at_end: int
    """Sessions that were still running where the log stops: nothing is learned about their ends."""
    blocks: int
    """How many of `sessions` are blocks of streams, which have neither begin nor end."""
    parts: tuple[tuple[int, ...], ...]
    """Of each session, the places at which a part begins that is not its first: a task that follows another one. () for
    one part, and for blocks of streams. See :func:`~deeplog_grpc.training.parts.parts_of`."""
    owners: NDArray[np.int32]
    """The session of each entry, by its place in `sessions`. Shape [entries]."""
    elapsed_s: NDArray[np.float64]
    """Seconds since the session's previous entry with a time; NaN for the first one, and where a time is not known.
    Shape [entries]."""
    previous: NDArray[np.int32]
    """Log keys of the session's two entries before, oldest first, or ``NO_PREVIOUS``. Shape [entries, 2]."""
    resolution_s: float
    """Seconds that all times are multiples of: 1, or a tenth, hundredth or thousandth; 0 where they are finer."""
    span_s: float
    """Seconds from the first to the last known time; 0 where there are none."""

    @property
    def sessions_per_day(self) -> float:
        """Sessions and blocks of streams a day; 0 where no time tells."""
        return len(self.sessions) / self.span_s * DAY_S if self.span_s else 0.0


class History:
    """Collects entries' log keys by session."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._sessions = array("i")
        self._keys = array("i")
        self._times_ns = array("q")
        self._lasts = array("b")
        self._requests = array("I")

    def __len__(self) -> int:
        return len(self._keys)

    def extend(
        self,
        keys: NDArray[np.int32],
        sessions: Sequence[str],
        times_ns: NDArray[np.int64],
        *,
        lasts: Collection[int] = (),
        requests: NDArray[np.uint32] | None = None,
    ) -> None:
        """Add entries in the order of their arrival.

        Parameters
        ----------
        lasts : collection of int
            The rows that are the last of their sessions.
        requests : uint32 array, optional
            The request that each entry names, as :func:`~deeplog_grpc.training.parts.requests_of` has it; None = none
            names one. Shape [n].
        """
        numbers = self._numbers
        self._sessions.extend([numbers.setdefault(session, len(numbers)) for session in sessions])
        self._keys.frombytes(keys.astype(np.int32).tobytes())
        self._times_ns.frombytes(times_ns.tobytes())
        flags = np.zeros(len(keys), np.int8)
        flags[list(lasts)] = 1
        self._lasts.frombytes(flags.tobytes())
        self._requests.frombytes((np.zeros(len(keys), np.uint32) if requests is None else requests).tobytes())

    def state(self) -> dict[str, Any]:
        """All that was added, as named columns and the sessions' names.

        The columns are views: let them go before more is added.
        """
        columns = {name: np.frombuffer(column, dtype) for name, (column, dtype) in self._columns().items()}
        return {**columns, "names": list(self._numbers)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "History":
        """Go on from a :meth:`state`.

        Raises
        ------
        ValueError
            If its parts do not fit each other.
        """
        history = cls()
        history._numbers = {name: number for number, name in enumerate(state["names"])}
        for name, (column, dtype) in history._columns().items():
            column.frombytes(np.asarray(state[name], dtype).tobytes())
        numbers = np.frombuffer(history._sessions, np.int32)
        lengths = {len(column) for column, _ in history._columns().values()}
        if len(lengths) != 1 or ((numbers < 0) | (numbers >= len(history._numbers))).any():
            raise ValueError("the columns of a history do not fit each other")
        return history

    def _columns(self) -> dict[str, tuple["array[int]", type[np.integer[Any]]]]:
        return {
            "sessions": (self._sessions, np.int32),
            "keys": (self._keys, np.int32),
            "times_ns": (self._times_ns, np.int64),
            "lasts": (self._lasts, np.int8),
            "requests": (self._requests, np.uint32),
        }

    def cut(self, timeout_s: float | None, *, final_keys: NDArray[np.int32] | None = None) -> SessionCut:
        """Cut the history into sessions.

        Parameters
        ----------
        timeout_s : float or None
            Silence in seconds that ends a session; 0 = never; None = learn it.
        final_keys : int32 array, optional
            ``final_keys[key]`` stands for a log key by now: a parser may have merged it into another one.
        """
        if not len(self):
            return _NOTHING if timeout_s is None else replace(_NOTHING, timeout_s=timeout_s)
        numbers = np.frombuffer(self._sessions, np.int32)
        order = np.argsort(numbers, kind="stable")
        # Each column is put in order on its own, and what is no longer needed is let go.
        numbers, keys = numbers[order], np.frombuffer(self._keys, np.int32)[order]
        keys = keys if final_keys is None else final_keys[keys]
        lasts = np.frombuffer(self._lasts, np.int8)[order] > 0
        raw_ns = np.frombuffer(self._times_ns, np.int64)
        times_ns = _never_back(_filled(raw_ns)[order], numbers)
        breaks = (numbers[1:] != numbers[:-1]) | lasts[:-1]
        is_stream = np.fromiter(map(names_stream, self._numbers), np.bool_, count=len(self._numbers))[numbers]
        silences_ns = np.diff(times_ns)
        silences_ns[breaks | is_stream[1:]] = 0  # what a stream is silent for ends nothing
        if timeout_s is None:
            timeout_s = learned_timeout_s(_longest(silences_ns, numbers))
        del numbers
        if timeout_s:
            breaks |= silences_ns > timeout_s * NS_PER_S
        owners = np.concatenate([[0], np.cumsum(breaks)]).astype(np.int32)
        elapsed, previous = _elapsed_s(raw_ns[order], owners), _previous(keys, owners)
        starts = _with_blocks(np.concatenate([[0], np.flatnonzero(breaks) + 1]), is_stream)
        stops, is_block = np.append(starts[1:], len(keys)), is_stream[starts]
        latest_ns, last_ns = times_ns.max(initial=0), times_ns[stops - 1]
        del times_ns
        inside_ns = silences_ns[~(breaks | is_stream[1:])]
        del silences_ns, is_stream
        usual_ns = np.quantile(inside_ns, 0.95, overwrite_input=True) if len(inside_ns) else 0.0
        ends = (lasts[stops - 1] | (latest_ns - last_ns > usual_ns) | (not latest_ns)) & ~is_block
        del inside_ns
        owners = np.repeat(np.arange(len(starts), dtype=np.int32), stops - starts)
        requests = np.frombuffer(self._requests, np.uint32)[order]
        requests[is_block[owners]] = NO_REQUEST
        parts = parts_of(requests, starts, owners)
        del requests
        return SessionCut(
            sessions=tuple(
                TrainingSession(keys=keys[start:stop], begins=not is_part, ends=end)
                for start, stop, is_part, end in zip(
                    starts.tolist(), stops.tolist(), is_block.tolist(), ends.tolist(), strict=True
                )
            ),
            timeout_s=timeout_s,
            open_at_end=int((~ends & ~is_block).sum()),
            blocks=int(is_block.sum()),
            parts=parts,
            owners=_back_in_place(owners, order),
            elapsed_s=_back_in_place(elapsed, order),
            previous=_back_in_place(previous, order),
            resolution_s=_resolution_s(raw_ns),
            span_s=_span_s(raw_ns),
        )


_NOTHING = SessionCut(
    sessions=(),
    timeout_s=0.0,
    open_at_end=0,
    blocks=0,
    parts=(),
    owners=np.zeros(0, np.int32),
    elapsed_s=np.zeros(0),
    previous=np.zeros((0, 2), np.int32),
    resolution_s=0.0,
    span_s=0.0,
)


def names_stream(identifier: str) -> bool:
    """Whether an identifier is that of a source's stream."""
    return identifier.startswith(STREAM_MARK)


def _with_blocks(starts: NDArray[np.int64], is_stream: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Starts of sessions, with those of the blocks that streams are divided into.

    Examples
    --------
    >>> _with_blocks(np.array([0, 250, 255]), np.arange(260) < 250).tolist()
    [0, 100, 200, 250, 255]
    """
    stops = np.append(starts[1:], len(is_stream))
    parts = [
        np.arange(start, stop, STREAM_BLOCK) if is_stream[start] else [start]
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
    ]
    return np.concatenate(parts).astype(np.int64)


def learned_timeout_s(longest_silences_ns: NDArray[np.int64]) -> float:
    """Twice the longest silence inside nearly all (99 %) sessions, between a minute and a day; 0 without times.

    Examples
    --------
    >>> learned_timeout_s(np.array([100, 200, 300]) * NS_PER_S)
    600.0
    >>> learned_timeout_s(np.array([0, 0]))
    0.0
    """
    if not longest_silences_ns.any():
        return 0.0
    usual_s = float(np.quantile(longest_silences_ns, 0.99, method="higher")) / NS_PER_S
    return min(MAX_TIMEOUT_S, max(MIN_TIMEOUT_S, TIMEOUT_MARGIN * usual_s))


def _filled(times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Event times, in the order of arrival; an unknown one is that of the entry before, or else of the first known.

    Examples
    --------
    >>> _filled(np.array([0, 7, 0, 3, 0])).tolist()
    [7, 7, 7, 3, 3]
    """
    missing, known = np.flatnonzero(times_ns == 0), np.flatnonzero(times_ns)
    if not len(missing) or not len(known):
        return times_ns
    filled = times_ns.copy()
    filled[missing] = times_ns[known[np.maximum(np.searchsorted(known, missing) - 1, 0)]]
    return filled


def _never_back(times_ns: NDArray[np.int64], numbers: NDArray[np.int32]) -> NDArray[np.int64]:
    """Event times that do not run backwards inside a session; files of the same days may follow one another.

    Examples
    --------
    >>> _never_back(np.array([5, 9, 7, 1, 2]), np.array([0, 0, 0, 1, 1])).tolist()
    [5, 9, 9, 1, 2]
    """
    same = numbers[1:] == numbers[:-1]
    backwards = np.unique(numbers[1:][same & (times_ns[1:] < times_ns[:-1])])
    times_ns = times_ns.copy() if len(backwards) else times_ns
    for start, stop in zip(
        np.searchsorted(numbers, backwards).tolist(),
        np.searchsorted(numbers, backwards, side="right").tolist(),
        strict=True,
    ):
        times_ns[start:stop] = np.maximum.accumulate(times_ns[start:stop])
    return times_ns


def _longest(silences_ns: NDArray[np.int64], numbers: NDArray[np.int32]) -> NDArray[np.int64]:
    """Longest silence inside each session."""
    longest = np.zeros(int(numbers.max(initial=-1)) + 1, np.int64)
    np.maximum.at(longest, numbers[1:], silences_ns)
    return longest


def _elapsed_s(raw_ns: NDArray[np.int64], owners: NDArray[np.int32]) -> NDArray[np.float64]:
    """Seconds since the latest known time of the session, entries in the order of sessions; see :class:`SessionCut`.

    Examples
    --------
    >>> times_ns = np.array([5, 0, 9, 7, 4, 6]) * NS_PER_S
    >>> _elapsed_s(times_ns, np.array([0, 0, 0, 0, 1, 1])).tolist()
    [nan, nan, 4.0, 0.0, nan, 2.0]
    """
    latest_ns = _never_back(raw_ns, owners)
    before_ns = np.where(owners[1:] == owners[:-1], latest_ns[:-1], 0)
    return elapsed_s(raw_ns, np.concatenate([[0], before_ns]))


def _resolution_s(times_ns: NDArray[np.int64]) -> float:
    """What the times are written in; 0 where they are finer than milliseconds.

    Examples
    --------
    >>> _resolution_s(np.array([3, 0, 8]) * NS_PER_S), _resolution_s(np.array([3, 8]) * 10**7)
    (1.0, 0.01)
    """
    for digits in range(4):
        if not (times_ns % (NS_PER_S // 10**digits)).any():
            return 10.0**-digits
    return 0.0


def _span_s(times_ns: NDArray[np.int64]) -> float:
    """Seconds from the first to the last known time."""
    known = times_ns[times_ns > 0]
    return float(np.ptp(known)) / NS_PER_S if len(known) else 0.0


def _previous(keys: NDArray[np.int32], owners: NDArray[np.int32]) -> NDArray[np.int32]:
    """The two log keys before each entry in its session, entries in the order of sessions.

    Examples
    --------
    >>> _previous(np.array([1, 2, 3, 9]), np.array([0, 0, 0, 1])).tolist()
    [[-1, -1], [-1, 1], [1, 2], [-1, -1]]
    """
    found = np.full((len(keys), 2), NO_PREVIOUS, np.int32)
    for distance, column in ((1, 1), (2, 0)):
        same = owners[distance:] == owners[:-distance]
        found[distance:, column] = np.where(same, keys[:-distance], NO_PREVIOUS)
    return found


def _back_in_place(column: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
    """A column in the order of sessions, put back into the order of the log."""
    placed = np.empty_like(column)
    placed[order] = column
    return placed
