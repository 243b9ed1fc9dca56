import numpy as np
import pytest

from deeplog_grpc.workflow import cooccurrence
from deeplog_grpc.workflow.blocks import Step, parallel, sequence
from deeplog_grpc.workflow.cooccurrence import Cooccurrence, Form
from tests.task_streams import line, stream

Shares = dict[tuple[int, int, int], float]


def counted(keys: list[int], distance: int, segments: list[int], *, forward: bool, form: Form) -> Shares:
    """Shares by the definition, entry by entry."""
    shares: Shares = {}
    order = range(len(keys)) if forward else range(len(keys) - 1, -1, -1)
    walk = [(keys[place], segments[place]) for place in order]
    for d in range(1, distance + 1):
        seen = [p for p in range(len(walk) - d) if all(segment == walk[p][1] for _, segment in walk[p : p + d + 1])]
        for key in set(keys):
            own = [p for p in seen if walk[p][0] == key]
            for other in set(keys):
                times = [sum(walk[p + e][0] == other for e in range(1, d + 1)) for p in own]
                total = sum(map(bool, times)) if form is Form.PRESENCE else sum(times) / d
                shares[d, key, other] = total / len(own) if own else shares.get((d - 1, key, other), 0)
    return shares


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("lengths", [[60], [25, 1, 2, 32], [3] * 20])
def test_shares_are_those_of_the_definition(form: Form, lengths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "CHUNK_ENTRIES", 7)
    keys = np.random.default_rng(1).choice([3, 5, 1000], 60)
    segments = np.repeat(np.arange(len(lengths)), lengths)
    near = Cooccurrence.of(keys, distance=4, form=form, segments=segments)
    for matrices, forward in ((near.forward, True), (near.backward, False)):
        expected = counted(keys.tolist(), 4, segments.tolist(), forward=forward, form=form)
        for (d, key, other), share in expected.items():
            assert matrices[d - 1, near.number(key), near.number(other)] == pytest.approx(share)


def papers_stream() -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """A chain 1 2 3 4, 5 with 6 and 7 side by side, and a third task."""
    tasks = (line(1, 2, 3, 4), sequence(Step(5), parallel(Step(6), Step(7)), Step(8)), line(11, 12, 13, 14))
    return stream(tasks, np.random.default_rng(0), executions=3000)


def test_the_papers_examples_come_from_the_presence_form() -> None:
    near = Cooccurrence.of(papers_stream(), distance=3)
    assert near.after(1, 2) == [1, 1, 1]
    assert near.after(1, 3)[1:] == [1, 1]
    assert near.after(1, 4)[2] == 1
    first, *later = near.after(5, 6)
    assert first == pytest.approx(0.5, abs=0.05), "two keys side by side: either comes first"
    assert later == [1, 1], "and both are there within two entries"
    following = near.after(4, 5)
    assert following == pytest.approx([following[0]] * 3, abs=0.02), "the next task: its share does not rise"
    assert following[0] == pytest.approx(1 / 3, abs=0.05)


def test_the_first_order_share_of_a_concurrent_pair_is_that_of_its_order() -> None:
    runs = np.array([[5, 6, 7, 8]] * 727 + [[5, 7, 6, 8]] * 273)
    keys = np.random.default_rng(0).permutation(runs).ravel()
    near = Cooccurrence.of(np.append(keys, [9] * 3), distance=3)
    assert near.after(5, 6) == pytest.approx([0.727, 1, 1])
    assert near.after(5, 7) == pytest.approx([0.273, 1, 1])


def test_the_printed_form_halves_a_chain() -> None:
    near = Cooccurrence.of(papers_stream(), distance=3, form=Form.PRINTED)
    assert near.after(1, 2) == pytest.approx([1, 1 / 2, 1 / 3])
    assert near.after(1, 3)[1] == pytest.approx(1 / 2)
    assert near.forward.sum(axis=2) == pytest.approx(np.ones((3, len(near.keys)))), "by 1/d all shares sum to 1"


def test_pairs_do_not_reach_into_the_next_segment() -> None:
    keys = np.array([1, 2, 1, 2, 1, 2])
    assert Cooccurrence.of(keys, distance=1).after(2, 1) == [1]
    assert Cooccurrence.of(keys, distance=1, segments=np.array([0, 0, 1, 1, 2, 2])).after(2, 1) == [0]


def test_what_the_end_cuts_off_is_not_held_against_a_key() -> None:
    near = Cooccurrence.of(np.array([1, 2, 3, 1, 2, 3, 1]), distance=2)
    assert near.after(1, 3) == [0, 1]
    assert near.before(3, 1) == [0, 1]


def test_where_segments_are_tasks_their_ends_are_seen() -> None:
    near = Cooccurrence.of(np.tile([1, 2, 3], 9), distance=4, segments=np.repeat(np.arange(9), 3))
    assert near.after(1, 3) == [0, 1, 1, 1]
    assert near.after(3, 1) == [0, 0, 0, 0]


def test_no_entries_are_no_error() -> None:
    near = Cooccurrence.of(np.zeros(0, np.int32), distance=3)
    assert near.forward.shape == (3, 0, 0)


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="distance 0"):
        Cooccurrence.of(np.array([1]), distance=0)
    with pytest.raises(ValueError, match="log key -1"):
        Cooccurrence.of(np.array([1, -1]), distance=1)
    with pytest.raises(ValueError, match="2 segments for 1 keys"):
        Cooccurrence.of(np.array([1]), distance=1, segments=np.array([0, 0]))
    with pytest.raises(KeyError):
        Cooccurrence.of(np.array([1]), distance=1).after(1, 2)
