import numpy as np
import pytest
from sklearn.decomposition import PCA

from deeplog_grpc.training.count_models import Counts, InvariantModel, PcaModel, held_out_scores, limit

RNG = np.random.default_rng(5)


def sessions(count: int = 300) -> Counts:
    """Opened as often as closed, three received, two blocks sent for each opened; the last column never comes."""
    opened = RNG.integers(1, 9, count)
    other = RNG.integers(0, 4, count)
    return np.stack([opened, opened, np.full(count, 3), 2 * opened, other, 0 * opened], axis=1)


NORMAL = sessions()


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ([5, 5, 3, 10, 1, 0], True),
        ([12, 12, 3, 24, 0, 0], True),  # larger than any of training, but in proportion
        ([5, 4, 3, 10, 1, 0], False),
        ([5, 5, 2, 10, 1, 0], False),
        ([5, 5, 3, 11, 1, 0], False),
        ([5, 5, 3, 10, 1, 1], False),  # a key that training did not have
    ],
)
def test_an_invariant_is_kept_or_broken(counts: list[int], kept: bool) -> None:
    score = InvariantModel.fit(NORMAL).scores(np.array([counts]))[0]
    assert bool(score == 0) is kept


def test_what_one_session_in_ten_breaks_is_no_invariant() -> None:
    loose = NORMAL.copy()
    loose[::10, 1] += 1
    model = InvariantModel.fit(loose)
    assert model.scores(np.array([[5, 4, 3, 10, 1, 0]]))[0] == 0
    assert model.scores(np.array([[5, 5, 2, 10, 1, 0]]))[0] > 0


def test_three_counts_can_be_related() -> None:
    left, right = RNG.integers(1, 9, (2, 300))
    model = InvariantModel.fit(np.stack([left, right, left + right], axis=1))
    assert sorted(map(abs, model.relations[0].tolist())) == [0, 1, 1, 1]
    assert (model.scores(np.array([[2, 3, 5], [2, 3, 6]])) > 0).tolist() == [False, True]


def test_the_residue_is_that_of_scikit_learn() -> None:
    model = PcaModel.fit(NORMAL)
    weighted = NORMAL * model.weights
    reference = PCA(n_components=len(model.components)).fit(weighted)
    assert reference.explained_variance_ratio_.sum() >= 0.95
    rest = weighted - reference.inverse_transform(reference.transform(weighted))
    assert model.scores(NORMAL) == pytest.approx((rest**2).sum(axis=1), abs=1e-6)


def test_pca_sees_what_is_out_of_proportion() -> None:
    model = PcaModel.fit(NORMAL)
    usual, odd = model.scores(np.array([[5, 5, 3, 10, 1, 0], [5, 5, 3, 10, 1, 2]]))
    assert odd > usual


def test_limits_come_from_sessions_that_the_model_did_not_learn() -> None:
    seen: list[int] = []

    def fit(counts: Counts) -> PcaModel:
        seen.append(len(counts))
        return PcaModel.fit(counts)

    scores = held_out_scores(fit, NORMAL)
    assert seen == [200, 200, 200]
    assert (scores > limit(scores, 0.05)).mean() <= 0.05


@pytest.mark.parametrize("counts", [np.zeros((0, 3), np.int64), np.ones((1, 3), np.int64), np.zeros((5, 1), np.int64)])
def test_too_little_to_learn_from(counts: Counts) -> None:
    for model in (PcaModel, InvariantModel):
        assert len(model.fit(counts).scores(counts)) == len(counts)
        assert len(held_out_scores(model.fit, counts)) == len(counts)
