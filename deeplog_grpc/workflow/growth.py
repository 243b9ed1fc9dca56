"""Method 1: workflows grown from what the log key LSTM predicts (CCS'17, section 4.2).

A history is a state. From the begin of a session the model says what comes next, and each of these keys makes the
next history; so the workflow grows key by key. Longer histories are tried before shorter ones, and the one whose
prediction is most certain counts: that tells tasks that share a segment apart. Where several keys may follow, all of
them are taken in turn. The paths that grow so are then read as sessions are: what runs side by side comes in all
orders, what is a choice never in one path, a loop comes again.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from deeplog_grpc.models import BEGIN, END, UNSEEN
from deeplog_grpc.workflow.paths import Path, distinct_paths

if TYPE_CHECKING:  # the models need torch
    from deeplog_grpc.models import LogKeyModel

MAX_HISTORIES = 200_000
"""Histories that are asked about at most; what would need more is not followed."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class GrowthConfig:
    """The paper's tolerances, which it does not give."""

    certain: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    """Probability from which on a key is the only one that follows ("probability 1"): with 2 % of the entries noise,
    a step that nothing else replaces keeps more than that."""
    least_probability: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Probability below which a key is not a candidate: noise, or what the model could not rule out. Branches taken
    less often are not found."""
    walks: Annotated[int, Field(ge=10, le=1_000_000)] = 1_000
    """Paths that are grown: enough to see every pair of keys of four branches side by side in both orders."""
    longest: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Keys of a path at most; a longer one goes in circles, and is left out."""
    shorter: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5,)
    """Shorter histories that are tried too, as shares of the model's h."""


class _Grower:
    """Asks the model about histories, each once."""

    def __init__(self, model: "LogKeyModel", config: GrowthConfig) -> None:
        self._model = model
        self._config = config
        self._known: dict[tuple[int, ...], tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        history = model.config.history
        self._lengths = [history, *(max(1, round(share * history)) for share in config.shorter)]

    def ask(self, windows: Sequence[tuple[int, ...]]) -> None:
        """Find out what follows some histories."""
        new = [window for window in dict.fromkeys(windows) if window not in self._known]
        if not new or len(self._known) > MAX_HISTORIES:
            return
        rows = np.array(new, np.int64)
        best = self._probabilities(rows)
        for length in self._lengths[1:]:
            hidden = rows.copy()
            hidden[:, : rows.shape[1] - length] = UNSEEN
            other = self._probabilities(hidden)
            surer = _entropy(other) < _entropy(best)
            best[surer] = other[surer]
        for window, row in zip(new, best, strict=True):
            units = np.flatnonzero(row)
            self._known[window] = (units, np.cumsum(row[units]))

    def next(self, window: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """Candidates after a history, with the sums of their probabilities; None where it was not asked about."""
        return self._known.get(window)

    def _probabilities(self, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities of the candidates, 0 for all else, each row summing to 1. Shape [n, units]."""
        rows = np.array([p.log_probabilities for p in self._model.predict(windows)], np.float64)
        probabilities = np.exp(rows)
        config = self._config
        most = probabilities.max(axis=1, keepdims=True)
        probabilities[probabilities < config.least_probability] = 0.0
        probabilities[(most >= config.certain) & (probabilities < most)] = 0.0
        sums = probabilities.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = probabilities / np.maximum(sums, np.finfo(np.float64).tiny)
        return shares


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """In nats. Shape [n, units] -> [n]."""
    logs = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    entropy: NDArray[np.float64] = -(probabilities * logs).sum(axis=1)
    return entropy


def grow(model: "LogKeyModel", config: GrowthConfig | None = None, *, seed: int = 0) -> tuple[Path, ...]:
    """Paths from the begin of sessions to their ends, as the model predicts them.

    Raises
    ------
    ValueError
        If the model does not know begin and end (``key_model.begin_end`` off).
    """
    config = config or GrowthConfig()
    if not model.config.begin_end:
        raise ValueError("the model knows no begin of sessions: train with key_model.begin_end")
    grower, rng = _Grower(model, config), np.random.default_rng(seed)
    history, key_of = model.config.history, model.vocabulary.key_of
    open_paths: list[list[int]] = [[] for _ in range(config.walks)]
    ended: list[list[int]] = []
    for _ in range(config.longest + 1):
        windows = [(*[BEGIN] * (history - len(path)), *path[-history:]) for path in open_paths]
        grower.ask(windows)
        going_on = []
        for path, window, chance in zip(open_paths, windows, rng.random(len(open_paths)).tolist(), strict=True):
            found = grower.next(window)
            if found is None or not len(found[0]):
                continue
            unit = int(found[0][min(int(np.searchsorted(found[1], chance)), len(found[0]) - 1)])
            if unit == END:
                ended.append(path)
            else:
                going_on.append([*path, unit])
        open_paths = going_on
        if not open_paths:
            break
    return distinct_paths([[key_of(unit) for unit in path] for path in ended])
