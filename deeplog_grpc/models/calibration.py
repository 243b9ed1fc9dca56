"""From scores of several detectors to one p-value: what is rare enough to be called abnormal.

Rule: each detector's score becomes a share of normal sessions (:class:`~deeplog_grpc.models.tails.Tail`); the smallest
share of a session is set against the smallest shares of the calibration sessions, which again gives a share. That last
one is compared to ``false_positive_rate``. So the rate is spread evenly over the detectors, and what they find together
is paid for once. No labels are used, and no score that a model gave to a session it had learned from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from deeplog_grpc.models.tails import FEW_SESSIONS, LEAST_P_VALUE, Tail

BEGIN_MARGIN = log(3.0)
"""A first log key may be three times less probable than the rarest usual beginning: one taken for the middle of a
session would not be judged at all."""

ORDINARY = 0.005
"""What at least this share of normal sessions holds is not worth a closer look."""

Pin = Annotated[float, Field(ge=0)] | None


class Check(StrEnum):
    """The detectors that have a threshold."""

    KEY = "key"
    """Surprise of a log key, by the key model and, where it never followed the one before, by the transition; of a
    session, the highest one of its entries."""
    TRANSITION = "transition"
    """Surprise of a log key after one that it never followed, where the key model does not speak."""
    END = "end"
    """Surprise of the session's end, as of a log key."""
    COUNTS = "counts"
    """Distance of the session's counts to those of training."""
    LENGTH = "length"
    """How far the session's length is outside the range of training."""
    VALUE = "value"
    """Surprise of an entry's numbers and elapsed time, by the value models; of a session, the highest one."""
    NEW_VALUE = "new_value"
    """Surprise of a value that training did not have."""


OF_VALUES = (Check.VALUE, Check.NEW_VALUE)
"""The detectors that look at more than log keys."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ThresholdConfig:
    """How rare something must be to be abnormal. Used in training; the bundle keeps it."""

    false_positive_rate: Annotated[float, Field(gt=0, le=0.5)] = 0.001
    """Share of normal sessions (of blocks of 100 entries, where there are none) that may be flagged by mistake, spread
    over the detectors. Log keys that are not in the model come on top: they are always reported."""
    false_alarms_per_day: Annotated[float, Field(gt=0)] | None = None
    """The same rate in another measure: false alarms a day, at as many sessions a day as the training log has. null =
    `false_positive_rate` counts."""
    contamination: Annotated[float, Field(ge=0, le=0.1)] = 0.02
    """Share of the training sessions that may be abnormal. What looks so, and log keys that sound like faults and are
    as rare as that, are set aside; 0 = the log is known to be normal, and all of it is learned."""
    key: Pin = None
    """Pins the limit of -ln(probability) of a log key, whatever the rate; null = from the rate; .inf = off. Transitions
    are judged apart then."""
    transition: Pin = None
    """Pins the limit of the surprise, in nats, of a log key after one that it never followed. Log keys and ends are
    judged by -ln(probability) alone then."""
    end: Pin = None
    """Pins the limit of -ln(probability) of a session's end."""
    counts: Pin = None
    """Pins the limit of the distance, in nats, of a session's counts to those of training."""
    length: Pin = None
    """Pins the limit of the surprise, in nats, of a length outside the range of training."""
    value: Pin = None
    """Pins the limit of -ln(p-value) of an entry's numbers and elapsed time."""
    new_value: Pin = None
    """Pins the limit of the surprise, in nats, of a value that training did not have."""

    def pin(self, check: Check) -> float | None:
        """The pinned limit of a detector."""
        pinned: float | None = getattr(self, check.value)
        return pinned

    def joins(self, check: Check) -> bool:
        """Whether the key model and the transition judge log keys (KEY), or ends (END), together.

        Both are surprised by the same step. Apart, each would pay from the rate for what one of them can say. A pinned
        limit is one of the detector by itself.
        """
        return self.pin(check) is None and self.transition is None

    def takes_part(self, check: Check) -> bool:
        """Whether a detector takes a part of the rate."""
        if check is Check.TRANSITION and self.joins(Check.KEY) and self.joins(Check.END):
            return False  # it is in both of them, and alone only where sessions are not seen as a whole
        return self.pin(check) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a score means."""

    p_value: float
    """Share of normal sessions that hold something at least as surprising, in (0, 1]."""
    abnormal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Thresholds of all detectors, from scores of normal sessions.

    Examples
    --------
    >>> ranks = np.arange(1000.0)
    >>> scores = {check: ranks if check is Check.KEY else np.zeros(1000) for check in Check}
    >>> calibration = Calibration.of(scores, begins=ranks, config=ThresholdConfig(false_positive_rate=0.01))
    >>> calibration.judge(Check.KEY, 980.0).abnormal, calibration.judge(Check.KEY, 995.0).abnormal
    (False, True)
    """

    config: ThresholdConfig
    tails: Mapping[Check, Tail]
    combined: Tail
    """Of minus the log of each session's smallest share."""
    begins: Tail
    """Of -ln(probability) of sessions' first log keys."""

    @classmethod
    def of(
        cls, scores: Mapping[Check, NDArray[np.float64]], *, begins: NDArray[np.float64], config: ThresholdConfig
    ) -> "Calibration":
        """Calibrate.

        Parameters
        ----------
        scores : mapping
            Detector -> score of each calibration session, by models that had not learned from it. Shape [n] each.
        begins : float64 array [m]
            -ln(probability) of the first keys of sessions, likewise.
        """
        tails = {check: Tail.of(scores[check]) for check in Check}
        in_use = [check for check in Check if config.takes_part(check)]
        smallest = [
            max((-log(tails[check].p_value(scores[check][row])) for check in in_use), default=0.0)
            for row in range(len(scores[Check.KEY]))
        ]
        return cls(config=config, tails=tails, combined=Tail.of(smallest), begins=Tail.of(begins))

    @property
    def sessions(self) -> int:
        """Calibration sessions."""
        return self.combined.count

    @property
    def resolution(self) -> float:
        """Smallest share that was counted and not extrapolated: smaller ones say no more than each other."""
        return 1.0 / (1.0 + self.sessions)

    @property
    def conservative(self) -> bool:
        """Whether there were so few that limits rest on the fitted tail, wider than it."""
        return self.sessions < FEW_SESSIONS

    @property
    def usual_begin(self) -> float:
        """-ln(probability) up to which a first log key is a usual beginning."""
        return self.begins.rank_threshold(self.config.false_positive_rate) + BEGIN_MARGIN

    def judge(self, check: Check, score: float) -> Finding:
        """What a detector's score means."""
        if score <= 0.0:
            return Finding(p_value=1.0, abnormal=False)
        p_value = self.combined.p_value(-log(self.tails[check].p_value(score)))
        pinned = self.config.pin(check)
        return Finding(
            p_value=p_value,
            abnormal=p_value < self.config.false_positive_rate if pinned is None else score > pinned,
        )

    @property
    def value_rate(self) -> float:
        """Share of normal vectors that the value models may call abnormal; 0 = none is judged."""
        return exp(-self.limit(Check.VALUE))

    def usual(self, check: Check) -> float:
        """The score above which a share of `ORDINARY` of normal sessions have something."""
        return self.tails[check].threshold(ORDINARY)

    def limits(self) -> dict[str, float | None]:
        """The score above which each detector calls something abnormal; None = never."""
        found = {check: self.limit(check) for check in Check}
        return {check.value: None if limit == inf else limit for check, limit in found.items()}

    def limit(self, check: Check) -> float:
        """The score above which a detector calls something abnormal; infinite = never."""
        pinned = self.config.pin(check)
        if pinned is not None:
            return pinned
        share = exp(-self.combined.threshold(self.config.false_positive_rate))
        return self.tails[check].threshold(max(LEAST_P_VALUE, share))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a bundle; the configuration is kept elsewhere."""
        return {
            "tails": {check.value: tail.to_json() for check, tail in self.tails.items()},
            "combined": self.combined.to_json(),
            "begins": self.begins.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], config: ThresholdConfig) -> "Calibration":
        """Read what :meth:`to_json` wrote."""
        return cls(
            config=config,
            tails={check: Tail.from_json(data["tails"][check.value]) for check in Check},
            combined=Tail.from_json(data["combined"]),
            begins=Tail.from_json(data["begins"]),
        )
