import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from deeplog_grpc.training.metrics import Comparison, Figures, Judged, Labelled, curve, figures


def judged(scores: list[float], limit: float) -> Judged:
    column = np.array(scores)
    return Judged(scores=column, flagged=column > limit)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(1, 4)), min_size=1, max_size=30))
def test_average_precision_is_that_of_scikit_learn(items: list[tuple[int, bool, int]]) -> None:
    """With ties and weights; the order of the items must not matter."""
    scores, abnormal, weights = (np.array(column) for column in zip(*items, strict=True))
    labels = Labelled.of(abnormal, weights.astype(np.int64))
    area = curve(scores.astype(np.float64), labels).area
    if not abnormal.any():
        assert area == 0.0
        return
    assert area == pytest.approx(average_precision_score(abnormal, scores, sample_weight=weights))
    backwards = Labelled.of(abnormal[::-1], weights[::-1].astype(np.int64))
    assert curve(scores[::-1].astype(np.float64), backwards).area == pytest.approx(area)


def test_equal_scores_are_worth_the_share_of_abnormal_items() -> None:
    labels = Labelled.of(np.array([True, False, False, False]))
    assert curve(np.zeros(4), labels).area == 0.25


def test_a_weight_is_as_many_equal_items() -> None:
    scores, abnormal, weights = np.array([3.0, 2.0, 1.0]), np.array([True, False, True]), np.array([2, 3, 1])
    once = figures(judged([3.0, 2.0, 1.0], 1.5), Labelled.of(abnormal, weights))
    many = figures(
        Judged(scores=np.repeat(scores, weights), flagged=np.repeat(scores > 1.5, weights)),
        Labelled.of(np.repeat(abnormal, weights)),
    )
    assert once == many
    assert (once.tp, once.fp, once.fn, once.tn) == (2, 3, 1, 0)


def test_arithmetic() -> None:
    found = Figures(tp=40, fp=10, fn=10, tn=190, pr_auc=0.5)
    assert (found.normal, found.abnormal) == (200, 50)
    assert found.precision == pytest.approx(40 / 50)
    assert found.recall == pytest.approx(40 / 50)
    assert found.f1 == pytest.approx(0.8)
    assert found.fpr == pytest.approx(0.05)
    assert list(found.to_json()) == ["tp", "fp", "fn", "tn", "precision", "recall", "f1", "fpr", "pr_auc"]


def test_precision_is_one_when_nothing_was_flagged() -> None:
    found = Figures(tp=0, fp=0, fn=10, tn=10, pr_auc=0.5)
    assert (found.precision, found.recall, found.f1) == (1.0, 0.0, 0.0)


def test_all_flagged_wrongly() -> None:
    found = Figures(tp=0, fp=10, fn=10, tn=0, pr_auc=0.0)
    assert (found.precision, found.recall, found.f1, found.fpr) == (0.0, 0.0, 0.0, 1.0)


def test_a_comparison_has_a_curve_for_all_together_and_for_each_rule() -> None:
    found = Comparison.of(
        Labelled.of(np.array([True, False])),
        combined=judged([1.0, 0.0], 0.5),
        by_detector={"x": judged([0.0, 0.0], 0.5)},
        baselines={"rule": judged([0.0, 1.0], 0.5)},
    )
    assert set(found.curves) == {"combined", "rule"}
    assert (found.combined.pr_auc, found.baselines["rule"].pr_auc, found.by_detector["x"].fn) == (1.0, 0.5, 1)
