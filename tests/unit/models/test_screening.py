import numpy as np
import pytest

from deeplog_grpc.models import TrainingSession, Vocabulary
from deeplog_grpc.models.screening import fault_keys, suspects

VOCABULARY = Vocabulary.of(range(1, 10), reserve=0)
USUAL = [[1, 2, 3, 4], [1, 2, 2, 3, 4]] * 1_000
RARE_KIND = [[1, 7, 8, 9, 4]] * 12


def found(odd: list[list[int]], *, share: float = 0.02, ends: bool = True, usual: list[list[int]] = USUAL) -> list[int]:
    sessions = [TrainingSession(keys=keys, ends=ends) for keys in usual + odd]
    suspect = suspects(sessions, VOCABULARY, share=share, support=3)
    assert not suspect[: len(usual)].any()
    return (np.flatnonzero(suspect) - len(usual)).tolist()


def test_sessions_cut_short_are_set_aside_though_they_vouch_for_each_other() -> None:
    assert found([[1, 2]] * 20 + RARE_KIND) == list(range(20))


def test_a_rare_kind_with_keys_of_its_own_stays_and_so_does_a_common_end() -> None:
    assert found(RARE_KIND) == []
    assert found([[1, 2]] * 60) == []


def test_one_session_far_from_all_that_is_well_supported_is_set_aside() -> None:
    far, near = [1, 5, 5, 5, 6, 6, 7, 8, 9, 2, 3, 4], [1, 2, 2, 2, 3, 4]
    assert found([far, near]) == [0]
    assert found([far] * 3 + [near]) == []


def test_a_few_far_sessions_do_not_vouch_for_each_other_but_more_of_a_usual_loop_stays() -> None:
    far, loop = [1, 5, 5, 5, 6, 6, 7, 8, 9, 2, 3, 4], [1, *[7, 8, 9] * 4, 4]
    assert found([*RARE_KIND, far, far]) == [12, 13]
    assert found([*RARE_KIND, loop, loop]) == []
    assert found([*RARE_KIND, loop]) == [12]


TEMPLATES = {1: ["job ", " begins"], 2: ["job ", " failed"], 3: ["ERROR disk full"], 4: ["job ", " ends"], 5: ["tea"]}


def faults(odd: list[list[int]], *, share: float = 0.02, usual: int = 980) -> set[int]:
    log = [TrainingSession(keys=keys) for keys in [[1, 4]] * usual + odd]
    return fault_keys(log, TEMPLATES, share=share)


def test_rare_log_keys_that_tell_of_a_fault_are_suspect_and_others_are_not() -> None:
    assert faults([[1, 2, 4]] * 9 + [[1, 5, 4]] * 2) == {2}
    assert faults([[1, 9, 4]] * 9) == set()


def test_faults_that_come_more_often_than_anomalies_are_thought_to_are_normal() -> None:
    assert faults([[1, 2, 4]] * 30) == set()
    assert faults([[1, 2, 4]] * 15 + [[1, 3, 4]] * 5) == {2, 3}
    assert faults([[1, 2, 4]] * 15 + [[1, 3, 4]] * 9) == {3}
    assert faults([[1, 2, 3, 4]] * 15) == {2, 3}


def test_no_fault_is_suspect_where_the_log_is_known_to_be_normal_or_says_too_little() -> None:
    assert faults([[1, 2, 4]] * 9, share=0.0) == set()
    assert faults([[1, 2, 4]], usual=100) == set()


@pytest.mark.parametrize("keys", [[1, 2], [1, 5, 5, 5, 6, 6, 7, 8, 9, 2, 3, 4]])
def test_nothing_is_set_aside_where_the_log_is_known_to_be_normal_or_says_too_little(keys: list[int]) -> None:
    assert found([keys], share=0.0) == []
    assert found([keys], ends=False) == []
    assert found([keys], usual=USUAL[:100]) == []
    assert found([[*keys, 99]]) == []
