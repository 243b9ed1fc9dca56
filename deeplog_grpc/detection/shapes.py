"""A session as a whole, judged at its end: how often each log key came, and how many entries there were."""

from collections.abc import Mapping
from dataclasses import dataclass

from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.models import Behaviour, Check

CACHED_SHAPES = 16_384
"""Count vectors whose judgement is kept: most sessions repeat one. About 0.5 kB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a session's counts mean."""

    kind: Kind
    p_value: float
    """Share of normal sessions that are at least as unusual, in (0, 1]."""
    counts: Mapping[int, int]
    """Unit -> times in the session."""

    @property
    def length(self) -> int:
        """Entries of the session."""
        return sum(self.counts.values())


class ShapeJudge:
    """Judges sessions' counts; each distinct count vector once. What is cached changes no judgement."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._known: dict[frozenset[tuple[int, int]], Shape] = {}

    def judge(self, counts: Mapping[int, int]) -> Shape:
        """Judge a session that was seen from its begin to its end.

        Parameters
        ----------
        counts : mapping
            Unit -> times in the session.
        """
        vector = frozenset(counts.items())
        shape = self._known.get(vector)
        if shape is None:
            if len(self._known) >= CACHED_SHAPES:
                self._known.clear()
            shape = self._known[vector] = self._judged(dict(counts))
        return shape

    def _judged(self, counts: Mapping[int, int]) -> Shape:
        profile, calibration = self._behaviour.profile, self._behaviour.calibration
        of_counts = calibration.judge(Check.COUNTS, profile.count_score(counts))
        of_length = calibration.judge(Check.LENGTH, profile.length_score(sum(counts.values())))
        abnormal = [
            (finding.p_value, kind)
            for kind, finding in ((Kind.SESSION_COUNTS, of_counts), (Kind.SESSION_LENGTH, of_length))
            if finding.abnormal
        ]
        _, kind = min(abnormal, default=(1.0, Kind.NORMAL))
        return Shape(kind=kind, p_value=min(of_counts.p_value, of_length.p_value), counts=counts)
