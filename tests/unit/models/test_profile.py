from collections import Counter

import numpy as np
import pytest

from deeplog_grpc.models import BEGIN, UNSEEN, SessionProfile, TrainingSession, Vocabulary
from deeplog_grpc.models.profile_fitting import MAX_VECTORS, ProfileFit, fit_profile

VOCABULARY = Vocabulary.of([1, 2, 3], reserve=0)
ONE, TWO, THREE = VOCABULARY.units([1, 2, 3]).tolist()
USUAL = [[1, 2, 3], [1, 2, 2, 3]] * 100


def fit(paths: list[list[int]], *, ends: bool = True) -> ProfileFit:
    return fit_profile([TrainingSession(keys=keys, ends=ends) for keys in paths], VOCABULARY)


def test_counts_that_training_had_are_at_no_distance() -> None:
    profile = fit(USUAL).profile
    assert profile.count_score(Counter([ONE, TWO, TWO, THREE])) == 0
    assert profile.count_score(Counter([ONE, TWO, TWO])) > 4
    assert profile.count_score(Counter([ONE, TWO, THREE, UNSEEN])) > 4


def test_a_key_whose_count_varies_among_rare_sessions_weighs_less() -> None:
    loops = [[1, *[2] * times, 3] for times in range(3, 9)]
    profile = fit(USUAL + loops).profile
    another_loop = profile.count_score(Counter([ONE, *[TWO] * 10, THREE]))
    another_begin = profile.count_score(Counter([ONE, ONE, TWO, THREE]))
    assert another_loop < another_begin


def test_the_key_that_differs_is_named_with_its_usual_range() -> None:
    found = fit(USUAL).profile.difference(Counter([ONE, TWO, THREE, THREE, THREE]))
    assert (found.unit, found.count, found.least, found.most) == (THREE, 3, 1, 1)
    assert fit(USUAL).profile.difference(Counter([ONE, TWO, THREE, UNSEEN])).unit == UNSEEN


def test_scores_leave_the_session_out() -> None:
    found = fit([*USUAL, [3, 2, 1, 1, 1, 1]])
    assert found.counts.argmax() == found.transitions.argmax() == found.lengths.argmax() == 200
    assert (found.counts[:200] == 0).all()
    assert found.transitions[200] > 4


def test_length_outside_the_range_grows_with_the_distance() -> None:
    profile = fit(USUAL).profile
    scores = [profile.length_score(length) for length in (3, 4, 5, 8, 20)]
    assert scores[:2] == [0, 0]
    assert 0 < scores[2] < scores[3] < scores[4]
    assert profile.length_score(1) > profile.length_score(2) > 0


def test_a_new_follower_surprises_less_where_new_followers_are_common() -> None:
    open_end = [[1, 2, *([3] if n % 2 else []), *[2] * (n % 7)] for n in range(200)]
    strict, loose = fit(USUAL).profile, fit([*USUAL, *open_end, [1, 1, 2]]).profile
    assert strict.transition_score(ONE, TWO) == 0
    assert strict.transition_score(ONE, THREE) > loose.transition_score(ONE, THREE) > 0
    assert strict.transition_score(UNSEEN, ONE) == 0


def test_what_comes_after_anything_surprises_less_than_what_has_its_place() -> None:
    paths = [[1, 2, 3, 2, 1] for _ in range(200)]
    after_anything = [[1, 2, 3, 2, 1, 4, 5], [1, 2, 3, 2, 4, 5, 1], [1, 2, 3, 4, 5, 2, 1]]
    vocabulary = Vocabulary.of([1, 2, 3, 4, 5], reserve=0)
    sessions = [TrainingSession(keys=keys) for keys in paths + after_anything]
    found = fit_profile(sessions, vocabulary)
    one, _, three, four, _ = vocabulary.units([1, 2, 3, 4, 5]).tolist()
    assert found.profile.transition_score(BEGIN, four) < found.profile.transition_score(BEGIN, three)
    assert found.profile.transition_score(one, three) > 0
    assert found.alone[three, four] == found.transitions[202]


def test_sessions_without_an_end_teach_no_counts() -> None:
    profile = fit(USUAL, ends=False).profile
    assert (profile.count_score(Counter([ONE])), profile.length_score(1)) == (0, 0)
    assert profile.transition_score(ONE, THREE) > 0


def test_a_profile_survives_json() -> None:
    profile = fit([*USUAL, [1, 3]]).profile
    again = SessionProfile.from_json(profile.to_json())
    assert again.to_json() == profile.to_json()
    assert again.count_score(Counter([THREE])) == profile.count_score(Counter([THREE]))


def test_the_number_of_vectors_is_bounded_and_the_frequent_ones_stay() -> None:
    random = np.random.default_rng(0)
    many = [[*[1] * int(a), *[2] * int(b)] for a, b in random.integers(0, 60, (4_000, 2)) if a + b]
    profile = fit([*USUAL, *many]).profile
    assert len(profile.vectors) == MAX_VECTORS
    assert profile.count_score(Counter([ONE, TWO, THREE])) == 0


@pytest.mark.parametrize("paths", [[], [[1]], [[1], [2]]])
def test_little_to_learn_from_is_no_error(paths: list[list[int]]) -> None:
    assert len(fit(paths).counts) == len(paths)
