"""The benchmark of workflows: who knows the truth gets full marks, who knows nothing does not."""

from collections.abc import Sequence
from typing import Any

import pytest

from deeplog_grpc.testing import FAULTS, FaultySession, SimulatedStream, simulate_process
from deeplog_grpc.workflow import NO_WORKFLOW, Deviation, Diagnosis, Path, Workflow

benchmark: Any = pytest.importorskip("benchmarks.workflow")

SEED = 4


def truth(paths: Sequence[Path]) -> Workflow:
    return simulate_process(SEED).workflow


def test_the_truth_gets_full_marks() -> None:
    figures = benchmark.generated("truth", truth, [SEED])
    for name in ("edge_f1", "fork_accuracy", "fork_accuracy_truth_choice", "tasks_right", "fitness"):
        assert figures[name if "truth" in name else f"{name}_truth"] == 1.0
    assert 0 < figures["precision_truth"] < 1


def test_no_workflow_gets_none() -> None:
    figures = benchmark.generated("nothing", lambda paths: NO_WORKFLOW, [SEED])
    for name in ("edge_f1", "fork_accuracy", "tasks_right", "fitness"):
        assert figures[f"{name}_nothing"] == 0.0


def test_separation_compares_tasks_entry_by_entry() -> None:
    def at_random(stream: SimulatedStream) -> Sequence[int]:
        return [place % 4 for place in range(len(stream.keys))]

    assert benchmark.separation(lambda stream: stream.tasks, [SEED])["separation_ari"] == 1.0
    assert benchmark.separation(at_random, [SEED])["separation_ari"] < 0.05


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
