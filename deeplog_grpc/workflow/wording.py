"""The sentence of a diagnosis: what a person reads, and can act on. Names log keys by templates, never by a body."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from deeplog_grpc.workflow.deviations import NO_STATE, NOWHERE, Deviation, SlowStep
from deeplog_grpc.workflow.graph import NO_KEY, Workflow
from deeplog_grpc.workflow.names import Names
from deeplog_grpc.workflow.reading import Expected, Reading

END_TEMPLATE = "<end of session>"

TEMPLATE_CHARS = 60
"""Of a template in a sentence."""

LEAST_PROBABILITY = 0.05
"""Of a step that a sentence calls normal, unless it is the only one."""

MOST_NAMED = 3
"""Steps that are named; more are counted."""

SELDOM = 0.1
"""Share below which a step is called rare."""

_MINUTE_S, _HOUR_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """The time of an entry that is odd."""

    after: int
    """Log key that it is counted from."""
    observed_s: float
    low_s: float
    high_s: float
    """Normal is between them."""
    is_slow: bool
    is_99_percent: bool = False
    """Whether ``high_s`` is the time that 99 % need at most."""


class Wording:
    """Puts readings into words.

    Parameters
    ----------
    workflow : Workflow
    template : callable
        Log key -> its template by now.
    usual_before : callable
        State -> the state that comes right before it as a rule, or -1.
    """

    def __init__(self, workflow: Workflow, template: Callable[[int], str], usual_before: Callable[[int], int]) -> None:
        self._workflow = workflow
        self._template = template
        self._names = Names.of_workflow(workflow)
        self._usual_before = usual_before

    def path(self, reading: Reading) -> str:
        """What is wrong with an entry's place in its session."""
        came, after = self._name(reading.key), self._after(reading.state)
        where = f"{after}{self._normal(reading.expected)}"
        match reading.deviation:
            case Deviation.UNKNOWN:
                return f"{came} is in no task of the workflow; it came {where}"
            case Deviation.OTHER_TASK:
                tasks = [self._workflow.states[state].task for state in reading.known_states]
                named = self._alone(tasks)
                return f"{came} belongs to {named}; it came {where}"
            case Deviation.SKIPPED:
                left_out = self._states(reading.skipped)
                if {step.state.number for step in reading.expected}.issuperset(reading.skipped):
                    normal = f"{after} {self._steps(reading.expected)} is normal, then {came}"
                    return f"{normal}; {came} came without {left_out}"
                return f"{came} came {where}; {left_out} did not come"
            case Deviation.REPEATED:
                return f"{came} has come already and does not come again {where}"
            case Deviation.OUT_OF_ORDER:
                other = self._place(reading) if reading.late == NO_KEY else f"{self._name(reading.late)} came later"
                return f"{came} came {where}; {other}"
            case _:
                return self._allowed(reading, came, after)

    def end(self, reading: Reading) -> str:
        """What is wrong with a session that has ended."""
        after = self._after(reading.state)
        if reading.deviation is Deviation.TRUNCATED:
            soon = max((step.elapsed.p99 for step in _likely(reading.expected) if step.elapsed), default=0.0)
            within = f" within {duration(soon)}" if soon else ""
            following = self._steps(reading.expected) if reading.expected else self._states(reading.skipped)
            return f"the session ended {after}, where {following} normally follows{within}"
        if reading.deviation is Deviation.ALLOWED:
            return f"the session may end {after} and kept to the workflow; as a whole it is rare"
        return self.path(reading)

    def delay(self, reading: Reading, delay: Delay) -> str:
        """What is wrong with the time of an entry."""
        came, after = self._name(reading.key), self._name(delay.after)
        if delay.is_slow:
            share = " (99 %)" if delay.is_99_percent else ""
            within = f"{duration(delay.high_s)}{share}"
            return f"after {after} {came} normally follows within {within}; {duration(delay.observed_s)} passed"
        return f"{came} came {duration(delay.observed_s)} after {after}, which normally takes {duration(delay.low_s)}"

    def value(self, reading: Reading, slot: int) -> str:
        """What is said of an entry with an odd value."""
        where = "" if slot < 0 else f" at <*> {slot + 1}"
        return f"a value of {self._name(reading.key)}{where} is odd, {self._after(reading.state)}" + (
            ", where it is a normal step" if reading.deviation is Deviation.ALLOWED else self._normal(reading.expected)
        )

    def upstream(self, slow: SlowStep) -> str:
        """That a step before took long."""
        usual = slow.p50_s or slow.p99_s
        if usual > 0 and slow.elapsed_s / usual < 1000:
            return f"; {self._name(slow.key)} before it took {slow.elapsed_s / usual:.0f} x its usual time"
        return f"; {self._name(slow.key)} before it took {duration(slow.elapsed_s)}"

    def slow(self, slow: SlowStep) -> str:
        """That a step took long, and nothing else is wrong."""
        return (
            f"{self._name(slow.key)} took {duration(slow.elapsed_s)}, "
            f"where {duration(max(slow.p50_s, 0.0))} is usual and 99 % take {duration(slow.p99_s)} at most"
        )

    def earlier(self, reading: Reading, keys: Sequence[int]) -> str:
        """That the session had left its workflow before."""
        place = reading.first_divergence
        if place == NOWHERE or place >= len(keys):
            return ""
        since = "and came back" if reading.has_returned else "and did not come back"
        return f"; the session had left the workflow before, at {self._name(keys[place])}, {since}"

    def _allowed(self, reading: Reading, came: str, after: str) -> str:
        own = reading.path[-1] if reading.path else NO_STATE
        share = next((step.probability for step in reading.expected if step.state.number == own), None)
        if share is None:
            return f"the workflow has {came} {after}; here it is rare"
        if share < SELDOM:
            return f"{came} may come {after}, but seldom does ({_percent(share)}){self._normal(reading.expected)}"
        return f"the workflow has {came} {after} ({_percent(share)}); it is rare after all that came before"

    def _alone(self, tasks: Iterable[int]) -> str:
        named = [
            f"the task that begins with {_shortened(self._names.name(self._workflow.tasks[task].name))}"
            for task in dict.fromkeys(tasks)
        ]
        return _one_of(named[:MOST_NAMED])

    def _place(self, reading: Reading) -> str:
        """Where a log key normally comes."""
        before = [self._usual_before(state) for state in reading.known_states]
        named = dict.fromkeys(self._name(self._workflow.states[state].key) for state in before if state != NO_STATE)
        if not named:
            return "its place is at the begin"
        return f"its place is after {_one_of(list(named)[:MOST_NAMED])}"

    def _after(self, state: int) -> str:
        if state == NO_STATE:
            return "at the begin of what is known of the session"
        return f"after {self._name(self._workflow.states[state].key)}"

    def _normal(self, expected: Sequence[Expected]) -> str:
        return f", where {self._steps(expected)} is normal" if expected else ""

    def _steps(self, expected: Sequence[Expected]) -> str:
        """The steps that are likely, with their shares."""
        likely = _likely(expected)
        named = [f"{self._name(step.state.key)} ({_percent(step.probability)})" for step in likely[:MOST_NAMED]]
        return _one_of(named)

    def _states(self, states: Sequence[int]) -> str:
        named = list(dict.fromkeys(self._name(self._workflow.states[state].key) for state in states))
        more = len(named) - MOST_NAMED
        if more > 0:
            return f"{', '.join(named[:MOST_NAMED])} and {more} more"
        return " and ".join([", ".join(named[:-1]), *named[-1:]]) if len(named) > 1 else "".join(named)

    def _name(self, key: int) -> str:
        return "the end" if key == NO_KEY else _shortened(self._names.name(self._template(key)))


def duration(seconds: float) -> str:
    """A time for people.

    Examples
    --------
    >>> [duration(seconds) for seconds in (0.0, 0.00042, 0.4, 31.26, 300, 9_000)]
    ['0 s', '0.00042 s', '0.4 s', '31.3 s', '5 min', '2.5 h']
    """
    if seconds < 2 * _MINUTE_S:
        return f"{float(f'{seconds:.3g}'):.10g} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.3g} min"
    return f"{seconds / _HOUR_S:,.1f} h"


@lru_cache(maxsize=4_096)
def _shortened(template: str) -> str:
    """A template in quotes, on one line."""
    one_line = " ".join(template.split())
    return f"'{one_line}'" if len(one_line) <= TEMPLATE_CHARS else f"'{one_line[: TEMPLATE_CHARS - 3]}...'"


def _percent(share: float) -> str:
    """``98 %``, ``0.3 %``."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 1 or not percent else f"{percent:.1g} %"


def _likely(expected: Sequence[Expected]) -> list[Expected]:
    return [step for step in expected if step.probability >= LEAST_PROBABILITY] or list(expected[:1])


def _one_of(named: Sequence[str]) -> str:
    return " or ".join(named)
