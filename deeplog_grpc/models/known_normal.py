"""A sample of the sessions that training learned as normal, kept for the updates that come after it.

One part is replayed in each update, so that what is learned does not push out what was known; the other part is never
learned from again, and tells whether an update made normal sessions abnormal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.windows import TrainingSession

PART_ENTRIES = 32_768
"""Entries in each part at most: 1,700 HDFS sessions, 130 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNormal:
    """Sessions, or blocks of streams, of training.

    Examples
    --------
    >>> known = KnownNormal.sample([TrainingSession(keys=[1, 2]), TrainingSession(keys=[1, 3])], seed=0)
    >>> len(known.replayed), len(known.held_out)
    (1, 1)
    """

    replayed: tuple[TrainingSession, ...]
    held_out: tuple[TrainingSession, ...]

    @classmethod
    def sample(cls, sessions: Sequence[TrainingSession], *, seed: int) -> "KnownNormal":
        """Deal the sessions to the two parts at random, as far as there is room."""
        parts: tuple[list[TrainingSession], list[TrainingSession]] = ([], [])
        room = [PART_ENTRIES, PART_ENTRIES]
        for place, row in enumerate(np.random.default_rng(seed).permutation(len(sessions)).tolist()):
            part, session = place % 2, _cut(sessions[row])
            if len(session.keys) <= room[part]:
                room[part] -= len(session.keys)
                parts[part].append(session)
        return cls(replayed=tuple(parts[0]), held_out=tuple(parts[1]))

    def arrays(self) -> dict[str, NDArray[np.int32]]:
        """Plain arrays for a bundle."""
        arrays = {}
        for name, part in (("replayed", self.replayed), ("held_out", self.held_out)):
            arrays[f"{name}_keys"] = np.concatenate([np.zeros(0, np.int32), *(s.keys for s in part)]).astype(np.int32)
            shapes = [(len(session.keys), session.begins, session.ends) for session in part]
            arrays[f"{name}_sessions"] = np.array(shapes, np.int32).reshape(-1, 3)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.int32]]) -> "KnownNormal":
        """Read what :meth:`arrays` gave.

        Raises
        ------
        ValueError, KeyError
            If an array is missing or they do not fit each other.
        """
        return cls(replayed=_sessions(arrays, "replayed"), held_out=_sessions(arrays, "held_out"))


def _cut(session: TrainingSession) -> TrainingSession:
    """A session, or the beginning of one that is longer than there is room for at all."""
    if len(session.keys) <= PART_ENTRIES:
        return session
    return TrainingSession(keys=session.keys[:PART_ENTRIES], begins=session.begins, ends=False)


def _sessions(arrays: dict[str, NDArray[np.int32]], name: str) -> tuple[TrainingSession, ...]:
    keys, shapes = arrays[f"{name}_keys"], arrays[f"{name}_sessions"]
    if shapes.ndim != 2 or shapes.shape[1:] != (3,) or (shapes < 0).any() or shapes[:, 0].sum() != len(keys):
        raise ValueError("the sessions kept from training are damaged")
    pieces = np.split(keys, shapes[:, 0].cumsum()[:-1]) if len(shapes) else []
    return tuple(
        TrainingSession(keys=piece, begins=bool(begins), ends=bool(ends))
        for piece, (_, begins, ends) in zip(pieces, shapes.tolist(), strict=True)
    )
