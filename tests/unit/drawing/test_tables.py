from dataclasses import replace
from math import nan

import pytest

from deeplog_grpc.drawing import Anomaly, Highlight, view
from deeplog_grpc.drawing.tables import facts, loop_rows, point_rows, slow_rows, task_rows
from deeplog_grpc.drawing.texts import share_text
from deeplog_grpc.workflow import Method
from tests.workflows import CHOICE, FORK, LOOP, SEQUENCE, TWO_TASKS


@pytest.mark.parametrize(
    ("method", "fitness", "told"),
    [
        (Method.SESSIONS, 0.975, "97.50% of the sessions held back replay on it"),
        (Method.DENSITY, 1.0, "100.00% of the tasks found in it replay on it"),
        (Method.SESSIONS, nan, "not known"),
    ],
)
def test_fitness_is_told_as_it_was_measured(method: Method, fitness: float, told: str) -> None:
    assert facts(view(replace(SEQUENCE, method=method, fitness=fitness)))["fitness"] == told


def test_tasks_in_turn_are_told_without_begin_and_end() -> None:
    found = facts(view(replace(TWO_TASKS, follows={(-1, 0): 9, (0, 1): 7, (1, -1): 9})))
    assert found["tasks in turn"] == "0 → 1 (7 times)"
    assert "tasks in turn" not in facts(view(TWO_TASKS))


def test_what_is_marked_is_told() -> None:
    highlight = Highlight(anomaly=Anomaly(text="no task has it", came="panic", state=1, task=0))
    assert facts(view(SEQUENCE, highlight=highlight))["marked"] == "no task has it: panic"
    assert "marked" not in facts(view(SEQUENCE))


def test_one_row_a_task() -> None:
    first, second = task_rows(view(TWO_TASKS)).rows
    assert (first[0], first[3:]) == ("0", ("2", "2", "0", "0"))
    assert (second[0], second[3:]) == ("1", ("4", "3", "1", "0"))


def test_the_widest_divergence_points_come_first_and_the_rest_is_counted() -> None:
    (row,) = point_rows(view(CHOICE)).rows
    assert (row[0], row[3]) == ("0", "3")
    assert point_rows(view(FORK)).rows[0][2].startswith("side by side: ")
    cut = point_rows(view(CHOICE), 0)
    assert (cut.rows, cut.left_out) == ((), 1)


def test_loops_are_told_with_their_rounds() -> None:
    (row,) = loop_rows(view(LOOP)).rows
    assert (row[1].split()[0], row[2].split()[0], row[3]) == ("3", "2", "1 to 5")
    assert loop_rows(view(SEQUENCE)).rows == ()


def test_slow_steps_are_the_slowest_first() -> None:
    rows = slow_rows(view(SEQUENCE)).rows
    assert [row[1].split()[0] for row in rows] == ["3", "2"]
    assert all(len(row) == 6 for row in rows)


def test_all_is_no_share() -> None:
    assert [share_text(share) for share in (1.0, 0.994, 0.0)] == ["", "99 %", "<0.01 %"]
