"""The two clients of benchmarks/update_latency.py, each a process of its own so that neither is the other's noise.

    python -m benchmarks.update_clients paced ADDRESS LINES_FILE --start T --phases N --phase-s S
    python -m benchmarks.update_clients feedback ADDRESS LINES_FILE --start T --phases N --phase-s S

Both cut the time after ``T`` (on the clock that all processes share) into the same phases. Feedback is given in every
second one. Each prints a line of JSON.
"""

import argparse
import asyncio
import gc
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc

from benchmarks.hdfs import block_of
from benchmarks.load import OPTIONS, SCORE, entries_of, score_requests
from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.models import BEGIN_KEY
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import feedback_pb2

MESSAGES_PER_S = 100
MESSAGE_ENTRIES = 20
HISTORY = 10
PARSED_LINES = 5_000
FREQUENT = 20
"""Lines of a log key that is surely a known one."""

LAG_S = 0.002
"""Past this a message is sent so late that the client itself is the noise; such messages are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Stretches of time, without updates and with updates in turn."""

    start_s: float
    """On :func:`time.monotonic`, which all processes of a machine share."""
    count: int
    seconds: float

    @property
    def stop_s(self) -> float:
        """When the last one ends."""
        return self.start_s + self.count * self.seconds

    def at(self, time_s: float) -> int:
        """The phase of a time."""
        return int((time_s - self.start_s) // self.seconds)

    def until_updates_s(self, time_s: float) -> float:
        """Seconds from a time to the next phase with updates; 0 inside one."""
        phase = max(0, self.at(time_s))
        return 0.0 if phase % 2 else self.start_s + (phase + 1) * self.seconds - time_s


async def paced(address: str, lines: Sequence[str], phases: Phases) -> dict[str, Any]:
    """Send small batches at a fixed rate, answered or not; latencies from the time at which each was due.

    Returns
    -------
    dict
        ``sent``: seconds after the start, latency in seconds, and lateness of the client itself, of each message.
    """
    messages = int(phases.count * phases.seconds * MESSAGES_PER_S)
    entries = entries_of(lines[: messages * MESSAGE_ENTRIES])
    options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)
    requests = score_requests(entries, MESSAGE_ENTRIES, options)
    del entries
    gc.collect()
    gc.disable()  # the client must not be the noise
    sent: list[tuple[float, float, float]] = []
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call: Any = channel.unary_unary(SCORE)
        await channel.channel_ready()

        async def send(request: bytes, due_s: float) -> None:
            lateness = time.monotonic() - due_s
            await call(request)
            sent.append((due_s - phases.start_s, time.monotonic() - due_s, lateness))

        async with asyncio.TaskGroup() as tasks:
            for number in range(messages):
                due_s = phases.start_s + number / MESSAGES_PER_S
                await asyncio.sleep(due_s - time.monotonic())
                tasks.create_task(send(requests[number % len(requests)], due_s))
    return {"sent": sent}


async def feedback(address: str, lines: Sequence[str], phases: Phases, seed: int = 0) -> dict[str, Any]:
    """In every second phase, call a step that is abnormal a false positive as soon as the last one was answered.

    The steps are places in sessions of the log, with the end of the session or a random known log key after them in
    turn: ends need gradient steps, other log keys a new entry in the profile.

    Returns
    -------
    dict
        ``updates``: seconds after the start, seconds of the update, gradient steps, and outcome, of each.
    """
    chance = random.Random(seed)
    texts = lines[:PARSED_LINES]
    updates: list[tuple[float, float, int, str]] = []
    client = AsyncDeepLogClient(address)
    try:
        parsed = (await client.parse(entry.body for entry in entries_of(texts))).bodies
        found = Counter(body.key for body in parsed)
        known = sorted(key for key, times in found.items() if times >= FREQUENT)
        sessions: defaultdict[str, list[int]] = defaultdict(list)
        for text, body in zip(texts, parsed, strict=True):
            sessions[block_of(text)].append(body.key)
        paths = list(sessions.values())
        for number in count():
            await asyncio.sleep(phases.until_updates_s(time.monotonic()))
            if (now_s := time.monotonic()) >= phases.stop_s:
                break
            path = chance.choice(paths)
            window = path[: chance.randrange(len(path))][-HISTORY:]
            step = feedback_pb2.LabelledStep(window=window, key=chance.choice(known) if number % 2 else BEGIN_KEY)
            answer = await client.feedback(feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE, step=step)
            if answer.HasField("check"):  # else there was nothing to learn
                outcome = feedback_pb2.FeedbackOutcome.Name(answer.outcome)
                updates.append((now_s - phases.start_s, answer.update_s, answer.steps, outcome))
    finally:
        await client.close()
    return {"updates": updates}


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("role", choices=("paced", "feedback"))
    parser.add_argument("address")
    parser.add_argument("lines", type=Path)
    parser.add_argument("--start", type=float, required=True)
    parser.add_argument("--phases", type=int, required=True)
    parser.add_argument("--phase-s", type=float, required=True)
    arguments = parser.parse_args()
    phases = Phases(start_s=arguments.start, count=arguments.phases, seconds=arguments.phase_s)
    role = paced if arguments.role == "paced" else feedback
    lines = arguments.lines.read_text().splitlines()
    print(json.dumps(asyncio.run(role(arguments.address, lines, phases))))


if __name__ == "__main__":
    main()
