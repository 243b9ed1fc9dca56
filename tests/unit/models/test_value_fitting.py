from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from deeplog_grpc.models import ValueEpoch, ValueModelConfig, fit_value_model, value_parts, value_training
from deeplog_grpc.models.value_vectors import MIN_VALUES, Scale, fit_scale
from tests.value_series import noise, vectors_of, waves

CONFIG = ValueModelConfig(hidden=8, history=4, epochs=6, batch_rows=32, min_gain=None)


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    series = [vectors_of(1, waves(120, 1)), vectors_of(2, noise(130, 2))]
    first, second, other = (fit_value_model(series, CONFIG, seed=seed).model for seed in (5, 5, 6))
    for name, tensor in first.weights().items():
        assert tensor.numpy().tobytes() == second.weights()[name].numpy().tobytes()
    assert first.to_json() == second.to_json()
    assert not np.array_equal(first.weights()["input"].numpy(), other.weights()["input"].numpy())


def test_keys_trained_together_learn_what_they_learn_alone() -> None:
    wave, rest = vectors_of(1, waves(200, 1)), [vectors_of(key, noise(200, key)) for key in range(2, 7)]
    alone = fit_value_model([wave], CONFIG, seed=1).reports[0].network_loss
    together = fit_value_model([wave, *rest], CONFIG, seed=1).reports[0].network_loss
    assert alone is not None
    assert together == pytest.approx(alone, rel=1e-3)


def test_training_stops_when_no_key_gets_better() -> None:
    config = ValueModelConfig(hidden=4, history=4, epochs=500, patience=2, batch_rows=32)
    epochs: list[ValueEpoch] = []
    fit = fit_value_model([vectors_of(1, noise(150, 1))], config, on_epoch=epochs.append)
    assert 3 <= fit.epochs == len(epochs) < 500
    losses = [epoch.validation_loss for epoch in epochs]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == losses[-1 - config.patience]


def test_numbers_that_say_nothing_are_left_out_with_the_reason() -> None:
    values = noise(200, 1)
    values[:, 1] = 7.0
    report = fit_value_model([vectors_of(1, values)], CONFIG).reports[0]
    assert [(position.slot, reason) for position, reason in report.left_out] == [(0, "always the same")]
    values[:, 1] = np.nan
    report = fit_value_model([vectors_of(1, values)], CONFIG).reports[0]
    assert [reason for _, reason in report.left_out] == ["only 0 numbers"]


def test_a_key_without_numbers_has_no_rule() -> None:
    fit = fit_value_model([vectors_of(1, np.full((50, 2), np.nan))], CONFIG)
    assert (fit.model.rules, fit.model.gaps, fit.model.weights()) == ({}, {}, {})
    assert fit.reports[0].prediction.startswith("none")


def test_nothing_to_learn_from_is_a_model_that_knows_nothing() -> None:
    assert fit_value_model([], CONFIG).model.to_json() == {"rules": [], "gaps": []}


def test_only_the_last_vectors_of_a_key_are_learned_from() -> None:
    config = ValueModelConfig(max_vectors=100, min_vectors=1000)
    values = np.concatenate([noise(300, 1) * 10.0, noise(100, 2)])
    fit = fit_value_model([vectors_of(1, values)], config)
    assert fit.reports[0].vectors == 100
    assert fit.model.rules[1].scales[1].median == pytest.approx(50.0, abs=2.0)


def test_a_position_that_is_seldom_known_where_networks_learn_leaves_the_key_to_the_median() -> None:
    values = noise(400, 1)
    values[25:, 1] = np.nan
    values[:25:5, 0] = 1e9  # so that few of the first vectors have enough good ones before them
    fit = fit_value_model([vectors_of(1, values)], CONFIG)
    assert [position.slot for position in fit.reports[0].positions] == [-1, 0]
    assert fit.reports[0].prediction.startswith("median")


def test_abnormal_vectors_in_training_do_not_become_the_measure() -> None:
    values = noise(400, 1)
    values[::100, 1] = 1e12
    model = fit_value_model([vectors_of(1, values)], CONFIG).model
    assert model.rules[1].scales[1].median == pytest.approx(50.0, abs=2.0)


def test_more_vectors_than_a_chunk_holds_are_trained_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_training, "CHUNK_VECTORS", 300)
    config = ValueModelConfig(hidden=2, history=1, epochs=1, min_gain=None)
    series = [vectors_of(key, noise(count, key)) for key, count in ((1, 140), (2, 200), (3, 120))]
    chunks: list[int] = []
    fit = fit_value_model(series, config, on_epoch=lambda epoch: chunks.append(epoch.keys))
    assert chunks == [2, 1]
    assert [rule.network for rule in fit.model.rules.values()] == [0, 1, 2]


def test_transitions_that_came_too_seldom_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a stream of many sources nearly every entry comes after another pair of log keys."""
    count = 3 * MIN_VALUES
    vectors = vectors_of(2, noise(count, seed=3))
    seldom = np.column_stack([np.arange(count) + 100, np.arange(count) + 1000])
    seldom[: 2 * MIN_VALUES, 1] = 7
    seldom[:MIN_VALUES, 0] = 8
    asked: list[int] = []

    def counting(values: NDArray[np.float64], *, slack: float = 0.0) -> Scale | None:
        asked.append(len(values))
        return fit_scale(values, slack=slack)

    monkeypatch.setattr(value_parts, "fit_scale", counting)
    gaps = value_parts.fit_gaps(replace(vectors, previous=seldom), slack_s=0.1)
    assert [(gap.after, gap.errors.count) for gap in gaps] == [((7,), 2 * MIN_VALUES), ((8, 7), MIN_VALUES)]
    assert asked == [2 * MIN_VALUES, MIN_VALUES]
