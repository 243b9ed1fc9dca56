"""Scoring while updates run, and the time of an update, on the HDFS model: a part of ``make bench-feedback``.

The server has all cores: it scores in one thread and learns in another. A client sends small batches at a moderate
fixed rate and measures from the time at which each was due, so that a wait is counted in all messages that it delays.
Phases without updates and phases with one update after the other take turns, so that both see the same machine.

The time of an update alone is measured on one core: real anomalies of the rest of the log, each called a false
positive, and nothing else to do. Writes benchmarks/results/update_latency.json.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.harness import PROGRAM, ServerProcess, console, cores, run, server_process, write_results
from benchmarks.hdfs import repeated, split_raw, write_lines
from benchmarks.load import entries_of
from benchmarks.served import TRAIN_SHARE
from benchmarks.update_clients import LAG_S, MESSAGE_ENTRIES, MESSAGES_PER_S
from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import feedback_pb2, log_entry_pb2, verdict_pb2

PHASES = 16
"""Half of them with updates."""
PHASE_S = 5.0
SETTLE_S = 0.5
"""Of a phase's begin that counts for neither kind: an update may still be under way, and caches are cold."""
READY_S = 10.0
"""For the clients to get ready before the first phase."""

UPDATES = 50
SCORED_LINES = 70_000
"""Of the rest of the log, whose anomalies are called false positives."""
STREAM_BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Latencies of the messages of one phase, in seconds."""

    number: int
    latencies: np.ndarray

    @property
    def has_updates(self) -> bool:
        """Whether updates ran."""
        return self.number % 2 == 1

    def ms(self, share: float) -> float:
        """A quantile in milliseconds."""
        return 1e3 * float(np.quantile(self.latencies, share))


def scoring_during_updates(work: Path, data: Path) -> dict[str, Any]:
    """Train on HDFS, serve, and compare the latency of scoring with and without updates; the time of an update.

    Parameters
    ----------
    work : Path
        Folder for the logs, the model and the state of the servers.
    data : Path
        Folder that holds ``hdfs_raw_2pct``.
    """
    bundle, rest = _trained(work, data / "hdfs_raw_2pct")
    return {**_phases(bundle, rest, work / "busy"), **_alone(bundle, rest, work / "alone")}


def _trained(work: Path, folder: Path) -> tuple[Path, Path]:
    """The model of the first part of the log, and the lines of the rest."""
    split = split_raw(folder, TRAIN_SHARE)
    work.mkdir(parents=True, exist_ok=True)
    train, bundle = write_lines(work / "train.log", split.train), work / "model"
    repeats = 1 + int(PHASES * PHASE_S) * MESSAGES_PER_S * MESSAGE_ENTRIES // len(split.rest)
    rest = write_lines(work / "rest.log", [*split.rest, *repeated(split.rest, repeats)])
    run("train", str(train), "--out", str(bundle))
    return bundle, rest


def _serve(bundle: Path, state: Path) -> list[str]:
    return [PROGRAM, "serve", "--model", str(bundle), "--state", str(state), "--listen", "127.0.0.1:0"]


def _phases(bundle: Path, rest: Path, state: Path) -> dict[str, Any]:
    with server_process(_serve(bundle, state)) as server:
        start = time.monotonic() + READY_S
        clients = [_client(role, server.address, rest, start) for role in ("paced", "feedback")]
        paced, feedback = (json.loads(client.communicate()[0]) for client in clients)
    phases = _cut(np.array(paced["sent"]))
    late = float(np.mean([lateness > LAG_S for _, _, lateness in paced["sent"]]))
    figures = _compared(phases)
    seconds = [update_s for _, update_s, _, _ in feedback["updates"]]
    steps = [count for _, _, count, _ in feedback["updates"]]
    figures |= {
        "update_busy_ms_p50": 1e3 * float(np.quantile(seconds, 0.5)),
        "update_busy_ms_p99": 1e3 * float(np.quantile(seconds, 0.99)),
        "updates": len(seconds),
        "updates_learned": sum(outcome.endswith("LEARNED") for *_, outcome in feedback["updates"]),
        "update_steps_p50": float(np.median(steps)),
        "update_first_ms": 1e3 * seconds[0],
        "scoring_client_late_share": late,
    }
    return figures


def _client(role: str, address: str, lines: Path, start: float) -> "subprocess.Popen[bytes]":
    """A client of the server's; on a core that the server can spare, if there are more than two."""
    program = [sys.executable, "-m", "benchmarks.update_clients", role, address, str(lines)]
    times = ["--start", str(start), "--phases", str(PHASES), "--phase-s", str(PHASE_S)]
    available = sorted(os.sched_getaffinity(0))
    pin = ["taskset", "--cpu-list", str(available[-1])] if len(available) > 2 and role == "paced" else []
    return subprocess.Popen([*pin, *program, *times], stdout=subprocess.PIPE)


def _cut(sent: np.ndarray) -> list[Phase]:
    """Messages by the phase in which they were due, without those of its beginning."""
    numbers, since = np.divmod(sent[:, 0], PHASE_S)
    # The first pair of phases fills the caches of a new server.
    return [
        Phase(number=number, latencies=sent[(numbers == number) & (since >= SETTLE_S), 1])
        for number in range(2, PHASES)
    ]


def _compared(phases: Sequence[Phase]) -> dict[str, Any]:
    kinds = {has_updates: [p for p in phases if p.has_updates is has_updates] for has_updates in (False, True)}
    table = Table("scoring", "phases", "messages", "p50 ms", "p99 ms", "p99 ms of each phase", title_justify="left")
    pooled, medians = {}, {}
    for has_updates, own in kinds.items():
        together = Phase(number=own[0].number, latencies=np.concatenate([phase.latencies for phase in own]))
        pooled[has_updates] = {share: together.ms(share) for share in (0.5, 0.99)}
        medians[has_updates] = {share: float(np.median([p.ms(share) for p in own])) for share in (0.5, 0.99)}
        table.add_row(
            "during updates" if has_updates else "without",
            str(len(own)),
            f"{len(together.latencies):,}",
            f"{medians[has_updates][0.5]:.2f}",
            f"{medians[has_updates][0.99]:.2f}",
            " ".join(f"{phase.ms(0.99):.2f}" for phase in own),
        )
    console.print(table)
    quiet = np.array([phase.ms(0.99) for phase in kinds[False]])
    return {
        "scoring_p99_ratio_during_updates": medians[True][0.99] / medians[False][0.99],
        "scoring_p50_ratio_during_updates": medians[True][0.5] / medians[False][0.5],
        "scoring_p99_ratio_pooled": pooled[True][0.99] / pooled[False][0.99],
        "scoring_p50_ratio_pooled": pooled[True][0.5] / pooled[False][0.5],
        "scoring_p99_ms_without_updates": medians[False][0.99],
        "scoring_p99_ms_during_updates": medians[True][0.99],
        # The phases without updates against each other: how much of a ratio is the machine.
        "scoring_p99_ratio_of_quiet_phases": float(np.median(quiet[1::2]) / np.median(quiet[::2])),
    }


def _alone(bundle: Path, rest: Path, work: Path) -> dict[str, Any]:
    """The time of updates on one core, with nothing else to do."""
    core = cores()[0]
    entries = entries_of(rest.read_text().splitlines()[:SCORED_LINES])
    updates: list[tuple[str, float, int, float]] = []
    while len(updates) < UPDATES:  # feedback speaks for all anomalies alike: one server runs out of them
        number = len(updates)
        with server_process(_serve(bundle, work / str(number)), core=core if core is not None else 0) as server:
            updates += asyncio.run(_real_updates(server, entries, seed=number))
    updates = updates[:UPDATES]
    table = Table("updates on one core", "count", "p50 ms", "p99 ms", "gradient steps", title_justify="left")
    seconds = np.array([update_s for _, update_s, _, _ in updates])
    busy = np.array([cpu_s for *_, cpu_s in updates])
    for kind in sorted({kind for kind, *_ in updates}):
        own = np.array([(update_s, steps) for name, update_s, steps, _ in updates if name == kind])
        p50, p99 = (1e3 * np.quantile(own[:, 0], share) for share in (0.5, 0.99))
        table.add_row(kind, str(len(own)), f"{p50:.0f}", f"{p99:.0f}", f"{np.median(own[:, 1]):.0f}")
    console.print(table)
    return {
        "update_ms_p50": 1e3 * float(np.quantile(seconds, 0.5)),
        "update_ms_p99": 1e3 * float(np.quantile(seconds, 0.99)),
        # Of the processor, in steps of 10 ms: where others use the core too, what the clock says is not the update's.
        "update_cpu_ms_p50": 1e3 * float(np.quantile(busy, 0.5)),
        "update_cpu_ms_p99": 1e3 * float(np.quantile(busy, 0.99)),
        "updates_alone": len(updates),
    }


async def _real_updates(
    server: ServerProcess, entries: Sequence[log_entry_pb2.LogEntry], *, seed: int
) -> list[tuple[str, float, int, float]]:
    """Kind, seconds, gradient steps and processor seconds of updates by stored anomalies, the kinds in turn."""
    client = AsyncDeepLogClient(server.address, timeout_s=600.0)
    updates: list[tuple[str, float, int, float]] = []
    try:

        async def batches() -> AsyncIterator[list[log_entry_pb2.LogEntry]]:
            for at in range(0, len(entries), STREAM_BATCH):
                yield list(entries[at : at + STREAM_BATCH])

        options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)
        async for _ in client.stream(batches(), options=options):
            pass
        await client.score([], flush=pb.Flush(), options=options)
        found = [(one.verdict.kind, one.verdict.verdict_id) async for one in client.anomalies(page_size=1_000)]
        random.Random(seed).shuffle(found)
        seen: Counter[int] = Counter()
        turns = []
        for kind, verdict_id in found:
            seen[kind] += 1
            turns.append((seen[kind], kind, verdict_id))
        for _, kind, verdict_id in sorted(turns):
            before_s = server.cpu_s()
            answer = await client.feedback(feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE, verdict_id=verdict_id)
            if answer.HasField("check"):
                name = verdict_pb2.Kind.Name(kind).removeprefix("KIND_").lower()
                updates.append((name, answer.update_s, answer.steps, server.cpu_s() - before_s))
            if len(updates) == UPDATES:
                break
    finally:
        await client.close()
    return updates


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    with tempfile.TemporaryDirectory() as work:
        figures = scoring_during_updates(Path(work), data)
    write_results("update_latency", figures)


if __name__ == "__main__":
    main()
