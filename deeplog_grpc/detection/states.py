"""Windows as states of a graph: the exact cache in front of the log key model.

A session stands in a :class:`WindowState`; its next log key leads along a :class:`Transition` to the next state. What
the model says of a window is computed once for its state, and what that means for a key once for the transition, so
an entry whose transition is known costs one dictionary look-up. States belong to one model; nothing in them can be
wrong later, so with or without the cache the verdicts are the same.
"""

from collections.abc import Callable, Iterable
from math import inf, log10

import numpy as np

from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.models import BEGIN, CHUNK_ROWS, END, UNKNOWN_KEY, UNSEEN, Behaviour, Check, Prediction

SCORE_DECADES = 10.0
"""What one in 10 ** 10 normal sessions holds has score 1."""

STATE_BYTES = 1500
"""About what a state and its transitions take without the prediction (measured on HDFS sessions: 1.1-1.4 kB)."""

JUDGED_AT_ONCE = 16
"""Transitions between two pauses."""

BYTES_A_UNIT = 8
"""A prediction is a float32 and an int32 a unit."""


ANY_TIME = (-inf, inf)
"""Bounds of the elapsed time where nothing is known of it."""


NOTHING_BEFORE = (UNKNOWN_KEY, UNKNOWN_KEY)


class WindowState:
    """A window of units, and how many of them are known.

    ``known`` < h means that the session was met in its middle: the model is not asked until the window is full.
    """

    __slots__ = ("before", "known", "next", "prediction", "window")

    def __init__(self, window: tuple[int, ...], known: int, before: tuple[int, int]) -> None:
        self.window = window
        self.known = known
        self.before = before
        """The last two log keys, oldest first."""
        self.next: dict[int, Transition] = {}
        self.prediction: Prediction | None = None

    @property
    def judged(self) -> bool:
        """Whether the window says enough to judge what follows it."""
        return self.known >= len(self.window)

    def forget(self) -> None:
        """Drop all that one version of the models said of the window."""
        self.next.clear()
        self.prediction = None


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

    def judge(self, behaviour: Behaviour) -> None:
        """Fill in the verdict; the state's prediction must be there if the state is judged."""
        if self.unit == UNSEEN:
            self.kind, self.probability, self.p_value, self.score = Kind.UNSEEN_KEY, 0.0, 0.0, 1.0
            return
        is_end = self.unit == END
        check = Check.END if is_end else Check.KEY
        calibration = behaviour.calibration
        nats = behaviour.profile.transition_score(self.state.window[-1], self.unit)
        joined = calibration.config.joins(check)
        findings = []
        if self.state.prediction is not None:
            log_probability = float(self.state.prediction.log_probabilities[self.unit])
            self.rank = int(self.state.prediction.ranks[self.unit])
            self.probability = float(np.exp(log_probability))
            finding = calibration.judge(check, nats - log_probability if joined else -log_probability)
            limit = behaviour.key_model.config.rank_limit
            abnormal = finding.abnormal or (limit is not None and not is_end and self.rank > limit)
            kind = Kind.UNSEEN_TRANSITION if joined and nats > 0 else Kind.EXECUTION_PATH
            findings.append((finding.p_value, kind, abnormal))
        if not joined or not (is_end or self.state.judged):
            finding = calibration.judge(Check.TRANSITION, nats)
            findings.append((finding.p_value, Kind.UNSEEN_TRANSITION, finding.abnormal))
        self.p_value = min((p_value for p_value, _, _ in findings), default=1.0)
        self.score = surprise(self.p_value)
        _, self.kind = min(((p_value, kind) for p_value, kind, bad in findings if bad), default=(1.0, Kind.NORMAL))
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
        self._max_states = cache_bytes // (STATE_BYTES + BYTES_A_UNIT * model.vocabulary.size)
        self._states: dict[tuple[tuple[int, ...], int], WindowState] = {}
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

    def _borrowed(self, state: WindowState) -> Prediction | None:
        lent = None if self._lender is None else self._lender._states.get((state.window, state.known))
        return None if lent is None else lent.prediction

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
        pending = []
        for number, ((window, known), state) in enumerate(list(other._states.items())):
            if not number % JUDGED_AT_ONCE:
                pause()
            if max(window) < units:
                own = self._state(window, known)
                pending += [self.step(own, unit) for unit in list(state.next) if unit < units]
        self.resolve(pending, pause=pause)
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
        return transition

    def resolve(self, transitions: Iterable[Transition], *, pause: Callable[[], None] = lambda: None) -> None:
        """Judge transitions, asking the model once about all their distinct states that it was not asked about.

        Parameters
        ----------
        pause : callable
            Called every some tenths of a millisecond: who has something more urgent to do may take the time.
        """
        # Distinct ones: sessions take the same step again and again, and each is to be judged once.
        pending = dict.fromkeys(transition for transition in transitions if transition.kind is None)
        # Before an unseen key too: what was expected instead is evidence, which must not depend on who came by before.
        states = list(dict.fromkeys(t.state for t in pending if t.state.judged and t.state.prediction is None))
        if self._lender is not None:
            for state in states:
                state.prediction = self._borrowed(state)
            states = [state for state in states if state.prediction is None]
        for start in range(0, len(states), CHUNK_ROWS):
            pause()
            part = states[start : start + CHUNK_ROWS]
            windows = np.array([state.window for state in part], np.int64)
            for state, prediction in zip(part, self.model.predict(windows), strict=True):
                state.prediction = prediction
        for number, transition in enumerate(pending):
            if not number % JUDGED_AT_ONCE:
                pause()
            transition.judge(self._behaviour)
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
