"""Waiting requests scored in groups, for detectors that read ahead: one group is judged while another is answered."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.ingest import Part
from deeplog_grpc.serving.detectors import ScoredBatch

GROUP_ENTRIES = 4_000
"""Entries of a group, about. Each shard gets its share of them: smaller ones cost a third more in all processes."""

Pieces = Sequence[tuple[int, Part]]
"""Parts of jobs, with the numbers of the jobs."""


@runtime_checkable
class ReadsAhead(Protocol):
    """A detector that gains by being given several batches at once."""

    def score_each(self, batches: Iterable[EntryBatch], /) -> Iterator[ScoredBatch]:
        """Judge batches in their order."""
        ...


def groups_of(pieces: Pieces) -> list[Pieces]:
    """Divide parts, in their order, into groups of some entries."""
    groups: list[list[tuple[int, Part]]] = [[]]
    room = GROUP_ENTRIES
    for piece in pieces:
        if room <= 0:
            groups.append([])
            room = GROUP_ENTRIES
        groups[-1].append(piece)
        room -= len(piece[1].batch)
    return list(groups)
