from dataclasses import replace

import numpy as np
import pytest

from deeplog_grpc.models import BEGIN, END, Epoch, Fit, KeyModelConfig, TrainingSession, fit_key_model
from deeplog_grpc.models.fitting import normal_keys

TINY = KeyModelConfig(history=3, hidden=8, embedding=4, layers=1, reserve=2, epochs=6, min_sessions=1)
PATHS = [[1, 2, 3, 4], [1, 2, 4], [1, 3, 4]]
SESSIONS = [TrainingSession(keys=PATHS[number % len(PATHS)]) for number in range(60)]


def weights_of(fit: Fit) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in fit.model.weights().items()}


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (fit_key_model(SESSIONS, TINY, seed=seed) for seed in (3, 3, 4))
    assert weights_of(first) == weights_of(again)
    assert first.epochs == again.epochs
    assert weights_of(first) != weights_of(other)


def test_progress_is_told_after_each_pass() -> None:
    told: list[Epoch] = []
    fit = fit_key_model(SESSIONS, TINY, on_epoch=told.append)
    assert tuple(told) == fit.epochs
    assert [epoch.number for epoch in told] == list(range(1, len(told) + 1))


def test_learning_lowers_the_loss() -> None:
    epochs = fit_key_model(SESSIONS, replace(TINY, epochs=30, patience=30)).epochs
    assert epochs[-1].validation_loss < 0.7 * epochs[0].validation_loss


def test_training_stops_when_the_held_back_loss_no_longer_falls() -> None:
    config = replace(TINY, epochs=400, patience=3, learning_rate=0.3)
    epochs = fit_key_model(SESSIONS, config).epochs
    assert len(epochs) < 400
    assert not any(epoch.best for epoch in epochs[-3:])
    assert epochs[-4].best


def test_the_weights_of_the_best_pass_are_kept() -> None:
    config = replace(TINY, epochs=400, patience=3, learning_rate=0.3)
    fit = fit_key_model(SESSIONS, config)
    best = max(epoch.number for epoch in fit.epochs if epoch.best)
    windows = np.full((1, 3), BEGIN, np.int64)
    # Every session begins with key 1, so the loss of the best pass shows in this probability; the last pass is worse.
    assert best < len(fit.epochs)
    assert fit.model.predict(windows)[0].best(1) == fit.model.vocabulary.units([1]).tolist()
    assert min(epoch.validation_loss for epoch in fit.epochs) == fit.epochs[best - 1].validation_loss


def test_the_counts_are_of_the_training_part_alone() -> None:
    fit = fit_key_model(SESSIONS, replace(TINY, validation_share=0.5))
    assert fit.validation_sessions == 30
    assert 30 * 4 <= fit.windows <= 30 * 5


def test_one_session_is_trained_on_and_not_held_back() -> None:
    fit = fit_key_model([TrainingSession(keys=[1, 2, 3])], TINY)
    assert (fit.validation_sessions, fit.windows) == (0, 4)


@pytest.mark.parametrize(
    ("sessions", "config"),
    [
        ([], TINY),
        ([TrainingSession(keys=[1, 2, 3])], replace(TINY, begin_end=False)),
        ([TrainingSession(keys=[], ends=False)], TINY),
    ],
)
def test_too_little_to_learn_from(sessions: list[TrainingSession], config: KeyModelConfig) -> None:
    with pytest.raises(ValueError, match="no window to learn from"):
        fit_key_model(sessions, config)


def test_keys_are_normal_from_five_sessions_on_or_one_in_a_thousand_if_that_is_fewer() -> None:
    common, rare = TrainingSession(keys=[1]), TrainingSession(keys=[1, 2, 2, 2, 2, 2, 2])
    assert normal_keys([common] * 999 + [rare], 5) == [1, 2]  # one session in a thousand
    assert normal_keys([common] * 1000 + [rare], 5) == [1]  # repeats inside a session do not count
    assert normal_keys([common] * 9995 + [rare] * 5, 5) == [1, 2]
    assert normal_keys([common] * 9996 + [rare] * 4, 5) == [1]
    assert normal_keys([common] * 9999 + [rare], 1) == [1, 2]


def test_a_rare_key_gets_no_unit() -> None:
    sessions = [TrainingSession(keys=[1, 2, 3])] * 1500 + [TrainingSession(keys=[1, 9, 3])]
    fit = fit_key_model(sessions, replace(TINY, epochs=1, min_sessions=5))
    assert fit.model.vocabulary.keys == (1, 2, 3)


def test_true_ends_are_expected_and_others_are_not() -> None:
    fit = fit_key_model(SESSIONS, replace(TINY, epochs=40, patience=40))
    units = fit.model.vocabulary.units([1, 2, 3, 4])
    at_end, in_the_middle = fit.model.predict(np.array([units[1:], [BEGIN, units[0], units[1]]], np.int64))
    assert in_the_middle.log_probabilities[END] < at_end.log_probabilities[END]
