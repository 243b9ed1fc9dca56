import json

import pytest

from deeplog_grpc.models import BEGIN, BEGIN_KEY, END, UNKNOWN_KEY, UNSEEN, Vocabulary
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT


def test_units_follow_the_order_of_keys_so_that_ties_by_unit_are_ties_by_key() -> None:
    vocabulary = Vocabulary.of([30, 10, 20, 10], reserve=0)
    assert vocabulary.units([10, 20, 30]).tolist() == [FIRST_KEY_UNIT, FIRST_KEY_UNIT + 1, FIRST_KEY_UNIT + 2]


def test_a_key_without_a_unit_is_unseen() -> None:
    assert Vocabulary.of([1], reserve=5).units([2, -1, 10**6]).tolist() == [UNSEEN] * 3


def test_the_reserve_is_part_of_the_size_and_not_assigned() -> None:
    vocabulary = Vocabulary.of([4, 5], reserve=7)
    assert (vocabulary.assigned, vocabulary.size) == (FIRST_KEY_UNIT + 2, FIRST_KEY_UNIT + 9)


def test_units_and_keys_are_inverse() -> None:
    vocabulary = Vocabulary.of([7, 3, 11], reserve=2)
    assert [vocabulary.key_of(unit) for unit in vocabulary.units([3, 7, 11])] == [3, 7, 11]
    assert [vocabulary.key_of(unit) for unit in (BEGIN, END, UNSEEN)] == [BEGIN_KEY, BEGIN_KEY, UNKNOWN_KEY]


@pytest.mark.parametrize(("keys", "size"), [((1, 1), 9), ((1, 2), FIRST_KEY_UNIT + 1)])
def test_a_key_twice_or_one_too_many_is_refused(keys: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Vocabulary(keys=keys, size=size)


def test_json_keeps_units() -> None:
    vocabulary = Vocabulary(keys=(9, 2, 5), size=12)
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary
