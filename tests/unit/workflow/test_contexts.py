from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.workflow.contexts import told_apart

_logs = st.lists(
    st.tuples(st.lists(st.integers(1, 6), max_size=10).map(tuple), st.integers(1, 40).map(float)),
    min_size=1,
    max_size=9,
)


def limit(weight: float) -> float:
    return 0.1 * weight


@given(_logs)
def test_a_label_is_a_log_key_at_a_place(log: list[tuple[tuple[int, ...], float]]) -> None:
    labelled = told_apart(log, limit)
    keys = {key for path, _ in log for key in path}
    again = [(tuple(labelled.key_of.get(key, key) for key in path), weight) for path, weight in labelled.log]
    assert again == log
    assert keys.isdisjoint(labelled.key_of)


def test_a_shared_segment_is_told_by_what_is_around_it() -> None:
    log = [((1, 7, 8, 2), 20.0), ((3, 7, 8, 4), 10.0)]
    labelled = told_apart(log, limit)
    assert labelled.log == [((1, 7, 8, 2), 20.0), ((3, 9, 10, 4), 10.0)]
    assert labelled.key_of == {9: 7, 10: 8}


def test_where_branches_cross_a_segment_is_one() -> None:
    log = [((1, 7, 2), 20.0), ((1, 7, 3), 20.0), ((4, 7, 2), 20.0)]
    assert told_apart(log, limit).key_of == {}


def test_what_is_rare_tells_nothing_apart() -> None:
    assert told_apart([((1, 7, 2), 99.0), ((3, 7, 4), 1.0)], limit).key_of == {}
