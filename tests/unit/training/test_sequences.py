import pytest

from deeplog_grpc.models import KeyModelConfig, ThresholdConfig, TrainingSession, fit_behaviour
from deeplog_grpc.training import SequenceScorer, SimpleRules, evaluate_sequences
from deeplog_grpc.training.sequences import SequenceClass

NORMAL = [[1, 2, 3, 4, 5, 6], [1, 2, 4, 3, 5, 6]]


@pytest.fixture(scope="module")
def scorer() -> SequenceScorer:
    config = KeyModelConfig(history=4, candidates=2, hidden=16, epochs=25)
    sessions = [TrainingSession(keys=NORMAL[number % 2]) for number in range(200)]
    return SequenceScorer(fit_behaviour(sessions, config, ThresholdConfig(), seed=1).behaviour)


def test_sequences_are_judged_as_sessions(scorer: SequenceScorer) -> None:
    judged = {
        (1, 2, 3, 4, 5, 6): False,
        (1, 2, 4, 3, 5, 6): False,
        (1, 2, 3): True,  # stops half-way
        (1, 2, 3, 4, 99, 5, 6): True,  # a key that training did not have
        (1, 2, 5, 6, 3, 4): True,
        (5, 6): True,
    }
    assert scorer.abnormal([list(sequence) for sequence in judged]) == list(judged.values())


def test_judging_one_by_one_or_together_is_the_same(scorer: SequenceScorer) -> None:
    sequences = [[1, 2, 3, 4, 5, 6], [6, 5, 4], [1, 2, 3, 99], [1]]
    assert [scorer.abnormal([sequence])[0] for sequence in sequences] == scorer.abnormal(sequences)


@pytest.mark.parametrize(
    ("sequence", "kind"),
    [
        ([], SequenceClass.SHORT),
        ([1, 2, 3, 4], SequenceClass.SHORT),
        ([1, 99], SequenceClass.SHORT),  # the first class that fits
        ([1, 2, 3, 4, 99], SequenceClass.UNSEEN_KEY),
        ([1, 2, 3, 4, 5], SequenceClass.ORDER),
    ],
)
def test_classes(scorer: SequenceScorer, sequence: list[int], kind: SequenceClass) -> None:
    assert scorer.class_of(sequence) is kind


def test_evaluation_counts_repeats(scorer: SequenceScorer) -> None:
    found = evaluate_sequences(
        scorer,
        normal=[*NORMAL * 5, [6, 5, 4, 3, 2, 1]],  # one that the model does not think normal
        abnormal=[[1, 2, 3]] * 3 + [[1, 2, 3, 4, 5, 99]] * 2 + [NORMAL[0]],  # the last one is missed
    )
    all_together = found.comparison.combined
    assert (all_together.normal, all_together.abnormal, all_together.fp, all_together.fn) == (11, 6, 1, 1)
    assert found.recall_by_class == {"short": 1.0, "unseen_key": 1.0, "order": 0.0}


def test_a_class_without_sessions_is_absent(scorer: SequenceScorer) -> None:
    assert evaluate_sequences(scorer, normal=NORMAL, abnormal=[[1, 2, 3]]).recall_by_class == {"short": 1.0}


def test_the_size_of_chunks_changes_nothing(scorer: SequenceScorer) -> None:
    normal, abnormal = [*NORMAL, [3, 2, 1]], [[1], [2], [1, 2, 3, 4, 5, 7], NORMAL[1]]
    by_one = evaluate_sequences(scorer, normal=normal, abnormal=abnormal, chunk=1)
    at_once = evaluate_sequences(scorer, normal=normal, abnormal=abnormal)
    assert by_one.comparison.combined == at_once.comparison.combined
    assert by_one.comparison.by_detector == at_once.comparison.by_detector


def test_nothing_to_judge(scorer: SequenceScorer) -> None:
    found = evaluate_sequences(scorer, normal=[], abnormal=[]).comparison.combined
    assert (found.normal, found.abnormal, found.precision, found.recall, found.fpr) == (0, 0, 1.0, 1.0, 0.0)


def test_a_verdict_counts_for_the_kind_that_it_names(scorer: SequenceScorer) -> None:
    found = evaluate_sequences(scorer, normal=NORMAL, abnormal=[[1, 2, 3], [1, 2, 3, 4, 99, 5, 6]]).comparison
    assert found.by_detector["unseen_key"].tp == 1
    assert found.by_detector["unseen_key"].pr_auc >= 0.5
    assert found.by_detector["session_length"].fp == 0
    assert found.combined.pr_auc == 1.0


def test_rules_judge_the_same_sessions(scorer: SequenceScorer) -> None:
    rules = SimpleRules(NORMAL * 1_000, min_sessions=1, false_positive_rate=0.002)
    found = evaluate_sequences(scorer, normal=NORMAL * 3, abnormal=[[1, 2, 3], [1, 2, 9, 9, 5, 6]] * 2, rules=rules)
    unseen = found.comparison.baselines["unseen_key"]
    assert (unseen.tp, unseen.fp, unseen.fn, unseen.tn) == (2, 0, 2, 6)
    assert set(found.comparison.curves) == {"combined", *found.comparison.baselines}


def test_a_score_is_the_highest_of_the_session(scorer: SequenceScorer) -> None:
    normal, unseen = scorer.judge([NORMAL[0], [1, 2, 3, 4, 99, 5, 6]])
    assert not normal.kinds
    assert unseen.score == max(unseen.kinds.values()) == 1.0
    assert normal.score < unseen.score
