from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from deeplog_grpc.workflow.blocks import EMPTY, Block, Loop, Sequence, Step, choice, parallel, sequence, steps
from deeplog_grpc.workflow.cooccurrence import Cooccurrence, Form
from deeplog_grpc.workflow.density import DensityConfig, density_tasks
from deeplog_grpc.workflow.extension import arranged
from tests.task_streams import edge_f1, forks, line, random_tasks, run, stream

OTHERS = (line(21, 22, 23, 24, 25, 26), line(31, 32, 33, 34, 35, 36))


def found(*tasks: Block, noise: float = 0.0, config: DensityConfig | None = None) -> set[Block]:
    return set(density_tasks(stream(tasks, np.random.default_rng(0), noise=noise), config))


SHAPES = {
    "sequence": line(1, 2, 3, 4, 5, 6),
    "side by side": sequence(Step(1), parallel(Step(2), Step(3)), line(4, 5)),
    "four side by side": sequence(Step(1), parallel(*map(Step, (2, 3, 4, 5))), line(6, 7)),
    "branches of two": sequence(Step(1), parallel(line(2, 3), line(4, 5)), line(6, 7)),
    "branches of two and one": sequence(Step(1), parallel(line(2, 3), Step(4), line(5, 6)), line(7, 8)),
    "branches of three": sequence(Step(1), parallel(line(2, 3, 4), line(5, 6, 7)), line(8, 9)),
    "one after the other": sequence(Step(1), parallel(Step(2), Step(3)), parallel(Step(4), Step(5)), line(6, 7)),
    "at the begin": sequence(parallel(Step(1), Step(2)), line(3, 4, 5, 6)),
    "at the end": sequence(line(1, 2, 3, 4), parallel(Step(5), Step(6))),
    "loop": sequence(line(1, 2), Loop(line(3, 4), EMPTY, 1, 3), line(5, 6)),
    "loop with redo": sequence(line(1, 2), Loop(Step(3), Step(4), 1, 3), line(5, 6)),
    "choice": sequence(line(1, 2), choice(line(3, 4), Step(5)), line(6, 7)),
    "choice whose pair comes first by number": sequence(line(8, 9), choice(line(1, 2), Step(5)), line(6, 7)),
    "loop at the begin": sequence(Loop(line(1, 2), EMPTY, 1, 3), line(3, 4, 5, 6)),
    "skip": sequence(line(1, 2), choice(Step(3), EMPTY), line(4, 5, 6)),
}


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("task", SHAPES.values(), ids=SHAPES)
def test_tasks_are_found(task: Block, noise: float) -> None:
    assert found(task, *OTHERS, noise=noise) == {task, *OTHERS}


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.02])
def test_random_tasks_are_found(noise: float) -> None:
    scores, right, count = [], 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = random_tasks(1 + seed % 5, rng, ("parallel", "loop"))
        told = density_tasks(stream(true, rng, noise=noise))
        scores.append(edge_f1(told, true))
        expected = {fork for task in true for fork in forks(task)}
        right += len(expected & {fork for task in told for fork in forks(task)})
        count += len(expected)
    assert np.mean(scores) >= 0.99
    assert right / count >= 0.98


def test_choices_are_found_where_a_task_is_longer_than_a_few_keys() -> None:
    scores = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = random_tasks(2 + seed % 4, rng, ("parallel", "loop", "choice"))
        scores.append(edge_f1(density_tasks(stream(true, rng, noise=0.01)), true))
    assert np.mean(scores) >= 0.97


@pytest.mark.parametrize("threshold", [0.85, 0.9, 0.95])
def test_the_papers_thresholds_separate_all_tasks(threshold: float) -> None:
    tasks = (SHAPES["side by side"], *OTHERS)
    assert found(*tasks, noise=0.01, config=DensityConfig(threshold=threshold)) == set(tasks)


def test_at_one_a_background_entry_breaks_the_tasks() -> None:
    strict = DensityConfig(threshold=1)
    assert found(*OTHERS, config=strict) == set(OTHERS)
    assert not found(*OTHERS, noise=0.01, config=strict) & set(OTHERS)


def test_by_the_printed_form_no_task_has_more_than_two_keys() -> None:
    keys = stream(OTHERS, np.random.default_rng(0))
    told = density_tasks(keys, DensityConfig(form=Form.PRINTED))
    assert len(told) == 10
    assert {len(list(steps(task))) for task in told} == {2}
    assert set(density_tasks(keys, DensityConfig(form=Form.PRESENCE))) == set(OTHERS)


def test_a_head_is_found_by_the_entries_before_where_those_after_do_not_tell() -> None:
    tasks = (line(1, 2, 3, 4, 5), line(1, 12, 13, 14, 15), OTHERS[0])
    keys = stream(tasks, np.random.default_rng(0))
    near = Cooccurrence.of(keys, distance=1)
    assert near.after(1, 2)[0] < 0.6, "after their common head, either may come"
    assert near.before(2, 1) == [1]
    assert set(density_tasks(keys)) == set(tasks)


def test_a_key_in_two_tasks_is_told_by_its_neighbours() -> None:
    tasks = (line(1, 2, 3, 4, 5, 6), line(11, 12, 3, 14, 15, 16), OTHERS[0])
    assert found(*tasks, noise=0.01) == set(tasks)


def test_a_branch_that_comes_after_other_keys_too_is_not_folded() -> None:
    tasks = (sequence(line(1, 2), choice(Step(3), Step(5)), line(6, 7, 8)), line(11, 12, 3, 6, 7, 8), *OTHERS)
    assert not [fork for task in found(*tasks) for fork in forks(task)]


def test_background_is_not_the_head_of_a_stream_of_one_task() -> None:
    task = line(1, 2, 3, 4, 5, 6)
    keys = stream((task,), np.random.default_rng(0), executions=5000, noise=0.02)
    assert min(np.sum(keys == 900), np.sum(keys == 901)) > 10
    assert density_tasks(keys) == (task,)


@pytest.mark.parametrize(("separate", "neighbours"), [(30, 3), (500, 8)])
def test_few_neighbours_tell_no_order(separate: int, neighbours: int) -> None:
    runs = [[1, 2, 4, 3, 5]] * separate + [[1, 3, 4, 2, 5]] * separate + [[1, 2, 3, 4, 5]] * neighbours
    near = Cooccurrence.of(np.concatenate([*runs, [9]]), distance=3)
    group = tuple(near.number(key) for key in (2, 3, 4))
    assert arranged(group, near, 0.9) == parallel(Step(2), Step(3), Step(4))


def test_long_branches_are_tasks_of_their_own() -> None:
    task = sequence(line(1, 2), choice(line(3, 4, 5, 6), line(13, 14, 15, 16)), line(7, 8))
    assert found(task, OTHERS[0]) == {line(1, 2, 3, 4, 5, 6, 7, 8), line(1, 2, 13, 14, 15, 16, 7, 8), OTHERS[0]}
    assert found(task, OTHERS[0], config=DensityConfig(branch_keys=4)) == {task, OTHERS[0]}


def test_no_branch_is_folded_where_none_may_be() -> None:
    told = found(SHAPES["choice"], OTHERS[0], config=DensityConfig(branch_keys=0))
    assert not [fork for task in told for fork in forks(task)]
    assert edge_f1(tuple(told), (SHAPES["choice"], OTHERS[0])) == 1


def test_a_rare_task_that_follows_another_is_a_task_of_its_own() -> None:
    rng = np.random.default_rng(0)
    tasks, rare = (line(1, 2, 3, 4, 5, 6), *OTHERS), line(41, 42, 43)
    runs = []
    for number in rng.integers(0, 3, 2000):
        runs.append(run(tasks[number], rng))
        if number == 0 and rng.random() < 0.1:
            runs.append(run(rare, rng))
    assert set(density_tasks(np.concatenate(runs))) == {*tasks, rare}


def test_one_task_that_runs_again_and_again_begins_where_its_stream_does() -> None:
    assert density_tasks(np.tile([4, 1, 3, 2, 9, 7], 50)) == (line(4, 1, 3, 2, 9, 7),)


def test_tasks_do_not_reach_into_the_next_segment() -> None:
    keys, segments = np.tile([1, 2, 3, 4, 11, 12, 13, 14], 50), np.repeat(np.arange(100), 4)
    assert density_tasks(keys) == (line(1, 2, 3, 4, 11, 12, 13, 14),)
    assert density_tasks(keys, segments=segments) == (line(1, 2, 3, 4), line(11, 12, 13, 14))


def test_the_most_frequent_task_comes_first() -> None:
    order = np.random.default_rng(0).choice(2, 500, p=[0.3, 0.7])
    keys = np.concatenate([[[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]][number] for number in order])
    assert density_tasks(keys) == (line(6, 7, 8, 9, 10), line(1, 2, 3, 4, 5))


def test_rare_keys_are_background() -> None:
    keys = np.append(stream(OTHERS, np.random.default_rng(0)), [7, 8] * 9)
    assert set(density_tasks(keys)) == set(OTHERS)
    told = density_tasks(np.append(keys, [7, 8]), DensityConfig(loop_keys=0))
    assert line(7, 8) in told


def test_the_same_stream_gives_the_same_tasks() -> None:
    rng = np.random.default_rng(7)
    keys = stream(random_tasks(5, rng, ("parallel", "loop", "choice")), rng, noise=0.02)
    assert density_tasks(keys) == density_tasks(keys.astype(np.int32))


@pytest.mark.parametrize("keys", [[], [5], [1, 2, 3], list(range(1000)), [3] * 100])
def test_a_stream_without_tasks_has_none(keys: list[int]) -> None:
    assert density_tasks(np.array(keys, np.int32)) == ()


def test_noise_alone_is_no_task() -> None:
    assert density_tasks(np.random.default_rng(0).integers(0, 20, 20_000)) == ()


def test_many_keys_need_no_more_memory_than_their_shares() -> None:
    rng = np.random.default_rng(0)
    tasks = tuple(line(*range(10 * number, 10 * number + 10)) for number in range(50))
    assert set(density_tasks(stream(tasks, rng, executions=5000, noise=0.01))) == set(tasks)


@pytest.mark.parametrize("wrong", [{"distance": 1}, {"threshold": 0.4}, {"form": "other"}, {"min_counts": 3}])
def test_a_wrong_configuration_is_refused(wrong: dict[str, float | str]) -> None:
    make: Callable[..., DensityConfig] = DensityConfig
    with pytest.raises(ValidationError):
        make(**wrong)


def test_segments_must_be_as_many_as_keys() -> None:
    with pytest.raises(ValueError, match="1 segments for 2 keys"):
        density_tasks(np.array([1, 2]), segments=np.array([0]))


def test_the_answer_is_blocks_without_numbers() -> None:
    (task,) = density_tasks(np.tile([1, 2, 3, 4, 5], 20))
    assert isinstance(task, Sequence)
    assert {step.state for step in steps(task)} == {0}
