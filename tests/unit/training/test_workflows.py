import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from deeplog_grpc.errors import ConfigError, InputError
from deeplog_grpc.models import BehaviourFit, KeyModelConfig, LogKeyModel, TrainingSession, Vocabulary
from deeplog_grpc.models.key_model import KeyNetwork
from deeplog_grpc.training import workflows
from deeplog_grpc.training.history import History, SessionCut
from deeplog_grpc.training.workflows import fit_with_workflow, report_of, training_paths
from deeplog_grpc.workflow import NO_WORKFLOW, Method, Workflow, WorkflowConfig
from deeplog_grpc.workflow.construction import MethodChoice

TINY = KeyModelConfig(hidden=4, embedding=4, layers=1, epochs=1)
CREATE, DELETE = (1, 2, 3), (4, 5)
VOCABULARY = Vocabulary.of(range(1, 6), reserve=0)
MODEL = LogKeyModel(TINY, VOCABULARY, KeyNetwork(VOCABULARY.size, TINY))
"""It has not learned anything."""


class Fitting:
    """Notes the configurations that it is asked to fit."""

    def __init__(self) -> None:
        self.configs: list[KeyModelConfig] = []

    def __call__(self, config: KeyModelConfig) -> BehaviourFit:
        self.configs.append(config)
        return cast(BehaviourFit, SimpleNamespace(behaviour=SimpleNamespace(key_model=MODEL)))


def cut_of(sessions: Sequence[TrainingSession], parts: Sequence[tuple[int, ...]] | None = None) -> SessionCut:
    """Sessions one after the other, an entry a second."""
    sizes = [len(session.keys) for session in sessions]
    empty = History().cut(None)
    return replace(
        empty,
        sessions=tuple(sessions),
        parts=tuple(parts or [()] * len(sessions)),
        owners=np.repeat(np.arange(len(sessions), dtype=np.int32), sizes),
        elapsed_s=np.ones(sum(sizes)),
    )


WHOLE = cut_of([TrainingSession(keys=[*CREATE, *DELETE])] * 30)
FEW = cut_of([TrainingSession(keys=[*CREATE, *DELETE])] * 3)
PARTS = cut_of([TrainingSession(keys=[*CREATE, *DELETE])] * 30, [(3,)] * 30)


def built(cut: SessionCut, config: WorkflowConfig) -> Workflow:
    return fit_with_workflow(cut, TINY, config, Fitting(), "step {}".format, seed=1)[1]


@pytest.mark.parametrize("method", ["auto", "sessions", "density", "off"])
def test_the_model_is_fitted_once_as_configured(method: MethodChoice) -> None:
    fitting = Fitting()
    _, drawn = fit_with_workflow(WHOLE, TINY, WorkflowConfig(method=method), fitting, str, seed=1)
    assert fitting.configs == [TINY]
    assert (drawn is NO_WORKFLOW) == (method == "off")


def test_states_know_their_templates() -> None:
    assert [state.template for state in built(WHOLE, WorkflowConfig()).states[1:3]] == ["step 1", "step 2"]


def test_h_and_g_are_taken_from_the_workflow() -> None:
    sessions = [TrainingSession(keys=[1, 2 + number % 3, 5, 6]) for number in range(60)]
    fitting = Fitting()
    config = WorkflowConfig(apply_suggestion=True)
    _, drawn = fit_with_workflow(cut_of(sessions), TINY, config, fitting, str, seed=1)
    assert fitting.configs == [replace(TINY, history=4, candidates=3)]
    assert len(drawn.tasks) == 1


def test_what_is_suggested_is_what_a_model_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    KeyModelConfig(history=workflows.MAX_SUGGESTED, candidates=workflows.MAX_SUGGESTED)
    monkeypatch.setattr(workflows, "MAX_SUGGESTED", 4)
    fitting = Fitting()
    fit_with_workflow(WHOLE, TINY, WorkflowConfig(apply_suggestion=True), fitting, str, seed=1)
    assert [config.history for config in fitting.configs] == [4]


def test_a_workflow_of_the_model_that_is_to_suggest_takes_two_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[LogKeyModel | None] = []
    drawn = built(WHOLE, WorkflowConfig())

    def construct(*args: object, model: LogKeyModel | None, **kwargs: object) -> Workflow:
        models.append(model)
        return drawn

    monkeypatch.setattr(workflows, "construct", construct)
    fitting = Fitting()
    config = WorkflowConfig(method="model", apply_suggestion=True)
    fit_with_workflow(WHOLE, TINY, config, fitting, str, seed=1)
    assert fitting.configs == [TINY, replace(TINY, history=5, candidates=1)]
    assert models == [MODEL]


@pytest.mark.parametrize("method", ["off", "auto", "density"])
def test_without_tasks_there_is_no_suggestion_to_take(method: MethodChoice) -> None:
    nothing = cut_of([])
    with pytest.raises(ConfigError, match="no task") as caught:
        built(nothing if method != "off" else WHOLE, WorkflowConfig(method=method, apply_suggestion=True))
    assert caught.value.field == "workflow.apply_suggestion"


@pytest.mark.parametrize("apply_suggestion", [False, True])
def test_a_model_without_begin_and_end_is_refused_before_it_is_trained(apply_suggestion: bool) -> None:
    fitting = Fitting()
    config = WorkflowConfig(method="model", apply_suggestion=apply_suggestion)
    with pytest.raises(ConfigError, match="begin_end") as caught:
        fit_with_workflow(WHOLE, replace(TINY, begin_end=False), config, fitting, str, seed=1)
    assert (caught.value.field, fitting.configs) == ("workflow.method", [])


def test_what_cannot_be_built_is_the_fault_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> Workflow:
        raise ValueError("cannot")

    monkeypatch.setattr(workflows, "construct", refuse)
    with pytest.raises(InputError, match=r"workflow\.method: cannot"):
        built(WHOLE, WorkflowConfig())


def test_a_workflow_of_streams_needs_no_begin_and_end() -> None:
    stream = cut_of([TrainingSession(keys=[*CREATE, *DELETE] * 20, begins=False, ends=False)])
    fitting = Fitting()
    config = replace(TINY, begin_end=False)
    _, drawn = fit_with_workflow(stream, config, WorkflowConfig(), fitting, str, seed=1)
    assert (drawn.method, fitting.configs) == (Method.DENSITY, [config])


def test_paths_have_the_times_of_their_own_entries() -> None:
    sessions = [TrainingSession(keys=[1, 2]), TrainingSession(keys=[7, 8, 9], ends=False)]
    cut = replace(
        cut_of(sessions, [(1,), ()]),
        owners=np.array([1, 0, 1, 0, 1], np.int32),
        elapsed_s=np.array([10.0, 20.0, 11.0, 21.0, 12.0]),
    )
    first, second = training_paths(cut)
    assert (first.keys.tolist(), first.elapsed_s.tolist(), first.parts, first.is_whole) == (
        [1, 2],
        [20, 21],
        (1,),
        True,
    )
    assert (second.keys.tolist(), second.elapsed_s.tolist(), second.is_whole) == ([7, 8, 9], [10, 11, 12], False)


def test_parts_of_sessions_are_tasks_that_follow_each_other() -> None:
    drawn = built(PARTS, WorkflowConfig())
    assert sorted([state.key for state in task.states if state.key > 0] for task in drawn.tasks) == [[1, 2, 3], [4, 5]]


def test_a_report_of_no_workflow_is_json() -> None:
    report = report_of(NO_WORKFLOW, MODEL, WorkflowConfig(method="off"), seed=1)
    assert (report.fitness, report.agreement) == (None, None)
    assert (report.tasks, report.suggested_history, report.suggested_candidates) == (0, 0, 1)
    json.dumps(asdict(report), allow_nan=False)


def test_a_report_tells_what_was_built() -> None:
    drawn = built(WHOLE, WorkflowConfig())
    report = report_of(drawn, MODEL, WorkflowConfig(), seed=1)
    assert (report.method, report.tasks, report.states, report.fitness) == ("sessions", 1, 7, 1.0)
    assert (report.suggested_history, report.suggested_candidates) == (5, 1)
    few = report_of(built(FEW, WorkflowConfig(method="sessions")), MODEL, WorkflowConfig(), seed=1)
    assert few.fitness is None, "nothing was held back"
