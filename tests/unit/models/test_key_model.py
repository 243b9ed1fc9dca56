from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
import torch

from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.models import BEGIN, END, UNSEEN, KeyModelConfig, LogKeyModel
from deeplog_grpc.models.key_model import CHUNK_ROWS, NO_LOG_PROBABILITY, Prediction, rank_units
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT


def some_windows(model: LogKeyModel, count: int) -> np.ndarray:
    units = np.random.default_rng(5).integers(0, model.vocabulary.assigned, (count, model.config.history))
    return np.where(units == END, UNSEEN, units).astype(np.int64)


def ranks(*probabilities: float) -> list[int]:
    """Of all units."""
    row = np.log(np.array(probabilities, np.float32))
    found: list[int] = rank_units(np.tile(row, (len(row), 1)), np.arange(len(row))).tolist()
    return found


def test_equal_probabilities_rank_by_unit() -> None:
    assert ranks(*[0.25] * (FIRST_KEY_UNIT + 4))[FIRST_KEY_UNIT:] == [1, 2, 3, 4]
    assert ranks(0.1, 0.1, 0.1, 0.2, 0.3, 0.2, 0.3)[FIRST_KEY_UNIT:] == [3, 1, 4, 2]


def test_special_units_take_no_place_among_the_keys() -> None:
    found = ranks(0.9, 0.5, 0.9, 0.1, 0.4, 0.2)
    assert found[FIRST_KEY_UNIT:] == [3, 1, 2]
    assert found[END] == 1
    assert ranks(0.9, 0.3, 0.9, 0.1, 0.4, 0.2)[END] == 2


@pytest.mark.parametrize("size", [4, 60, 3000])
def test_ranks_are_the_places_in_a_stable_sort(size: int) -> None:
    rng = np.random.default_rng(3)
    rows = rng.choice(rng.normal(size=size // 2).astype(np.float32), (200, size))  # so that many are equal
    units = rng.integers(FIRST_KEY_UNIT, size, len(rows))
    order = np.argsort(-rows[:, FIRST_KEY_UNIT:], axis=1, kind="stable") + FIRST_KEY_UNIT
    assert rank_units(rows, units).tolist() == [
        1 + own.tolist().index(unit) for own, unit in zip(order, units.tolist(), strict=True)
    ]
    for row, own in zip(rows, order, strict=True):
        assert Prediction(log_probabilities=row).best(9) == own[:9].tolist()


def test_a_window_has_the_same_answer_wherever_it_stands_and_whatever_is_beside_it(trained: ApplicationModel) -> None:
    model = trained.key_model
    windows = some_windows(model, 1000)
    together = model.predict(windows)
    for position in (0, 1, 63, 64, 500, 999):
        rolled = np.roll(windows, 7 - position, axis=0)
        alone = model.predict(windows[position : position + 1])[0]
        others = [model.predict(rolled[:count])[7] for count in (8, 9, 17, 30, 50, CHUNK_ROWS, 70)]
        for other in (alone, *others):
            assert other.log_probabilities.tobytes() == together[position].log_probabilities.tobytes()


def test_where_smaller_shapes_round_otherwise_only_full_chunks_are_asked(
    trained: ApplicationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh() -> LogKeyModel:
        return LogKeyModel.from_weights(model.config, model.vocabulary, model.weights())

    def rounding(*arguments: Any) -> tuple[torch.Tensor, ...]:
        rows.append(len(arguments[0]))
        states, *rest = lstm(*arguments)
        return states + 1e-7 * (len(states) != CHUNK_ROWS), *rest

    model, lstm, rows = trained.key_model, torch.lstm, list[int]()
    windows = some_windows(model, 70)
    expected = fresh().read(windows)
    monkeypatch.setattr(torch, "lstm", rounding)
    other = fresh()
    assert other.read(windows[:3]).tobytes() == expected[:3].tobytes()
    rows.clear()
    assert other.read(windows).tobytes() == expected.tobytes()
    assert rows == [CHUNK_ROWS] * 2


def test_few_windows_take_a_small_pass_where_it_rounds_alike(
    trained: ApplicationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogKeyModel, "_rounds_alike", lambda self: True)
    model = LogKeyModel.from_weights(
        trained.key_model.config, trained.key_model.vocabulary, trained.key_model.weights()
    )
    rows, lstm = list[int](), torch.lstm

    def counted(*arguments: Any) -> tuple[torch.Tensor, ...]:
        rows.append(len(arguments[0]))
        return lstm(*arguments)

    monkeypatch.setattr(torch, "lstm", counted)
    for count in (1, 9, 65):
        model.read(some_windows(model, count))
    assert rows == [8, 16, 64, 8]


def test_a_unit_is_placed_as_among_all(trained: ApplicationModel) -> None:
    model = trained.key_model
    windows = some_windows(model, 100)
    units = np.random.default_rng(6).integers(FIRST_KEY_UNIT, model.vocabulary.assigned, len(windows))
    units[::5] = END
    own, places = model.place(model.read(windows), units)
    predictions = model.predict(windows)
    for number, (prediction, unit) in enumerate(zip(predictions, units.tolist(), strict=True)):
        assert (own[number], places[number]) == (prediction.log_probabilities[unit], prediction.rank(unit))
    assert model.log_probabilities(windows, units).tolist() == own.tolist()


def test_no_windows_no_answers(trained: ApplicationModel) -> None:
    assert trained.key_model.predict(np.zeros((0, 10), np.int64)) == []


def test_a_kept_prediction_does_not_keep_its_chunk(trained: ApplicationModel) -> None:
    prediction = trained.key_model.predict(some_windows(trained.key_model, CHUNK_ROWS))[0]
    assert prediction.log_probabilities.base is None


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
    assert [prediction.rank(unit) for unit in best] == [1, 2, 3, 4, 5]
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
