"""What was learned of each log key; for people."""

from dataclasses import dataclass

from deeplog_grpc.models import ELAPSED, Calibration, KeyReport, ValueModel
from deeplog_grpc.parsing import Parser
from deeplog_grpc.training.value_learning import LearnedValues


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedNumber:
    """A number of a log key's vectors."""

    slot: int
    """From 0; -1 = the time since the session's previous entry."""
    unit: str
    is_log: bool
    """Whether it is compared on a log scale."""
    low: float
    high: float
    """Between them it is normal, around the median; a network moves the interval with its predictions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedKey:
    """A log key."""

    key: int
    template: str
    count: int
    """Entries of it in training."""
    is_known: bool
    """False if it came in too few sessions to be normal."""
    prediction: str
    """Who predicts its numbers, and why."""
    numbers: tuple[LearnedNumber, ...]
    left_out: tuple[tuple[int, str], ...]
    """The other slots, each with the reason."""
    few_values: tuple[tuple[int, int], ...]
    """Slots whose new values are reported, each with how many it has."""


def learned_keys(
    parser: Parser, values: LearnedValues, calibration: Calibration, known: frozenset[int]
) -> tuple[LearnedKey, ...]:
    """What was learned of all log keys, the most frequent first.

    Parameters
    ----------
    known : frozenset of int
        The log keys that are normal.
    """
    reports = {report.key: report for report in values.reports}
    left_out: dict[int, list[tuple[int, str]]] = {}
    for out in values.left_out:
        left_out.setdefault(out.key, []).append((out.slot, out.reason))
    rate = calibration.value_rate
    found = [
        LearnedKey(
            key=template.key,
            template=template.text,
            count=template.count,
            is_known=template.key in known,
            prediction=reports[template.key].prediction if template.key in reports else "none: no entry was kept",
            numbers=_numbers(values.model, template.key, rate),
            left_out=tuple(sorted(left_out.get(template.key, []) + _reasons(reports.get(template.key)))),
            few_values=tuple((found.slot, len(found.values)) for found in values.sets.of_key(template.key)),
        )
        for template in parser.templates()
    ]
    return tuple(sorted(found, key=lambda learned: (-learned.count, learned.key)))


def _numbers(model: ValueModel, key: int, rate: float) -> tuple[LearnedNumber, ...]:
    rule = model.rules.get(key)
    if rule is None or not rate:
        return ()
    return tuple(
        LearnedNumber(
            slot=position.slot,
            unit=position.unit,
            is_log=scale.is_log,
            low=max(low, 0.0) if position.slot == ELAPSED else low,
            high=high,
        )
        for (position, (low, high)), scale in zip(model.intervals(key, rate), rule.scales, strict=True)
    )


def _reasons(report: KeyReport | None) -> list[tuple[int, str]]:
    return [] if report is None else [(position.slot, reason) for position, reason in report.left_out]
