"""Verdicts on anomalies say where the session left its workflow."""

from dataclasses import replace

import pytest

from deeplog_grpc.detection import ApplicationModel, Detector, EntryBatch, SessionConfig, Verdict
from deeplog_grpc.testing import Fault
from deeplog_grpc.workflow import NO_WORKFLOW, Deviation
from deeplog_grpc.workflow.names import Names
from tests.learned_workflows import workflow_of_orders
from tests.trained import LATER_S, entry, fresh_detector, joined, order, rest_of_order

STRANGE = "kernel panic: not syncing, attempted to kill init"


@pytest.fixture(scope="module")
def diagnosed(trained: ApplicationModel) -> ApplicationModel:
    return replace(trained, workflow=workflow_of_orders(trained))


def anomalies(detector: Detector, batch: EntryBatch, *, flush: bool = True) -> list[Verdict]:
    scored = detector.score(batch)
    ends = [*scored.session_ends, *(detector.flush().session_ends if flush else ())]
    return [scored.verdict(row) for row in scored.anomalies()] + [end for end in ends if end.is_anomaly]


@pytest.mark.parametrize(
    ("fault", "deviation"),
    [
        (Fault.UNSEEN_KEY, Deviation.UNKNOWN),
        (Fault.WRONG_ORDER, Deviation.SKIPPED),
        (Fault.TRUNCATED, Deviation.TRUNCATED),
        (Fault.SLOW, Deviation.VALUE),
    ],
)
def test_every_fault_is_diagnosed(diagnosed: ApplicationModel, fault: Fault, deviation: Deviation) -> None:
    batch = order(fault=fault)
    verdict = anomalies(fresh_detector(diagnosed), batch)[0]
    diagnosis = verdict.diagnosis
    assert diagnosis is not None
    assert diagnosis.deviation is deviation
    name = Names.of_workflow(diagnosed.workflow).name(diagnosis.template)
    assert name in diagnosis.text or len(name) > 57
    assert diagnosis.expected
    values = {parameter for parameter in verdict.parameters if len(parameter) > 2}
    assert not any(value in diagnosis.text for value in values | {verdict.session})


def test_normal_verdicts_have_no_diagnosis(diagnosed: ApplicationModel) -> None:
    detector = fresh_detector(diagnosed)
    scored = detector.score(order(1))
    assert {scored.verdict(row).diagnosis for row in range(len(scored))} == {None}
    assert [end.diagnosis for end in detector.flush().session_ends] == [None]


def test_a_session_that_ends_and_begins_anew_in_a_batch_has_a_new_past(diagnosed: ApplicationModel) -> None:
    detector = fresh_detector(diagnosed, sessions=SessionConfig(end_patterns=("order closed",)))
    first, again = order(1), order(1)
    odd = entry(STRANGE, LATER_S + len(first), "same")
    sessions = ["same"] * len(first)
    whole = joined(replace(first, sessions=sessions), replace(again.slice(0, 2), sessions=sessions[:2]), odd)
    verdict = detector.score(whole).verdict(len(whole) - 1)
    assert verdict.diagnosis is not None
    assert len(verdict.diagnosis.path) == 2
    assert verdict.diagnosis.first_divergence == -1


def test_a_session_met_in_its_middle_is_not_said_to_have_skipped_its_beginning(diagnosed: ApplicationModel) -> None:
    rest = rest_of_order().slice(0, 3)
    detector = fresh_detector(diagnosed, cold_start_s=60.0)
    session = detector.score(rest).sessions[0]
    (verdict,) = anomalies(detector, entry(STRANGE, LATER_S + 8, session), flush=False)
    assert verdict.diagnosis is not None
    assert (verdict.diagnosis.deviation, verdict.diagnosis.first_divergence) == (Deviation.UNKNOWN, -1)
    assert len(verdict.diagnosis.path) == 3


def test_without_paths_or_without_a_workflow_there_is_no_diagnosis(diagnosed: ApplicationModel) -> None:
    batch = order(fault=Fault.UNSEEN_KEY)
    for detector in (
        fresh_detector(diagnosed, path_entries=0),
        fresh_detector(replace(diagnosed, workflow=NO_WORKFLOW)),
    ):
        assert [verdict.diagnosis for verdict in anomalies(detector, batch)] == [None]


def test_the_way_of_an_open_session(diagnosed: ApplicationModel) -> None:
    detector = fresh_detector(diagnosed)
    scored = detector.score(order(1).slice(0, 3))
    path = detector.workflow_path(scored.sessions[0])
    assert path is not None
    assert [diagnosed.workflow.states[state].key for state in path] == scored.keys.tolist()
    assert detector.workflow_path("nobody") is None


def test_another_version_brings_its_workflow(diagnosed: ApplicationModel) -> None:
    detector = fresh_detector(replace(diagnosed, workflow=NO_WORKFLOW))
    batch = order(fault=Fault.UNSEEN_KEY)
    strange = detector.score(batch).anomalies()[0]
    detector.flush()
    detector.adopt(detector.judges_of(replace(detector.model, version=4, workflow=diagnosed.workflow)))
    verdict = detector.score(batch).verdict(strange)
    assert verdict.diagnosis is not None
