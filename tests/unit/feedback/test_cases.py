import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.detection import Kind
from deeplog_grpc.feedback import Case, CountsCase, Lesson, NewValueCase, StepCase, ValueCase

KEY = st.integers(-2, 50)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
STEPS = st.builds(StepCase, window=st.lists(KEY, max_size=12).map(tuple), key=st.integers(-1, 50), judged=st.booleans())
COUNTS = st.builds(
    CountsCase, counts=st.dictionaries(KEY, st.integers(1, 10**6)).map(lambda counts: tuple(sorted(counts.items())))
)
VALUES = st.builds(
    ValueCase,
    key=KEY,
    numbers=st.lists(st.tuples(st.integers(-1, 9), st.text(max_size=3), NUMBER), max_size=5).map(tuple),
    previous=st.tuples(KEY, KEY),
    slot=st.integers(-1, 9),
    predicted=st.none() | NUMBER,
    after=st.lists(KEY, max_size=2).map(tuple),
)
NEW_VALUES = st.builds(NewValueCase, key=KEY, slot=st.integers(0, 9), text=st.text())
LESSONS = st.builds(
    Lesson, kind=st.sampled_from(Kind), case=st.one_of(STEPS, COUNTS, VALUES, NEW_VALUES), anywhere=st.booleans()
)
ONE_OF_EACH = (
    StepCase(window=(-1, 4), key=9),
    CountsCase(counts=((4, 2), (9, 1))),
    ValueCase(key=9, numbers=((0, "ms", 7.5),), previous=(-1, 4), slot=0, predicted=2.0, after=(4,)),
    NewValueCase(key=9, slot=1, text="PATCH"),
)
FIELDS = [(case, field) for case in ONE_OF_EACH for field in Lesson(kind=Kind.NEW_VALUE, case=case).to_json()]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBER | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def lesson(case: Case) -> Lesson:
    return Lesson(kind=Kind.NEW_VALUE, case=case, anywhere=True)


@given(LESSONS)
def test_a_lesson_survives_json(lesson: Lesson) -> None:
    assert Lesson.from_json(json.loads(json.dumps(lesson.to_json(), allow_nan=False))) == lesson


@given(LESSONS)
def test_a_lesson_read_back_is_the_same_one_in_a_set(lesson: Lesson) -> None:
    assert len({lesson, Lesson.from_json(lesson.to_json())}) == 1


@pytest.mark.parametrize(("case", "field"), FIELDS)
def test_a_lesson_without_one_of_its_fields_is_damaged(case: Case, field: str) -> None:
    data = lesson(case).to_json()
    del data[field]
    with pytest.raises(KeyError):
        Lesson.from_json(data)


@pytest.mark.parametrize(
    ("case", "field", "value"),
    [
        (ONE_OF_EACH[0], "type", "guess"),
        (ONE_OF_EACH[0], "type", None),
        (ONE_OF_EACH[0], "kind", 99),
        (ONE_OF_EACH[0], "window", 4),
        (ONE_OF_EACH[0], "window", ["x"]),
        (ONE_OF_EACH[0], "key", None),
        (ONE_OF_EACH[1], "counts", [[4]]),
        (ONE_OF_EACH[1], "counts", [[4, 2, 1]]),
        (ONE_OF_EACH[2], "previous", [4]),
        (ONE_OF_EACH[2], "numbers", [[0, "ms"]]),
        (ONE_OF_EACH[2], "numbers", [[0, "ms", None]]),
        (ONE_OF_EACH[3], "slot", "first"),
    ],
)
def test_damaged_fields_are_refused(case: Case, field: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Lesson.from_json({**lesson(case).to_json(), field: value})


@given(st.sampled_from(FIELDS), JSON)
def test_whatever_a_field_holds_it_is_a_lesson_or_one_of_the_errors_named(
    field: tuple[Case, str], value: object
) -> None:
    data: dict[str, Any] = {**lesson(field[0]).to_json(), field[1]: value}
    try:
        found = Lesson.from_json(data)
    except (ValueError, KeyError, TypeError):
        return
    assert Lesson.from_json(found.to_json()) == found


@given(LESSONS)
def test_a_lesson_renamed_there_and_back_is_what_it_was(lesson: Lesson) -> None:
    there = {key: key + 100 for key in range(51)}
    renamed = lesson.renamed(there)
    assert renamed is not None
    assert (renamed.kind, renamed.anywhere) == (lesson.kind, lesson.anywhere)
    assert renamed.renamed({new: old for old, new in there.items()}) == lesson


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_every_log_key_of_a_case_gets_its_new_number(case: Case) -> None:
    assert lesson(case).renamed({4: 4}) is None
    renamed = lesson(case).renamed({4: 40, 9: 90})
    assert renamed is not None
    text = json.dumps({name: value for name, value in renamed.to_json().items() if name not in ("kind", "numbers")})
    assert "90" in text
    assert "9," not in text.replace("90,", "").replace("9.", "")


def test_begins_ends_and_unknown_keys_keep_their_numbers() -> None:
    end = StepCase(window=(-1, -2, 4), key=-1)
    assert lesson(end).renamed({4: 5}) == lesson(StepCase(window=(-1, -2, 5), key=-1))


def test_counts_stay_in_order_and_those_of_keys_that_became_one_are_added_up() -> None:
    counts = CountsCase(counts=((-2, 1), (3, 2), (4, 5)))
    assert lesson(counts).renamed({3: 8, 4: 7}) == lesson(CountsCase(counts=((-2, 1), (7, 5), (8, 2))))
    assert lesson(counts).renamed({3: 8, 4: 8}) == lesson(CountsCase(counts=((-2, 1), (8, 7))))
