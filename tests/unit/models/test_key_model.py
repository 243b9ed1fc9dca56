from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.models import BEGIN, END, UNSEEN, KeyModelConfig, LogKeyModel
from deeplog_grpc.models.key_model import CHUNK_ROWS, NO_LOG_PROBABILITY, rank_units
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT


def some_windows(model: LogKeyModel, count: int) -> np.ndarray:
    units = np.random.default_rng(5).integers(0, model.vocabulary.assigned, (count, model.config.history))
    return np.where(units == END, UNSEEN, units).astype(np.int64)


def test_equal_probabilities_rank_by_unit() -> None:
    rows = np.zeros((3, FIRST_KEY_UNIT + 4), np.float32)
    assert rank_units(rows)[:, FIRST_KEY_UNIT:].tolist() == [[1, 2, 3, 4]] * 3


def test_special_units_take_no_place_among_the_keys() -> None:
    row = np.log(np.array([[0.9, 0.5, 0.9, 0.1, 0.4, 0.2]], np.float32))
    ranks = rank_units(row)[0]
    assert ranks[FIRST_KEY_UNIT:].tolist() == [3, 1, 2]
    assert ranks[END] == 1
    assert rank_units(np.log(np.array([[0.9, 0.3, 0.9, 0.1, 0.4, 0.2]], np.float32)))[0][END] == 2


def test_a_window_has_the_same_answer_wherever_it_stands_and_whatever_is_beside_it(trained: ApplicationModel) -> None:
    model = trained.key_model
    windows = some_windows(model, 1000)
    together = model.predict(windows)
    for position in (0, 1, 63, 64, 500, 999):
        alone = model.predict(windows[position : position + 1])[0]
        among_64 = model.predict(np.roll(windows, 7 - position, axis=0)[:CHUNK_ROWS])[7]
        for other in (alone, among_64):
            assert other.log_probabilities.tobytes() == together[position].log_probabilities.tobytes()
            assert other.ranks.tobytes() == together[position].ranks.tobytes()


def test_no_windows_no_answers(trained: ApplicationModel) -> None:
    assert trained.key_model.predict(np.zeros((0, 10), np.int64)) == []


def test_a_kept_prediction_does_not_keep_its_chunk(trained: ApplicationModel) -> None:
    prediction = trained.key_model.predict(some_windows(trained.key_model, CHUNK_ROWS))[0]
    assert prediction.log_probabilities.base is None
    assert prediction.ranks.base is None


def test_probabilities_sum_to_one_over_keys_and_end(trained: ApplicationModel) -> None:
    for prediction in trained.key_model.predict(some_windows(trained.key_model, 10)):
        keys = np.exp(prediction.log_probabilities[FIRST_KEY_UNIT : trained.key_model.vocabulary.assigned]).sum()
        assert keys + np.exp(prediction.log_probabilities[END]) == pytest.approx(1, abs=1e-5)


def test_reserve_and_input_units_are_never_predicted(trained: ApplicationModel) -> None:
    model = trained.key_model
    assert model.vocabulary.size > model.vocabulary.assigned
    for prediction in model.predict(some_windows(model, 20)):
        impossible = [BEGIN, UNSEEN, *range(model.vocabulary.assigned, model.vocabulary.size)]
        assert (prediction.log_probabilities[impossible] < NO_LOG_PROBABILITY / 2).all()
        assert set(prediction.best(10_000)) <= set(range(FIRST_KEY_UNIT, model.vocabulary.assigned))


def test_without_begin_and_end_the_end_is_not_predicted(trained: ApplicationModel) -> None:
    model = trained.key_model
    other = LogKeyModel.from_weights(replace(model.config, begin_end=False), model.vocabulary, model.weights())
    assert other.predict(some_windows(model, 1))[0].log_probabilities[END] < NO_LOG_PROBABILITY / 2


def test_best_is_in_order_of_probability(trained: ApplicationModel) -> None:
    prediction = trained.key_model.predict(some_windows(trained.key_model, 1))[0]
    best = prediction.best(5)
    assert [int(prediction.ranks[unit]) for unit in best] == [1, 2, 3, 4, 5]
    assert sorted(prediction.log_probabilities[best].tolist(), reverse=True) == (
        prediction.log_probabilities[best].tolist()
    )


def test_weights_make_the_same_model_again(trained: ApplicationModel) -> None:
    model = trained.key_model
    again = LogKeyModel.from_weights(model.config, model.vocabulary, model.weights())
    windows = some_windows(model, 70)
    for one, other in zip(model.predict(windows), again.predict(windows), strict=True):
        assert one.log_probabilities.tobytes() == other.log_probabilities.tobytes()


@pytest.mark.parametrize("value", [float("nan"), inf])
def test_weights_that_are_not_finite_are_refused_by_name(trained: ApplicationModel, value: float) -> None:
    model = trained.key_model
    weights = {name: tensor.clone() for name, tensor in model.weights().items()}
    weights["output.bias"][0] = value
    with pytest.raises(ValueError, match=r"not finite: output\.bias"):
        LogKeyModel.from_weights(model.config, model.vocabulary, weights)


def test_weights_missing_too_many_or_of_another_shape_are_refused(trained: ApplicationModel) -> None:
    model = trained.key_model
    weights = model.weights()
    less = {name: tensor for name, tensor in weights.items() if name != "output.bias"}
    for wrong in (less, {**weights, "more": torch.zeros(1)}, {**weights, "output.bias": torch.zeros(1)}):
        with pytest.raises(ValueError, match="do not fit"):
            LogKeyModel.from_weights(model.config, model.vocabulary, wrong)


@pytest.mark.parametrize(
    "wrong", [{"history": 0}, {"hide_share": float("nan")}, {"validation_share": 1.0}, {"hiden": 3}]
)
def test_a_wrong_option_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KeyModelConfig(**wrong)  # type: ignore[arg-type]
