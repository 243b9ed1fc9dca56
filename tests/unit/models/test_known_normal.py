from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.models import KnownNormal, TrainingSession
from deeplog_grpc.models.known_normal import PART_ENTRIES

SESSIONS = st.lists(
    st.builds(
        TrainingSession, keys=st.lists(st.integers(0, 2**31 - 1), max_size=8), begins=st.booleans(), ends=st.booleans()
    ),
    max_size=30,
)
Plain = tuple[tuple[int, ...], bool, bool]


def plain(sessions: Any) -> list[Plain]:
    return [(tuple(map(int, session.keys)), session.begins, session.ends) for session in sessions]


def parts(known: KnownNormal) -> tuple[list[Plain], list[Plain]]:
    return plain(known.replayed), plain(known.held_out)


@given(SESSIONS, st.integers(0, 5))
def test_every_session_is_dealt_to_one_of_two_equal_parts(sessions: list[TrainingSession], seed: int) -> None:
    known = KnownNormal.sample(sessions, seed=seed)
    replayed, held_out = parts(known)
    assert Counter(replayed + held_out) == Counter(plain(sessions))
    assert len(replayed) - len(held_out) in (0, 1)
    assert parts(KnownNormal.sample(sessions, seed=seed)) == (replayed, held_out)


@given(SESSIONS)
def test_arrays_hold_all_of_it(sessions: list[TrainingSession]) -> None:
    known = KnownNormal.sample(sessions, seed=1)
    arrays = known.arrays()
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int32)}
    assert parts(KnownNormal.from_arrays(arrays)) == parts(known)


def test_blocks_of_streams_stay_without_begin_and_end() -> None:
    blocks = [TrainingSession(keys=np.arange(100), begins=False, ends=False)] * 4
    again = KnownNormal.from_arrays(KnownNormal.sample(blocks, seed=1).arrays())
    assert {(session.begins, session.ends, len(session.keys)) for session in again.held_out} == {(False, False, 100)}


def test_both_parts_are_bounded_and_full() -> None:
    sessions = [TrainingSession(keys=[number] * (1 + number % 60)) for number in range(4_000)]
    for part in parts(KnownNormal.sample(sessions, seed=1)):
        entries = sum(len(keys) for keys, _, _ in part)
        assert PART_ENTRIES - 60 < entries <= PART_ENTRIES


def test_a_session_longer_than_a_part_is_left_out_and_takes_no_room() -> None:
    sessions = [TrainingSession(keys=[1] * (PART_ENTRIES + 1)), *[TrainingSession(keys=[2, 3])] * 9]
    replayed, held_out = parts(KnownNormal.sample(sessions, seed=1))
    assert len(replayed) + len(held_out) == 9


@pytest.mark.parametrize("name", ["replayed_keys", "replayed_sessions", "held_out_keys", "held_out_sessions"])
def test_arrays_that_do_not_fit_each_other_are_damaged(name: str) -> None:
    arrays = KnownNormal.sample([TrainingSession(keys=[1, 2, 3])] * 6, seed=1).arrays()
    for damaged in (arrays[name][:-1], -arrays[name] - 1, np.concatenate([arrays[name]] * 2)):
        if name.endswith("keys") and len(damaged) == len(arrays[name]):
            continue  # any number may be a log key
        with pytest.raises(ValueError, match="damaged"):
            KnownNormal.from_arrays({**arrays, name: damaged})
    if name.endswith("sessions"):
        with pytest.raises(ValueError, match="damaged"):
            KnownNormal.from_arrays({**arrays, name: arrays[name][:, :2]})
    del arrays[name]
    with pytest.raises(KeyError):
        KnownNormal.from_arrays(arrays)
