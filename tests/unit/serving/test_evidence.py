from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.detection import ApplicationModel, Judges, Kind
from deeplog_grpc.feedback import CaseJudge, CountsCase, Lesson, NewValueCase, StepCase, ValueCase
from deeplog_grpc.serving.evidence import LIKELY, group_of, lesson_of
from deeplog_grpc.serving.recorder import Noted
from deeplog_grpc.testing import simulate_log
from deeplog_grpc.v1 import verdict_pb2
from tests.anomalies import ALL, detector_of, noted_in
from tests.trained import LATER_S, entries_of

TYPES = {
    Kind.UNSEEN_KEY: StepCase,
    Kind.EXECUTION_PATH: StepCase,
    Kind.UNSEEN_TRANSITION: StepCase,
    Kind.INCOMPLETE_SESSION: StepCase,
    Kind.SESSION_COUNTS: CountsCase,
    Kind.SESSION_LENGTH: CountsCase,
    Kind.PARAMETER_VALUE: ValueCase,
    Kind.ELAPSED_TIME: ValueCase,
    Kind.NEW_VALUE: NewValueCase,
}


@pytest.fixture(scope="module")
def noted(trained: ApplicationModel) -> list[Noted]:
    """Anomalies of every kind that a faulty log and odd sessions hold."""
    log = simulate_log(150, seed=11, fault_rate=0.6, start_s=LATER_S + 3_600)
    detector = detector_of(trained)
    return [*noted_in(detector, ALL), *noted_in(detector, entries_of(log.lines))]


def message(**fields: Any) -> verdict_pb2.Verdict:
    candidates = [
        verdict_pb2.Candidate(key=key, probability=p) for key, p in fields.pop("candidates", {4: 0.9}).items()
    ]
    usual: dict[str, Any] = {"application": "shop", "kind": int(Kind.EXECUTION_PATH), "key": 9, "session": "a"}
    return verdict_pb2.Verdict(**{**usual, **fields}, candidates=candidates)


def value(**fields: Any) -> verdict_pb2.Verdict:
    usual = {"slot": 2, "trained_slot": 1, "observed": 9.0, "low": 1.0, "high": 5.0, "predicted": 3.0}
    return message(kind=int(Kind.PARAMETER_VALUE), abnormal_value={**usual, **fields})


def counts(*pairs: tuple[int, int], **fields: Any) -> verdict_pb2.Verdict:
    return message(kind=int(Kind.SESSION_COUNTS), key=-1, session_counts=dict(pairs), **fields)


USUAL = message()


@pytest.mark.parametrize(
    "other",
    [
        message(session="b", time_unix_nano=5, index=7, verdict_id="1-2", entry_id="x"),
        message(score=0.9, rank=8, probability=0.01, reason="something", window=[1, 2], model_version=9),
        message(candidates={4: 0.5, 5: LIKELY / 2}),
        message(template="order <*>", parameters=["7"], stands_for=4),
    ],
)
def test_the_group_does_not_depend_on_where_and_when(other: verdict_pb2.Verdict) -> None:
    assert group_of(other) == group_of(USUAL)


@pytest.mark.parametrize(
    "other",
    [
        message(key=8),
        message(application="bank"),
        message(kind=int(Kind.UNSEEN_TRANSITION)),
        message(candidates={5: 0.9}),
        message(candidates={4: 0.5, 5: 0.4}),
        message(candidates={}),
        counts((9, 1)),
        value(),
    ],
)
def test_another_key_application_kind_or_place_is_another_group(other: verdict_pb2.Verdict) -> None:
    assert group_of(other) != group_of(USUAL)


def test_candidates_make_the_same_place_in_any_order() -> None:
    assert group_of(message(candidates={4: 0.6, 5: 0.3})) == group_of(message(candidates={5: 0.6, 4: 0.3}))


def test_sessions_with_the_same_counts_are_a_group() -> None:
    assert group_of(counts((3, 1), (9, 2), session="b")) == group_of(counts((9, 2), (3, 1)))
    assert group_of(counts((3, 1), (9, 3))) != group_of(counts((3, 1), (9, 2)))


def test_numbers_out_on_the_same_side_of_the_same_place_are_a_group() -> None:
    assert group_of(value(observed=99.0, slot=3, predicted=4.0, high=6.0)) == group_of(value())
    assert group_of(value(observed=0.0)) != group_of(value())
    assert group_of(value(trained_slot=2)) != group_of(value())
    assert group_of(value(after=[3, 4])) != group_of(value())


def test_new_values_of_a_place_are_a_group() -> None:
    first, second, other = (
        message(kind=int(Kind.NEW_VALUE), abnormal_value={"trained_slot": slot, "text": text})
        for slot, text in ((1, "PUT"), (1, "PATCH"), (2, "PUT"))
    )
    assert group_of(first) == group_of(second) != group_of(other)


@given(st.sampled_from([kind for kind in Kind if kind is not Kind.NORMAL]), st.text(), st.integers(-1, 2**31 - 1))
def test_every_kind_has_a_group(kind: Kind, application: str, key: int) -> None:
    name = group_of(message(kind=int(kind), application=application, key=key))
    assert (name[:2], len(name)) == ("g-", 14)


def test_every_anomaly_of_a_faulty_log_is_abnormal_as_a_case_too(trained: ApplicationModel, noted: list[Noted]) -> None:
    judge = CaseJudge(Judges(trained, cache_bytes=1 << 20))
    assert {Kind(one.message.kind) for one in noted} >= set(TYPES) - {Kind.SESSION_LENGTH}
    assert len(noted) > 100
    lessons = [lesson_of(one.message) for one in noted]
    for one, lesson, found in zip(noted, lessons, judge.judge([lesson.case for lesson in lessons]), strict=True):
        assert type(lesson.case) is TYPES[lesson.kind]
        assert lesson.kind is Kind(one.message.kind)
        assert not found.is_normal, lesson
        if isinstance(lesson.case, StepCase):
            assert found.rank == one.message.rank
            assert found.probability == pytest.approx(one.message.probability, abs=1e-7)


def test_what_is_learned_of_a_message_survives_being_stored(noted: list[Noted]) -> None:
    for one in noted:
        again = verdict_pb2.Verdict.FromString(one.message.SerializeToString())
        assert lesson_of(again, anywhere=True) == Lesson(
            kind=Kind(one.message.kind), case=lesson_of(one.message).case, anywhere=True
        )


def test_steps_say_whether_the_log_key_model_judged_them() -> None:
    def judged(kind: Kind, window: list[int], rank: int = 0) -> bool:
        case = lesson_of(message(kind=int(kind), window=window, rank=rank)).case
        assert isinstance(case, StepCase)
        return case.judged

    assert judged(Kind.EXECUTION_PATH, [-1, 4], rank=7)
    assert not judged(Kind.UNSEEN_TRANSITION, [-2, 4])
    assert judged(Kind.UNSEEN_KEY, [-1, 4])
    assert judged(Kind.UNSEEN_KEY, [4, -2])
    assert not judged(Kind.UNSEEN_KEY, [-2, 4])


def test_a_vector_with_one_key_before_it_or_none_is_read() -> None:
    for previous, expected in ([], (-2, -2)), ([4], (-2, 4)), ([3, 4], (3, 4)), ([2, 3, 4], (3, 4)):
        verdict = value()
        verdict.vector.previous.extend(previous)
        verdict.vector.numbers.add(slot=1, unit="ms", number=9.0)
        case = lesson_of(verdict).case
        assert case == ValueCase(key=9, numbers=((1, "ms", 9.0),), previous=expected, slot=1, predicted=3.0)
