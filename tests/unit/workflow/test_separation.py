import pytest

from deeplog_grpc.workflow import NO_WORKFLOW, Block, Location, Method, Replay, Step, build_workflow, separation
from deeplog_grpc.workflow.blocks import choice, sequence
from deeplog_grpc.workflow.separation import locate, separate


def tasks(*blocks: Block, any_succession: bool = False) -> Replay:
    return Replay(build_workflow(blocks, (), method=Method.DENSITY), any_succession=any_succession)


def steps(*keys: int) -> Block:
    return sequence(*map(Step, keys))


ORDER, REFUND = steps(1, 2, 3, 4), steps(7, 2, 8)
"""States: 0 start, 1 2 3 4, 5 end; 6 start, 7 8 9, 10 end. Log key 2 is in both."""
TWO = tasks(ORDER, REFUND)
STREAM = tasks(ORDER, REFUND, any_succession=True)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], Location(task=-1, state=-1, expected=(1, 7), may_end=False, cost=0)),
        ([1, 2], Location(task=0, state=2, expected=(3,), may_end=False, cost=0)),
        ([7, 2], Location(task=1, state=8, expected=(9,), may_end=False, cost=0)),
        ([1, 2, 3, 4], Location(task=0, state=4, expected=(), may_end=True, cost=0)),
        ([1, 2, 99], Location(task=0, state=2, expected=(3,), may_end=False, cost=1)),
        ([1, 3], Location(task=0, state=3, expected=(4,), may_end=False, cost=1)),
    ],
)
def test_a_session_is_where_its_log_keys_lead(keys: list[int], expected: Location) -> None:
    assert locate(TWO, keys) == expected


def test_a_window_begins_anywhere() -> None:
    assert locate(TWO, [3, 4], begins=False) == Location(task=0, state=4, expected=(), may_end=True, cost=0)
    assert locate(TWO, [3, 4]).cost == 2


def test_a_window_may_be_of_either_task() -> None:
    assert locate(TWO, [2], begins=False).expected == (3, 9)


def test_of_a_window_that_no_task_has_nothing_is_known() -> None:
    assert locate(TWO, [99], begins=False) == Location(task=-1, state=-1, expected=(), may_end=False, cost=1)


def test_where_branches_begin_alike_both_are_expected() -> None:
    replay = tasks(sequence(Step(1), choice(steps(2, 3), steps(2, 4), Step(2))))
    found = locate(replay, [1, 2])
    assert {replay.workflow.states[state].key for state in found.expected} == {3, 4}
    assert found.may_end


def test_without_tasks_nothing_is_located() -> None:
    with pytest.raises(ValueError, match="without tasks"):
        locate(Replay(NO_WORKFLOW), [1])


def test_executions_one_after_the_other() -> None:
    found = separate(STREAM, [1, 2, 3, 4, 7, 2, 8, 1, 2, 3, 4])
    assert found.tasks.tolist() == [0] * 4 + [1] * 3 + [0] * 4
    assert found.executions.tolist() == [0] * 4 + [1] * 3 + [2] * 4
    assert found.states.tolist() == [1, 2, 3, 4, 7, 8, 9, 1, 2, 3, 4]


@pytest.mark.parametrize("interleaved", [False, True])
def test_noise_is_with_its_neighbours(interleaved: bool) -> None:
    found = separate(STREAM, [99, 1, 2, 99, 3, 4, 7, 2, 8], interleaved=interleaved)
    assert found.tasks.tolist() == [-1, 0, 0, 0, 0, 0, 1, 1, 1]
    assert found.executions.tolist() == [-1, 0, 0, 0, 0, 0, 1, 1, 1]
    assert found.states.tolist() == [-1, 1, 2, -1, 3, 4, 7, 8, 9]


@pytest.mark.parametrize("interleaved", [False, True])
def test_an_empty_stream(interleaved: bool) -> None:
    found = separate(STREAM, [], interleaved=interleaved)
    assert found.tasks.shape == found.executions.shape == found.states.shape == (0,)


def test_executions_that_overlap() -> None:
    found = separate(STREAM, [1, 7, 2, 3, 2, 8, 1, 4, 2, 3, 4], interleaved=True)
    assert found.tasks.tolist() == [0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert found.executions.tolist() == [0, 1, 0, 0, 1, 1, 2, 0, 2, 2, 2]


def test_a_step_that_is_missing_leaves_its_execution_open() -> None:
    found = separate(STREAM, [1, 7, 3, 2, 4, 8], interleaved=True)
    assert found.executions.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.states.tolist() == [1, 7, 3, 8, 4, 9]


def test_what_comes_twice_begins_no_second_round_in_its_execution() -> None:
    found = separate(tasks(steps(1, 2, 3), any_succession=True), [1, 2, 2, 3], interleaved=True)
    assert found.states.tolist() == [1, 2, -1, 3]


def test_the_execution_without_entries_for_longest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "MAX_OPEN", 2)
    keys = [1, 7, 1, 2, 3]
    assert separate(STREAM, keys, interleaved=True).executions.tolist() == [0, 1, 2, 1, 2]
    monkeypatch.setattr(separation, "MAX_OPEN", 3)
    assert separate(STREAM, keys, interleaved=True).executions.tolist() == [0, 1, 2, 0, 0]
