"""Figures of workflows: ``make bench-workflow`` (``DATA=folder``).

Writes benchmarks/results/workflow.json. Generated processes have known tasks (`deeplog_grpc.testing`): for each seed a
workflow is built from training sessions, with noise or without, and compared with the truth. The data folder holds
``hdfs_sequences`` (sessions of key numbers) and ``openstack_utah`` (lines of VM creations).
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.harness import console, write_results
from benchmarks.hdfs import only
from benchmarks.process_measures import (
    Fork,
    Relation,
    adjusted_rand,
    edge_f1,
    fitness,
    fork_accuracy,
    forks,
    precision,
    simplicity,
    true_states,
)
from benchmarks.values import INSTANCE, TRAIN_SHARE
from deeplog_grpc.cli.evaluate import read_sequences
from deeplog_grpc.detection import SessionConfig
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import set_threads
from deeplog_grpc.parsing import Parser, ParserConfig
from deeplog_grpc.testing import FAULTS, FaultySession, Process, SimulatedStream, simulate_process, with_fault
from deeplog_grpc.training import session_names
from deeplog_grpc.workflow import Deviation, Diagnosis, Method, Workflow, build_workflow, distinct_paths
from deeplog_grpc.workflow import Path as KeyPath
from deeplog_grpc.workflow.deviations import NO_STATE
from deeplog_grpc.workflow.discovery import discover
from deeplog_grpc.workflow.tasks import sort_by_task

SEEDS = range(40)
NOISES = (0.0, 0.005, 0.01, 0.02)
"""Noise of the training sessions; processes take turns."""
SESSIONS = 400
"""For training, and as many are held out."""
HELD_OUT = 1_000
"""Added to the seed of what is held out; that is without noise."""
FAULTY = 5
"""Sessions with each kind of fault, of each process."""
WORKERS = 3
"""Executions open at once in a stream whose tasks are to be separated."""
SHOWN_WORST = 5

Construct = Callable[[Sequence[KeyPath]], Workflow]
"""Training sessions -> workflow."""
Separate = Callable[[SimulatedStream], Sequence[int]]
"""Stream -> group of each entry; it looks at the keys alone."""
Diagnose = Callable[[Workflow, FaultySession], Diagnosis]
"""Workflow and session -> what is wrong at the entry that deviates."""


def from_sessions(paths: Sequence[KeyPath]) -> Workflow:
    """A workflow from sessions that are one task each."""
    logs: defaultdict[int, list[tuple[tuple[int, ...], float]]] = defaultdict(list)
    for path, task in zip(paths, sort_by_task(paths).tolist(), strict=True):
        logs[task].append((path.keys, float(path.count)))
    return build_workflow([discover(logs[task]) for task in sorted(logs)], paths, method=Method.SESSIONS)


METHODS: dict[str, Construct] = {"sessions": from_sessions}
"""End of the figures' names -> how a workflow is built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """A process and the workflow that was built of it."""

    seed: int
    noise: float
    process: Process
    workflow: Workflow
    edge_f1: float
    forks: Sequence[Fork]
    fitness: float
    precision: float
    simplicity: float


def rebuilt(construct: Construct, seed: int) -> Rebuilt:
    """Build a workflow of one process."""
    process, noise = simulate_process(seed), NOISES[seed % len(NOISES)]
    found = construct(paths_of(process, seed, noise))
    held_out = paths_of(process, seed + HELD_OUT, 0.0)
    return Rebuilt(
        seed=seed,
        noise=noise,
        process=process,
        workflow=found,
        edge_f1=edge_f1(found, process.workflow),
        forks=forks(found, process.workflow),
        fitness=fitness(found, held_out),
        precision=precision(found, held_out),
        simplicity=simplicity(found),
    )


def paths_of(process: Process, seed: int, noise: float) -> tuple[KeyPath, ...]:
    """Sessions as construction sees them."""
    sessions = process.draw(SESSIONS, seed=seed, noise=noise)
    return distinct_paths((session.keys for session in sessions), (np.array(session.elapsed_s) for session in sessions))


def generated(method: str, construct: Construct, seeds: Iterable[int] = SEEDS) -> dict[str, Any]:
    """Workflows of all processes beside the truth."""
    found = [rebuilt(construct, seed) for seed in seeds]
    _show(f"generated processes, workflows from {method}", found)
    judged = [fork for one in found for fork in one.forks]
    side_by_side = [fork for fork in judged if fork.relation is Relation.SIDE_BY_SIDE]
    choices = [fork for fork in judged if fork.relation is Relation.CHOICE]
    return {
        f"edge_f1_{method}": statistics.mean(one.edge_f1 for one in found),
        f"edge_f1_{method}_min": min(one.edge_f1 for one in found),
        f"fork_accuracy_{method}": fork_accuracy(judged),
        f"fork_accuracy_{method}_side_by_side": fork_accuracy(side_by_side),
        f"fork_accuracy_{method}_choice": fork_accuracy(choices),
        f"tasks_right_{method}": statistics.mean(
            len(one.workflow.tasks) == len(one.process.workflow.tasks) for one in found
        ),
        f"fitness_{method}": statistics.mean(one.fitness for one in found),
        f"precision_{method}": statistics.mean(one.precision for one in found),
        f"simplicity_{method}": statistics.mean(one.simplicity for one in found),
    }


def _show(title: str, found: Sequence[Rebuilt]) -> None:
    """A row for each kind of process and each share of noise, and for all."""
    columns = ("processes", "edge F1", "forks told", "fitness", "precision", "true precision", "simplicity")
    table = Table(title, *columns, title_justify="left")
    kinds = sorted({one.process.kind for one in found})
    groups = {str(kind): [one for one in found if one.process.kind == kind] for kind in kinds}
    groups |= {f"noise {noise:g}": [one for one in found if one.noise == noise] for noise in NOISES}
    for name, own in {**groups, "all": list(found)}.items():
        table.add_row(name, str(len(own)), *(f"{figure:.3f}" for figure in _means(own)))
    console.print(table)
    worst = sorted(found, key=lambda one: one.edge_f1)[:SHOWN_WORST]
    console.print("worst seeds:", ", ".join(f"{one.seed} (edge F1 {one.edge_f1:.3f})" for one in worst))


def _means(found: Sequence[Rebuilt]) -> list[float]:
    if not found:
        return [float("nan")] * 6
    return [
        statistics.mean(one.edge_f1 for one in found),
        fork_accuracy([fork for one in found for fork in one.forks]),
        statistics.mean(one.fitness for one in found),
        statistics.mean(one.precision for one in found),
        statistics.mean(
            precision(one.process.workflow, paths_of(one.process, one.seed + HELD_OUT, 0.0)) for one in found
        ),
        statistics.mean(one.simplicity for one in found),
    ]


def separation(separate: Separate, seeds: Iterable[int] = SEEDS, workers: int = WORKERS) -> dict[str, Any]:
    """Entries of executions that overlap, sorted by task."""
    scores = []
    for seed in seeds:
        process = simulate_process(seed)
        if len(process.tasks) > 1:
            stream = process.draw_stream(SESSIONS, seed=seed, noise=NOISES[seed % len(NOISES)], interleave=workers)
            scores.append(adjusted_rand(stream.tasks, separate(stream)))
    return {"separation_ari": statistics.mean(scores), "separation_ari_min": min(scores)}


def diagnosed(construct: Construct, diagnose: Diagnose, seeds: Iterable[int] = SEEDS) -> dict[str, Any]:
    """Faults put into held-out sessions: whether the state before and the kind of fault are told."""
    right: defaultdict[Deviation, list[tuple[bool, bool]]] = defaultdict(list)
    for seed in seeds:
        process = simulate_process(seed)
        workflow = construct(paths_of(process, seed, NOISES[seed % len(NOISES)]))
        true_state = true_states(workflow, process.draw(SESSIONS, seed=seed))
        for faulty in faults_of(process, seed):
            said = diagnose(workflow, faulty)
            state = NO_STATE if said.state == NO_STATE else true_state.get(said.state)
            right[faulty.fault].append((state == faulty.state, said.deviation is faulty.fault))
    table = Table("fault", "sessions", "state told", "kind told", title="diagnosis", title_justify="left")
    figures: dict[str, Any] = {}
    for fault, own in right.items():
        states, kinds = np.mean(own, axis=0).tolist()
        table.add_row(fault.name, str(len(own)), f"{states:.3f}", f"{kinds:.3f}")
        figures |= {f"diagnosis_state_{fault.name.lower()}": states, f"diagnosis_kind_{fault.name.lower()}": kinds}
    console.print(table)
    states, kinds = np.mean([one for own in right.values() for one in own], axis=0).tolist()
    return {"diagnosis_state_accuracy": states, "diagnosis_kind_accuracy": kinds, **figures}


def faults_of(process: Process, seed: int) -> list[FaultySession]:
    """Some sessions with each kind of fault; a session may have no place for one."""
    sessions = process.draw(SESSIONS, seed=seed + HELD_OUT)
    found: list[FaultySession] = []
    for fault in FAULTS:
        own: list[FaultySession] = []
        for number, session in enumerate(sessions):
            try:
                own.append(with_fault(process, session, fault, seed=number))
            except ValueError:
                continue
            if len(own) == FAULTY:
                break
        found += own
    return found


def hdfs(folder: Path, construct: Construct) -> dict[str, Any]:
    """Sessions of HDFS blocks: those for training, and how many normal ones of the test replay."""
    workflow = construct(distinct_paths(read_sequences(only(folder, "hdfs_train*"))))
    normal = distinct_paths(read_sequences(only(folder, "hdfs_test_normal*")))
    abnormal = distinct_paths(read_sequences(only(folder, "hdfs_test_abnormal*")))
    return {
        "hdfs_fitness": fitness(workflow, normal),
        "hdfs_abnormal_fitness": fitness(workflow, abnormal),
        "hdfs_tasks": len(workflow.tasks),
        "hdfs_states": len(workflow.states),
        "hdfs_precision": precision(workflow, normal),
        "hdfs_simplicity": simplicity(workflow),
    }


def openstack(path: Path, construct: Construct) -> dict[str, Any]:
    """VM creations: the first 70 % are for training, the others must replay."""
    batch = LineReader(source="nova").read(path.read_text().splitlines()).batch
    keys = Parser(ParserConfig()).parse(batch.bodies).keys.tolist()
    sessions: defaultdict[str, list[int]] = defaultdict(list)
    for name, key in zip(session_names(batch, SessionConfig(patterns=(INSTANCE,))), keys, strict=True):
        sessions[name].append(key)
    ordered = list(sessions.values())
    cut = int(TRAIN_SHARE * len(ordered))
    workflow, held_out = construct(distinct_paths(ordered[:cut])), distinct_paths(ordered[cut:])
    return {
        "openstack_vms": len(ordered),
        "openstack_fitness": fitness(workflow, held_out),
        "openstack_tasks": len(workflow.tasks),
        "openstack_states": len(workflow.states),
        "openstack_precision": precision(workflow, held_out),
        "openstack_simplicity": simplicity(workflow),
    }


def all_generated(_: Path) -> dict[str, Any]:
    """Generated processes, by every method."""
    figures: dict[str, Any] = {}
    for method, construct in METHODS.items():
        figures |= generated(method, construct)
    return {"fork_accuracy": figures["fork_accuracy_sessions"], **figures}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "generated": all_generated,
    "hdfs": lambda data: hdfs(data / "hdfs_sequences", from_sessions),
    "openstack": lambda data: openstack(data / "openstack_utah" / "openstack_normal1.instances.log", from_sessions),
}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"{arguments.data}: no such folder; give DATA=folder")
    if unknown := set(arguments.parts) - set(PARTS):
        raise SystemExit(f"{', '.join(sorted(unknown))}: no such part; there are {', '.join(PARTS)}")
    set_threads(1)
    figures: dict[str, Any] = {}
    for part in arguments.parts:
        own = PARTS[part](arguments.data)
        for name, value in own.items():
            console.print(f"{name:44} {value:.4f}")
        figures |= own
    if set(arguments.parts) == set(PARTS):
        write_results("workflow", figures)


if __name__ == "__main__":
    main()
