"""Values that never came before, in slots whose values are few: a set of values, and how rarely it grew.

DeepLog has no such model and says what that costs: an undocumented address that appears for the first time is missed
(CCS'17, section 5.4). How surprising a new value is depends on how often there was one when the set should have been
complete: after the first quarter of training [1]_. A set that still grows there (user names, hosts) makes its
new values unsurprising by itself.

References
----------
.. [1] A. Dawid, "Present Position and Potential Developments: The Prequential Approach", J. R. Stat. Soc. A 147 (1984).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotHistory:
    """The values of one slot in training."""

    key: int
    slot: int
    pieces: tuple[str, ...]
    """The template's constants."""
    count: int
    """Values in all."""
    firsts: Mapping[str, tuple[int, int]]
    """Each distinct value -> values of the slot before its first one, and the number of that one's entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSet:
    """The values of a slot, and the surprise of another one."""

    slot: int
    values: frozenset[str]
    nats: float
    """-ln(probability) that a value is new; >= 0."""


class ValueSets:
    """The value sets of an application's log keys; immutable.

    Examples
    --------
    >>> seen = {"GET": (0, 0), "PUT": (7, 7), "DELETE": (700, 700)}
    >>> slot = SlotHistory(key=4, slot=0, pieces=("verb ", ""), count=1000, firsts=seen)
    >>> sets, late = fit_value_sets([slot])
    >>> [(found.slot, sorted(found.values), round(found.nats, 1)) for found in sets.of_key(4)]
    [(0, ['DELETE', 'GET', 'PUT'], 6.2)]
    >>> {entry: round(nats, 1) for entry, nats in late.items()}
    {700: 7.3}
    """

    def __init__(self, pieces: Mapping[int, tuple[str, ...]], sets: Mapping[int, Sequence[ValueSet]]) -> None:
        self.pieces = dict(pieces)
        """Log key -> its template's constants; to another template its sets do not apply."""
        self._sets = {key: tuple(found) for key, found in sets.items()}

    def __len__(self) -> int:
        return sum(map(len, self._sets.values()))

    def of_key(self, key: int) -> tuple[ValueSet, ...]:
        """The sets of a key's slots."""
        return self._sets.get(key, ())

    def holds(self, key: int, slot: int, text: str) -> bool:
        """Whether a text is no new value: training had it, or the slot has no set.

        Parameters
        ----------
        slot : int
            By the template of training.
        text : str
            As :func:`~deeplog_grpc.parsing.kept_text` keeps it.
        """
        return all(text in found.values for found in self.of_key(key) if found.slot == slot)

    def with_value(self, key: int, slot: int, text: str) -> "ValueSets":
        """The sets with one more value; the surprise of another new one stays what it was.

        Parameters
        ----------
        slot, text
            As of :meth:`holds`. Where the slot has no set, nothing changes.

        Examples
        --------
        >>> verbs = ValueSet(slot=0, values=frozenset({"GET"}), nats=6.2)
        >>> sets = ValueSets({4: ("verb ", "")}, {4: [verbs]})
        >>> more = sets.with_value(4, 0, "PUT")
        >>> sets.holds(4, 0, "PUT"), more.holds(4, 0, "PUT"), more.holds(4, 0, "POST"), more.holds(5, 0, "POST")
        (False, True, False, True)
        """
        if self.holds(key, slot, text):
            return self
        grown = [replace(s, values=s.values | {text}) if s.slot == slot else s for s in self.of_key(key)]
        return ValueSets(self.pieces, {**self._sets, key: grown})

    def to_json(self) -> list[dict[str, Any]]:
        """Plain data for a bundle."""
        return [
            {
                "key": key,
                "pieces": list(self.pieces[key]),
                "sets": [{"slot": s.slot, "values": sorted(s.values), "nats": s.nats} for s in sets],
            }
            for key, sets in self._sets.items()
        ]

    @classmethod
    def from_json(cls, data: Iterable[Mapping[str, Any]]) -> "ValueSets":
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If a surprise is not a number >= 0, or a slot is not one of the template's.
        """
        pieces, sets = {}, {}
        for entry in data:
            key = int(entry["key"])
            pieces[key] = tuple(map(str, entry["pieces"]))
            sets[key] = [
                ValueSet(slot=int(s["slot"]), values=frozenset(map(str, s["values"])), nats=float(s["nats"]))
                for s in entry["sets"]
            ]
            if not all(s.nats >= 0.0 and 0 <= s.slot < len(pieces[key]) - 1 for s in sets[key]):
                raise ValueError(f"the value sets of key {key} are damaged")
        return cls(pieces, sets)


def fit_value_sets(slots: Iterable[SlotHistory]) -> tuple[ValueSets, dict[int, float]]:
    """Learn value sets.

    Parameters
    ----------
    slots : iterable of SlotHistory
        Those whose values are few.

    Returns
    -------
    ValueSets
    dict of int to float
        Entry after the first quarter of a slot's values -> surprise of the new value that it brought, by what the
        others tell. Nothing is known of the first quarter: there the sets were still being learned.
    """
    pieces: dict[int, tuple[str, ...]] = {}
    sets: dict[int, list[ValueSet]] = defaultdict(list)
    surprises: dict[int, float] = {}
    for slot in slots:
        learning = slot.count // 4
        judged = slot.count - learning
        late = [entry for ordinal, entry in slot.firsts.values() if ordinal >= learning]
        pieces[slot.key] = slot.pieces
        sets[slot.key].append(ValueSet(slot=slot.slot, values=frozenset(slot.firsts), nats=_nats(len(late), judged)))
        for entry in late:
            surprises[entry] = max(surprises.get(entry, 0.0), _nats(len(late) - 1, judged - 1))
    return ValueSets(pieces, sets), surprises


def _nats(seen: int, total: int) -> float:
    """-ln of the probability of what happened so many times in a total; half of one time where never."""
    return max(0.0, log((total + 1) / (seen + 0.5)))
