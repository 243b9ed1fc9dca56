from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

from deeplog_grpc.models import Check, KeyModelConfig, ThresholdConfig, TrainingSession, behaviour, fit_behaviour
from deeplog_grpc.models.calibration import OF_VALUES

TINY = KeyModelConfig(history=3, hidden=8, embedding=4, layers=1, reserve=2, epochs=6, min_sessions=1)
SESSIONS = [TrainingSession(keys=keys) for keys in [[1, 2, 3, 4], [1, 2, 4], [1, 3, 4]] * 80]


def test_every_session_calibrates_and_the_same_seed_gives_the_same_limits() -> None:
    one, same = (fit_behaviour(SESSIONS, TINY, ThresholdConfig(), seed=2).behaviour.calibration for _ in range(2))
    assert one == same
    assert one.sessions == len(SESSIONS)
    assert not one.conservative


def test_the_number_of_threads_changes_nothing() -> None:
    one, two = (fit_behaviour(SESSIONS, TINY, ThresholdConfig(), threads=threads).behaviour for threads in (1, 2))
    assert one.calibration == two.calibration
    weights, same = one.key_model.weights(), two.key_model.weights()
    assert all(torch.equal(weights[name], same[name]) for name in weights)


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_is_told_whatever_the_number_of_threads(threads: int) -> None:
    epochs: list[int] = []
    folds: list[tuple[int, int]] = []
    fit_behaviour(
        SESSIONS,
        TINY,
        ThresholdConfig(),
        threads=threads,
        on_epoch=lambda epoch: epochs.append(epoch.number),
        on_fold=lambda done, of: folds.append((done, of)),
    )
    assert epochs == list(range(1, len(epochs) + 1))
    assert folds == [(1, 3), (2, 3), (3, 3)]


def test_too_little_to_learn_from_is_said_whatever_the_number_of_threads() -> None:
    with pytest.raises(ValueError, match="no window to learn from"):
        fit_behaviour([TrainingSession(keys=[], ends=False)], TINY, ThresholdConfig(), threads=2)


def test_few_sessions_are_said_to_be_few() -> None:
    assert fit_behaviour(SESSIONS[:60], TINY, ThresholdConfig()).behaviour.calibration.conservative


def test_a_smaller_rate_never_lowers_a_limit() -> None:
    calibration = fit_behaviour(SESSIONS, TINY, ThresholdConfig()).behaviour.calibration
    strict, loose = (
        replace(calibration, config=ThresholdConfig(false_positive_rate=rate)).limits() for rate in (1e-4, 0.05)
    )
    assert all((strict[check] or 0) >= (loose[check] or 0) for check in strict)
    assert strict != loose


def test_the_smallest_rate_that_there_is_has_limits_too() -> None:
    calibration = fit_behaviour(SESSIONS[:60], replace(TINY, epochs=1), ThresholdConfig()).behaviour.calibration
    strictest = replace(calibration, config=ThresholdConfig(false_positive_rate=5e-324))
    assert all(limit is not None and 600.0 < limit < inf for limit in strictest.limits().values())


@pytest.mark.parametrize("check", list(Check))
def test_a_pinned_limit_is_in_force_whatever_the_rate(check: Check) -> None:
    pinned = ThresholdConfig(false_positive_rate=0.5, **{check.value: 3.0})
    calibration = fit_behaviour(SESSIONS[:30], replace(TINY, epochs=1), pinned).behaviour.calibration
    assert not calibration.judge(check, 3.0).abnormal
    assert calibration.judge(check, 3.1).abnormal
    assert calibration.limits()[check.value] == 3.0


def test_a_pinned_g_and_the_papers_text_leave_probabilities_unjudged() -> None:
    by_rank = fit_behaviour(SESSIONS[:30], replace(TINY, epochs=1, candidates=2), ThresholdConfig()).behaviour
    assert (by_rank.calibration.config.key, by_rank.calibration.config.end) == (inf, None)
    inside = replace(TINY, epochs=1, begin_end=False, history=2)
    paper = fit_behaviour(SESSIONS[:30], inside, ThresholdConfig()).behaviour
    limits = paper.calibration.limits()
    assert {name for name, limit in limits.items() if limit is not None} == {check.value for check in OF_VALUES}
    assert paper.key_model.config.rank_limit == 9


def test_a_step_that_two_detectors_judge_takes_one_part_of_the_rate() -> None:
    joined = ThresholdConfig()
    assert [check for check in Check if not joined.takes_part(check)] == [Check.TRANSITION]
    assert joined.joins(Check.KEY)
    apart = ThresholdConfig(transition=5.0)
    assert not apart.joins(Check.KEY)
    assert not apart.joins(Check.END)
    ranks = ThresholdConfig(key=inf)
    assert not ranks.joins(Check.KEY)
    assert ranks.joins(Check.END)
    assert ranks.takes_part(Check.TRANSITION)


def test_calibration_adds_the_surprise_of_a_new_transition_to_that_of_its_key() -> None:
    odd = TrainingSession(keys=[1, 4, 3, 2])
    config = replace(TINY, epochs=1)
    joined = fit_behaviour([*SESSIONS, odd], config, ThresholdConfig(), seed=2).behaviour.calibration.tails
    apart = fit_behaviour([*SESSIONS, odd], config, ThresholdConfig(transition=5.0), seed=2).behaviour.calibration.tails
    assert joined[Check.KEY].highest[-1] > apart[Check.KEY].highest[-1] + 2
    assert joined[Check.KEY].highest[-2] == apart[Check.KEY].highest[-2]


def test_suspect_sessions_are_not_learned_unless_the_log_is_known_to_be_normal() -> None:
    config = replace(TINY, epochs=1)
    usual = [TrainingSession(keys=keys) for keys in [[1, 2, 3, 4], [1, 2, 2, 3, 4]] * 120]
    short = [TrainingSession(keys=[1])] * 3
    doubted = fit_behaviour([*usual, *short], config, ThresholdConfig())
    believed = fit_behaviour([*usual, *short], config, ThresholdConfig(contamination=0.0))
    assert (doubted.set_aside, believed.set_aside) == (3, 0)
    assert (doubted.behaviour.profile.shortest, believed.behaviour.profile.shortest) == (4, 1)
    assert doubted.behaviour.calibration.sessions == len(usual)


def test_a_rare_fault_is_not_learned_and_only_whole_sessions_with_one_are_left_out() -> None:
    config = replace(TINY, epochs=1)
    templates = {1: ["begin"], 2: ["step"], 3: ["write failed"], 4: ["end"]}
    usual = [TrainingSession(keys=[1, 2, 4])] * 996
    odd = [*[TrainingSession(keys=[1, 3, 4])] * 3, TrainingSession(keys=[2, 3, 2, 2], ends=False)]
    doubted = fit_behaviour([*usual, *odd], config, ThresholdConfig(), templates=templates)
    believed = fit_behaviour([*usual, *odd], config, ThresholdConfig(contamination=0.0), templates=templates)
    assert doubted.behaviour.key_model.vocabulary.keys == (1, 2, 4)
    assert believed.behaviour.key_model.vocabulary.keys == (1, 2, 3, 4)
    assert (doubted.set_aside, believed.set_aside) == (4, 0)
    assert believed.key_fit.windows > doubted.key_fit.windows


def test_a_session_with_a_rare_key_moves_no_limit() -> None:
    rare = TrainingSession(keys=[9, *[1] * 50])
    config = replace(TINY, min_sessions=5, epochs=1)
    many = SESSIONS * 10
    fit = fit_behaviour([*many, rare], config, ThresholdConfig())
    found = fit.behaviour
    assert fit.set_aside == 1
    assert found.calibration.sessions == len(many)
    assert found.profile.longest == 4
    assert np.isfinite(found.calibration.usual_begin)


def test_how_many_sessions_are_scored_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(TINY, epochs=1)
    whole = fit_behaviour(SESSIONS[:90], config, ThresholdConfig(), seed=2).behaviour
    monkeypatch.setattr(behaviour, "CHUNK_WINDOWS", 7)
    parts = fit_behaviour(SESSIONS[:90], config, ThresholdConfig(), seed=2).behaviour
    assert parts.calibration == whole.calibration
