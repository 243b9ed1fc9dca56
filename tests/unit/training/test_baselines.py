import pytest

from deeplog_grpc.training import SimpleRules, evaluate_rules
from deeplog_grpc.training.baselines import RULES

NORMAL = [[1, 2, 3], [1, 2, 2, 3]]


@pytest.fixture(scope="module")
def rules() -> SimpleRules:
    return SimpleRules(NORMAL * 1_000, min_sessions=1, false_positive_rate=0.002)


@pytest.mark.parametrize(
    ("sequence", "flagging"),
    [
        ([1, 2, 3], set()),
        ([1, 2, 9, 3], {"unseen_key", "unseen_pair", "ngram", "counts", "key_length_counts"}),
        ([1, 3, 2], {"unseen_pair", "ngram"}),  # the order alone
        ([1, 2, 2, 2, 2, 2, 3], {"length", "counts", "key_length_counts"}),  # every step is usual
    ],
)
def test_each_rule_sees_what_it_is_for(rules: SimpleRules, sequence: list[int], flagging: set[str]) -> None:
    assert rules.flagging(sequence) == flagging


def test_rules_are_counted_by_session(rules: SimpleRules) -> None:
    found = evaluate_rules(rules, normal=[*NORMAL, [1, 3, 2], [1, 3, 2]], abnormal=[[1, 2, 9, 3], [1, 2, 3]])
    assert set(found) == set(RULES)
    assert found["unseen_pair"] == (2, 1)
    assert found["length"] == (0, 2)
