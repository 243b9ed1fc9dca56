"""The workflow of an application, by the method that fits what its log is.

Where entries name their sessions, sessions are sorted by task and each task is discovered; where they do not, log keys
that come close to each other make a task (CCS'17, section 4.3); and a key model that knows begin and end can be asked
itself (section 4.2).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from deeplog_grpc.workflow.building import build_workflow
from deeplog_grpc.workflow.cooccurrence import Form
from deeplog_grpc.workflow.density import DensityConfig, density_tasks
from deeplog_grpc.workflow.graph import NO_WORKFLOW, Method, Workflow
from deeplog_grpc.workflow.growth import GrowthConfig, grow
from deeplog_grpc.workflow.paths import Path, distinct_paths
from deeplog_grpc.workflow.quality import alignment, fitness
from deeplog_grpc.workflow.replay import Replay
from deeplog_grpc.workflow.separation import NOBODY, separate
from deeplog_grpc.workflow.sessions import MAX_ALIGNED, SessionWorkflowConfig, workflow_of_sessions
from deeplog_grpc.workflow.tasks import TaskConfig

if TYPE_CHECKING:  # the models need torch
    from deeplog_grpc.models import LogKeyModel

MIN_SESSIONS = 10
"""Whole sessions from which a workflow is built; with fewer, every accident would be a branch."""

MAX_STREAM = 200_000
"""Entries of streams that a workflow is built from, the latest ones."""


MethodChoice = Literal["auto", "sessions", "model", "density", "off"]


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class WorkflowConfig:
    """How the workflow is built in training."""

    method: MethodChoice = "auto"
    """`sessions`: from sessions, sorted by task. `model`: from what the log key LSTM predicts (CCS'17, section 4.2;
    needs a well-trained model, see docs/workflow.md). `density`: from which log keys come close to each other (section
    4.3), for logs without sessions. `auto`: sessions, else density. `off`: none, and no diagnosis."""
    apply_suggestion: bool = False
    """Take h and g from the workflow (CCS'17, section 4.4) in place of `key_model.history` and `key_model.candidates`:
    h = the steps of the shortest task, g = the most branches of a divergence point. g pins the paper's rule."""
    noise: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    """Share of the sessions up to which something is noise; null = the share, of some from 0 to 2 %, whose workflow
    fits held-back sessions best and allows little else."""
    overlap: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Least share of log keys in common (of those in either) of two sessions of one task."""
    certain: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    """Of the method `model`: probability from which on a log key is the only one that follows."""
    least_probability: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Of the method `model`: probability below which a log key is no candidate."""
    distance: Annotated[int, Field(ge=2, le=100)] = 10
    """D, of the method `density`: entries looked ahead and back. More than the log keys that run side by side, far
    fewer than the entries of a few tasks."""
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.9
    """tau, of the method `density`: share from which one log key always comes with another."""
    form: Literal["presence", "printed"] = "presence"
    """Of the method `density`: `printed` is the paper's formula to the letter, by which no task has more than two
    log keys."""

    @property
    def of_sessions(self) -> SessionWorkflowConfig:
        """What the methods `sessions` and `model` are told."""
        return SessionWorkflowConfig(tasks=TaskConfig(overlap=self.overlap), noise=self.noise)

    @property
    def of_growth(self) -> GrowthConfig:
        """What the method `model` is told."""
        return GrowthConfig(certain=self.certain, least_probability=self.least_probability)

    @property
    def of_density(self) -> DensityConfig:
        """What the method `density` is told."""
        return DensityConfig(distance=self.distance, threshold=self.threshold, form=Form(self.form))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPath:
    """A session of training as construction needs it."""

    keys: NDArray[np.int32]
    """Log keys. Shape [n]."""
    elapsed_s: NDArray[np.float64]
    """Seconds since the entry before, NaN where not known. Shape [n]."""
    is_whole: bool
    """Whether it was seen from its begin to its end; blocks of streams are not."""
    parts: tuple[int, ...] = ()
    """Places at which one task ends and the next begins."""

    def divided(self) -> list["TrainingPath"]:
        """Its parts."""
        return [
            TrainingPath(keys=self.keys[start:stop], elapsed_s=self.elapsed_s[start:stop], is_whole=self.is_whole)
            for start, stop in pairwise((0, *self.parts, len(self.keys)))
        ]


def construct(
    sessions: Sequence[TrainingPath],
    config: WorkflowConfig | None = None,
    *,
    model: "LogKeyModel | None" = None,
    template: Callable[[int], str] = str,
    seed: int = 0,
) -> Workflow:
    """Build the workflow of an application; :data:`NO_WORKFLOW` where there is too little to build it from.

    Parameters
    ----------
    model : LogKeyModel, optional
        For the method `model`.
    template : callable
        Log key -> its template.

    Raises
    ------
    ValueError
        If the method `model` is asked for without a model that knows begin and end.
    """
    config = config or WorkflowConfig()
    whole = [session for session in sessions if session.is_whole and len(session.keys)]
    match _method(config, whole):
        case "sessions":
            return _of_sessions(whole, config, template)
        case "model":
            if model is None:
                raise ValueError("the method 'model' needs a model")
            return _of_model(model, config, template, seed)
        case "density":
            return _of_streams(sessions, config, template)
        case _:
            return NO_WORKFLOW


def _method(config: WorkflowConfig, whole: Sequence[TrainingPath]) -> MethodChoice:
    if config.method != "auto":
        return config.method
    return "sessions" if len(whole) >= MIN_SESSIONS else "density"


def agreement(workflow: Workflow, model: "LogKeyModel", config: WorkflowConfig, *, seed: int = 0) -> float:
    """Conformance of the workflow and the model: how far paths grown from the model agree with the workflow.

    Share of entries and steps that agree, see :func:`~deeplog_grpc.workflow.quality.alignment`, of the most frequent
    paths; NaN where nothing can be compared.
    """
    if not workflow.tasks or not model.config.begin_end:
        return float("nan")
    return alignment(Replay(workflow), grow(model, config.of_growth, seed=seed)[:MAX_ALIGNED])


def _of_sessions(whole: Sequence[TrainingPath], config: WorkflowConfig, template: Callable[[int], str]) -> Workflow:
    divided = [session.divided() for session in whole]
    parts = [part for own in divided for part in own]
    return workflow_of_sessions(
        distinct_paths((part.keys for part in parts), (part.elapsed_s for part in parts)),
        config.of_sessions,
        template=template,
        successions=successions(divided) if len(parts) > len(divided) else None,
    )


Keys = tuple[int, ...]


def successions(divided: Iterable[Sequence[TrainingPath]]) -> Counter[tuple[Keys, Keys]]:
    """Log keys of parts that follow each other in a session -> times; () before the first and after the last."""
    found: Counter[tuple[Keys, Keys]] = Counter()
    for parts in divided:
        found.update(pairwise([(), *(tuple(part.keys.tolist()) for part in parts), ()]))
    return found


def _of_model(model: "LogKeyModel", config: WorkflowConfig, template: Callable[[int], str], seed: int) -> Workflow:
    paths = grow(model, config.of_growth, seed=seed)
    return workflow_of_sessions(paths, config.of_sessions, method=Method.MODEL, template=template)


def _of_streams(sessions: Sequence[TrainingPath], config: WorkflowConfig, template: Callable[[int], str]) -> Workflow:
    """Tasks by density, and what the streams did on them."""
    kept: list[TrainingPath] = []
    size = 0
    for session in reversed(sessions):
        if size >= MAX_STREAM:
            break
        kept.append(session)
        size += len(session.keys)
    kept.reverse()
    if not size:
        return NO_WORKFLOW
    keys = np.concatenate([session.keys for session in kept]).astype(np.int32)
    elapsed_s = np.concatenate([session.elapsed_s for session in kept])
    segments = np.repeat(np.arange(len(kept), dtype=np.int32), [len(session.keys) for session in kept])
    blocks = density_tasks(keys, config.of_density, segments=segments)
    if not blocks:
        return NO_WORKFLOW
    drawn = build_workflow(blocks, (), method=Method.DENSITY, template=template)
    paths, follows = _executions(Replay(drawn, any_succession=True), keys, elapsed_s)
    return build_workflow(
        blocks,
        paths,
        method=Method.DENSITY,
        template=template,
        follows=follows,
        fitness=fitness(Replay(drawn), paths),
    )


def _executions(
    replay: Replay, keys: NDArray[np.int32], elapsed_s: NDArray[np.float64]
) -> tuple[tuple[Path, ...], Counter[tuple[int, int]]]:
    """Executions of tasks in a stream, and which task came after which."""
    found = separate(replay, keys.tolist())
    inside = found.executions != NOBODY
    starts = np.flatnonzero(np.diff(found.executions[inside], prepend=NOBODY))
    pieces, times = np.split(keys[inside], starts[1:]), np.split(elapsed_s[inside], starts[1:])
    tasks = found.tasks[inside][starts].tolist() if len(starts) else []
    return distinct_paths(pieces, times), Counter(pairwise(tasks))
