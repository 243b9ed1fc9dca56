"""Stores of anomalies that were never scored."""

from pathlib import Path
from typing import Any

from deeplog_grpc.storage import AnomalyStore, NewAnomaly
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2


def open_store(directory: Path, **limits: Any) -> AnomalyStore:
    return AnomalyStore(directory / "anomalies.sqlite", **({"max_age_s": None, "max_bytes": 1 << 30} | limits))


def put(store: AnomalyStore, count: int = 1, **fields: Any) -> list[int]:
    """Store anomalies in one batch; their numbers."""
    numbers = store.reserve(count)
    store.add([new_anomaly(number, **fields) for number in numbers])
    return numbers


def new_anomaly(
    number: int,
    *,
    application: str = "shop",
    kind: verdict_pb2.Kind = verdict_pb2.KIND_UNSEEN_KEY,
    group_id: str = "g-1",
    body: str = "disk full",
    score: float = 1.0,
    time_ns: int = 1_700_000_000_000_000_001,
) -> NewAnomaly:
    verdict = verdict_pb2.Verdict(
        application=application,
        kind=kind,
        key=7,
        session="s-1",
        score=score,
        template="disk <*>",
        reason="a log message that training did not have",
        model_version=3,
        diagnosis=verdict_pb2.Diagnosis(text="no task has it"),
        time_unix_nano=time_ns,
    )
    return NewAnomaly(
        number=number,
        application=application,
        kind=kind,
        key=7,
        session="s-1",
        group_id=group_id,
        time_ns=time_ns,
        score=score,
        evidence=anomaly_pb2.Anomaly(verdict=verdict, body=body).SerializeToString(),
        template="disk <*>",
        reason="a log message that training did not have",
    )
