import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from deeplog_grpc.models import ELAPSED, ValueFit, ValueMemory, ValueModel, ValueModelConfig, fit_value_model
from tests.value_series import PIECES, noise, vectors_of, waves

CONFIG = ValueModelConfig(hidden=8, history=4, epochs=25, batch_rows=32)
RATE = 1e-3
CYCLIC, PLAIN, SCARCE = 1, 2, 3


@pytest.fixture(scope="module")
def fit() -> ValueFit:
    series = [vectors_of(CYCLIC, waves(400, 1)), vectors_of(PLAIN, noise(400, 2)), vectors_of(SCARCE, noise(30, 3))]
    return fit_value_model(series, CONFIG, seed=4)


@pytest.fixture(scope="module")
def paper() -> ValueModel:
    config = ValueModelConfig(hidden=8, history=4, epochs=25, batch_rows=32, interval="gaussian", min_gain=None)
    return fit_value_model([vectors_of(CYCLIC, waves(400, 1))], config, seed=4).model


def test_a_cycle_is_learned_by_the_network_and_scarce_or_random_values_are_left_to_the_median(fit: ValueFit) -> None:
    predictions = {report.key: report.prediction for report in fit.reports}
    assert predictions[CYCLIC] == "LSTM"
    assert predictions[PLAIN].startswith("median: the LSTM is no better")
    assert predictions[SCARCE].startswith("median: 30 vectors")
    cyclic = next(report for report in fit.reports if report.key == CYCLIC)
    assert cyclic.network_loss is not None
    assert cyclic.plain_loss is not None
    assert cyclic.network_loss < 0.7 * cyclic.plain_loss


def test_a_value_normal_by_itself_is_abnormal_at_the_wrong_place_of_a_cycle(fit: ValueFit) -> None:
    values = waves(40, 7)
    values[21, 1] = 300.0  # 200 would be next
    verdict = fit.model.judge([vectors_of(CYCLIC, values)], ValueMemory(), false_alarm_rate=RATE)[0]
    assert set(verdict.findings) == {21}
    finding = verdict.findings[21]
    assert (finding.position.slot, finding.observed) == (0, 300.0)
    assert finding.low < finding.predicted < finding.high < 300.0
    assert finding.predicted == pytest.approx(200.0, abs=30.0)
    assert finding.p_value < RATE


def test_a_late_entry_is_blamed_on_its_elapsed_time(fit: ValueFit) -> None:
    for key, late_s in ((CYCLIC, 10.0), (PLAIN, 4.0), (SCARCE, 4.0)):
        values = waves(30, 8) if key == CYCLIC else noise(30, 8)
        values[20, 0] = late_s
        verdict = fit.model.judge([vectors_of(key, values)], ValueMemory(), false_alarm_rate=RATE)[0]
        assert set(verdict.findings) == {20}
        assert verdict.findings[20].position.slot == ELAPSED
        assert verdict.findings[20].high < late_s


def test_a_transition_is_judged_though_the_template_is_another(fit: ValueFit) -> None:
    vectors = vectors_of(PLAIN, [[4.0, 50.0], [2.0, 1e9]])
    other = type(vectors)(
        key=PLAIN, pieces=("", " of 7"), positions=vectors.positions, values=vectors.values, previous=vectors.previous
    )
    verdict = fit.model.judge([other], ValueMemory(), false_alarm_rate=RATE)[0]
    assert {row: finding.after for row, finding in verdict.findings.items()} == {0: (9,)}
    assert [position.slot for position in fit.model.positions(PLAIN, other.pieces)] == [ELAPSED]
    assert [position.slot for position in fit.model.positions(PLAIN, PIECES)] == [ELAPSED, 0]


def test_an_unknown_key_has_nothing_abnormal(fit: ValueFit) -> None:
    verdict = fit.model.judge([vectors_of(77, [[1e6, 1e6]], before=78)], ValueMemory(), false_alarm_rate=RATE)[0]
    assert (verdict.p_values.tolist(), verdict.findings) == ([1.0], {})


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e308, -1e308])
def test_odd_numbers_do_not_spoil_what_is_said_of_the_vectors_after_them(fit: ValueFit, odd: float) -> None:
    values = waves(40, 9)
    spoilt = np.insert(values, 20, [odd, odd], axis=0)
    clean_verdict = fit.model.judge([vectors_of(CYCLIC, values)], ValueMemory(), false_alarm_rate=RATE)[0]
    verdict = fit.model.judge([vectors_of(CYCLIC, spoilt)], ValueMemory(), false_alarm_rate=RATE)[0]
    assert (20 in verdict.findings) == (not np.isnan(odd))
    assert np.delete(verdict.p_values, 20).min() >= RATE
    assert verdict.p_values[:20].tobytes() == clean_verdict.p_values[:20].tobytes()
    # From h good vectors after it, there is no trace of it. (One more vector turns the cycle, hence its own series.)
    again = fit.model.judge([vectors_of(CYCLIC, spoilt[21:])], ValueMemory(), false_alarm_rate=RATE)[0]
    assert verdict.p_values[25:].tobytes() == again.p_values[4:].tobytes()


def test_one_missing_number_leaves_the_other_judged(fit: ValueFit) -> None:
    values = noise(20, 5)
    values[10] = [np.nan, 500.0]
    verdict = fit.model.judge([vectors_of(PLAIN, values)], ValueMemory(), false_alarm_rate=RATE)[0]
    assert verdict.findings[10].position.slot == 0


def test_memory_is_bounded(fit: ValueFit) -> None:
    memory = ValueMemory()
    for seed in range(20):
        fit.model.judge([vectors_of(CYCLIC, waves(100, seed))], memory, false_alarm_rate=RATE)
    assert (len(memory), memory.copy().numbers) == (1, CONFIG.history * 2)


@pytest.mark.parametrize("rate", [0.02, 0.01, 0.001])
def test_the_papers_mode_alarms_past_z_sigma(paper: ValueModel, rate: float) -> None:
    z = {0.02: 2.326, 0.01: 2.576, 0.001: 3.291}[rate]
    values = waves(60, 11)
    values[30:, 1] += np.linspace(0.0, 120.0, 30)
    verdict = paper.judge([vectors_of(CYCLIC, values)], ValueMemory(), false_alarm_rate=rate)[0]
    rule = paper.rules[CYCLIC]
    for finding in verdict.findings.values():
        assert not finding.low <= finding.observed <= finding.high
        place = [position.slot for position in rule.positions].index(finding.position.slot)
        scale = rule.scales[place]
        error = scale.normalise(np.array([finding.observed, finding.predicted]))
        # The blamed number has at least its share of the mean square error.
        sigmas = [outlook.sigma for outlook in (rule.by_median, rule.by_network) if outlook is not None]
        assert (error[0] - error[1]) ** 2 > z * min(sigmas) * 0.999
    assert verdict.findings
    assert (verdict.p_values < rate).sum() == len(verdict.findings)
    assert min(verdict.findings) >= 30


def test_a_model_survives_its_bundle_to_the_bit(fit: ValueFit) -> None:
    data = json.loads(json.dumps(fit.model.to_json()))
    loaded = ValueModel.from_json(CONFIG, data, fit.model.weights())
    batch = [vectors_of(CYCLIC, waves(50, 12)), vectors_of(PLAIN, noise(50, 13))]
    ours = fit.model.judge(batch, ValueMemory(), false_alarm_rate=RATE)
    theirs = loaded.judge(batch, ValueMemory(), false_alarm_rate=RATE)
    for one, other in zip(ours, theirs, strict=True):
        assert one.p_values.tobytes() == other.p_values.tobytes()
        assert one.findings == other.findings


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name + "s": tensor for name, tensor in weights.items()}


def _narrow(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[..., :-1] for name, tensor in weights.items()}


def _infinite(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**weights, "bias": torch.full_like(weights["bias"], float("inf"))}


def _two(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.repeat(2, *[1] * (tensor.dim() - 1)) for name, tensor in weights.items()}


def _none(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {}


@pytest.mark.parametrize("damage", [_renamed, _narrow, _infinite, _two, _none])
def test_weights_that_do_not_fit_are_refused(
    fit: ValueFit, damage: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    with pytest.raises(ValueError, match=r"weights|network"):
        ValueModel.from_json(CONFIG, fit.model.to_json(), damage(fit.model.weights()))


def test_a_damaged_rule_is_refused(fit: ValueFit) -> None:
    data = fit.model.to_json()
    data["rules"][0]["by_median"]["sigma"] = float("nan")
    with pytest.raises(ValueError, match="damaged"):
        ValueModel.from_json(CONFIG, data, fit.model.weights())
