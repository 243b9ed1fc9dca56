import numpy as np

from deeplog_grpc.workflow.paths import MAX_TIMES, distinct_paths


def test_the_order_of_sessions_does_not_matter() -> None:
    sessions = [np.array(keys, np.int32) for keys in ([1, 2], [3], [1, 2], [2], [3])]
    expected = [((1, 2), 2), ((3,), 2), ((2,), 1)]
    for order in (sessions, sessions[::-1], [session.tolist() for session in sessions]):
        assert [(path.keys, path.count) for path in distinct_paths(order)] == expected


def test_times_go_with_their_sessions() -> None:
    elapsed = [np.array([np.nan, 1.0]), np.array([np.nan]), np.array([np.nan, 2.0])]
    found = distinct_paths([[1, 2], [3], [1, 2]], elapsed)
    assert found[0].elapsed_s[:, 1].tolist() == [1.0, 2.0]
    assert found[1].elapsed_s.shape == (1, 1)
    assert distinct_paths([[1]])[0].elapsed_s.size == 0


def test_times_kept_are_bounded() -> None:
    many = MAX_TIMES + 5
    (path,) = distinct_paths([[1]] * many, [np.zeros(1)] * many)
    assert (path.count, len(path.elapsed_s)) == (many, MAX_TIMES)
