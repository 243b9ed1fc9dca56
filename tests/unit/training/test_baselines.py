import pytest

from deeplog_grpc.training import SimpleRules
from deeplog_grpc.training.baselines import RULES

NORMAL = [[1, 2, 3], [1, 2, 2, 3]]


@pytest.fixture(scope="module")
def rules() -> SimpleRules:
    return SimpleRules(NORMAL * 1_000, min_sessions=1, false_positive_rate=0.002)


@pytest.mark.parametrize(
    ("sequence", "flagging"),
    [
        ([1, 2, 3], set()),
        ([1, 2, 9, 3], set(RULES) - {"length"}),
        ([1, 3, 2], {"unseen_pair", "ngram"}),  # the order alone
        ([1, 2, 2, 2, 2, 2, 3], {"length", "counts", "key_length_counts"}),  # every step is usual
    ],
)
def test_each_rule_sees_what_it_is_for(rules: SimpleRules, sequence: list[int], flagging: set[str]) -> None:
    assert rules.flagging(sequence) == flagging


def test_rules_judge_many_as_one_by_one(rules: SimpleRules) -> None:
    sequences = [*NORMAL, [1, 3, 2], [1, 2, 9, 3], [1, 2, 2, 2, 2, 2, 3], []]
    judged = rules.judged(sequences)
    assert tuple(judged) == RULES
    for name, found in judged.items():
        assert found.flagged.tolist() == [name in rules.flagging(sequence) for sequence in sequences]
        if found.flagged.any() and not found.flagged.all():
            assert found.scores[found.flagged].min() > found.scores[~found.flagged].max()


def test_no_sequences(rules: SimpleRules) -> None:
    assert all(len(found.scores) == 0 for found in rules.judged([]).values())


def test_rules_are_counted_by_session(rules: SimpleRules) -> None:
    normal = rules.judged([*NORMAL, [1, 3, 2], [1, 3, 2]])
    abnormal = rules.judged([[1, 2, 9, 3], [1, 2, 3]])
    counted = {name: (int(normal[name].flagged.sum()), int((~abnormal[name].flagged).sum())) for name in RULES}
    assert counted["unseen_pair"] == (2, 1)
    assert counted["length"] == (0, 2)
