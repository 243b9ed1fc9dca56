"""Cases judged by a version of the models, with the code that judges entries."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatchmethod

import numpy as np

from deeplog_grpc.detection import Judges, Kind
from deeplog_grpc.detection.states import Transition
from deeplog_grpc.feedback.cases import Case, CountsCase, NewValueCase, StepCase, ValueCase
from deeplog_grpc.feedback.known_paths import KnownPaths
from deeplog_grpc.models import (
    BEGIN,
    BEGIN_KEY,
    END,
    UNKNOWN_KEY,
    UNSEEN,
    FlaggedValue,
    holds_vector,
    vector_of,
)

STEPS_AT_ONCE = 32
"""Between two pauses: some tenths of a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a version says of a case."""

    is_normal: bool
    rank: int = 0
    """Place among the predictions, 1 = most probable; 0 = unseen, or not judged by its place."""
    probability: float = 1.0
    """In [0, 1]; 1 where not judged."""


class CaseJudge:
    """Judges cases by one version.

    Parameters
    ----------
    judges : Judges
        Of that version, and nobody else's meanwhile. What they remember changes no judgement.
    pause : callable
        Called again and again in longer work: who has something more urgent to do may take the time.
    """

    def __init__(self, judges: Judges, *, pause: Callable[[], None] = lambda: None) -> None:
        self.judges = judges
        self._pause = pause

    def judge(self, cases: Sequence[Case]) -> list[Judgement]:
        """Judge cases, in their order."""
        steps = {number: self.step(case) for number, case in enumerate(cases) if isinstance(case, StepCase)}
        self.judges.graph.resolve(steps.values(), pause=self._pause)
        return [
            _of_step(steps[number]) if number in steps else Judgement(is_normal=self._holds(case))
            for number, case in enumerate(cases)
        ]

    def normal(self, cases: Sequence[Case]) -> list[bool]:
        """Which cases are normal."""
        return [judgement.is_normal for judgement in self.judge(cases)]

    def step(self, case: StepCase) -> Transition:
        """The transition that a case is; not judged yet."""
        window = self.window(case)
        known = len(window) if case.judged else min(len(window) - 1, _known(case.window))
        unit = END if case.key == BEGIN_KEY else self.judges.unit_of.get(case.key, UNSEEN)
        return self.judges.graph.step(self.judges.graph.at(window, known), unit)

    def window(self, case: StepCase) -> tuple[int, ...]:
        """The units of a case's window, h of them."""
        history = self.judges.model.key_model.config.history
        keys = case.window[-history:]
        units = [BEGIN if key == BEGIN_KEY else self.judges.unit_of.get(key, UNSEEN) for key in keys]
        return (*[BEGIN] * (history - len(units)), *units)

    def counts(self, case: CountsCase) -> dict[int, int]:
        """Unit -> times."""
        counts = Counter[int]()
        for key, times in case.counts:
            counts[self.judges.unit_of.get(key, UNSEEN)] += times
        return dict(counts)

    def flagged(self, paths: KnownPaths) -> int:
        """How many sessions, or blocks of streams, have anything abnormal in their log keys, or as a whole."""
        graph, units = self.judges.graph, _Units(self.judges.unit_of)
        windows = [tuple(map(units.__getitem__, window)) for window in paths.windows.tolist()]
        steps = []
        for number, (window, known, key) in enumerate(zip(windows, paths.known, paths.keys, strict=True)):
            if not number % STEPS_AT_ONCE:
                self._pause()
            steps.append(graph.step(graph.at(window, known), END if key == BEGIN_KEY else units[key]))
        graph.resolve(steps, pause=self._pause)
        bad_steps = np.array([step.kind is not Kind.NORMAL for step in steps], np.bool_)
        bad_counts = np.zeros(len(paths.counts), np.bool_)
        if self.judges.knows_sessions:
            for number, counts in enumerate(paths.counts):
                if not number % STEPS_AT_ONCE:
                    self._pause()
                bad_counts[number] = not self._holds(CountsCase(counts=counts))
        return paths.flagged(bad_steps, bad_counts)

    @singledispatchmethod
    def _holds(self, case: Case) -> bool:
        raise TypeError(f"no judge for {type(case).__name__}")

    @_holds.register
    def _(self, case: CountsCase) -> bool:
        return self.judges.shapes.judge(self.counts(case)).kind is Kind.NORMAL

    @_holds.register
    def _(self, case: ValueCase) -> bool:
        model = self.judges.model
        vectors = vector_of(model.value_model, case.key, case.numbers, case.previous)
        rate = model.behaviour.calibration.value_rate
        return holds_vector(model.value_model, vectors, rate=rate, flagged=flagged_value(case))

    @_holds.register
    def _(self, case: NewValueCase) -> bool:
        return self.judges.model.value_sets.holds(case.key, case.slot, case.text)


class _Units(dict[int, int]):
    """Log key -> its unit in a window."""

    def __init__(self, unit_of: Mapping[int, int]) -> None:
        super().__init__({**unit_of, BEGIN_KEY: BEGIN})

    def __missing__(self, key: int) -> int:
        return UNSEEN


def flagged_value(case: ValueCase) -> FlaggedValue | None:
    """The number that fitted least, if it is known what was expected of it; of a transition that is its own median."""
    if case.predicted is None or case.after:
        return None
    return FlaggedValue(slot=case.slot, predicted=case.predicted)


def _of_step(step: Transition) -> Judgement:
    return Judgement(is_normal=step.kind is Kind.NORMAL, rank=step.rank, probability=step.probability)


def _known(window: Sequence[int]) -> int:
    """How many keys at the end of a window are known."""
    return next((place for place, key in enumerate(reversed(window)) if key == UNKNOWN_KEY), len(window))
