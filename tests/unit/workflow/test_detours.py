import pytest

from deeplog_grpc.workflow import EMPTY, Block, Choice, Method, Replay, Sequence, Step, build_workflow, detours
from deeplog_grpc.workflow.blocks import parallel, sequence, steps
from deeplog_grpc.workflow.detours import with_detours
from deeplog_grpc.workflow.relations import Log

USUAL = sequence(*map(Step, (1, 2, 3)))
MANY = ((1, 2, 3), 900.0)


def fits(block: Block, *keys: int) -> bool:
    return Replay(build_workflow([block], (), method=Method.SESSIONS)).fits(keys)


@pytest.mark.parametrize("path", [(7, 8, 9, 1, 2, 3), (1, 7, 8, 9, 2, 3), (1, 2, 7, 8, 9, 3), (1, 2, 3, 7, 8, 9)])
def test_the_same_entries_in_a_row_at_one_place_are_an_optional_part_there(path: tuple[int, ...]) -> None:
    found = with_detours(USUAL, [MANY, (path, 5.0)])
    assert fits(found, *path)
    assert fits(found, 1, 2, 3)
    assert not fits(found, *path[:-1])
    assert sum(isinstance(part, Choice) and EMPTY in part.parts for part in found.parts) == 1  # type: ignore[union-attr]  # it is a sequence


@pytest.mark.parametrize(
    "odd",
    [
        ((1, 7, 8, 2, 3), 50.0),
        ((1, 7, 2, 8, 3, 9), 50.0),
        ((1, 7, 8, 9, 2, 3), 2.0),
        ((1, 3), 50.0),
        ((), 50.0),
    ],
    ids=["too short", "not in a row", "too seldom", "something missing", "empty"],
)
def test_accidents_are_no_detours(odd: tuple[tuple[int, ...], float]) -> None:
    assert with_detours(USUAL, [MANY, odd]) == USUAL


def test_accidents_with_other_log_keys_do_not_add_up() -> None:
    odd = [((1, first, first + 1, first + 2, 2, 3), 2.0) for first in (10, 20, 30)]
    assert with_detours(USUAL, [MANY, *odd]) == USUAL


def test_the_same_log_keys_in_other_orders_are_one_detour() -> None:
    odd = [((1, *order, 2, 3), 2.0) for order in [(7, 8, 9), (8, 7, 9)]]
    found = with_detours(USUAL, [MANY, *odd])
    assert all(fits(found, *path) for path, _ in odd)
    assert not fits(found, 1, 9, 8, 7, 2, 3)


def test_detours_at_two_places() -> None:
    odd: Log = [((1, 7, 8, 9, 2, 3), 5.0), ((1, 2, 4, 5, 6, 3), 5.0)]
    found = with_detours(USUAL, [MANY, *odd])
    assert [type(part).__name__ for part in found.parts] == ["Step", "Choice", "Step", "Choice", "Step"]  # type: ignore[union-attr]  # it is a sequence
    assert fits(found, 1, 7, 8, 9, 2, 4, 5, 6, 3)


def test_a_detour_inside_of_what_runs_side_by_side_comes_after_it() -> None:
    block = parallel(Step(1), Step(2))
    found = with_detours(block, [((1, 2), 500.0), ((2, 1), 500.0), ((1, 7, 8, 9, 2), 5.0)])
    assert isinstance(found, Sequence)
    assert found.parts[0] == block
    assert [step.key for step in steps(found)] == [1, 2, 7, 8, 9]


def test_nothing_is_looked_for_in_nothing() -> None:
    assert with_detours(EMPTY, [((7, 8, 9), 50.0)]) == EMPTY
    assert with_detours(USUAL, []) == USUAL
    assert with_detours(Step(1), [((1,), 50.0)]) == Step(1)


def test_the_most_frequent_sessions_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detours, "MAX_SESSIONS", 1)
    found = with_detours(USUAL, [MANY, ((1, 7, 8, 9, 2, 3), 5.0), ((1, 2, 4, 5, 6, 3), 6.0)])
    assert {step.key for step in steps(found)} == {1, 2, 3, 4, 5, 6}
