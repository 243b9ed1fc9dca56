"""Whether a new model may take the place of another: both judge entries that the new one has not learned from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch, Kind
from deeplog_grpc.detection.identifiers import STREAM_MARK
from deeplog_grpc.parsing import Parser
from deeplog_grpc.training.history import STREAM_BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What two models say of the same entries."""

    sessions: int
    """Sessions, and blocks of 100 entries that belong to none."""
    flagged_before: int
    """Those that the old model flags."""
    flagged_after: int
    """Those that the new one flags."""

    def refusal(self, *, max_rise: float) -> str:
        """Why the new model must not take the place of the old one; empty = it may.

        Parameters
        ----------
        max_rise : float
            How much greater the share of sessions that it flags may be; a single session is never too many.

        Examples
        --------
        >>> Replacement(sessions=200, flagged_before=2, flagged_after=30).refusal(max_rise=0.01)
        'on the newest 200 sessions, held out of its training, it flags 30 where the model in force flags 2'
        """
        if self.flagged_after - self.flagged_before <= max(1.0, max_rise * self.sessions):
            return ""
        return (
            f"on the newest {self.sessions:,} sessions, held out of its training, it flags {self.flagged_after:,} "
            f"where the model in force flags {self.flagged_before:,}"
        )


def compare(old: ApplicationModel, new: ApplicationModel, batches: Sequence[EntryBatch]) -> Replacement:
    """Have two models judge the same entries, each from a cold start; neither learns from them."""
    before, sessions = flagged(old, batches)
    after, others = flagged(new, batches)
    return Replacement(sessions=max(sessions, others), flagged_before=before, flagged_after=after)


def flagged(model: ApplicationModel, batches: Iterable[EntryBatch]) -> tuple[int, int]:
    """How many sessions, and blocks of streams, a model flags; and how many there are."""
    detector = Detector(replace(model, parser=Parser.from_state(model.parser.state())), DetectorConfig())
    streams: dict[str, int] = {}
    found: set[tuple[str, int]] = set()
    seen: set[tuple[str, int]] = set()
    for batch in batches:
        scored = detector.score(batch)
        for session, is_odd in zip(scored.sessions, (scored.kinds != Kind.NORMAL).tolist(), strict=True):
            block = 0
            if session.startswith(STREAM_MARK):
                streams[session] = streams.get(session, 0) + 1
                block = (streams[session] - 1) // STREAM_BLOCK
            seen.add((session, block))
            if is_odd:
                found.add((session, block))
        found.update((end.session, 0) for end in scored.session_ends if end.is_anomaly)
    return len(found), len(seen)


def halves(batches: Iterable[EntryBatch], first: int) -> tuple[list[EntryBatch], list[EntryBatch]]:
    """Entries divided after the first so many, in their order.

    Examples
    --------
    >>> one, other = halves([EntryBatch.of(["a", "b"]), EntryBatch.of(["c"])], 1)
    >>> [list(batch.bodies) for batch in one], [list(batch.bodies) for batch in other]
    ([['a']], [['b'], ['c']])
    """
    before: list[EntryBatch] = []
    after: list[EntryBatch] = []
    for batch in batches:
        cut = int(np.clip(first, 0, len(batch)))
        first -= len(batch)
        before += [batch.slice(0, cut)] if cut else []
        after += [batch.slice(cut, len(batch))] if cut < len(batch) else []
    return before, after
