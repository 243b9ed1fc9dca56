"""Workflows from sessions: sessions sorted by task, each task discovered, as much taken for noise as serves best."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import isnan
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from deeplog_grpc.workflow.blocks import Block
from deeplog_grpc.workflow.building import build_workflow
from deeplog_grpc.workflow.detours import with_detours
from deeplog_grpc.workflow.discovery import DiscoveryConfig, discover
from deeplog_grpc.workflow.graph import NO_TASK, NO_WORKFLOW, Method, Workflow
from deeplog_grpc.workflow.paths import Path
from deeplog_grpc.workflow.quality import alignment, fitness, precision, simplicity
from deeplog_grpc.workflow.replay import Replay
from deeplog_grpc.workflow.tasks import TaskConfig, sort_by_task

HELD_OUT = 5
"""One in so many sessions is held back to choose what is noise."""

MAX_ALIGNED = 200
"""Distinct sessions held back that are explained to choose what is noise, the most frequent ones."""

MAX_PATHS = 5_000
"""Distinct paths that a workflow is built from, the most frequent ones."""

MAX_LENGTH = 10_000
"""Entries of a path at most; a longer one is no execution of a task, and is left out."""

MAX_ENTRIES = 1_000_000
"""Entries of all these paths together; the rarest are left out."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SessionWorkflowConfig:
    """How workflows are built from sessions."""

    tasks: TaskConfig = Field(default_factory=TaskConfig)
    """What makes two sessions one task."""
    noise: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    """Share of the sessions below which something is not part of the workflow; null = the one of :data:`NOISE` that
    serves best."""


NOISE = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02)
"""Shares of noise that are tried."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """A share of noise and what came of it on held-back sessions."""

    noise: float
    fitness: float
    alignment: float
    precision: float
    simplicity: float

    @property
    def score(self) -> float:
        """Harmonic mean: a workflow that allows anything is as useless as one that allows nothing.

        Of the entries that agree, not of the sessions: where noise is in every fifth session, a workflow without it
        must not lose against one that allows it. And of how simple it is: "all of these in any order" is never much
        less precise than what really runs side by side.
        """
        parts = (self.alignment, self.precision, self.simplicity)
        return len(parts) / sum(1 / part for part in parts) if min(parts) > 0 else 0.0


def workflow_of_sessions(
    paths: Sequence[Path],
    config: SessionWorkflowConfig | None = None,
    *,
    method: Method = Method.SESSIONS,
    template: Callable[[int], str] = str,
    successions: Mapping[tuple[tuple[int, ...], tuple[int, ...]], int] | None = None,
) -> Workflow:
    """Build the workflow that fits held-back sessions and allows little else.

    Parameters
    ----------
    paths : sequence of Path
        The most frequent first, as :func:`~deeplog_grpc.workflow.paths.distinct_paths` gives them.
    template : callable
        Log key -> its template.
    successions : mapping, optional
        Where a session is several tasks, each of them a path: the log keys of two paths that follow each other ->
        times; () before the first and after the last. Default: a session is one task.

    Examples
    --------
    >>> from deeplog_grpc.workflow import distinct_paths
    >>> workflow = workflow_of_sessions(distinct_paths([[1, 2, 3], [1, 3, 2]] * 20 + [[7, 8]] * 20))
    >>> len(workflow.tasks), workflow.fitness
    (2, 1.0)
    """
    config = config or SessionWorkflowConfig()
    paths = _usable(paths)
    if not paths:
        return NO_WORKFLOW
    sorted_paths = _by_task(paths, config)
    best = _best(sorted_paths, NOISE if config.noise is None else (config.noise,))
    return build_workflow(
        _blocks(sorted_paths, best.noise),
        paths,
        method=method,
        template=template,
        follows=_follows(sorted_paths, successions or {}),
        fitness=best.fitness,
    )


def _usable(paths: Sequence[Path]) -> list[Path]:
    """As many of the most frequent paths as can be looked at."""
    paths = [path for path in paths if 0 < len(path.keys) <= MAX_LENGTH][:MAX_PATHS]
    entries = accumulate(len(path.keys) for path in paths)
    return [path for path, so_far in zip(paths, entries, strict=True) if so_far <= MAX_ENTRIES]


def _by_task(paths: Sequence[Path], config: SessionWorkflowConfig) -> list[list[Path]]:
    """Paths of each task, tasks that are noise left out."""
    tasks = sort_by_task(paths, config.tasks)
    total = sum(path.count for path in paths)
    found: list[list[Path]] = [[] for _ in range(int(tasks.max()) + 1)]
    for path, task in zip(paths, tasks.tolist(), strict=True):
        found[task].append(path)
    noise = NOISE[-1] if config.noise is None else config.noise
    usual = [own for own in found if sum(path.count for path in own) > max(1.0, noise * total)]
    return usual or found[:1]


LEAST_FOLLOWED = 0.005
"""Share of the successions of tasks up to which they are noise."""


def _follows(
    sorted_paths: Sequence[Sequence[Path]], successions: Mapping[tuple[tuple[int, ...], tuple[int, ...]], int]
) -> dict[tuple[int, int], int]:
    """Successions of paths as those of their tasks."""
    task_of = {path.keys: number for number, own in enumerate(sorted_paths) for path in own} | {(): NO_TASK}
    follows: Counter[tuple[int, int]] = Counter()
    for (first, second), count in successions.items():
        if first in task_of and second in task_of:
            follows[task_of[first], task_of[second]] += count
    limit = LEAST_FOLLOWED * follows.total()
    return {pair: count for pair, count in sorted(follows.items()) if count > limit}


def _blocks(sorted_paths: Iterable[Sequence[Path]], noise: float) -> list[Block]:
    config = DiscoveryConfig(noise=noise)
    logs = [[(path.keys, float(path.count)) for path in own] for own in sorted_paths if own]
    return [with_detours(discover(log, config), log) for log in logs]


def _best(sorted_paths: Sequence[Sequence[Path]], shares: Sequence[float]) -> _Tried:
    """The share of noise whose workflow is best on sessions held back; the smaller of equally good ones."""
    learned, held_out = _divided(sorted_paths)
    flat = sorted((path for own in held_out for path in own), key=lambda path: -path.count)
    tried = []
    for noise in shares:
        workflow = build_workflow(_blocks(learned, noise), (), method=Method.SESSIONS)
        replay = Replay(workflow)
        exact = precision(replay, flat)
        tried.append(
            _Tried(
                noise=noise,
                fitness=fitness(replay, flat),
                alignment=alignment(replay, flat[:MAX_ALIGNED]),
                precision=0.0 if isnan(exact) else exact,
                simplicity=simplicity(workflow),
            )
        )
    return max(tried, key=lambda each: each.score)


def _divided(sorted_paths: Sequence[Sequence[Path]]) -> tuple[list[list[Path]], list[list[Path]]]:
    """Sessions to learn from, and every fifth one to judge by; paths stay whole."""
    learned: list[list[Path]] = []
    held_out: list[list[Path]] = []
    for own in sorted_paths:
        ends = np.cumsum([path.count for path in own])
        kept = np.diff(ends // HELD_OUT, prepend=0).tolist()
        pairs = list(zip(own, kept, strict=True))
        learned.append([replace(path, count=path.count - back) for path, back in pairs if path.count > back])
        held_out.append([replace(path, count=back) for path, back in pairs if back])
    return learned, held_out
