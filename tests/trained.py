"""A small trained application, and what tests do with it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch, SessionConfig, VerdictBatch
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import KeyModelConfig
from deeplog_grpc.parsing import Parser
from deeplog_grpc.testing import EPOCH_S, Fault, SimulatedLog, simulate_log
from deeplog_grpc.training import Trainer

LATER_S = EPOCH_S + 86_400.0


def train_orders(log: SimulatedLog) -> ApplicationModel:
    trainer = Trainer()
    trainer.add(entries_of(log.lines))
    model, _ = trainer.fit(application="orders", version=3, seed=3)
    return model


def train_small(*, sessions: int = 150, seed: int = 1) -> ApplicationModel:
    """An application that is trained in two seconds."""
    trainer = Trainer()
    trainer.add(entries_of(simulate_log(sessions, seed=seed).lines))
    model, _ = trainer.fit(application="orders", version=3, seed=seed + 2, config=small_config())
    return model


def small_config() -> KeyModelConfig:
    return KeyModelConfig(epochs=10, hidden=24)


def entries_of(lines: Sequence[str]) -> EntryBatch:
    return LineReader(source="test").read(lines).batch


def fresh_detector(
    model: ApplicationModel, *, sessions: SessionConfig | None = None, timeout_s: float | None = None, **config: Any
) -> Detector:
    """A detector with a parser of its own, past its cold start unless ``cold_start_s`` says otherwise."""
    model = replace(
        model,
        parser=Parser.from_state(model.parser.state()),
        sessions=sessions or model.sessions,
        timeout_s=model.timeout_s if timeout_s is None else timeout_s,
    )
    return Detector(model, DetectorConfig(**{"cold_start_s": 0.0, **config}))


def order(seed: int = 0, *, fault: Fault | None = None) -> EntryBatch:
    """The entries of one order, normal or with a fault, one second after the other."""
    place = list(Fault).index(fault) if fault else 0
    log = simulate_log(place + 1, seed=seed, fault_rate=float(fault is not None), start_s=LATER_S)
    session = list(log.faults)[place]
    batch = entries_of([line for line in log.lines if session in line])
    return with_times(batch, [LATER_S + second for second in range(len(batch))])


def rest_of_order(seed: int = 3) -> EntryBatch:
    """The entries of a normal order from its middle on, where nobody would take it for a beginning."""
    batch = order(seed)
    return batch.slice(next(row for row, body in enumerate(batch.bodies) if "payment accepted" in body), len(batch))


def with_times(batch: EntryBatch, times_s: Sequence[float]) -> EntryBatch:
    """The entries at other times, in seconds; 0 = not known."""
    return replace(batch, times_ns=np.array([int(time_s * NS_PER_S) for time_s in times_s], np.int64))


def joined(*batches: EntryBatch) -> EntryBatch:
    return EntryBatch.concat(batches)


def entry(body: str, time_s: float, session: str = "") -> EntryBatch:
    return EntryBatch.of([body], times_ns=[int(time_s * NS_PER_S)], sessions=[session])


Row = tuple[int, int, int, float, str]
End = tuple[int, str, str, int, int, float]


def rows(batch: VerdictBatch) -> list[Row]:
    """All that is said of the entries, probabilities to the last bit."""
    return list(
        zip(
            batch.keys.tolist(),
            batch.kinds.tolist(),
            batch.ranks.tolist(),
            batch.probabilities.tolist(),
            batch.sessions,
            strict=True,
        )
    )


def ends(batch: VerdictBatch, start: int = 0) -> list[End]:
    """All that is said of ends of sessions; ``start`` is the batch's place among all entries."""
    return [
        (start + end.index, end.session, str(end.session_end), int(end.kind), end.rank, end.probability)
        for end in batch.session_ends
    ]


def in_parts(detector: Detector, batch: EntryBatch, sizes: Sequence[int]) -> tuple[list[Row], list[End]]:
    """Score in batches of the given sizes (the last takes the rest), then flush."""
    found_rows: list[Row] = []
    found_ends: list[End] = []
    start = 0
    for size in [*sizes, len(batch)]:
        stop = min(start + size, len(batch))
        scored = detector.score(batch.slice(start, stop))
        found_rows += rows(scored)
        found_ends += ends(scored, start)
        start = stop
    return found_rows, found_ends + ends(detector.flush(), len(batch))
