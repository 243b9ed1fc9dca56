"""The benchmark of workflows: who knows the truth gets full marks, who knows nothing does not."""

from collections.abc import Sequence
from typing import Any

import pytest

from deeplog_grpc.testing import FAULTS, FaultySession, Process, SimulatedStream, simulate_process
from deeplog_grpc.workflow import NO_WORKFLOW, Deviation, Diagnosis, Workflow

benchmark: Any = pytest.importorskip("benchmarks.workflow")

SEED = 4


def truth(process: Process, seed: int, noise: float) -> Workflow:
    return process.workflow


def nothing(process: Process, seed: int, noise: float) -> Workflow:
    return NO_WORKFLOW


@pytest.fixture(autouse=True)
def _few_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SESSIONS", 200)


def test_the_truth_gets_full_marks() -> None:
    figures = benchmark.generated("truth", truth, {SEED: simulate_process(SEED)})
    for name in ("edge_f1", "fork_accuracy", "fork_accuracy_truth_choice", "tasks_right", "fitness"):
        assert figures[name if "truth" in name else f"{name}_truth"] == 1.0
    assert 0 < figures["precision_truth"] < 1


def test_no_workflow_gets_none() -> None:
    figures = benchmark.generated("nothing", nothing, {SEED: simulate_process(SEED)})
    for name in ("edge_f1", "fork_accuracy", "tasks_right", "fitness"):
        assert figures[f"{name}_nothing"] == 0.0


def test_separation_compares_tasks_entry_by_entry() -> None:
    def knows(workflow: Workflow, stream: SimulatedStream, interleaved: bool) -> Sequence[int]:
        return stream.tasks

    def at_random(workflow: Workflow, stream: SimulatedStream, interleaved: bool) -> Sequence[int]:
        return [place % 4 for place in range(len(stream.keys))]

    assert benchmark.separation(knows, [SEED])["separation_ari"] == 1.0
    assert benchmark.separation(at_random, [SEED])["separation_ari"] < 0.05
    assert benchmark.separation(benchmark.by_replay, [SEED])["separation_ari"] > 0.98


def test_diagnosis_counts_state_and_kind() -> None:
    def knows(workflow: Workflow, faulty: FaultySession) -> Diagnosis:
        return Diagnosis(deviation=faulty.fault, text="", state=faulty.state)

    def guesses(workflow: Workflow, faulty: FaultySession) -> Diagnosis:
        return Diagnosis(deviation=Deviation.SKIPPED, text="")

    figures = benchmark.diagnosed(truth, knows, [SEED])
    assert (figures["diagnosis_state_accuracy"], figures["diagnosis_kind_accuracy"]) == (1.0, 1.0)
    figures = benchmark.diagnosed(truth, guesses, [SEED])
    assert figures["diagnosis_kind_accuracy"] == pytest.approx(1 / len(FAULTS))
    assert figures["diagnosis_kind_skipped"] == 1.0
    assert figures["diagnosis_state_unknown"] == 0.0
    figures = benchmark.diagnosed(benchmark.from_sessions, benchmark.first_said, [SEED])
    assert min(figures["diagnosis_state_accuracy"], figures["diagnosis_kind_accuracy"]) > 0.9
