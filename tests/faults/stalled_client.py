"""A client that asks for every verdict in full on one stream: ``python stalled_client.py ADDRESS SESSIONS SEED``.

Prints a line when the first answer has come, and at the end the entries that were answered.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.faults.verdicts import FULL, deliveries


async def main(address: str, sessions: int, seed: int) -> None:
    async def batches() -> AsyncIterator[list[LogEntry]]:
        for delivery in deliveries(sessions, seed=seed):
            yield delivery

    answered = 0
    async with AsyncDeepLogClient(address) as client:
        async for answer in client.stream(batches(), options=FULL):
            if not answered:
                print("begun", flush=True)
            answered += answer.response.entry_count
    print(answered, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
