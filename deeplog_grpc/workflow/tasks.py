"""Sessions sorted by the task that they are, where each session is one task.

Sessions of one task share most of their log keys, whichever branches they took; sessions of two tasks share segments
at most. So sets of log keys that overlap by enough are one task, and so are those joined by a chain of such sets.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from deeplog_grpc.workflow.paths import Path
from deeplog_grpc.workflow.relations import groups

MAX_SETS = 2_000
"""Distinct sets of log keys that are compared with each other, the most frequent ones; the rest go to the nearest."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class TaskConfig:
    """What makes two sessions one task."""

    overlap: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Least share of log keys in common (of those in either) of two sessions of one task, or of two links of a chain.
    Tasks that share a third of their steps stay apart; two ways through a task need only have ways between them that
    differ by one branch."""
    likeness: Annotated[float, Field(gt=0, le=1)] = 0.6
    """From this share on, two sessions are one task without a second look."""
    bridge: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the pairs of sessions, one of each side, that must overlap to make one task of two sides: a session in
    which noise put an entry of another task must not join them."""


def sort_by_task(paths: Sequence[Path], config: TaskConfig | None = None) -> NDArray[np.int64]:
    """Number of the task of each path, the most frequent task first.

    Returns
    -------
    int64 array [paths]

    Examples
    --------
    >>> from deeplog_grpc.workflow.paths import distinct_paths
    >>> paths = distinct_paths([[1, 2, 3, 4]] * 3 + [[1, 2, 4]] * 2 + [[1, 7, 8, 9]])
    >>> sort_by_task(paths).tolist()
    [0, 0, 1]
    """
    config = config or TaskConfig()
    weights: Counter[frozenset[int]] = Counter()
    for path in paths:
        weights[frozenset(path.keys)] += path.count
    ordered = sorted(weights, key=lambda keys: (-weights[keys], sorted(keys)))
    has = _members(ordered)
    weight = np.array([weights[keys] for keys in ordered], np.float64)
    near, own = has[:MAX_SETS], weight[:MAX_SETS]
    overlaps = _overlaps(near, near)
    found = _joined(_alike(overlaps, config.likeness), overlaps >= config.overlap, own, config.bridge)
    found.sort(key=lambda group: -own[group].sum())
    task_of = np.zeros(len(ordered), np.int64)
    for number, group in enumerate(found):
        task_of[group] = number
    for start in range(MAX_SETS, len(ordered), MAX_SETS):
        rows = slice(start, start + MAX_SETS)
        task_of[rows] = task_of[_overlaps(has[rows], near).argmax(axis=1)]
    number_of = {keys: int(task) for keys, task in zip(ordered, task_of, strict=True)}
    return np.array([number_of[frozenset(path.keys)] for path in paths], np.int64)


def _alike(overlaps: NDArray[np.float32], likeness: float) -> list[list[int]]:
    """Sets put to the most alike one of those more frequent, if it is alike enough."""
    count = len(overlaps)
    linked = np.zeros((count, count), np.bool_)
    for row in range(1, count):
        nearest = int(overlaps[row, :row].argmax())
        linked[row, nearest] = overlaps[row, nearest] >= likeness
    return groups(linked)


def _joined(
    parts: list[list[int]], near: NDArray[np.bool_], weight: NDArray[np.float64], bridge: float
) -> list[list[int]]:
    """Groups of sets joined where enough pairs of sessions overlap."""
    belongs = np.zeros((len(parts), len(weight)))
    for number, part in enumerate(parts):
        belongs[number, part] = weight[part]
    of_part = belongs.sum(axis=1)
    share = belongs @ near @ belongs.T / (of_part[:, None] * of_part[None])
    return [[row for number in group for row in parts[number]] for group in groups(share > bridge)]


def _members(sets: Sequence[frozenset[int]]) -> NDArray[np.float32]:
    """Which log keys are in which set. Shape [sets, keys]."""
    column_of = {key: column for column, key in enumerate(sorted(frozenset().union(*sets)))}
    has = np.zeros((len(sets), len(column_of)), np.float32)
    for row, keys in enumerate(sets):
        has[row, [column_of[key] for key in keys]] = 1.0
    return has


def _overlaps(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of keys in common of those in either (Jaccard). Shape [n, k], [m, k] -> [n, m]."""
    common = one @ other.T
    either = one.sum(axis=1)[:, None] + other.sum(axis=1)[None] - common
    shares: NDArray[np.float32] = common / np.maximum(either, 1.0)
    return shares
