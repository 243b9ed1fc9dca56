import pytest

from deeplog_grpc.models import KeyModelConfig, ThresholdConfig, TrainingSession, fit_behaviour
from deeplog_grpc.training import SequenceReport, SequenceScorer, evaluate_sequences
from deeplog_grpc.training.sequences import SequenceClass

NORMAL = [[1, 2, 3, 4, 5, 6], [1, 2, 4, 3, 5, 6]]


@pytest.fixture(scope="module")
def scorer() -> SequenceScorer:
    config = KeyModelConfig(history=4, candidates=2, hidden=16, epochs=25)
    sessions = [TrainingSession(keys=NORMAL[number % 2]) for number in range(200)]
    return SequenceScorer(fit_behaviour(sessions, config, ThresholdConfig(), seed=1).behaviour)


def report(*, normal: int = 10, abnormal: int = 10, fp: int = 0, fn: int = 0) -> SequenceReport:
    return SequenceReport(normal=normal, abnormal=abnormal, fp=fp, fn=fn, recall_by_class={}, by_detector={})


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
    assert (found.normal, found.abnormal, found.fp, found.fn) == (11, 6, 1, 1)
    assert found.recall_by_class == {"short": 1.0, "unseen_key": 1.0, "order": 0.0}


def test_a_class_without_sessions_is_absent(scorer: SequenceScorer) -> None:
    assert evaluate_sequences(scorer, normal=NORMAL, abnormal=[[1, 2, 3]]).recall_by_class == {"short": 1.0}


def test_the_size_of_chunks_changes_nothing(scorer: SequenceScorer) -> None:
    normal, abnormal = [*NORMAL, [3, 2, 1]], [[1], [2], [1, 2, 3, 4, 5, 7], NORMAL[1]]
    assert evaluate_sequences(scorer, normal=normal, abnormal=abnormal, chunk=1) == evaluate_sequences(
        scorer, normal=normal, abnormal=abnormal
    )


def test_nothing_to_judge(scorer: SequenceScorer) -> None:
    found = evaluate_sequences(scorer, normal=[], abnormal=[])
    assert (found.normal, found.abnormal, found.precision, found.recall, found.fpr) == (0, 0, 1.0, 1.0, 0.0)


def test_arithmetic() -> None:
    found = report(normal=200, abnormal=50, fp=10, fn=10)
    assert found.precision == pytest.approx(40 / 50)
    assert found.recall == pytest.approx(40 / 50)
    assert found.f1 == pytest.approx(0.8)
    assert found.fpr == pytest.approx(0.05)


def test_precision_is_one_when_nothing_was_flagged() -> None:
    found = report(fn=10)
    assert (found.precision, found.recall, found.f1) == (1.0, 0.0, 0.0)


def test_all_flagged_wrongly() -> None:
    found = report(fp=10, fn=10)
    assert (found.precision, found.recall, found.f1, found.fpr) == (0.0, 0.0, 0.0, 1.0)
