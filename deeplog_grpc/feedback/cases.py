"""Cases: what feedback is about, in terms that outlive a model version: log keys, numbers and texts.

A case says all that is needed to judge it again by another model, and to learn it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.models import BEGIN_KEY, ELAPSED, UNKNOWN_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCase:
    """A log key after a window, or the end of a session after one."""

    window: tuple[int, ...]
    """Log keys before, oldest first; -1 = before the session began, -2 = not known."""
    key: int
    """The log key that came; -1 = the end of the session."""
    judged: bool = True
    """Whether the window was known well enough for the log key model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsCase:
    """How often each log key came in a session that ended."""

    counts: tuple[tuple[int, int], ...]
    """(log key, times), ascending; -2 = log keys that were not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCase:
    """The numbers of an entry."""

    key: int
    numbers: tuple[tuple[int, str, float], ...]
    """(slot by the template of training, unit, number); slot -1 = elapsed seconds."""
    previous: tuple[int, int]
    """Log keys of the session's two entries before, oldest first."""
    slot: int = ELAPSED
    """The number that fitted least."""
    predicted: float | None = None
    """What was expected of it; None = not known."""
    after: tuple[int, ...] = ()
    """The log keys before, when the elapsed time of that transition did not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewValueCase:
    """A value that a slot never had."""

    key: int
    slot: int
    """By the template of training."""
    text: str


Case = StepCase | CountsCase | ValueCase | NewValueCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A case and the kind of the anomaly that it was."""

    kind: Kind
    case: Case
    anywhere: bool = False
    """Whether a new log key is to be normal wherever it comes, not only in places like this one."""

    def renamed(self, keys: Mapping[int, int]) -> "Lesson | None":
        """The lesson with other numbers for its log keys; None if one of them has none.

        Parameters
        ----------
        keys : mapping of int to int
            Log key -> its new number.

        Examples
        --------
        >>> lesson = Lesson(kind=Kind.UNSEEN_KEY, case=StepCase(window=(-1, 4), key=9))
        >>> lesson.renamed({4: 40, 9: 90}).case
        StepCase(window=(-1, 40), key=90, judged=True)
        >>> lesson.renamed({9: 90}) is None
        True
        """
        try:
            return replace(self, case=_renamed(self.case, {BEGIN_KEY: BEGIN_KEY, UNKNOWN_KEY: UNKNOWN_KEY, **keys}))
        except KeyError:
            return None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a journal."""
        case = self.case
        match case:
            case StepCase():
                data: dict[str, Any] = {"window": list(case.window), "key": case.key, "judged": case.judged}
            case CountsCase():
                data = {"counts": [list(pair) for pair in case.counts]}
            case ValueCase():
                data = {
                    "key": case.key,
                    "numbers": [list(number) for number in case.numbers],
                    "previous": list(case.previous),
                    "slot": case.slot,
                    "predicted": case.predicted,
                    "after": list(case.after),
                }
            case NewValueCase():
                data = {"key": case.key, "slot": case.slot, "text": case.text}
        return {"kind": int(self.kind), "anywhere": self.anywhere, "type": _NAMES[type(case)], **data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Lesson":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is damaged.

        Examples
        --------
        >>> lesson = Lesson(kind=Kind.UNSEEN_KEY, case=StepCase(window=(-1, 4), key=9))
        >>> Lesson.from_json(lesson.to_json()) == lesson
        True
        """
        match data["type"]:
            case "step":
                case: Case = StepCase(
                    window=tuple(map(int, data["window"])), key=int(data["key"]), judged=bool(data["judged"])
                )
            case "counts":
                case = CountsCase(counts=tuple((int(key), int(times)) for key, times in data["counts"]))
            case "value":
                first, second = map(int, data["previous"])
                case = ValueCase(
                    key=int(data["key"]),
                    numbers=tuple((int(slot), str(unit), float(number)) for slot, unit, number in data["numbers"]),
                    previous=(first, second),
                    slot=int(data["slot"]),
                    predicted=None if data["predicted"] is None else float(data["predicted"]),
                    after=tuple(map(int, data["after"])),
                )
            case "new_value":
                case = NewValueCase(key=int(data["key"]), slot=int(data["slot"]), text=str(data["text"]))
            case other:
                raise ValueError(f"no such type of case: {other!r}")
        return cls(kind=Kind(data["kind"]), case=case, anywhere=bool(data["anywhere"]))


def _renamed(case: Case, keys: Mapping[int, int]) -> Case:
    match case:
        case StepCase():
            return replace(case, window=tuple(keys[key] for key in case.window), key=keys[case.key])
        case CountsCase():
            counts = Counter[int]()  # two log keys may have become one
            for key, times in case.counts:
                counts[keys[key]] += times
            return CountsCase(counts=tuple(sorted(counts.items())))
        case ValueCase():
            first, second = case.previous
            after = tuple(keys[key] for key in case.after)
            return replace(case, key=keys[case.key], previous=(keys[first], keys[second]), after=after)
        case NewValueCase():
            return replace(case, key=keys[case.key])


_NAMES: Mapping[type[Case], str] = {
    StepCase: "step",
    CountsCase: "counts",
    ValueCase: "value",
    NewValueCase: "new_value",
}
