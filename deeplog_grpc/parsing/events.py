"""What happens to templates, told to whoever keeps something by log key or by parameter position."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from deeplog_grpc.parsing.templates import match_pieces
from deeplog_grpc.parsing.words import VARIABLE

NO_ROW = -1
"""Row of an event that no line caused."""


class EventKind(StrEnum):
    """What happened to a template."""

    CREATED = "created"
    """``key`` is new."""
    GENERALISED = "generalised"
    """``key`` took in more; its parameters moved as ``slots`` says."""
    MERGED = "merged"
    """``key`` is an alias of ``other`` from now on; its parameters are found there as ``slots`` says."""
    SPLIT = "split"
    """``key`` has a part of the lines that were of ``other``; the larger part kept its key, so there both are equal."""
    FORGOTTEN = "forgotten"
    """``key`` is gone; its lines will found a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateEvent:
    """A change of one template."""

    kind: EventKind
    key: int
    other: int | None = None
    slots: tuple[int, ...] = ()
    """For each slot of the template before: the slot that reads the same value now, or -1 if none does. Before: the
    template of ``key``; of a split, that of ``other``."""
    row: int = NO_ROW
    """The line of the batch that caused it; it has its key already by the changed templates."""


def moved_slots(before: Sequence[str], after: Sequence[str]) -> tuple[int, ...]:
    """Tell where the slots of a template went when it became more general.

    Parameters
    ----------
    before, after : sequence of str
        The constant pieces of both. The old template is read as a line of the new one.

    Examples
    --------
    >>> moved_slots(("sent ", " to ann in ", ""), ("sent ", " to ", " in ", ""))
    (0, 2)
    >>> moved_slots(("sent ", " bytes (", " KB) ok"), ("sent ", " ok"))  # Both became part of one larger value.
    (-1, -1)
    """
    now = _slot_of_each(before, after)
    return tuple(now.get(slot, -1) for slot in range(len(before) - 1))


def slot_now(before: Sequence[str], after: Sequence[str], slot: int) -> int:
    """Tell which slot holds by now what a slot of a template held before it became more general.

    Parameters
    ----------
    before, after : sequence of str
        The constant pieces of both; if `after` does not cover `before`, the slot is given as it is.

    Examples
    --------
    >>> slot_now(("sent ", " to ann in ", ""), ("sent ", " to ", " in ", ""), 1)
    2
    >>> slot_now(("sent ", " bytes (", " KB) ok"), ("sent ", " ok"), 1)  # a part of one larger value
    0
    """
    passed = 0
    for number, value in enumerate(match_pieces(after, VARIABLE.join(before)) or ()):
        passed += value.count(VARIABLE)
        if passed > slot:
            return number
    return slot


def kept_slots(before: Sequence[str], after: Sequence[str]) -> tuple[int, ...]:
    """Tell where the slots of a template went when some of them became constant.

    Examples
    --------
    >>> kept_slots(("phase ", " took ", ""), ("phase starting took ", ""))
    (-1, 0)
    """
    then = _slot_of_each(after, before)
    now = {slot: new for new, slot in then.items()}
    return tuple(now.get(slot, -1) for slot in range(len(before) - 1))


def _slot_of_each(special: Sequence[str], general: Sequence[str]) -> dict[int, int]:
    """For the slots of a special template that are a whole value of the general one: the slot there."""
    found, slot = {}, 0
    for number, value in enumerate(match_pieces(general, VARIABLE.join(special)) or ()):
        if value == VARIABLE:
            found[slot] = number
        slot += value.count(VARIABLE)
    return found
