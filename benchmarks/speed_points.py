"""Points of scaling curves: a load served in a process of its own, so that one point is not in another's way.

Parse and detect in one process, evidence of anomalies included, without a network. The points of a curve are measured
in turn. Models are made for the purpose and not trained to the end: one pass, and limits of the log key detectors that
nothing exceeds, so that only known faults are abnormal at any number of templates; all is judged all the same.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from benchmarks.speed_measuring import Collecting, alternately, cpu_s, on_one_core
from deeplog_grpc.detection import Detector, DetectorConfig, EntryBatch, SessionConfig
from deeplog_grpc.models import KeyModelConfig, ThresholdConfig, set_threads
from deeplog_grpc.storage import load_bundle, save_bundle
from deeplog_grpc.testing import LOAD_END_PATTERN, LoadShape, SimulatedLoad
from deeplog_grpc.training import Trainer
from deeplog_grpc.workflow import WorkflowConfig

RUNS = 3
STRETCH = 30_000
"""Entries of a run."""
WARM_UP = 40_000
"""Entries before: two sessions in each place, in which all rings of 10,000 templates come."""
BATCH = 1_000
SESSIONS_A_RING = 3
LEAST_SESSIONS = 400
"""Of training: so many sessions of each ring, or in all if that is more. With fewer, slow steps are not found."""
TRAIN_OPEN = 20
SESSION_ENTRIES = 19
NOTHING_EXCEEDS = ThresholdConfig(contamination=0, key=inf, transition=inf, end=inf, counts=inf, length=inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve."""

    shape: LoadShape
    batch: int = BATCH
    """Entries of a message."""
    stretch: int = STRETCH
    """Entries of a run."""
    warm_up: int = WARM_UP
    applications: int = 1
    """Each with a load and a model of its own, their messages in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a point costs."""

    ns: list[float]
    """An entry, of each run."""
    memory_bytes: float
    """Of the process, by all that was served before the first run; the models of applications included."""
    new_windows: float
    """Share of the entries of the runs."""
    anomalies: float
    """Share of the entries of the runs."""


class _Served:
    """A point's detectors and loads."""

    def __init__(self, point: Point, bundle: Path) -> None:
        self._point = point
        self._loads = [SimulatedLoad(point.shape, seed=seed) for seed in range(point.applications)]
        self._anomalies = 0
        self._collecting = Collecting()
        config = DetectorConfig(max_open_sessions=point.shape.open_sessions + 1)
        load_bundle(bundle)  # what is loaded with the first one is not memory of an application
        before = _private_bytes()
        self._detectors = [Detector(load_bundle(bundle), config) for _ in self._loads]
        for load, detector in zip(self._loads, self._detectors, strict=True):
            for batch in load.first_entries(BATCH):
                detector.score(batch)
                self._collecting.between_messages()
        self._serve(self._messages(point.warm_up))
        self.memory_bytes = _private_bytes() - before
        self._anomalies, self._windows = 0, [(load.windows, load.new_windows) for load in self._loads]

    def run(self) -> float:
        """Nanoseconds an entry."""
        messages = self._messages(self._point.stretch)
        seconds = cpu_s(lambda: self._serve(messages))
        return 1e9 * seconds / sum(len(message) for _, message in messages)

    def shares(self) -> tuple[float, float]:
        """Of the entries since the warm-up: new windows, anomalies."""
        served = sum(load.windows - before for load, (before, _) in zip(self._loads, self._windows, strict=True))
        new = sum(load.new_windows - before for load, (_, before) in zip(self._loads, self._windows, strict=True))
        return new / served, self._anomalies / served

    def _messages(self, entries: int) -> list[tuple[Detector, EntryBatch]]:
        """At least so many entries, the applications in turn."""
        rounds = -(-entries // (self._point.batch * len(self._loads)))
        pairs = list(zip(self._detectors, self._loads, strict=True))
        return [(detector, load.entries(self._point.batch)) for _ in range(rounds) for detector, load in pairs]

    def _serve(self, messages: Sequence[tuple[Detector, EntryBatch]]) -> None:
        for detector, batch in messages:
            scored = detector.score(batch)
            rows = scored.anomalies()
            for row in rows:
                scored.verdict(row)
            self._anomalies += len(rows)
            self._collecting.between_messages()


def save_model(templates: int, bundle: Path) -> Path:
    """Write a model of loads with so many templates, unless it is there already."""
    if bundle.exists():
        return bundle
    load = SimulatedLoad(LoadShape(templates=templates, open_sessions=TRAIN_OPEN), seed=-1)
    trainer = Trainer(sessions=SessionConfig(end_patterns=(LOAD_END_PATTERN,)))
    sessions = max(LEAST_SESSIONS, SESSIONS_A_RING * load.rings) + TRAIN_OPEN
    for _ in range(-(-SESSION_ENTRIES * sessions // BATCH)):
        trainer.add(load.entries(BATCH))
    config, workflow = KeyModelConfig(epochs=1, min_sessions=1), WorkflowConfig(method="off")
    model, _ = trainer.fit(application="load", version=1, config=config, thresholds=NOTHING_EXCEEDS, workflow=workflow)
    save_bundle(model, bundle, report={})
    return bundle


def _private_bytes() -> int:
    return int(psutil.Process().memory_full_info().uss)


def measure(points: Mapping[float, Point], work: Path) -> dict[float, Measured]:
    """Measure the points of a curve in turn; models are kept in the folder ``work``."""
    found: dict[float, Measured] = {}
    with on_one_core(), _processes(points, work) as pipes:
        runs = alternately({x: _asking(pipe) for x, pipe in pipes.items()}, RUNS)
        for x, pipe in pipes.items():
            pipe.send(False)
            memory_bytes, new_windows, anomalies = pipe.recv()
            found[x] = Measured(ns=runs[x], memory_bytes=memory_bytes, new_windows=new_windows, anomalies=anomalies)
    return found


def _asking(pipe: Connection) -> Callable[[], float]:
    def ask() -> float:
        pipe.send(True)
        return float(pipe.recv())

    return ask


@contextmanager
def _processes(points: Mapping[float, Point], work: Path) -> Iterator[dict[float, Connection]]:
    """A process a point, each ready to be measured before the next is begun."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with a network in it hangs
    pipes: dict[float, Connection] = {}
    processes = []
    try:
        for x, point in points.items():
            bundle = save_model(point.shape.templates, work / f"{point.shape.templates}_templates")
            pipes[x], theirs = context.Pipe()
            process = context.Process(target=_answer, args=(theirs, point, bundle), daemon=True)
            process.start()
            processes.append(process)
            theirs.close()
            pipes[x].recv()
        yield pipes
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _answer(pipe: Connection, point: Point, bundle: Path) -> None:
    """Measure a run whenever asked to, until asked what else there is to say."""
    set_threads(1)
    served = _Served(point, bundle)
    pipe.send(None)
    while pipe.recv():
        pipe.send(served.run())
    pipe.send((served.memory_bytes, *served.shares()))
