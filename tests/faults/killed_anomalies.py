"""Stores anomalies in children that are killed with SIGKILL, as `killed_journal` does with records.

Arguments: the folder, the number of kills, a seed. Prints a list with an object for each kill.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from deeplog_grpc.storage import AnomalyFilter, AnomalyState, AnomalyStore, NewAnomaly
from tests.faults.killed_journal import claim, kill_one

BATCH = 3
MAX_BYTES = 50_000


def open_store(path: Path) -> AnomalyStore:
    return AnomalyStore(path, max_age_s=None, max_bytes=MAX_BYTES)


def write(path: Path, claims: int) -> None:
    """Store batches and say something of them without end; claim the numbers first, and what was stored after."""
    store = open_store(path)
    while True:
        numbers = store.reserve(BATCH)
        for number in numbers:
            claim(claims, "reserved", number)
        store.add([anomaly(number) for number in numbers])
        claim(claims, "stored", numbers[-1])
        store.set_state(numbers[:1], AnomalyState.CONFIRMED, "f")


def anomaly(number: int) -> NewAnomaly:
    """An anomaly; those of a batch are of two groups."""
    return NewAnomaly(
        number=number,
        application="shop",
        kind=2,
        key=number % 2,
        session="s",
        group_id=f"g{number % 2}",
        time_ns=number,
        score=0.0,
        evidence=bytes(1000),
    )


def found(path: Path) -> dict[str, Any]:
    """What a store holds that is opened after a kill."""
    store = open_store(path)
    stored = store.since(0, AnomalyFilter(), limit=1_000_000)
    totals = store.totals()
    state = {
        "next": store.reserve(1)[0],
        "stored": [one.number for one in stored],
        "open": {name: sum(one.group_id == name and one.state == 1 for one in stored) for name in ("g0", "g1")},
        "open_count": {group.group_id: group.open_count for group in store.groups(limit=9)},
        "totals": [totals.anomalies, totals.evidence_bytes, totals.groups],
    }
    store.close()
    return state


if __name__ == "__main__":
    place = Path(sys.argv[1]) / "anomalies.db"
    chance = random.Random(int(sys.argv[3]))
    kills = []
    for number in range(int(sys.argv[2])):
        claimed = kill_one(write, place, chance, by_clock=number % 4 == 3)
        kills.append({"claimed": claimed, "found": found(place)})
    print(json.dumps(kills))
