"""Windows as states of a graph: the exact cache in front of the log key model.

A session stands in a :class:`WindowState`; its next log key leads along a :class:`Transition` to the next state. What
the model says of a window is computed once for its state, and what that means for a key once for the transition, so
an entry whose transition is known costs one dictionary look-up. States belong to one model; nothing in them can be
wrong later, so with or without the cache the verdicts are the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf, log10

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.models import BEGIN, CHUNK_ROWS, END, UNKNOWN_KEY, UNSEEN, Behaviour, Check

SCORE_DECADES = 10.0
"""What one in 10 ** 10 normal sessions holds has score 1."""

STATE_BYTES = 1000
"""About what a state and its transitions take without the hidden vector (measured on HDFS sessions: 0.7 kB)."""

JUDGED_AT_ONCE = 16
"""Transitions between two pauses."""

BYTES_A_NUMBER = 4
"""Of a hidden vector."""


ANY_TIME = (-inf, inf)
"""Bounds of the elapsed time where nothing is known of it."""


NOTHING_BEFORE = (UNKNOWN_KEY, UNKNOWN_KEY)

Placed = tuple[float, float, int]
"""Log-probability, probability and rank of a unit after a window."""


class WindowState:
    """A window of units, and how many of them are known.

    ``known`` < h means that the session was met in its middle: the model is not asked until the window is full.
    """

    __slots__ = ("before", "expected", "hidden", "known", "next", "window")

    def __init__(self, window: tuple[int, ...], known: int, before: tuple[int, int]) -> None:
        self.window = window
        self.known = known
        self.before = before
        """The last two log keys, oldest first."""
        self.next: dict[int, Transition] = {}
        self.hidden: bytes | None = None
        """The log key model's hidden vector of the window, float32; None until it was asked, and where it is not."""
        self.expected: tuple[tuple[int, float], ...] | None = None
        """The most probable units with their probabilities; None until evidence is asked for."""

    @property
    def judged(self) -> bool:
        """Whether the window says enough to judge what follows it."""
        return self.known >= len(self.window)

    def forget(self) -> None:
        """Drop all that one version of the models said of the window."""
        self.next.clear()
        self.hidden = self.expected = None


class Transition:
    """A state, the unit that came, and what that means. ``kind`` is None until the model was asked."""

    __slots__ = ("high_s", "kind", "low_s", "next", "p_value", "probability", "rank", "score", "state", "unit")

    def __init__(self, state: WindowState, unit: int, following: WindowState) -> None:
        self.state = state
        self.unit = unit
        self.next = following
        self.kind: Kind | None = None
        self.rank = 0
        self.probability = 1.0
        self.p_value = 1.0
        self.score = 0.0
        self.low_s, self.high_s = ANY_TIME
        """Elapsed seconds between which nobody need look more closely."""

    def judge(self, behaviour: Behaviour, prediction: Placed | None = None) -> None:
        """Fill in the verdict; ``prediction`` is what the key model says, None where it is not asked."""
        if self.unit == UNSEEN:
            self.kind, self.probability, self.p_value, self.score = Kind.UNSEEN_KEY, 0.0, 0.0, 1.0
            return
        is_end = self.unit == END
        check = Check.END if is_end else Check.KEY
        calibration = behaviour.calibration
        nats = behaviour.profile.transition_score(self.state.window[-1], self.unit)
        joined = calibration.config.joins(check)
        self.kind = Kind.NORMAL
        least = 1.0  # smallest p-value of what is abnormal
        if prediction is not None:
            log_probability, self.probability, self.rank = prediction
            finding = calibration.judge(check, nats - log_probability if joined else -log_probability)
            limit = behaviour.key_model.config.rank_limit
            self.p_value = finding.p_value
            if finding.abnormal or (limit is not None and not is_end and self.rank > limit):
                least = finding.p_value
                self.kind = Kind.UNSEEN_TRANSITION if joined and nats > 0 else Kind.EXECUTION_PATH
        if not joined or not (is_end or self.state.judged):
            finding = calibration.judge(Check.TRANSITION, nats)
            self.p_value = min(self.p_value, finding.p_value)
            if finding.abnormal and (self.kind is Kind.NORMAL or finding.p_value < least):
                self.kind = Kind.UNSEEN_TRANSITION
        self.score = surprise(self.p_value)
        if is_end and self.kind is not Kind.NORMAL:
            self.kind = Kind.INCOMPLETE_SESSION


def surprise(p_value: float) -> float:
    """Score in [0, 1] of something that this share of normal sessions holds.

    Examples
    --------
    >>> surprise(1.0), surprise(1e-5), surprise(1e-30)
    (0.0, 0.5, 1.0)
    """
    return min(1.0, max(0.0, -log10(p_value) / SCORE_DECADES))


def hidden_rows(hidden: Sequence[bytes]) -> NDArray[np.float32]:
    """Hidden vectors of states. Shape [n, hidden]; n > 0."""
    return np.frombuffer(b"".join(hidden), np.float32).reshape(len(hidden), -1)


class StateGraph:
    """The states met so far under one behaviour, in bounded memory (plus the states that open sessions stand in).

    Parameters
    ----------
    cache_bytes : int
        About how much the cache may hold; 0 forgets everything between two batches.
    usual_elapsed : callable
        The two log keys before, and a log key -> elapsed seconds between which nobody need look more closely.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        cache_bytes: int,
        usual_elapsed: Callable[[tuple[int, int], int], tuple[float, float]] = lambda after, key: ANY_TIME,
    ) -> None:
        self._behaviour = behaviour
        self._usual_elapsed = usual_elapsed
        self.model = model = behaviour.key_model
        self._history = model.config.history
        self._max_states = cache_bytes // (STATE_BYTES + BYTES_A_NUMBER * model.config.hidden)
        self._states: dict[tuple[tuple[int, ...], int], WindowState] = {}
        self._new: list[Transition] = []
        """Not judged yet, in the order in which they were met."""
        self._lender: StateGraph | None = None

    def __len__(self) -> int:
        return len(self._states)

    def trim(self) -> None:
        """Forget all states when there are too many. Open sessions keep the ones they stand in."""
        if len(self._states) > self._max_states:
            for state in self._states.values():
                state.next.clear()  # else an open session would keep all that can be reached from where it stands
            self._states.clear()

    def borrow(self, other: "StateGraph") -> None:
        """Take over what the same log key model said in another version's graph, until :meth:`warm`, which ends it.

        The other graph may be in use.
        """
        if other.model is self.model:
            self._lender = other

    def _borrowed(self, state: WindowState) -> bytes | None:
        lent = None if self._lender is None else self._lender._states.get((state.window, state.known))
        return None if lent is None else lent.hidden

    def warm(self, other: "StateGraph", *, units: int, pause: Callable[[], None] = lambda: None) -> None:
        """Ask the model about the states that another version's graph has, so that nobody waits for it later.

        The other graph may be in use: what is added to it meanwhile is passed over.

        Parameters
        ----------
        units : int
            The first so many units mean the same in both versions.
        pause : callable
            As of :meth:`resolve`.
        """
        for number, ((window, known), state) in enumerate(list(other._states.items())):
            if not number % JUDGED_AT_ONCE:
                pause()
            if max(window) < units:
                own = self._state(window, known)
                for unit in list(state.next):
                    if unit < units:
                        self.step(own, unit)
        self.resolve(pause=pause)
        self._lender = None
        self.trim()

    def release(self, state: WindowState) -> None:
        """Let go of one state, which goes on in the next version's graph, with nothing that this version said of it."""
        self._states.pop((state.window, state.known), None)
        state.forget()

    def close(self, count: int | None = None) -> bool:
        """Let go of all states, or of so many; sessions' own have to be released before.

        Left to themselves the states would keep each other, until the collector of cyclic garbage finds them.

        Returns
        -------
        bool
            Whether none is left.
        """
        states = self._states
        for _ in range(len(states) if count is None else min(count, len(states))):
            states.popitem()[1].forget()
        return not states

    def at(self, window: tuple[int, ...], known: int) -> WindowState:
        """The state of a window of which the last ``known`` units are known."""
        return self._state(window, known)

    def beginning(self) -> WindowState:
        """Where a session stands before its first entry."""
        return self._state((BEGIN,) * self._history, self._history)

    def middle(self) -> WindowState:
        """Where a session stands of which nothing is known."""
        return self._state((UNSEEN,) * self._history, 0)

    def step(self, state: WindowState, unit: int) -> Transition:
        """The transition from a state by a unit; the caller looks into ``state.next`` first."""
        # An open session may stand in a state that was forgotten: what it leads to must be found by the next trim.
        state = self._states.setdefault((state.window, state.known), state)
        if (known := state.next.get(unit)) is not None:
            return known
        following = (
            state if unit == END else self._state((*state.window[1:], unit), min(state.known + 1, self._history))
        )
        transition = state.next[unit] = Transition(state, unit, following)
        self._new.append(transition)
        return transition

    def resolve(
        self, transitions: Iterable[Transition] | None = None, *, pause: Callable[[], None] = lambda: None
    ) -> None:
        """Judge transitions, asking the model once about all their distinct states that it was not asked about.

        Parameters
        ----------
        transitions : iterable of Transition, optional
            Only these; by default all that are new. Those already judged are passed over.
        pause : callable
            Called every some tenths of a millisecond: who has something more urgent to do may take the time.
        """
        # Distinct ones: sessions take the same step again and again, and each is to be judged once.
        pending = dict.fromkeys(t for t in (self._new if transitions is None else transitions) if t.kind is None)
        # Before an unseen key too: what was expected instead is evidence, which must not depend on who came by before.
        self._read(dict.fromkeys(t.state for t in pending if t.state.judged and t.state.hidden is None), pause)
        placed = [t for t in pending if t.state.hidden is not None and t.unit != UNSEEN]
        for start in range(0, len(placed), CHUNK_ROWS):
            pause()
            part = placed[start : start + CHUNK_ROWS]
            self._judge(zip(part, self._placed(part), strict=True), pause)
        self._judge(((t, None) for t in pending if t.kind is None), pause)
        self._new = [] if transitions is None else [t for t in self._new if t.kind is None]

    def _read(self, states: Iterable[WindowState], pause: Callable[[], None]) -> None:
        """Ask the model about states."""
        if self._lender is not None:
            states = list(states)
            for state in states:
                state.hidden = self._borrowed(state)
        asked = [state for state in states if state.hidden is None]
        for start in range(0, len(asked), CHUNK_ROWS):
            pause()
            part = asked[start : start + CHUNK_ROWS]
            for state, hidden in zip(part, self.model.read(np.array([s.window for s in part], np.int64)), strict=True):
                state.hidden = hidden.tobytes()

    def _placed(self, transitions: Sequence[Transition]) -> Iterator[Placed]:
        """What the model says of transitions of states that it was asked about."""
        hidden = hidden_rows([t.state.hidden or b"" for t in transitions])
        own, ranks = self.model.place(hidden, np.array([t.unit for t in transitions], np.int64))
        log_probabilities = own.astype(np.float64)
        return zip(log_probabilities.tolist(), np.exp(log_probabilities).tolist(), ranks.tolist(), strict=True)

    def _judge(self, transitions: Iterable[tuple[Transition, Placed | None]], pause: Callable[[], None]) -> None:
        for number, (transition, prediction) in enumerate(transitions):
            if number and not number % JUDGED_AT_ONCE:
                pause()
            transition.judge(self._behaviour, prediction)
            if transition.kind is Kind.NORMAL and transition.unit != END:
                transition.low_s, transition.high_s = self._usual_elapsed(
                    transition.state.before, self.model.vocabulary.key_of(transition.unit)
                )

    def _state(self, window: tuple[int, ...], known: int) -> WindowState:
        state = self._states.get((window, known))
        if state is None:
            key_of = self.model.vocabulary.key_of
            before = (key_of(window[-2]) if len(window) > 1 else UNKNOWN_KEY, key_of(window[-1]))
            state = self._states[window, known] = WindowState(window, known, before)
        return state
