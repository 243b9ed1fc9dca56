from itertools import chain

import numpy as np

from deeplog_grpc.workflow.blocks import Block, Loop, Step, choice, sequence
from deeplog_grpc.workflow.cooccurrence import Cooccurrence
from deeplog_grpc.workflow.repeats import Repeat, Stream, find
from tests.task_streams import line, stream


def found(keys: list[int] | np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> tuple[tuple[Repeat, ...], list[int]]:
    entries = Stream(keys=np.array(keys), segments=np.zeros(len(keys), np.int64))
    near = Cooccurrence.of(entries.keys, distance=10)
    loops, left = find(entries, near, longest=4, threshold=0.9, min_count=10)
    return loops, left.keys.tolist()


def streamed(*tasks: Block, noise: float = 0.0) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return stream(tasks, np.random.default_rng(0), noise=noise)


def test_one_copy_is_left_of_a_loop() -> None:
    keys = streamed(sequence(Step(1), Loop(line(2, 3), Step(4), 1, 3), Step(5)), line(11, 12, 13, 14, 15))
    loops, left = found(keys)
    assert loops == (Repeat(body=(2, 3), redo=(4,), least=1, most=3),)
    without = [key for key in chain(left) if key not in (11, 12, 13, 14, 15)]
    assert without == [1, 2, 3, 5] * (len(without) // 4)


def test_a_key_may_repeat_by_itself() -> None:
    loops, _ = found(streamed(sequence(line(1, 2), Loop(Step(3), sequence(), 2, 5), line(4, 5)), line(11, 12, 13)))
    assert loops == (Repeat(body=(3,), redo=(), least=2, most=5),)


def test_noise_hides_no_loop_and_makes_none() -> None:
    tasks = (sequence(Step(1), Loop(line(2, 3), sequence(), 1, 4), line(4, 5)), line(11, 12, 13, 14, 15))
    loops, left = found(streamed(*tasks, noise=0.02))
    assert [(loop.body, loop.least, loop.most) for loop in loops] == [((2, 3), 1, 4)]
    near = Cooccurrence.of(np.array(left), distance=2)
    assert near.after(3, 4)[0] > 0.9


def test_a_short_task_that_runs_twice_is_no_loop() -> None:
    loops, left = found(keys := streamed(line(1, 2, 3), line(11, 12, 13, 14), line(21, 22, 23)))
    assert loops == ()
    assert left == keys.tolist()


def test_a_whole_stream_of_one_task_is_no_loop() -> None:
    assert found([1, 2, 3] * 100)[0] == ()
    assert found(([1, 2, 3] * 50 + [9]) * 20)[0] == (), "nor where background comes between now and then"


def test_a_short_task_with_a_choice_that_runs_twice_is_no_loop() -> None:
    task = sequence(Step(1), choice(Step(3), Step(4)), Step(5))
    assert found(streamed(task, line(11, 12, 13, 14, 15)))[0] == ()


def test_one_entry_amid_a_loop_goes_with_it() -> None:
    loops, left = found([1, 2, 3, 2, 3, 4, 9, 1, 2, 3, 9, 2, 3, 4, 9, 1, 2, 9, 3, 4] * 20)
    assert [loop.body for loop in loops] == [(2, 3)]
    assert left == [1, 2, 3, 4, 9, 1, 2, 3, 4, 9, 1, 2, 9, 3, 4] * 20


def test_where_a_segment_ends_in_what_the_next_one_begins_with_both_stay() -> None:
    keys = np.array([1, 2, 3, 2, 3, 4, 9, 1, 2, 3, 2, 3, 4, 9, 1, 2, 3, 2, 3, 4])
    keys, segments = np.tile(keys, 20), np.repeat(np.arange(40), 10)
    entries = Stream(keys=keys, segments=segments)
    near = Cooccurrence.of(keys, distance=4, segments=segments)
    loops, left = find(entries, near, longest=4, threshold=0.9, min_count=10)
    assert [(loop.body, loop.most) for loop in loops] == [((2, 3), 2)]
    assert left.keys.tolist() == [1, 2, 3, 4, 9, 1, 2, 3, 2, 3, 4, 9, 1, 2, 3, 4] * 20
    assert left.segments.tolist() == np.repeat(np.arange(40), 8).tolist()


def test_a_loop_does_not_reach_into_the_next_segment() -> None:
    keys, segments = np.tile([1, 2, 3, 2, 3, 4], 100), np.repeat(np.arange(200), 3)
    near = Cooccurrence.of(keys, distance=3, segments=segments)
    loops, left = find(Stream(keys=keys, segments=segments), near, longest=4, threshold=0.9, min_count=10)
    assert (loops, len(left.keys)) == ((), 600)
