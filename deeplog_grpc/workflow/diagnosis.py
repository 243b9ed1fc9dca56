"""Diagnoses: where an abnormal session left its workflow, what was expected there, and which steps were slow.

What a path of log keys says is computed once and kept (:mod:`deeplog_grpc.workflow.reading`); times are looked at for
each session anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deeplog_grpc.workflow.deviations import (
    NO_STATE,
    Concern,
    Deviation,
    Diagnosis,
    ExpectedStep,
    SlowStep,
)
from deeplog_grpc.workflow.graph import NO_KEY, StateKind, Workflow
from deeplog_grpc.workflow.reading import Expected, Reader, Reading, Timed
from deeplog_grpc.workflow.wording import END_TEMPLATE, Delay, Wording

MAX_READINGS = 2_048
"""Paths whose readings are kept; past it all are forgotten. Some 2 kB each for sessions of 50 entries."""

MAX_PATH = 256
"""States of a path that are told."""

MAX_SLOW = 3
"""Slow steps that are named."""

SLOW_FACTOR = 2.0
"""A slow step takes so many times what is usual (the median) at least."""

MIN_TIMES = 10
"""Times of training below which its 99 % quantile says nothing."""

NS_PER_S = 1_000_000_000
RESOLUTIONS_NS = (NS_PER_S, 1_000_000, 1_000)
"""Steps in which logs tell the time, the coarsest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OddValue:
    """What a detector says of an odd value."""

    slot: int
    """Of the template; -1 = the time since the session's previous entry."""
    observed: float = 0.0
    low: float = 0.0
    high: float = 0.0
    """Normal is low <= observed <= high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slow:
    """A slow step and where it is in the session."""

    timed: Timed
    elapsed_s: float

    @property
    def excess(self) -> float:
        """How much longer than nearly all."""
        return self.elapsed_s / max(self.timed.elapsed.p99, 1e-3)


class Diagnoser:
    """Diagnoses the anomalies of one application by one workflow.

    Parameters
    ----------
    workflow : Workflow
    template : callable
        Log key -> its template by now.

    Examples
    --------
    >>> from deeplog_grpc.workflow import Method, Step, build_workflow, distinct_paths, sequence
    >>> paths = distinct_paths([[1, 2, 3]] * 5)
    >>> workflow = build_workflow([sequence(Step(1), Step(2), Step(3))], paths, method=Method.SESSIONS)
    >>> diagnoser = Diagnoser(workflow, "step {}".format)
    >>> found = diagnoser.diagnose([1, 3], [0, 0], begins=True, concern=Concern.PATH)
    >>> found.deviation.name, found.text
    ('SKIPPED', "after 'step 1' 'step 2' (100 %) is normal, then 'step 3'; 'step 3' came without 'step 2'")
    """

    def __init__(self, workflow: Workflow, template: Callable[[int], str]) -> None:
        self._workflow = workflow
        self._template = template
        self._reader = Reader(workflow)
        self._wording = Wording(workflow, template, self._reader.usual_before)
        self._readings: dict[tuple[tuple[int, ...], bool, bool], Reading] = {}

    def diagnose(
        self,
        keys: Sequence[int],
        times_ns: Sequence[int],
        *,
        begins: bool,
        concern: Concern,
        value: OddValue | None = None,
    ) -> Diagnosis | None:
        """Where a session left its workflow.

        Parameters
        ----------
        keys : sequence of int
            Log keys of the session up to the abnormal entry and with it, or all when its end is abnormal.
        times_ns : sequence of int
            Of the same entries, in nanoseconds since 1970-01-01 UTC; 0 = not known.
        begins : bool
            Whether the first one is the session's first.
        concern : Concern
            What is abnormal.
        value : OddValue, optional
            The value that is, where one is.

        Returns
        -------
        Diagnosis
            None when the workflow has no task, or nothing of the session is known.
        """
        if not self._workflow.tasks or not keys:
            return None
        is_end = concern is Concern.END
        reading = self._reading(tuple(keys), begins=begins, is_end=is_end)
        slow = _slow_steps(reading.timed, times_ns)
        deviation, text = self._judged(reading, keys, times_ns, concern, value, slow)
        return self._diagnosis(reading, deviation, text, slow)

    def diagnose_session(
        self, keys: Sequence[int], times_ns: Sequence[int], *, ended: bool = True
    ) -> tuple[Diagnosis, ...]:
        """All deviations of a whole session, in order, with what came after them in view.

        A step that was left out and came elsewhere is one that came out of order; ``first_divergence`` is the place
        of the deviation itself, and ``has_returned`` says whether the session came back after it.
        """
        if not self._workflow.tasks or not keys:
            return ()
        slow = _slow_steps(self._reader.timed(keys, begins=True), times_ns)
        found = []
        for reading in self._reader.session(keys, ended=ended):
            says = self._wording.end if reading.deviation is Deviation.TRUNCATED else self._wording.path
            found.append(self._diagnosis(reading, reading.deviation, says(reading), slow))
        for one in slow:
            reading = self._slow_reading(keys, one)
            text = self._wording.slow(self._slow_step(one))
            found.append(self._diagnosis(reading, Deviation.SLOW, text, [one]))
        return tuple(sorted(found, key=lambda diagnosis: diagnosis.first_divergence))

    def path(self, keys: Sequence[int], *, begins: bool) -> tuple[int, ...]:
        """States that a session went through, oldest first."""
        return self._reader.path(keys, begins=begins)[-MAX_PATH:] if self._workflow.tasks else ()

    def _reading(self, keys: tuple[int, ...], *, begins: bool, is_end: bool) -> Reading:
        known = self._readings.get((keys, begins, is_end))
        if known is None:
            if len(self._readings) >= MAX_READINGS:
                self._readings.clear()
            read = self._reader.end if is_end else self._reader.entry
            known = self._readings[keys, begins, is_end] = read(keys, begins=begins)
        return known

    def _judged(
        self,
        reading: Reading,
        keys: Sequence[int],
        times_ns: Sequence[int],
        concern: Concern,
        value: OddValue | None,
        slow: Sequence[_Slow],
    ) -> tuple[Deviation, str]:
        """The deviation and its sentence."""
        words = self._wording
        if concern is Concern.END:
            return reading.deviation, words.end(reading)
        if concern is Concern.PATH:
            return reading.deviation, words.path(reading) + words.earlier(reading, keys)
        upstream = next((words.upstream(self._slow_step(one)) for one in slow if one.timed.place < len(keys) - 1), "")
        if concern is Concern.ELAPSED and value is not None and len(keys) > 1:
            delay = _delay(reading, keys, times_ns, value)
            deviation = Deviation.SLOW if delay.is_slow else Deviation.FAST
            return deviation, words.delay(reading, delay) + upstream
        return Deviation.VALUE, words.value(reading, -1 if value is None else value.slot) + upstream

    def _diagnosis(self, reading: Reading, deviation: Deviation, text: str, slow: Sequence[_Slow]) -> Diagnosis:
        states = self._workflow.states
        is_known = reading.state != NO_STATE
        at = reading.state if is_known else next(iter(reading.path), NO_STATE)
        key = states[reading.state].key if is_known else NO_KEY
        return Diagnosis(
            deviation=deviation,
            text=text,
            task=states[at].task if at != NO_STATE else NO_STATE,
            state=reading.state,
            key=key,
            template=self._template(key) if is_known else "",
            expected=tuple(map(self._expected_step, reading.expected)),
            known_states=reading.known_states,
            skipped=reading.skipped,
            first_divergence=reading.first_divergence,
            has_returned=reading.has_returned,
            slow_steps=tuple(map(self._slow_step, slow)),
            path=reading.path[-MAX_PATH:],
        )

    def _expected_step(self, expected: Expected) -> ExpectedStep:
        state, elapsed = expected.state, expected.elapsed
        return ExpectedStep(
            state=state.number,
            key=state.key,
            template=END_TEMPLATE if state.kind is StateKind.END else self._template(state.key),
            probability=expected.probability,
            p50_s=0.0 if elapsed is None else elapsed.p50,
            p99_s=0.0 if elapsed is None else elapsed.p99,
        )

    def _slow_step(self, slow: _Slow) -> SlowStep:
        state = self._workflow.states[slow.timed.state]
        return SlowStep(
            state=state.number,
            key=state.key,
            template=self._template(state.key),
            elapsed_s=slow.elapsed_s,
            p50_s=slow.timed.elapsed.p50,
            p99_s=slow.timed.elapsed.p99,
        )

    def _slow_reading(self, keys: Sequence[int], slow: _Slow) -> Reading:
        path = self._reader.path(keys, begins=True)
        before = self._reader.path(keys[: slow.timed.before + 1], begins=True)
        return Reading(
            deviation=Deviation.SLOW,
            key=keys[slow.timed.place],
            state=before[-1] if before else NO_STATE,
            first_divergence=slow.timed.place,
            has_returned=True,
            path=path,
        )


def _slow_steps(timed: Sequence[Timed], times_ns: Sequence[int]) -> list[_Slow]:
    """Steps that took far longer than usual, the worst first."""
    found = []
    for one in timed:
        now_ns, before_ns = times_ns[one.place], times_ns[one.before]
        elapsed_ns = now_ns - before_ns
        usual = one.elapsed
        if elapsed_ns > NS_PER_S * usual.p99 and now_ns and before_ns and usual.count >= MIN_TIMES:
            found.append(_Slow(timed=one, elapsed_s=elapsed_ns / NS_PER_S))
    if not found:
        return found
    margin_s = _resolution_s(times_ns)
    found = [
        slow
        for slow in found
        if slow.elapsed_s > slow.timed.elapsed.p99 + margin_s
        and slow.elapsed_s >= SLOW_FACTOR * slow.timed.elapsed.p50 + margin_s
    ]
    return sorted(found, key=lambda slow: -slow.excess)[:MAX_SLOW]


def _resolution_s(times_ns: Sequence[int]) -> float:
    """In which steps a log tells the time, as far as some times show it.

    Examples
    --------
    >>> _resolution_s([3_000_000_000, 5_000_000_000]), _resolution_s([3_000_000_000, 5_001_000_000])
    (1.0, 0.001)
    """
    for step_ns in RESOLUTIONS_NS:
        if not any(time_ns % step_ns for time_ns in times_ns):
            return step_ns / NS_PER_S
    return 0.0


def _delay(reading: Reading, keys: Sequence[int], times_ns: Sequence[int], value: OddValue) -> Delay:
    """By the workflow where its path says the same, else as the detector says."""
    is_slow = value.observed > value.high
    own = next((one for one in reading.timed if one.place == len(keys) - 1), None)
    if is_slow and own is not None and times_ns[own.place] and times_ns[own.before]:
        elapsed_s = (times_ns[own.place] - times_ns[own.before]) / NS_PER_S
        if elapsed_s > own.elapsed.p99 > 0 and own.elapsed.count >= MIN_TIMES:
            return Delay(
                after=keys[own.before],
                observed_s=elapsed_s,
                low_s=0.0,
                high_s=own.elapsed.p99,
                is_slow=True,
                is_99_percent=True,
            )
    return Delay(
        after=keys[-2], observed_s=value.observed, low_s=max(value.low, 0.0), high_s=value.high, is_slow=is_slow
    )
