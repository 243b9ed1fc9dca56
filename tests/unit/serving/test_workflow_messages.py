"""Workflows as messages and back."""

import json
from dataclasses import replace
from math import isnan, nan

import pytest

from deeplog_grpc.drawing import Highlight, view
from deeplog_grpc.serving.workflow_messages import view_of, workflow_json, workflow_message
from deeplog_grpc.workflow import Workflow
from tests.workflows import ALL, LOOP, TWO_TASKS


@pytest.mark.parametrize("workflow", ALL.values(), ids=ALL)
def test_what_is_shown_survives(workflow: Workflow) -> None:
    shown = view(replace(workflow, fitness=0.5), highlight=Highlight(path=(1, 2)))
    assert view_of(workflow_message(shown)) == shown


def test_a_fitness_that_is_not_known_is_absent() -> None:
    message = workflow_message(view(replace(LOOP, fitness=nan)))
    assert not message.HasField("fitness")
    assert isnan(view_of(message).fitness)
    assert workflow_message(view(replace(LOOP, fitness=0.0))).HasField("fitness")


def test_json_tells_zeros_and_is_strict() -> None:
    def refuse(text: str) -> float:
        raise AssertionError(f"no JSON: {text}")

    found = json.loads(workflow_json(workflow_message(view(LOOP))), parse_constant=refuse)
    assert found["tasks"][0]["number"] == 0
    assert "fitness" not in found


def test_successions_are_between_tasks_that_are_shown() -> None:
    follows = {(-1, 0): 5, (0, 1): 4, (1, -1): 5}
    message = workflow_message(view(replace(TWO_TASKS, follows=follows)))
    assert [(one.first, one.second, one.count) for one in message.successions] == [(0, 1, 4)]
    assert not workflow_message(view(replace(TWO_TASKS, follows=follows), task=0)).successions
