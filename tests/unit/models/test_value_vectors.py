import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.models.value_vectors import ELAPSED, MIN_VALUES, KeyVectors, Position, Scale, fit_scale

RANDOM = np.random.default_rng(0)
NORMAL, HEAVY = RANDOM.normal(20.0, 2.0, 300), RANDOM.lognormal(1.0, 1.2, 300)


@pytest.mark.parametrize(
    "training", [NORMAL, HEAVY, np.full(50, 7.0), np.zeros(50), np.full(50, np.inf), HEAVY * 1e-280, NORMAL * 1e-150]
)
@given(value=st.floats(allow_nan=True, allow_infinity=True))
def test_any_number_has_a_finite_place_and_a_missing_one_none(training: np.ndarray, value: float) -> None:
    scale = fit_scale(training)
    assert scale is not None
    place = scale.normalise(np.array([value]))[0]
    assert np.isnan(place) == np.isnan(value)
    assert np.isnan(value) or np.isfinite(place)


@pytest.mark.parametrize("training", [NORMAL, HEAVY])
@given(value=st.floats(-1e3, 1e6))
def test_restoring_undoes_normalising(training: np.ndarray, value: float) -> None:
    scale = fit_scale(training)
    assert scale is not None
    place = scale.normalise(np.array([value]))
    assert scale.restore(float(place[0])) == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert scale.restore_all(place)[0] == scale.restore(float(place[0]))


def test_a_log_scale_is_for_long_upper_tails_of_numbers_that_are_not_negative() -> None:
    heavy, negative, plain = fit_scale(HEAVY), fit_scale(HEAVY - 5.0), fit_scale(NORMAL)
    assert heavy is not None
    assert heavy.is_log
    assert negative is not None
    assert not negative.is_log
    assert plain is not None
    assert not plain.is_log


def test_a_few_long_times_among_zeros_are_on_a_log_scale() -> None:
    """Times in whole seconds are like that. The lower tail has no length then, and nothing may overflow."""
    scale = fit_scale(np.array([0.0] * 90 + [2.0, 5.0, 9.0, 40.0, 900.0] * 2))
    assert scale is not None
    assert scale.is_log


def test_the_slack_is_the_resolution_of_the_numbers_or_what_is_given() -> None:
    rounded = NORMAL.round(1)
    by_resolution, given_slack = fit_scale(rounded), fit_scale(rounded, slack=3.0)
    assert by_resolution is not None
    assert given_slack is not None
    assert by_resolution.slack == pytest.approx(0.1)
    assert given_slack.slack == 3.0


def test_too_few_numbers_have_no_scale() -> None:
    few = np.concatenate([NORMAL[: MIN_VALUES - 1], np.full(100, np.nan)])
    assert fit_scale(few) is None


def test_a_scale_survives_json_to_the_bit() -> None:
    scale = fit_scale(HEAVY)
    assert scale is not None
    assert Scale.from_json(json.loads(json.dumps(scale.to_json()))) == scale


@pytest.mark.parametrize("broken", [{"mean": float("nan")}, {"deviation": 0.0}, {"shift": -1.0}, {"slack": -0.1}])
def test_a_damaged_scale_is_refused(broken: dict[str, float]) -> None:
    scale = fit_scale(NORMAL)
    assert scale is not None
    with pytest.raises(ValueError, match="damaged"):
        Scale.from_json({**scale.to_json(), **broken})


def test_vectors_of_another_shape_than_their_positions_are_refused() -> None:
    elapsed, slot = Position(slot=ELAPSED, unit="s"), Position(slot=0)
    previous = np.zeros((3, 2), np.int64)
    with pytest.raises(ValueError, match="shapes"):
        KeyVectors(key=1, pieces=("",), positions=(elapsed,), values=np.zeros((3, 2)), previous=previous)
    with pytest.raises(ValueError, match="first position"):
        KeyVectors(key=1, pieces=("",), positions=(slot,), values=np.zeros((3, 1)), previous=previous)
