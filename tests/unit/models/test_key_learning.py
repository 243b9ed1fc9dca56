from functools import cache
from math import inf, nan

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deeplog_grpc.models import (
    BEGIN,
    END,
    UNSEEN,
    KeyLessons,
    KeyModelConfig,
    LogKeyModel,
    TrainingSession,
    Vocabulary,
    count_windows,
    fit_key_model,
    key_learning,
    learn_keys,
    with_new_keys,
)
from deeplog_grpc.models.key_learning import LESSONS, MARGIN, MAX_STEPS, RARE_NATS

HISTORY = 4
PATHS = [[1, 2, 3, 4, 5, 6], [1, 2, 2, 3, 4, 5, 6], [1, 2, 3, 5, 4, 6], [1, 2, 3, 7, 3, 4, 5, 6]]
VOCABULARY = Vocabulary.of(range(1, 8), reserve=2)
UNIT = VOCABULARY.unit_table()
LIMIT = 5.0
ROUNDING = 1e-4
NO_WINDOWS = np.zeros((0, HISTORY), np.int64)


@cache
def model() -> LogKeyModel:
    config = KeyModelConfig(hidden=16, embedding=8, history=HISTORY, epochs=60, patience=60, reserve=2, batch_rows=16)
    sessions = [TrainingSession(keys=PATHS[number % len(PATHS)]) for number in range(80)]
    return fit_key_model(sessions, config=config, vocabulary=VOCABULARY, templates=None, seed=1).model


@cache
def known_windows() -> NDArray[np.int64]:
    paths = [VOCABULARY.units(path) for path in PATHS]
    return count_windows(paths, begins=[True] * 4, ends=[True] * 4, history=HISTORY).windows


def lessons(*pairs: tuple[list[int], int], nats: float = LIMIT, rank: int = 0) -> KeyLessons:
    """Log keys, or END, after log keys."""
    windows = [[*[BEGIN] * (HISTORY - len(keys)), *(UNIT[key] for key in keys)] for keys, _ in pairs]
    units = [unit if unit == END else UNIT[unit] for _, unit in pairs]
    return KeyLessons(
        windows=np.array(windows, np.int64).reshape(-1, HISTORY),
        units=np.array(units, np.int64),
        nats=np.full(len(pairs), nats),
        ranks=np.full(len(pairs), rank, np.int64),
        margins=np.full(len(pairs), MARGIN),
    )


NONE = lessons()
ODD = ([1, 2], 6)


def nats_of(judge: LogKeyModel, wanted: KeyLessons) -> NDArray[np.float64]:
    return -judge.log_probabilities(wanted.windows, wanted.units)


def places_of(judge: LogKeyModel, wanted: KeyLessons) -> list[int]:
    predictions = judge.predict(wanted.windows)
    return [p.rank(unit) for p, unit in zip(predictions, wanted.units.tolist(), strict=True)]


def said_at(judge: LogKeyModel, windows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-probabilities of what training knew. Shape [n, units]."""
    found = np.array([p.log_probabilities for p in judge.predict(windows)], np.float64)
    return found[:, [END, *UNIT.values()]]


@pytest.mark.parametrize("pair", [ODD, ([], 5), ([1, 2, 3], END), ([7, 7, 7, 7], 1)])
def test_a_pair_becomes_usual_with_the_margin(pair: tuple[list[int], int]) -> None:
    wanted = lessons(pair)
    assert nats_of(model(), wanted)[0] > LIMIT
    found = learn_keys(model(), wanted, known=NONE, anchors=known_windows(), seed=1)
    assert nats_of(found.model, wanted)[0] <= LIMIT - MARGIN + ROUNDING
    assert (found.lacking, 0 < found.steps <= MAX_STEPS) == (0, True)


def test_the_old_model_is_not_touched() -> None:
    before = {name: tensor.clone() for name, tensor in model().weights().items()}
    learn_keys(model(), lessons(ODD), known=NONE, anchors=known_windows(), seed=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model().weights().items())


@pytest.mark.parametrize("wanted", [NONE, lessons(([1], 2)), lessons(ODD, nats=inf), lessons(([1], 2), rank=1)])
def test_where_nothing_lacks_nothing_is_done(wanted: KeyLessons) -> None:
    found = learn_keys(model(), wanted, known=NONE, anchors=known_windows(), seed=1)
    assert (found.model is model(), found.steps, found.lacking) == (True, 0, 0)


def test_what_is_inside_the_limit_without_the_margin_is_learned_once_more() -> None:
    wanted = lessons(ODD, nats=float(nats_of(model(), lessons(ODD))[0]) + MARGIN / 2)
    assert learn_keys(model(), wanted, known=NONE, anchors=known_windows(), seed=1).steps > 0


def test_what_was_known_stays_as_it_was() -> None:
    found = learn_keys(model(), lessons(ODD, ([], 5)), known=NONE, anchors=known_windows(), seed=1)
    old, new = said_at(model(), known_windows()), said_at(found.model, known_windows())
    divergence = (np.exp(old) * (old - new)).sum(axis=1)
    assert (divergence.mean() < 0.1, divergence.max() < 0.5) == (True, True)
    assert (old.argmax(axis=1) == new.argmax(axis=1)).all()
    likely = old > np.log(0.05)
    assert (new[likely] > old[likely] - 1.0).all()


def test_without_anchors_a_pair_is_learned_all_the_same() -> None:
    found = learn_keys(model(), lessons(ODD), known=NONE, anchors=NO_WINDOWS, seed=1)
    assert found.lacking == 0


@pytest.mark.parametrize("rank", [1, 2, 3, 7, 500])
def test_a_place_among_the_predictions_is_learned(rank: int) -> None:
    wanted = lessons(ODD, nats=inf, rank=rank)
    found = learn_keys(model(), wanted, known=NONE, anchors=known_windows(), seed=1)
    assert places_of(found.model, wanted)[0] <= rank
    assert (found.lacking, found.steps < MAX_STEPS) == (0, True)


def test_a_place_and_a_probability_are_learned_together() -> None:
    wanted = lessons(ODD, ([], 5), nats=LIMIT, rank=2)
    found = learn_keys(model(), wanted, known=NONE, anchors=known_windows(), seed=1)
    assert max(places_of(found.model, wanted)) <= 2
    assert nats_of(found.model, wanted).max() <= LIMIT


def test_an_earlier_lesson_that_is_pushed_out_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, later = lessons(([7, 7, 7], 5), nats=1.1), lessons(([7, 7, 7], 6), nats=0.9)
    before = learn_keys(model(), earlier, known=NONE, anchors=known_windows(), seed=1).model
    monkeypatch.setattr(key_learning, "ANCHOR_WEIGHT", 0.0)
    found = learn_keys(before, later, known=earlier, anchors=known_windows(), seed=2)
    assert found.lacking == 0
    assert nats_of(found.model, earlier)[0] <= 1.1
    assert nats_of(found.model, later)[0] <= 0.9
    careless = learn_keys(before, later, known=NONE, anchors=known_windows(), seed=2)
    assert nats_of(careless.model, earlier)[0] > 1.1


def test_more_lessons_than_a_step_has_are_all_learned() -> None:
    keys = list(UNIT)
    wanted = lessons(*(([a, b, c], 5 + (a + b) % 2) for a in keys for b in keys for c in keys), nats=2.5)
    assert (nats_of(model(), wanted) > 2.5).sum() > 2 * LESSONS
    found = learn_keys(model(), wanted, known=NONE, anchors=known_windows(), seed=1)
    assert found.lacking == 0
    assert (nats_of(found.model, wanted) <= 2.5).all()


def test_what_cannot_be_learned_is_counted_and_the_steps_are_bounded() -> None:
    wanted = lessons(([1], 5), ([1], 6), nats=0.1)
    found = learn_keys(model(), wanted, known=NONE, anchors=known_windows(), seed=1)
    assert (found.steps, found.lacking >= 1) == (MAX_STEPS, True)


def test_weights_that_are_no_numbers_are_an_error() -> None:
    network = model().copy_of_network()
    with torch.no_grad():
        network.output.bias[UNIT[3]] = torch.nan
    broken = LogKeyModel(model().config, VOCABULARY, network)
    with pytest.raises(ValueError, match="not a finite number"):
        learn_keys(broken, lessons(ODD), known=NONE, anchors=known_windows(), seed=1)


def test_a_loss_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_learning, "ANCHOR_WEIGHT", nan)
    with pytest.raises(ValueError, match="not a finite number"):
        learn_keys(model(), lessons(ODD), known=NONE, anchors=known_windows(), seed=1)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (
        learn_keys(model(), lessons(ODD), known=lessons(([1], 2)), anchors=known_windows(), seed=seed).model.weights()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


def with_keys(*keys: int, usual_nats: float = LIMIT) -> LogKeyModel:
    return with_new_keys(model(), keys, known_windows(), usual_nats=usual_nats)


def test_keys_that_have_a_unit_are_passed_over() -> None:
    assert with_keys() is model()
    assert with_keys(1, 7) is model()
    assert with_keys(1, 90, 90, 7).vocabulary.keys == (*VOCABULARY.keys, 90)


@pytest.mark.parametrize(
    ("keys", "size"), [((90,), 12), ((90, 91), 12), ((90, 91, 92), 16), (tuple(range(90, 120)), 70)]
)
def test_new_keys_take_units_of_the_reserve_and_beyond_it_the_network_grows(keys: tuple[int, ...], size: int) -> None:
    grown = with_keys(*keys)
    assert grown.vocabulary.keys == (*VOCABULARY.keys, *keys)
    assert grown.vocabulary.size == size
    for name, tensor in model().weights().items():
        ours = grown.weights()[name]
        old = VOCABULARY.assigned if name.startswith(("embedding", "output")) else len(tensor)
        assert torch.equal(ours[:old], tensor[:old])


@pytest.mark.parametrize("count", [1, 3])
def test_a_new_key_is_usual_nearly_anywhere_and_takes_little_from_the_others(count: int) -> None:
    keys = range(90, 90 + count)
    grown = with_keys(*keys)
    units = [grown.vocabulary.unit_table()[key] for key in keys]
    found = np.array([p.log_probabilities[units] for p in grown.predict(known_windows())])
    assert (-found <= LIMIT - MARGIN / 2).mean() > 0.95
    change = said_at(model(), known_windows()) - said_at(grown, known_windows())
    assert (change >= -ROUNDING).all()
    # What the new ones get is all that the others lose.
    assert np.allclose(change, -np.log1p(-np.exp(found).sum(axis=1))[:, None], atol=1e-3)


def test_where_any_probability_is_usual_a_new_key_is_rare_and_takes_nothing_from_the_others() -> None:
    grown = with_keys(90, usual_nats=inf)
    unit = grown.vocabulary.unit_table()[90]
    found = np.array([p.log_probabilities[unit] for p in grown.predict(known_windows())])
    assert np.quantile(found, 0.01) > -RARE_NATS - 0.1
    change = np.abs(said_at(model(), known_windows()) - said_at(grown, known_windows()))
    assert np.median(change) < 0.01
    same_places = [
        p.best(1) == q.best(1) and q.rank(unit) > 1
        for p, q in zip(model().predict(known_windows()), grown.predict(known_windows()), strict=True)
    ]
    assert all(same_places)


def test_after_a_new_key_all_is_predicted_as_after_an_unseen_one() -> None:
    grown = with_keys(90)
    unit = grown.vocabulary.unit_table()[90]
    windows = known_windows().copy()
    windows[:, -1] = unit
    unseen = windows.copy()
    unseen[:, -1] = UNSEEN
    assert np.array_equal(said_at(grown, windows), said_at(grown, unseen))


def test_a_new_key_is_learned_in_its_place_like_any_other() -> None:
    grown = with_keys(90)
    wanted = KeyLessons(
        windows=known_windows()[:1],
        units=np.array([grown.vocabulary.unit_table()[90]]),
        nats=np.array([1.0]),
        ranks=np.array([1]),
        margins=np.array([MARGIN]),
    )
    found = learn_keys(grown, wanted, known=NONE, anchors=known_windows(), seed=1)
    assert (found.lacking, places_of(found.model, wanted)) == (0, [1])


@pytest.mark.parametrize("usual_nats", [LIMIT, inf])
def test_without_windows_a_new_key_gets_a_unit_all_the_same(usual_nats: float) -> None:
    grown = with_new_keys(model(), [90], NO_WINDOWS, usual_nats=usual_nats)
    assert np.isfinite(said_at(grown, known_windows())).all()
    found = learn_keys(grown, lessons(ODD), known=NONE, anchors=NO_WINDOWS, seed=1)
    assert found.lacking == 0
