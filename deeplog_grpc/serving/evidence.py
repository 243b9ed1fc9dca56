"""Verdict messages read back: the group that an anomaly belongs to, and what is to be learned from it."""

import hashlib
from collections.abc import Sequence

import orjson

from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.feedback import Case, CountsCase, Lesson, NewValueCase, StepCase, ValueCase
from deeplog_grpc.models import UNKNOWN_KEY
from deeplog_grpc.storage import StoredAnomaly
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2

LIKELY = 0.01
"""Candidates less probable than this tell no two places apart."""

WHOLE_SESSION = (Kind.SESSION_COUNTS, Kind.SESSION_LENGTH)
OF_VALUES = (Kind.PARAMETER_VALUE, Kind.ELAPSED_TIME)


def group_of(verdict: verdict_pb2.Verdict) -> str:
    """Name of the group of anomalies like this one: the same application, kind, log key, and what was missed.

    Of a step that is the set of log keys that were expected instead; of a session as a whole, its counts; of a number,
    its place and the side on which it is out; of a new value, its place.

    Examples
    --------
    >>> candidates = [verdict_pb2.Candidate(key=4, probability=0.9), verdict_pb2.Candidate(key=5, probability=0.001)]
    >>> verdict = verdict_pb2.Verdict(application="shop", kind=3, key=9, candidates=candidates, session="a")
    >>> other = verdict_pb2.Verdict(application="shop", kind=3, key=9, candidates=candidates[:1], session="b")
    >>> group_of(verdict) == group_of(other), group_of(verdict)
    (True, 'g-f725f025e3fe')
    """
    value = verdict.abnormal_value
    missed: Sequence[object]
    match Kind(verdict.kind):
        case Kind.SESSION_COUNTS | Kind.SESSION_LENGTH:
            missed = [list(pair) for pair in sorted(verdict.session_counts.items())]
        case Kind.PARAMETER_VALUE | Kind.ELAPSED_TIME:
            missed = [value.trained_slot, list(value.after), value.observed > value.high]
        case Kind.NEW_VALUE:
            missed = [value.trained_slot]
        case _:
            missed = sorted(candidate.key for candidate in verdict.candidates if candidate.probability >= LIKELY)
    name = orjson.dumps([verdict.application, int(verdict.kind), verdict.key, missed])
    return f"g-{hashlib.blake2b(name, digest_size=6).hexdigest()}"


def lesson_of(verdict: verdict_pb2.Verdict, *, anywhere: bool = False) -> Lesson:
    """What an anomaly teaches when it was a false positive.

    Parameters
    ----------
    anywhere : bool
        Whether a log key that is new is normal wherever it comes.
    """
    kind = Kind(verdict.kind)
    return Lesson(kind=kind, case=_case(verdict, kind), anywhere=anywhere)


def _case(verdict: verdict_pb2.Verdict, kind: Kind) -> Case:
    value = verdict.abnormal_value
    if kind in WHOLE_SESSION:
        return CountsCase(counts=tuple(sorted(verdict.session_counts.items())))
    if kind in OF_VALUES:
        before = (UNKNOWN_KEY, UNKNOWN_KEY, *verdict.vector.previous)
        return ValueCase(
            key=verdict.key,
            numbers=tuple((number.slot, number.unit, number.number) for number in verdict.vector.numbers),
            previous=(before[-2], before[-1]),
            slot=value.trained_slot,
            predicted=value.predicted,
            after=tuple(value.after),
        )
    if kind is Kind.NEW_VALUE:
        return NewValueCase(key=verdict.key, slot=value.trained_slot, text=value.text)
    window = tuple(verdict.window)
    known = UNKNOWN_KEY not in window[:1] if kind is Kind.UNSEEN_KEY else verdict.rank > 0
    return StepCase(window=window, key=verdict.key, judged=known)


def evidence_of(anomaly: StoredAnomaly) -> anomaly_pb2.Anomaly:
    """The message that was stored."""
    return anomaly_pb2.Anomaly.FromString(anomaly.evidence)
