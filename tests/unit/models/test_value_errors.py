import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.models.value_errors import ErrorDistribution, Tail

RANDOM = np.random.default_rng(3)
SHAPES = {
    "normal": RANDOM.normal(size=2000),
    "laplace": RANDOM.laplace(size=2000),
    "two humps": np.concatenate([RANDOM.normal(size=1900), RANDOM.normal(8.0, 1.0, 100)]),
    "heavy": RANDOM.standard_t(3, size=2000),
    "few": RANDOM.normal(size=20),
    "constant": np.zeros(50),
    "rounded": RANDOM.integers(-1, 2, 500).astype(np.float64),
}


@pytest.mark.parametrize("name", list(SHAPES))
@given(errors=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), rate=st.floats(1e-9, 0.05))
def test_an_error_outside_the_interval_is_one_with_a_smaller_p_value(
    name: str, errors: list[float], rate: float
) -> None:
    distribution = ErrorDistribution.of(SHAPES[name])
    low, high = distribution.interval(rate)
    assert low <= high
    for error, p in zip(errors, distribution.p_values(np.array(errors)), strict=True):
        assert 0 <= p <= 1
        if p < rate * 0.999:
            assert not low <= error <= high
        if p > rate * 1.001:
            assert low <= error <= high


@pytest.mark.parametrize(("name", "at_most"), [("normal", 4), ("laplace", 6), ("two humps", 6), ("heavy", 12)])
def test_the_rate_of_false_alarms_holds_on_fresh_errors(name: str, at_most: int) -> None:
    """Of 20,000 fresh errors at rate 1e-4, two are expected; a tail as heavy as t(3) may err by a factor of six."""
    fresh = np.random.default_rng(99)
    draws = {
        "normal": fresh.normal(size=20_000),
        "laplace": fresh.laplace(size=20_000),
        "two humps": np.concatenate([fresh.normal(size=19_000), fresh.normal(8.0, 1.0, 1000)]),
        "heavy": fresh.standard_t(3, size=20_000),
    }[name]
    assert (ErrorDistribution.of(SHAPES[name]).p_values(draws) < 1e-4).sum() <= at_most


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_the_rate_holds_where_there_are_data(rate: float) -> None:
    fresh = np.random.default_rng(98).normal(size=20_000)
    share = (ErrorDistribution.of(SHAPES["normal"]).p_values(fresh) < rate).mean()
    assert share == pytest.approx(rate, rel=0.25)


def test_an_exponential_tail_reaches_as_far_as_the_data_say() -> None:
    _, high = ErrorDistribution.of(SHAPES["laplace"]).interval(2e-4)
    assert high == pytest.approx(np.log(0.5 / 1e-4), rel=0.25)


def test_infinite_errors_are_impossible_and_missing_ones_normal() -> None:
    distribution = ErrorDistribution.of(SHAPES["normal"])
    assert distribution.p_values(np.array([np.inf, -np.inf, np.nan])).tolist() == [0.0, 0.0, 1.0]


def test_a_distribution_survives_json_to_the_bit() -> None:
    distribution = ErrorDistribution.of(SHAPES["heavy"])
    assert ErrorDistribution.from_json(json.loads(json.dumps(distribution.to_json()))) == distribution


@pytest.mark.parametrize(
    "broken",
    [
        {"middle": []},
        {"middle": [2.0, 1.0]},
        {"upper": [0.0, 0.1, float("inf"), 0.0]},
        {"lower": [0.0, 0.0, 1.0, 0.0]},
        {"lower": [0.0, 0.1, 1.0, 9.0]},
    ],
)
def test_a_damaged_distribution_is_refused(broken: dict[str, list[float]]) -> None:
    good = ErrorDistribution.of(SHAPES["normal"]).to_json()
    with pytest.raises(ValueError, match="damaged"):
        ErrorDistribution.from_json({**good, **broken})


ERRORS = st.one_of(st.floats(-50, 50), st.floats(-2e100, 2e100))


@pytest.mark.parametrize("inflation", [1.0, 2.7])
@pytest.mark.parametrize("name", list(SHAPES))
@given(error=ERRORS, p_value=st.floats(1e-12, 0.19), others=st.lists(ERRORS, min_size=1, max_size=20))
def test_a_stretched_tail_reaches_the_error_and_makes_none_less_normal(
    name: str, inflation: float, error: float, p_value: float, others: list[float]
) -> None:
    before = replace(ErrorDistribution.of(SHAPES[name]), inflation=inflation)
    after = before.reaching(error, p_value)
    old, new = before.p_values(np.array([error, *others])), after.p_values(np.array([error, *others]))
    assert new[0] >= p_value
    assert after is before or new[0] <= p_value * (1.0 + 1e-6)
    assert (after is before) == (old[0] >= p_value)
    assert (new >= old * (1.0 - 1e-12)).all()
    assert after.inflation == inflation
    assert after.reaching(error, p_value) is after
    assert ErrorDistribution.from_json(json.loads(json.dumps(after.to_json(), allow_nan=False))) == after


def test_a_stretched_tail_is_one_of_its_side() -> None:
    before = ErrorDistribution.of(SHAPES["normal"])
    early, late = before.reaching(-9.0, 0.01), before.reaching(9.0, 0.01)
    assert (early.upper, late.lower) == (before.upper, before.lower)
    assert early.interval(0.01)[0] == pytest.approx(-9.0)
    assert late.interval(0.01)[1] == pytest.approx(9.0)
    assert before.reaching(float("nan"), 0.01) is before


@pytest.mark.parametrize("shape", [1e-18, 1e-15, 1e-9, 0.5])
def test_a_tail_of_any_shape_can_be_stretched(shape: float) -> None:
    tail = Tail(start=0.0, share=0.1, scale=1.0, shape=shape)
    assert tail.reaching(1e100, 1e-5).beyond(np.array([1e100]))[0] >= 1e-5


def test_no_stretching_lifts_more_than_the_tail_holds() -> None:
    with pytest.raises(ValueError, match="cannot reach"):
        Tail(start=0.0, share=0.1, scale=1.0, shape=0.0).reaching(5.0, 0.1)
