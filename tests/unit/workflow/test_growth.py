from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from deeplog_grpc.models import KeyModelConfig, LogKeyModel, TrainingSession, Vocabulary, fit_key_model
from deeplog_grpc.workflow import Path, growth
from deeplog_grpc.workflow.growth import GrowthConfig, grow

PATHS = [(1, 2, 3, 4), (1, 3, 2, 4), (5, 2, 6)]
SMALL = GrowthConfig(walks=200)


@cache
def model() -> LogKeyModel:
    config = KeyModelConfig(hidden=24, embedding=8, history=4, epochs=60, patience=60, reserve=2, batch_rows=16)
    sessions = [TrainingSession(keys=list(PATHS[number % len(PATHS)])) for number in range(300)]
    vocabulary = Vocabulary.of(range(1, 7), reserve=2)
    return fit_key_model(sessions, config=config, vocabulary=vocabulary, templates=None, seed=1).model


def as_pairs(paths: tuple[Path, ...]) -> list[tuple[tuple[int, ...], int]]:
    return [(path.keys, path.count) for path in paths]


def test_what_was_trained_grows_again() -> None:
    grown = grow(model(), SMALL, seed=1)
    assert {path.keys for path in grown} == set(PATHS)
    assert sum(path.count for path in grown) == SMALL.walks
    assert min(path.count for path in grown) > SMALL.walks / len(PATHS) / 2, "as often as in training"


def test_the_same_seed_grows_the_same() -> None:
    assert as_pairs(grow(model(), SMALL, seed=3)) == as_pairs(grow(model(), SMALL, seed=3))
    assert as_pairs(grow(model(), SMALL, seed=3)) != as_pairs(grow(model(), SMALL, seed=4))


def test_longer_paths_are_left_out() -> None:
    grown = grow(model(), replace(SMALL, longest=3), seed=1)
    assert {path.keys for path in grown} == {(5, 2, 6)}


def test_what_would_need_more_histories_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "MAX_HISTORIES", 0)
    assert grow(model(), SMALL, seed=1) == ()


def test_a_model_without_begins_is_refused() -> None:
    inside = LogKeyModel.from_weights(replace(model().config, begin_end=False), model().vocabulary, model().weights())
    with pytest.raises(ValueError, match="begin_end"):
        grow(inside)


def test_branches_rarer_than_the_least_probability_are_not_found() -> None:
    probabilities = np.array([[0.9, 0.08, 0.015, 0.005]])
    assert growth._entropy(probabilities) > growth._entropy(np.array([[1.0, 0.0, 0.0, 0.0]])) == 0
    grown = grow(model(), replace(SMALL, least_probability=0.45), seed=1)
    assert {path.keys for path in grown} < set(PATHS)
