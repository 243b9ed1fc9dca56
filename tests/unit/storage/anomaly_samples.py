"""Stores and anomalies for tests."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplog_grpc.storage import AnomalyFilter, AnomalyState, AnomalyStore, NewAnomaly, StoredAnomaly

S = 1_000_000_000
NOON_NS = 1_700_000_000 * S


@dataclass
class HandClock:
    """A clock that a test sets."""

    now_ns: int = NOON_NS

    def __call__(self) -> int:
        return self.now_ns


def open_store(path: Path, clock: HandClock | None = None, **options: Any) -> AnomalyStore:
    limits: dict[str, Any] = {"max_age_s": None, "max_bytes": 1 << 30, **options}
    return AnomalyStore(path, clock_ns=clock or HandClock(), **limits)


def anomaly(number: int, **values: Any) -> NewAnomaly:
    """An anomaly; its group is named after its key."""
    key = values.pop("key", 7)
    return NewAnomaly(
        **{
            "number": number,
            "application": "shop",
            "kind": 2,
            "key": key,
            "session": "blk_1",
            "group_id": f"g{key}",
            "time_ns": NOON_NS,
            "score": 0.5,
            "evidence": b"evidence",
            "template": f"template {number}",
            "reason": f"reason {number}",
            **values,
        }
    )


def add(store: AnomalyStore, count: int = 1, **values: Any) -> list[int]:
    numbers = store.reserve(count)
    store.add([anomaly(number, **values) for number in numbers])
    return numbers


def numbers(found: Sequence[StoredAnomaly]) -> list[int]:
    return [one.number for one in found]


def all_of(store: AnomalyStore) -> list[StoredAnomaly]:
    """Everything stored, the oldest first."""
    return store.since(0, AnomalyFilter(), limit=1_000_000)


def check_counts(store: AnomalyStore, path: Path) -> None:
    """Totals and groups say what the anomalies themselves say."""
    stored = all_of(store)
    totals = store.totals()
    groups = store.groups(limit=1_000_000)
    assert totals.anomalies == len(stored)
    assert totals.evidence_bytes == sum(len(one.evidence) for one in stored)
    assert totals.groups == len(groups)
    with sqlite3.connect(path) as connection:
        counted = dict(connection.execute("SELECT group_id, stored_count FROM groups"))
    connection.close()
    for group in groups:
        members = [one for one in stored if one.group_id == group.group_id]
        assert counted[group.group_id] == len(members)
        assert group.open_count == sum(one.state == AnomalyState.OPEN for one in members)
        assert group.open_count == 0 or group.state == AnomalyState.OPEN


@dataclass
class Expected:
    """What a filter lets pass, said the slow way."""

    wanted: AnomalyFilter
    muted: set[str] = field(default_factory=set)

    def passes(self, one: StoredAnomaly) -> bool:
        wanted = self.wanted
        return (
            wanted.application in ("", one.application)
            and (not wanted.kinds or one.kind in wanted.kinds)
            and (not wanted.states or one.state in wanted.states)
            and wanted.session in ("", one.session)
            and wanted.group_id in ("", one.group_id)
            and wanted.from_ns <= one.time_ns
            and (wanted.to_ns == 0 or one.time_ns < wanted.to_ns)
            and one.score >= wanted.min_score
            and not (wanted.exclude_muted and one.group_id in self.muted)
        )
