from collections.abc import Sequence

import numpy as np
import pytest

from deeplog_grpc.models import BEGIN, END, UNSEEN, WindowCounts, count_windows, windows
from deeplog_grpc.models.windows import distinct_windows

A, B, C = 3, 4, 5


def pairs(counted: WindowCounts) -> dict[tuple[tuple[int, ...], int], int]:
    return {
        (tuple(window), target): count
        for window, target, count in zip(
            counted.windows.tolist(), counted.targets.tolist(), counted.counts.tolist(), strict=True
        )
    }


def count(*sessions: Sequence[int], begins: bool = True, ends: bool = True, history: int = 2) -> WindowCounts:
    return count_windows(
        [np.array(session, np.int64) for session in sessions],
        begins=[begins] * len(sessions),
        ends=[ends] * len(sessions),
        history=history,
    )


def test_every_entry_of_a_session_of_any_length_is_a_target() -> None:
    assert pairs(count([A])) == {((BEGIN, BEGIN), A): 1, ((BEGIN, A), END): 1}


def test_equal_windows_are_counted_not_repeated() -> None:
    counted = count([A, B], [A, B], [A, C])
    assert pairs(counted)[(BEGIN, BEGIN), A] == 3
    assert pairs(counted)[(BEGIN, A), B] == 2
    assert counted.total == 9
    assert len(counted) == 5


def test_nothing_is_learned_of_a_beginning_that_was_not_seen() -> None:
    assert pairs(count([A, B, C], begins=False)) == {((A, B), C): 1, ((B, C), END): 1}


def test_nothing_is_learned_of_an_end_that_was_not_seen() -> None:
    assert END not in count([A, B, C], ends=False).targets


def test_a_session_without_begin_and_end_shorter_than_the_window_gives_nothing() -> None:
    assert len(count([A, B], begins=False, ends=False)) == 0


def test_unseen_is_never_a_target_but_stands_in_windows() -> None:
    counted = pairs(count([A, UNSEEN, B]))
    assert all(target != UNSEEN for _, target in counted)
    assert counted[(A, UNSEEN), B] == 1


def test_begin_is_never_a_target() -> None:
    assert BEGIN not in count([A], [B, C]).targets


def test_no_sessions_and_empty_sessions() -> None:
    assert len(count()) == 0
    assert pairs(count([])) == {((BEGIN, BEGIN), END): 1}


@pytest.mark.parametrize("chunk", [1, 5, 40])
def test_how_many_windows_are_held_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    rng = np.random.default_rng(4)
    sessions = [rng.integers(UNSEEN, C + 1, rng.integers(0, 9)).tolist() for _ in range(60)]
    whole = count(*sessions)
    monkeypatch.setattr(windows, "CHUNK_WINDOWS", chunk)
    parts = count(*sessions)
    assert pairs(parts) == pairs(whole)
    assert parts.windows.tolist() == whole.windows.tolist()


@pytest.mark.parametrize("most", [1, 2, 50, 1 << 20, 1 << 40])
@pytest.mark.parametrize("history", [1, 11, 40])
def test_distinct_windows_are_those_of_numpy(most: int, history: int) -> None:
    rng = np.random.default_rng(history)
    rows = rng.integers(0, most, (200, history))[rng.integers(0, 200, 500)]
    distinct, places = distinct_windows(rows)
    expected, of_numpy = np.unique(rows, axis=0, return_inverse=True)
    assert distinct.tolist() == expected.tolist()
    assert places.tolist() == of_numpy.ravel().tolist()


def test_no_windows_have_no_distinct_ones() -> None:
    distinct, places = distinct_windows(np.zeros((0, 3), np.int64))
    assert (distinct.shape, places.shape) == ((0, 3), (0,))
