"""Stores anomalies and sends them out until it is killed; prints the number of each that is stored.

Arguments: the folder, the collector, the web server, and how many to store (0 = without end; else it stops after them).
"""

import asyncio
import sys
from pathlib import Path

from tests.integration.output_harness import running
from tests.kept_anomalies import new_anomaly, open_store

GROUPS = 5


async def main(directory: Path, collector: str, web: str, count: int) -> None:
    store = open_store(directory)
    records = {"type": "otlp", "endpoint": collector, "batch": 7}
    alerts = {"type": "webhook", "url": web, "max_per_minute": 1_000, "repeat_s": 0.2, "resolve_s": 3_600}
    async with running(store, directory, grace_s=30, records=records, alerts=alerts):
        stored = 0
        while not count or stored < count:
            (number,) = store.reserve(1)
            store.add([new_anomaly(number, body=str(number), group_id=f"g-{number % GROUPS}")])
            print(number, flush=True)
            stored += 1
            await asyncio.sleep(0.001)
    store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
