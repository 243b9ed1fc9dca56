"""Figures of workflows: ``make bench-workflow`` (``DATA=folder``).

Writes benchmarks/results/workflow.json. Generated processes have known tasks (`deeplog_grpc.testing`): for each seed a
workflow is built by each method from what the process logs, with noise or without, and compared with the truth. The
seeds are not those that the methods were made with. The data folder holds ``hdfs_sequences`` (sessions of key numbers),
``openstack_utah`` (lines of VM creations) and ``hdfs_raw_2pct`` (lines).
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks import workflow_cost
from benchmarks.harness import console, run_parts
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
    true_states,
)
from benchmarks.values import INSTANCE
from benchmarks.values import read as read_vms
from deeplog_grpc.cli.evaluate import read_sequences
from deeplog_grpc.detection import SessionConfig
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.models import KeyModelConfig, TrainingSession, fit_key_model
from deeplog_grpc.testing import (
    FAULTS,
    FaultySession,
    Process,
    ProcessKind,
    SimulatedStream,
    simulate_process,
    with_fault,
)
from deeplog_grpc.testing.making import MOST_TASKS
from deeplog_grpc.training import Trainer
from deeplog_grpc.workflow import (
    EMPTY,
    Block,
    Choice,
    Copies,
    Deviation,
    Diagnosis,
    Loop,
    Parallel,
    Replay,
    Step,
    TrainingPath,
    Workflow,
    WorkflowConfig,
    construct,
    distinct_paths,
    separate,
)
from deeplog_grpc.workflow import Path as KeyPath
from deeplog_grpc.workflow.blocks import children
from deeplog_grpc.workflow.deviations import NO_STATE
from deeplog_grpc.workflow.diagnosis import Diagnoser
from deeplog_grpc.workflow.quality import simplicity
from deeplog_grpc.workflow.sessions import workflow_of_sessions

SEEDS = range(100, 140)
"""Methods were made with seeds from 0 to 39."""
KEY_MODEL = KeyModelConfig(epochs=100, patience=25, batch_rows=64)
"""Of the model method: small logs need more passes than the default, or the model is not sure enough to grow from."""
NOISES = (0.0, 0.005, 0.01, 0.02)
"""Noise of the training sessions; processes take turns."""
SESSIONS = 1_000
"""For training, and as many are held out."""
HELD_OUT = 1_000
"""Added to the seed of what is held out; that is without noise."""
FAULTY = 5
"""Sessions with each kind of fault, of each process."""
WORKERS = 3
"""Executions open at once in a stream whose tasks are to be separated."""
SHOWN_WORST = 5


def from_sessions(process: Process, seed: int, noise: float) -> Workflow:
    """A workflow from sessions that are one task each."""
    return workflow_of_sessions(paths_of(process, seed, noise))


def from_model(process: Process, seed: int, noise: float) -> Workflow:
    """A workflow grown from a key model of the same sessions."""
    sessions = [TrainingSession(keys=list(one.keys)) for one in process.draw(SESSIONS, seed=seed, noise=noise)]
    model = fit_key_model(sessions, KEY_MODEL, seed=0).model
    return construct([], WorkflowConfig(method="model"), model=model)


def from_stream(process: Process, seed: int, noise: float) -> Workflow:
    """A workflow from the same executions in one stream, by density."""
    stream = process.draw_stream(SESSIONS, seed=seed, noise=noise)
    path = TrainingPath(keys=np.array(stream.keys, np.int32), elapsed_s=np.array(stream.elapsed_s), is_whole=False)
    return construct([path], WorkflowConfig(method="density"))


Build = Callable[[Process, int, float], Workflow]
"""Process, seed of what it logs, and noise -> workflow."""
Separate = Callable[[Workflow, SimulatedStream, bool], Sequence[int]]
"""Workflow, stream, and whether executions overlap -> group of each entry."""
Diagnose = Callable[[Workflow, FaultySession], Diagnosis | None]
"""Workflow and session -> what is said of it first."""


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


def noise_of(seed: int) -> float:
    """Noise of a process's training sessions."""
    return NOISES[seed // 5 % len(NOISES)]  # kinds take turns with each seed


def rebuilt(build: Build, seed: int, process: Process) -> Rebuilt:
    """Build a workflow of one process."""
    noise = noise_of(seed)
    found = build(process, seed, noise)
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


def generated(method: str, build: Build, processes: Mapping[int, Process]) -> dict[str, Any]:
    """Workflows of processes, by seed, beside the truth."""
    found = [rebuilt(build, seed, process) for seed, process in processes.items()]
    _show(f"generated processes, workflows from {method}", found)
    judged = [fork for one in found for fork in one.forks]
    side_by_side = [fork for fork in judged if fork.relation is Relation.SIDE_BY_SIDE]
    choices = [fork for fork in judged if fork.relation is Relation.CHOICE]
    return {
        f"edge_f1_{method}": statistics.mean(one.edge_f1 for one in found),
        f"edge_f1_{method}_min": min(one.edge_f1 for one in found),
        f"processes_{method}": len(found),
        f"forks_{method}": len(judged),
        f"fork_accuracy_{method}": fork_accuracy(judged),
        f"fork_accuracy_{method}_side_by_side": fork_accuracy(side_by_side),
        **({f"fork_accuracy_{method}_choice": fork_accuracy(choices)} if choices else {}),
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


def separation(separated: Separate, seeds: Iterable[int] = SEEDS) -> dict[str, Any]:
    """Entries of a stream sorted by task: one task at a time, and some at once."""
    scores: defaultdict[int, list[float]] = defaultdict(list)
    for seed in seeds:
        process, noise = simulate_process(seed), noise_of(seed)
        if len(process.tasks) == 1:
            continue
        workflow = from_sessions(process, seed, noise)
        for workers in (1, WORKERS):
            stream = process.draw_stream(SESSIONS, seed=seed + HELD_OUT, noise=noise, interleave=workers)
            scores[workers].append(adjusted_rand(stream.tasks, separated(workflow, stream, workers > 1)))
    return {
        "separation_ari": statistics.mean(scores[1]),
        "separation_ari_min": min(scores[1]),
        f"separation_ari_{WORKERS}_at_once": statistics.mean(scores[WORKERS]),
    }


def by_replay(workflow: Workflow, stream: SimulatedStream, interleaved: bool) -> Sequence[int]:
    """Task of each entry, by its log keys alone."""
    found = separate(Replay(workflow, any_succession=True), stream.keys, interleaved=interleaved)
    tasks: list[int] = found.tasks.tolist()
    return tasks


def diagnosed(build: Build, diagnose: Diagnose, seeds: Iterable[int] = SEEDS) -> dict[str, Any]:
    """Faults put into held-out sessions: whether the state before and the kind of fault are told."""
    right: defaultdict[Deviation, list[tuple[bool, bool]]] = defaultdict(list)
    for seed in seeds:
        process = simulate_process(seed)
        workflow = build(process, seed, noise_of(seed))
        true_state = true_states(workflow, process.draw(SESSIONS, seed=seed))
        for faulty in faults_of(process, seed):
            said = diagnose(workflow, faulty)
            state = NO_STATE if said is None or said.state == NO_STATE else true_state.get(said.state)
            kind = None if said is None else said.deviation
            right[faulty.fault].append((state == faulty.state, kind is faulty.fault))
    table = Table("fault", "sessions", "state told", "kind told", title="diagnosis", title_justify="left")
    figures: dict[str, Any] = {}
    for fault, own in right.items():
        states, kinds = np.mean(own, axis=0).tolist()
        table.add_row(fault.name, str(len(own)), f"{states:.3f}", f"{kinds:.3f}")
        figures |= {f"diagnosis_state_{fault.name.lower()}": states, f"diagnosis_kind_{fault.name.lower()}": kinds}
    console.print(table)
    states, kinds = np.mean([one for own in right.values() for one in own], axis=0).tolist()
    return {"diagnosis_state_accuracy": states, "diagnosis_kind_accuracy": kinds, **figures}


def first_said(workflow: Workflow, faulty: FaultySession) -> Diagnosis | None:
    """The first thing that is said of a whole session; None = nothing is."""
    times_ns = np.cumsum(np.nan_to_num(faulty.session.elapsed_s, nan=1.0)) * NS_PER_S
    found = Diagnoser(workflow, str).diagnose_session(faulty.session.keys, times_ns.astype(np.int64).tolist())
    return found[0] if found else None


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


def hdfs(data: Path) -> dict[str, Any]:
    """Sessions of HDFS blocks: those for training, and how many normal ones of the test replay."""
    folder = data / "hdfs_sequences"
    workflow = workflow_of_sessions(distinct_paths(read_sequences(only(folder, "hdfs_train*"))))
    normal = distinct_paths(read_sequences(only(folder, "hdfs_test_normal*")))
    abnormal = distinct_paths(read_sequences(only(folder, "hdfs_test_abnormal*")))
    _show_blocks("HDFS", workflow)
    return {
        "hdfs_fitness": fitness(workflow, normal),
        "hdfs_abnormal_fitness": fitness(workflow, abnormal),
        "hdfs_tasks": len(workflow.tasks),
        "hdfs_states": len(workflow.states),
        "hdfs_copies": max((block.most for block in _blocks(workflow) if isinstance(block, Copies)), default=0),
        "hdfs_precision": precision(workflow, normal),
        "hdfs_simplicity": simplicity(workflow),
    }


def openstack(data: Path) -> dict[str, Any]:
    """VMs: the first 70 % are for training, the others must replay."""
    early, late = read_vms(data / "openstack_utah" / "openstack_normal1.instances.log")
    trainer = Trainer(sessions=SessionConfig(patterns=(INSTANCE,)))
    trainer.add(early.batch)
    model, report = trainer.fit(application="openstack", version=1)
    workflow = model.workflow
    keys = model.parser.parse(late.batch.bodies).keys
    held_out = distinct_paths(keys[rows] for rows in late.vms.values())
    _show_blocks("OpenStack", workflow)
    return {
        "openstack_fitness": fitness(workflow, held_out),
        "openstack_tasks": len(workflow.tasks),
        "openstack_states": len(workflow.states),
        "openstack_forks": sum(isinstance(block, Parallel) for block in _blocks(workflow)),
        "openstack_precision": precision(workflow, held_out),
        "openstack_simplicity": simplicity(workflow),
        "openstack_agreement": report.workflow.agreement or 0.0,
    }


def _blocks(workflow: Workflow) -> Iterator[Block]:
    """All blocks of all tasks."""
    waiting = [task.block for task in workflow.tasks]
    while waiting:
        block = waiting.pop()
        yield block
        waiting += children(block)


def _show_blocks(title: str, workflow: Workflow) -> None:
    """The tasks in one line each."""
    table = Table("task", "sessions", "blocks", title=title, title_justify="left")
    for task in workflow.tasks:
        table.add_row(str(task.number), f"{task.sessions:,}", _text(task.block))
    console.print(table)


def _text(block: Block) -> str:
    """A block: ``a b`` in turn, ``(a | b)`` one of both, ``{a, b}`` side by side, ``[a]*`` again, ``3 x [a]`` copies.

    An empty part is ``-``.
    """
    match block:
        case Step(key):
            return str(key)
        case Loop(body, redo):
            return f"[{_text(body)}]*" if redo == EMPTY else f"[{_text(body)} / {_text(redo)}]*"
        case Copies(body, least, most):
            return f"{least if least == most else f'{least}-{most}'} x [{_text(body)}]"
        case Choice(parts):
            return f"({' | '.join(_text(part) or '-' for part in parts)})"
        case Parallel(parts):
            return f"{{{', '.join(map(_text, parts))}}}"
        case _:
            return " ".join(map(_text, block.parts))


def by_density() -> dict[str, Any]:
    """The density method where its assumptions hold, and on all processes."""
    tasks_of = {seed: 2 + seed % (MOST_TASKS - 1) for seed in SEEDS}
    plain = {seed: simulate_process(seed, kind=ProcessKind.PLAIN, tasks=tasks) for seed, tasks in tasks_of.items()}
    figures = generated("density", from_stream, plain)
    any_process = generated("density, any", from_stream, {seed: simulate_process(seed) for seed in SEEDS})
    return {**figures, "edge_f1_density_any": any_process["edge_f1_density, any"]}


def all_generated(_: Path) -> dict[str, Any]:
    """Generated processes, by every method."""
    processes = {seed: simulate_process(seed) for seed in SEEDS}
    figures = generated("sessions", from_sessions, processes)
    figures |= {**generated("model", from_model, processes), **by_density()}
    forks_of = {method: figures[f"forks_{method}"] for method in ("sessions", "model", "density")}
    told = sum(forks_of[method] * figures[f"fork_accuracy_{method}"] for method in forks_of)
    return {
        "fork_accuracy": told / sum(forks_of.values()),
        **figures,
        **separation(by_replay),
        **diagnosed(from_sessions, first_said),
    }


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "generated": all_generated,
    "hdfs": hdfs,
    "openstack": openstack,
    "cost": workflow_cost.run,
}


if __name__ == "__main__":
    run_parts("workflow", PARTS)
