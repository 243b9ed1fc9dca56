"""What faults cost a log under way: it is sent delivery by delivery, and compared with a run without faults.

The real server, the HDFS model, deliveries with names that are sent until they are answered. A fault comes as a
delivery is sent, at places that a seed gives. *Lost* are entries that were acknowledged without having been judged,
and anomalies that a client was told of and that are not stored; *doubled* are anomalies that are stored once more
than in the run without faults. Recovery is the time from the fault to the next answer, the start of a new process
included.
"""

import asyncio
import random
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from rich.table import Table

from benchmarks.harness import console, show_figures
from benchmarks.load import OPTIONS, SCORE, entries_of
from benchmarks.processes import Restarting
from benchmarks.served import trained
from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.testing import FaultPlan, FaultyProxy, play
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import verdict_pb2

ENTRIES = 40_000
DELIVERY_ENTRIES = 200
FAULTS = 8
"""Of each kind in a run."""
PAUSE_S = 1.0
DISK_MB = 64
FULL_S = 1.0
TIMEOUT_S = 10.0
RETRY_S = 0.02
SEED = 7
QUIET = ("--set", "server.tick_s=null")
"""No session ends by the clock, which runs on while a server is away."""

_RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""By all exporters of OTLP."""

Fault = Callable[[Restarting], None]
Anomaly = tuple[str, int, int, int]
"""Session, time, kind, how it ended."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What a run has brought."""

    acknowledged: int = 0
    unjudged: int = 0
    """Entries that were acknowledged and are errors in the answer."""
    anomalies: Counter[Anomaly] = field(default_factory=Counter)
    """As clients were told of them."""
    named: Counter[Anomaly] = field(default_factory=Counter)
    """Those of them that had a name, and so must be stored; on a full disk they have none."""
    stored: Counter[Anomaly] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        """Entries without a verdict, and anomalies that are not stored."""
        return self.unjudged + (self.named - self.stored).total()

    def doubled(self, clean: "Told") -> int:
        """Anomalies that are stored more often than in a clean run, but at least twice."""
        return sum(max(0, count - max(1, clean.stored[one])) for one, count in self.stored.items())

    def false_alarms(self, clean: "Told") -> int:
        """Anomalies that a clean run has not."""
        return (self.anomalies - clean.anomalies).total()

    def missed(self, clean: "Told") -> int:
        """Anomalies that only a clean run has."""
        return (clean.anomalies - self.anomalies).total()


def run(data: Path) -> dict[str, Any]:
    """All figures, flat."""
    material = trained(data)
    lines = material.rest.read_text().splitlines()[:ENTRIES]
    requests = _deliveries(lines)
    figures: dict[str, Any] = {"runs": 0, "acknowledged": 0, "lost": 0, "doubled": 0}
    table = Table(
        "fault", "faults", "acknowledged", "lost", "doubled", "false alarms", "missed", "recovery s: p50", "max"
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deeplog-grpc-faults-")))
        disk = stack.enter_context(_small_disk(folder / "disk"))
        clean = _told(material.bundle, folder / "clean", requests, None)
        for name, fault in _faults(disk).items():
            state = disk / "state" if name == "full_disk" and disk is not None else folder / name
            found = _told(material.bundle, state, requests, fault)
            figures |= _figures(name, found, clean)
            for figure in ("acknowledged", "lost", "doubled"):
                figures[figure] += figures[f"{name}_{figure}"]
            figures["runs"] += len(found.recoveries_s)
            _show(table, name, found, clean)
            console.print(
                f"{name.replace('_', ' ')}: {found.seconds:.0f} s beside {clean.seconds:.0f} s without faults"
            )
    console.print(table)
    figures["restart_false_alarms"] = figures["kill_false_alarms"] + figures["restart_false_alarms"]
    return figures | {"clean_anomalies": clean.anomalies.total(), "clean_s": clean.seconds}


def _faults(disk: Path | None) -> dict[str, Fault | FaultPlan]:
    faults: dict[str, Fault | FaultPlan] = {
        "kill": Restarting.kill,
        "restart": Restarting.restart,
        "pause": lambda server: server.pause(PAUSE_S),
        "network": FaultPlan(seed=SEED, total_s=1e6, fault_s=(0.1, 0.5), sound_s=(0.05, 0.3)),
    }
    if disk is None:
        console.print("the full disk is left out: no file system can be mounted here")
    else:
        faults["full_disk"] = partial(_fill, disk)
    return faults


def _figures(name: str, found: Told, clean: Told) -> dict[str, Any]:
    return {
        f"{name}_runs": len(found.recoveries_s),
        f"{name}_acknowledged": found.acknowledged,
        f"{name}_lost": found.lost,
        f"{name}_doubled": found.doubled(clean),
        f"{name}_false_alarms": found.false_alarms(clean),
        f"{name}_missed": found.missed(clean),
        f"{name}_recovery_p50_s": statistics.median(found.recoveries_s),
        f"{name}_recovery_max_s": max(found.recoveries_s),
    }


def _show(table: Table, name: str, found: Told, clean: Told) -> None:
    figures = _figures(name, found, clean)
    counts = ("runs", "acknowledged", "lost", "doubled", "false_alarms", "missed")
    times = ("recovery_p50_s", "recovery_max_s")
    cells = [f"{figures[f'{name}_{one}']:,}" for one in counts] + [f"{figures[f'{name}_{one}']:.2f}" for one in times]
    table.add_row(name.replace("_", " "), *cells)


def _deliveries(lines: Sequence[str]) -> list[bytes]:
    options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)
    entries = entries_of(lines)
    return [
        pb.ScoreRequest(
            entries=entries[at : at + DELIVERY_ENTRIES], options=options, batch_id=f"delivery-{at}"
        ).SerializeToString()
        for at in range(0, len(entries), DELIVERY_ENTRIES)
    ]


def _told(bundle: Path, state: Path, requests: Sequence[bytes], fault: Fault | FaultPlan | None) -> Told:
    with Restarting(bundle, state, *QUIET) as server:
        return asyncio.run(_sent(server, requests, fault))


async def _sent(server: Restarting, requests: Sequence[bytes], fault: Fault | FaultPlan | None) -> Told:
    """Send all deliveries in their order; with a plan, through a network that is faulty all the time."""
    host, _, port = server.address.rpartition(":")
    places = sorted(random.Random(SEED).sample(range(1, len(requests) - 1), FAULTS)) if callable(fault) else []
    told = Told()
    started = time.perf_counter()
    async with FaultyProxy(host, int(port)) as proxy:
        playing = asyncio.create_task(play(proxy, fault)) if isinstance(fault, FaultPlan) else None
        trouble: asyncio.Task[Any] | None = None
        async with _channel(proxy.address) as channel:
            method: Any = channel.unary_unary(SCORE)
            for place, request in enumerate(requests):
                if place in places and callable(fault):
                    if trouble is not None:
                        await trouble
                    trouble = asyncio.create_task(asyncio.to_thread(fault, server))
                    await asyncio.sleep(0)
                sent = time.perf_counter()
                answer, tries = await _insist(method, request)
                if place in places or tries:
                    told.recoveries_s.append(time.perf_counter() - sent)
                _note(told, answer)
            if trouble is not None:
                await trouble
        if playing is not None:
            playing.cancel()
    told.seconds = time.perf_counter() - started
    async with AsyncDeepLogClient(server.address) as client:
        told.stored.update([_anomaly(one.verdict) async for one in client.anomalies()])
    return told


def _note(told: Told, answer: pb.ScoreResponse) -> None:
    told.acknowledged += answer.entry_count
    told.unjudged += len(answer.errors)
    found = [one for one in (*answer.verdicts, *answer.session_ends) if one.kind != verdict_pb2.KIND_NORMAL]
    told.anomalies.update(map(_anomaly, found))
    told.named.update(_anomaly(one) for one in found if one.verdict_id)


def _anomaly(verdict: verdict_pb2.Verdict) -> Anomaly:
    return verdict.session, verdict.time_unix_nano, verdict.kind, verdict.session_end


async def _insist(method: Any, request: bytes) -> tuple[pb.ScoreResponse, int]:
    """The answer, and how often it was asked for in vain."""
    tries = 0
    while True:
        try:
            return pb.ScoreResponse.FromString(await method(request, timeout=TIMEOUT_S)), tries
        except grpc.aio.AioRpcError as error:
            if error.code() not in _RETRIED:
                raise
            tries += 1
            await asyncio.sleep(RETRY_S)


def _channel(address: str) -> grpc.aio.Channel:
    soon = [(f"grpc.{name}_reconnect_backoff_ms", 50) for name in ("initial", "min", "max")]
    return grpc.aio.insecure_channel(address, options=[*OPTIONS, ("grpc.enable_retries", 0), *soon])


@contextmanager
def _small_disk(place: Path) -> Iterator[Path | None]:
    """A file system of its own; None where none can be mounted."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room at all; the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast


def _fill(disk: Path, _: Restarting) -> None:
    """Leave no room for a while."""
    ballast = fill(disk)
    time.sleep(FULL_S)
    ballast.unlink()


if __name__ == "__main__":
    show_figures(run)
