"""A simulator of load: entries without end, of so many templates and open sessions, so many odd or in new windows.

A session goes round a ring of steps that no other ring shares. Most take every step in turn, so that all their windows
are soon known; some stray: they pass over none, one or two steps at random, as training has seen them do, and nearly
each of their windows is new. A fault changes neither order nor length: a step takes far too long, or a session ends in
an error.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from deeplog_grpc.detection import EntryBatch

RING_STEPS = 9
LAPS = 2
"""Rounds of a session, which then has a closing entry too."""
MEAN_STEPS = RING_STEPS * LAPS
HISTORY = 10
"""Entries of a window."""
STRIDES = (1, 2, 3)
"""Steps ahead that a session which strays may go at once."""
MOST_FAULTS = 2 / (MEAN_STEPS + 1)
"""Share of faults at which every session ends in an error."""
LOAD_END_PATTERN = "request (closed|failed)"
"""Finds the last entry of a session, for ``sessions.end_patterns``."""
PACE_NS = 1_000_000_000
"""Event time between two entries of a session, in the mean: the same however many are open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadShape:
    """What a load is like.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    templates: int = 100
    """Of a normal log: rings of 9 (the last may be larger) and the closing entry; >= 10. All are used alike."""
    open_sessions: int = 1_000
    """Sessions that go on side by side: each entry belongs to one of them, drawn at random; > 0."""
    fault_rate: float = 0.0
    """Share of the entries that are abnormal, half of them slow steps, half errors at a session's end; in [0, 2/19]."""
    novelty: float = 0.0
    """Share of the entries whose window never came before, beside those at the very begin; in [0, 0.5]."""
    memoryless: bool = False
    """Whether a session may close after any entry, with the same probability: the sessions of a load that has just
    begun are then like those of one that has lasted. Else each has 18 entries before the closing one."""

    def __post_init__(self) -> None:
        if self.templates <= RING_STEPS:
            raise ValueError(f"templates: {self.templates} is fewer than one ring and its end: give 10 or more")
        if self.open_sessions < 1:
            raise ValueError(f"open_sessions: {self.open_sessions} is fewer than 1")
        if not 0 <= self.fault_rate <= MOST_FAULTS:
            raise ValueError(f"fault_rate: {self.fault_rate} is not in [0, {MOST_FAULTS:.3f}]")
        if not 0 <= self.novelty <= 0.5:
            raise ValueError(f"novelty: {self.novelty} is not in [0, 0.5]")


class SimulatedLoad:
    """A stream of entries that goes on as long as it is asked.

    Parameters
    ----------
    seed : int
        The same shape, seed and numbers of entries asked for give the same entries.
    start_ns : int
        Event time of the first entry, in nanoseconds since 1970-01-01 UTC.

    Examples
    --------
    >>> load = SimulatedLoad(LoadShape(templates=10, open_sessions=2), seed=1)
    >>> batch = load.entries(40)
    >>> len(batch), len({body.split("]")[0] for body in batch.bodies}), load.windows, load.new_windows
    (40, 3, 40, 19)
    """

    def __init__(self, shape: LoadShape, *, seed: int, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._shape = shape
        self._rng = random.Random(seed)
        # Words do not depend on the seed: loads of one shape are of one application.
        self._rings = list(_rings(shape.templates))
        self._deck: list[int] = []
        self._time_ns = start_ns
        self._base = shape.templates + 2
        self._seen: set[int] = set()
        self._strayed = self._strayed_new = 1
        self._sessions = [self._opened() for _ in range(shape.open_sessions)]
        self.windows = 0
        """Entries so far."""
        self.new_windows = 0
        """Those whose window, of the ten entries before them in their session, had not come before."""
        self.faults = 0
        """Those that are abnormal."""

    @property
    def rings(self) -> int:
        """Rings of steps."""
        return len(self._rings)

    def first_entries(self, size: int) -> Iterator[EntryBatch]:
        """One entry of each open session, so many at once: ask for them first, or not at all."""
        for start in range(0, len(self._sessions), size):
            stop = min(start + size, len(self._sessions))
            yield self._batch([self._entry(number) for number in range(start, stop)])

    def entries(self, count: int) -> EntryBatch:
        """The next entries, a session that has closed being followed by another. Shape [count]."""
        draw, sessions = self._rng.random, len(self._sessions)
        return self._batch([self._entry(int(draw() * sessions)) for _ in range(count)])

    def _batch(self, bodies: list[str]) -> EntryBatch:
        step_ns = PACE_NS // self._shape.open_sessions
        start_ns, self._time_ns = self._time_ns, self._time_ns + step_ns * len(bodies)
        return EntryBatch.of(bodies, times_ns=range(start_ns, self._time_ns, step_ns))

    def _entry(self, number: int) -> str:
        """The next entry of a session."""
        session, draw = self._sessions[number], self._rng.random
        self._count(session)
        if session.closes(draw, memoryless=self._shape.memoryless):
            self._sessions[number] = self._opened()
            if draw() * MOST_FAULTS < self._shape.fault_rate:
                self.faults += 1
                return f"[{session.name}] request failed: connection lost after {int(draw() * 900)} ms"
            return f"[{session.name}] request closed after {session.steps} steps"
        first, words = self._rings[session.ring]
        key = first + session.place
        text = words[session.place]
        session.window = (session.window * self._base + key + 1) % self._base**HISTORY
        session.steps += 1
        session.place += STRIDES[int(draw() * len(STRIDES))] if session.strays else 1
        session.place %= len(words)
        ms = 20 + int(draw() * 60)
        if 2 * draw() * MEAN_STEPS / (MEAN_STEPS + 1) < self._shape.fault_rate:
            self.faults += 1
            ms *= 1000
        return f"[{session.name}] {text} took {ms} ms in shard {int(draw() * 8)}"

    def _count(self, session: "_Session") -> None:
        is_new = session.window not in self._seen
        self.windows += 1
        self.new_windows += is_new
        if is_new:
            self._seen.add(session.window)
        if session.strays:
            self._strayed += 1
            self._strayed_new += is_new

    def _opened(self) -> "_Session":
        """A new session. As many stray as it takes, by the share of new windows that straying ones have had so far."""
        if not self._deck:
            self._deck = list(range(len(self._rings)))
            self._rng.shuffle(self._deck)
        strays = self._rng.random() * self._strayed_new < self._shape.novelty * self._strayed
        return _Session(f"req-{UUID(int=self._rng.getrandbits(128))}", self._deck.pop(), strays)


class _Session:
    """Where an open session stands."""

    __slots__ = ("name", "place", "ring", "steps", "strays", "window")

    def __init__(self, name: str, ring: int, strays: bool) -> None:
        self.name = name
        self.ring = ring
        self.strays = strays
        self.place = 0
        self.steps = 0
        self.window = 0
        """Its last ten templates as the digits of a number."""

    def closes(self, draw: Callable[[], float], *, memoryless: bool) -> bool:
        if memoryless:
            return self.steps > 0 and draw() * MEAN_STEPS < 1
        return self.steps >= MEAN_STEPS


def _rings(templates: int) -> Iterator[tuple[int, list[str]]]:
    """Number of the first step's template, and the words of each step."""
    rng = random.Random("words of a load")
    steps = templates - 1
    rings = steps // RING_STEPS
    for ring in range(rings):
        first = ring * RING_STEPS
        last = steps if ring == rings - 1 else first + RING_STEPS
        yield first, [_sentence(rng) for _ in range(first, last)]


def _sentence(rng: random.Random) -> str:
    return " ".join(_word(rng) for _ in range(rng.randrange(4, 9)))


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aiou") for _ in range(3)) + "n"
