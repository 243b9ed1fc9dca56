from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.models import Tail
from deeplog_grpc.models.tails import KEPT_SCORES

_scores = st.lists(st.floats(0, 50), max_size=300)


@given(_scores, st.floats(0, 200), st.floats(0, 200))
def test_a_higher_score_is_never_less_rare(scores: list[float], one: float, other: float) -> None:
    tail = Tail.of(scores)
    low, high = sorted((tail.p_value(one), tail.p_value(other)))
    assert 0 < low <= high <= 1
    assert (tail.p_value(max(one, other)), tail.p_value(min(one, other))) == (low, high)


@given(_scores, st.floats(1e-6, 1))
def test_only_scores_above_the_threshold_are_rarer(scores: list[float], p_value: float) -> None:
    tail = Tail.of(scores)
    limit = tail.threshold(p_value)
    assert tail.p_value(limit + 1e-6) <= p_value * (1 + 1e-9)
    assert tail.p_value(limit - 1e-6) >= p_value * (1 - 1e-5)


@given(_scores)
def test_a_tail_survives_json(scores: list[float]) -> None:
    assert Tail.from_json(Tail.of(scores).to_json()) == Tail.of(scores)


@pytest.mark.parametrize("rate", [0.001, 0.003, 0.01])
def test_a_new_sample_is_flagged_at_the_rate(rate: float) -> None:
    random = np.random.default_rng(3)
    tail = Tail.of(random.exponential(2.0, 5_000))
    flagged = np.mean([tail.p_value(score) < rate for score in random.exponential(2.0, 20_000)])
    assert 0.4 * rate < flagged < 2 * rate


def test_what_a_model_expects_is_never_rare() -> None:
    assert Tail.of(np.zeros(5_000)).p_value(0.1) == exp(-0.1)


def test_few_scores_flag_less_than_many() -> None:
    assert Tail.of(np.linspace(0, 5, 50)).threshold(0.001) > Tail.of(np.linspace(0, 5, 5_000)).threshold(0.001) + 1


def test_memory_is_bounded() -> None:
    assert len(Tail.of(range(50_000)).highest) == KEPT_SCORES
