from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.workflow import relations
from deeplog_grpc.workflow.relations import Relations, closure, groups

_logs = st.lists(
    st.tuples(st.lists(st.integers(1, 5), max_size=8).map(tuple), st.integers(1, 9).map(float)), min_size=1, max_size=9
)


@given(_logs)
def test_figures_are_those_of_counting_one_by_one(log: list[tuple[tuple[int, ...], float]]) -> None:
    found = Relations.of(log)
    log = [(path, weight) for path, weight in log if path]
    last = {path: len(path) - 1 for path, _ in log}
    for i, one in enumerate(found.keys):
        assert found.having[i] == sum(w for path, w in log if one in path)
        assert found.repeating[i] == sum(w for path, w in log if path.count(one) > 1)
        assert found.occurrences[i] == sum(w * path.count(one) for path, w in log)
        assert found.begins[i] == sum(w for path, w in log if path[0] == one)
        assert found.ends[i] == sum(w for path, w in log if path[-1] == one)
        for j, other in enumerate(found.keys):
            both = [(path, w) for path, w in log if one in path and other in path]
            assert found.together[i, j] == sum(w for _, w in both)
            assert found.in_step[i, j] == sum(w for path, w in both if path.count(one) == path.count(other))
            ends = ((last[path] - path[::-1].index(one), path.index(other), w) for path, w in both)
            assert found.before[i, j] == sum(w for end, begin, w in ends if end < begin)
            assert found.adjacent[i, j] == sum(w * list(pairwise(path)).count((one, other)) for path, w in log)


def test_figures_do_not_depend_on_the_parts_they_are_counted_in(monkeypatch: pytest.MonkeyPatch) -> None:
    log = [((1, 2, 3), 1.0), ((3, 2), 2.0), ((2, 2, 1), 4.0)]
    whole = Relations.of(log)
    monkeypatch.setattr(relations, "CHUNK", 1)
    parts = Relations.of(log)
    for name in ("together", "before", "in_step"):
        assert getattr(parts, name).tolist() == getattr(whole, name).tolist()


@given(st.integers(0, 7), st.data())
def test_groups_and_closure_agree(size: int, data: st.DataObject) -> None:
    cells = data.draw(st.lists(st.booleans(), min_size=size * size, max_size=size * size))
    linked = np.array(cells, np.bool_).reshape(size, size)
    parts = groups(linked)
    assert sorted(column for part in parts for column in part) == list(range(size))
    reached = closure(linked | linked.T | np.eye(size, dtype=np.bool_))
    assert all(
        reached[i, j] == any(i in part and j in part for part in parts) for i in range(size) for j in range(size)
    )
