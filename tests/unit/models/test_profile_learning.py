from math import inf

import pytest

from deeplog_grpc.models import (
    BEGIN,
    END,
    UNSEEN,
    SessionProfile,
    TrainingSession,
    Vocabulary,
    is_placed,
    with_new_units,
    with_session,
    with_steps,
)
from deeplog_grpc.models.profile import STRICT
from deeplog_grpc.models.profile_fitting import fit_profile

ONE, TWO, THREE, FIRST_NEW, SECOND_NEW = range(3, 8)
USUAL = {ONE: 1, TWO: 2, THREE: 1}


def fitted(*, whole: bool = True) -> SessionProfile:
    paths = [[1, 2, 3], [1, 2, 2, 3], [1, 2, 2, 2, 3]] * 100
    sessions = [TrainingSession(keys=path, begins=whole, ends=whole) for path in paths]
    return fit_profile(sessions, Vocabulary.of([1, 2, 3], reserve=2)).profile


PROFILE = fitted()


def score(profile: SessionProfile, **more: int) -> float:
    """Of a usual session with new keys in it."""
    units = {"first": FIRST_NEW, "second": SECOND_NEW, "unseen": UNSEEN}
    return profile.count_score({**USUAL, **{units[name]: times for name, times in more.items()}})


def same(one: SessionProfile, other: SessionProfile) -> bool:
    return one.to_json() == other.to_json()


def test_a_new_key_in_its_place_is_normal_nowhere_else_and_in_no_other_number() -> None:
    found = with_new_units(PROFILE, [FIRST_NEW], anywhere=False)
    assert score(found) == 0
    assert score(found, first=1) == STRICT < score(found, first=2)
    assert found.transition_score(ONE, FIRST_NEW) > STRICT / 2
    assert found.transition_score(BEGIN, FIRST_NEW) > STRICT / 2
    shown = with_session(with_steps(found, [(ONE, FIRST_NEW)]), {**USUAL, FIRST_NEW: 1})
    assert (score(shown, first=1), shown.transition_score(ONE, FIRST_NEW)) == (0, 0)
    assert (score(shown, first=2) >= STRICT, shown.transition_score(TWO, FIRST_NEW) > STRICT / 2) == (True, True)


@pytest.mark.parametrize("times", [1, 2, 5_000])
def test_a_new_key_that_is_normal_anywhere_is_so_in_any_number(times: int) -> None:
    found = with_new_units(PROFILE, [FIRST_NEW], anywhere=True)
    assert score(found, first=times) == 0
    assert [found.transition_score(before, FIRST_NEW) for before in (BEGIN, ONE, TWO, THREE, UNSEEN)] == [0] * 5
    assert found.transition_score(FIRST_NEW, ONE) == found.transition_score(FIRST_NEW, END) == 0
    assert score(found, first=times, unseen=1) == score(PROFILE, unseen=1) > 0


def test_in_a_session_that_was_learned_it_may_come_any_number_of_times_too() -> None:
    odd = {ONE: 4, TWO: 9}
    found = with_session(with_new_units(PROFILE, [FIRST_NEW], anywhere=True), odd)
    assert found.count_score(odd) == found.count_score({**odd, FIRST_NEW: 3}) == 0
    assert found.count_score({ONE: 4, TWO: 10}) > 0


def test_anywhere_frees_what_was_kept_to_its_places_and_is_not_taken_back() -> None:
    placed = with_new_units(PROFILE, [FIRST_NEW], anywhere=False)
    free = with_new_units(placed, [FIRST_NEW], anywhere=True)
    assert (is_placed(placed, FIRST_NEW), is_placed(free, FIRST_NEW)) == (True, False)
    assert (score(free, first=9), free.transition_score(TWO, FIRST_NEW)) == (0, 0)
    assert same(with_new_units(free, [FIRST_NEW], anywhere=False), free)
    assert same(with_new_units(PROFILE, [FIRST_NEW], anywhere=True), free)


@pytest.mark.parametrize("unit", [BEGIN, END, UNSEEN, ONE, TWO, THREE, FIRST_NEW, SECOND_NEW])
def test_nothing_of_training_is_kept_to_places_nor_changed_by_feedback_on_its_place(unit: int) -> None:
    assert not is_placed(PROFILE, unit)
    if ONE <= unit <= THREE:
        assert same(with_new_units(PROFILE, [unit], anywhere=True), PROFILE)
        assert same(with_new_units(PROFILE, [unit], anywhere=False), PROFILE)


def test_each_new_key_gets_a_column_before_that_of_the_keys_without_a_unit() -> None:
    found = with_new_units(with_new_units(PROFILE, [FIRST_NEW], anywhere=True), [SECOND_NEW], anywhere=False)
    assert found.vectors.shape == (len(PROFILE.vectors), 6)
    assert found.weights.tolist() == [*PROFILE.weights[:3].tolist(), 0.0, STRICT, PROFILE.weights[3]]
    assert found.vector({SECOND_NEW: 2, UNSEEN: 7}).tolist() == [0, 0, 0, 0, 2, 7]
    assert score(found, unseen=1) == score(PROFILE, unseen=1)
    assert found.difference({**USUAL, SECOND_NEW: 2}).unit == SECOND_NEW


def test_a_step_is_normal_from_now_on_and_no_other() -> None:
    found = with_steps(PROFILE, [(THREE, ONE), (BEGIN, THREE), (TWO, END)])
    for step in [(THREE, ONE), (BEGIN, THREE), (TWO, END)]:
        assert PROFILE.transition_score(*step) > 0
        assert found.transition_score(*step) == 0
    assert found.transition_score(THREE, TWO) == PROFILE.transition_score(THREE, TWO) > 0
    assert same(with_steps(PROFILE, [(ONE, TWO), (UNSEEN, ONE), (FIRST_NEW, TWO)]), PROFILE)


def test_a_session_is_normal_in_its_very_counts_alone() -> None:
    odd = {ONE: 3, TWO: 1, UNSEEN: 2}
    found = with_session(PROFILE, odd)
    assert (PROFILE.count_score(odd) > 0, found.count_score(odd)) == (True, 0)
    for other in ({**odd, ONE: 4}, {**odd, UNSEEN: 3}, {**odd, THREE: 1}, {ONE: 3, TWO: 1}):
        assert found.count_score(other) == PROFILE.count_score(other) > 0
    assert found.exact == 1
    assert same(with_session(found, odd), found)


def test_a_session_that_training_had_is_not_kept_again() -> None:
    found = with_session(PROFILE, USUAL)
    assert same(found, PROFILE)


def test_the_range_of_lengths_takes_the_session_in() -> None:
    found = with_session(with_session(PROFILE, {ONE: 1}), {ONE: 1, TWO: 30})
    assert (found.shortest, found.longest) == (1, 31)
    assert [PROFILE.length_score(length) > 0 for length in (1, 31)] == [True, True]
    assert [found.length_score(length) for length in (1, 31)] == [0, 0]
    assert found.length_score(32) > 0


def test_where_no_session_was_seen_as_a_whole_none_is_learned_as_one() -> None:
    streams = fitted(whole=False)
    assert with_session(streams, USUAL) is streams
    found = with_new_units(streams, [FIRST_NEW], anywhere=True)
    assert (found.count_score({FIRST_NEW: 3}), found.vectors.shape) == (0, (0, 5))


def test_the_old_profile_is_not_touched_and_the_new_one_survives_json() -> None:
    before = PROFILE.to_json()
    found = with_new_units(PROFILE, [FIRST_NEW], anywhere=False)
    found = with_session(with_steps(found, [(ONE, FIRST_NEW)]), {**USUAL, FIRST_NEW: 1})
    assert PROFILE.to_json() == before
    again = SessionProfile.from_json(found.to_json())
    assert same(again, found)
    assert again.count_score({**USUAL, FIRST_NEW: 1}) == 0
    assert again.count_score({**USUAL, FIRST_NEW: 2}) < inf
