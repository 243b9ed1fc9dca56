"""The workflow in training: built from the sessions, asked for h and g, compared with the key model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from deeplog_grpc.errors import ConfigError, InputError
from deeplog_grpc.models import BehaviourFit, KeyModelConfig, LogKeyModel
from deeplog_grpc.training.history import SessionCut
from deeplog_grpc.workflow import TrainingPath, Workflow, WorkflowConfig, agreement, construct
from deeplog_grpc.workflow.suggestion import suggest

MAX_SUGGESTED = 1_000
"""h and g that a key model takes at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowReport:
    """What was built; shown to people."""

    method: str
    tasks: int
    states: int
    fitness: float | None
    """Share of the training sessions held back that replay on it, of streams of the executions found in them; null
    where there was none."""
    agreement: float | None
    """Share of the entries of paths that the key model predicts that agree with it: whether both say the same."""
    suggested_history: int
    """h by the workflow; 0 = none."""
    suggested_candidates: int
    """g by the workflow."""


def fit_with_workflow(
    cut: SessionCut,
    config: KeyModelConfig,
    workflow: WorkflowConfig,
    fit: Callable[[KeyModelConfig], BehaviourFit],
    template: Callable[[int], str],
    *,
    seed: int,
) -> tuple[BehaviourFit, Workflow]:
    """Fit the models, and build the workflow: before it where h and g are to be taken from it.

    Parameters
    ----------
    fit : callable
        Trains the models.

    Raises
    ------
    ConfigError
        If h and g are to be taken from a workflow that has no task, or the method `model` is asked for with a model
        that knows no begin and end.
    InputError
        If the workflow cannot be built by the method that is asked for.
    """
    if workflow.method == "model" and not config.begin_end:  # said before hours of training, not after
        raise ConfigError("'model' needs key_model.begin_end: set that to true", field="workflow.method")
    paths = list(training_paths(cut)) if workflow.method != "off" else []

    def build(model: LogKeyModel | None) -> Workflow:
        try:
            return construct(paths, workflow, model=model, template=template, seed=seed)
        except ValueError as error:
            raise InputError(str(error), field="workflow.method") from error

    if not workflow.apply_suggestion:
        learned = fit(config)
        return learned, build(learned.behaviour.key_model)
    drawn = build(fit(config).behaviour.key_model if workflow.method == "model" else None)
    if not drawn.tasks:
        raise ConfigError(
            "the workflow has no task, so it suggests no h and g: give a longer log, or set it to false",
            field="workflow.apply_suggestion",
        )
    suggestion = suggest(drawn)
    history = min(max(1, suggestion.history), MAX_SUGGESTED)
    candidates = min(suggestion.candidates, MAX_SUGGESTED)
    return fit(replace(config, history=history, candidates=candidates)), drawn


def training_paths(cut: SessionCut) -> Iterator[TrainingPath]:
    """Sessions with their times, in the order of :attr:`SessionCut.sessions`."""
    order = np.argsort(cut.owners, kind="stable")
    elapsed_s = cut.elapsed_s[order]
    stop = 0
    for session, parts in zip(cut.sessions, cut.parts, strict=True):
        start, stop = stop, stop + len(session.keys)
        yield TrainingPath(
            keys=np.asarray(session.keys, np.int32),
            elapsed_s=elapsed_s[start:stop],
            is_whole=session.begins and session.ends,
            parts=parts,
        )


def report_of(workflow: Workflow, model: LogKeyModel, config: WorkflowConfig, *, seed: int) -> WorkflowReport:
    """What was built, and whether the key model agrees with it."""
    suggestion = suggest(workflow)
    return WorkflowReport(
        method=workflow.method.value,
        tasks=len(workflow.tasks),
        states=len(workflow.states),
        fitness=_known(workflow.fitness),
        agreement=_known(agreement(workflow, model, config, seed=seed)),
        suggested_history=suggestion.history,
        suggested_candidates=suggestion.candidates,
    )


def _known(share: float) -> float | None:
    return None if isnan(share) else share
