"""How long a single entry waits: on a quiet server, and beside a bulk load; beside the same against the bare echo.

Entries of the scored log are sent one a call, in order and by the clock (500 a second, and 2,000), answered or not;
each latency counts from the time when its entry should have been sent. The bulk load is a stream of messages of 1,000
at 70 % of the rate that the server reached on such a stream just before. Server and caches are warm.

The server has a core; both clients share the others, a process each. On a machine of two cores that is one core: the
bulk client takes part of it, and an entry may be sent late because of that. The table says how late; and the bare echo
server, under the same load from the same clients, shows what the machine and the clients add by themselves.

Each of the ``REPEATS`` rounds gives percentiles; the figures are medians over the rounds, and the spread of p99.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

from rich.table import Table

from benchmarks.harness import ServerProcess, console, cores, measure, on_client_cores, show_figures
from benchmarks.load import MESSAGE_ENTRIES, percentile_ms
from benchmarks.served import deeplog, echo, trained

REPEATS = 3
SECONDS = 10.0
SETTLE_S = 1.0
"""Left out at the beginning of each."""
PEAK_RUNS = 3
BULK_SHARE = 0.7
READY_S = 0.5
"""From when all clients are ready to the start: connections are made meanwhile."""
SHARES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What goes on while latencies are taken."""

    per_s: float
    """Single entries a second."""
    has_bulk: bool


SCENES = {
    "single": Scene(per_s=500, has_bulk=False),
    "mixed": Scene(per_s=500, has_bulk=True),
    "mixed_2000": Scene(per_s=2_000, has_bulk=True),
}

Found = dict[str, float]
"""Percentiles in milliseconds, how late the client was, and the share of the bulk load that was taken."""


def run(data: Path) -> dict[str, Any]:
    """All figures, flat: ``single_p99_ms``, ``echo_single_p99_ms`` and so on."""
    material = trained(data)
    core, _ = cores()
    rounds: dict[str, list[Found]] = {side + name: [] for name in SCENES for side in ("", "echo_")}
    with deeplog(material.bundle, core=core) as server, echo("bare", core=core) as bare:
        peak = _peak(server, material.rest)
        bulk_per_s = BULK_SHARE * peak / MESSAGE_ENTRIES
        # Each round has sessions of its own: as many repetitions of the lines as its bulk load fills, and one.
        lines = len(material.rest.read_text().splitlines())
        first = count(1 + PEAK_RUNS, 2 + int(bulk_per_s * SECONDS * MESSAGE_ENTRIES // lines))
        for _ in range(REPEATS):
            for name, scene in SCENES.items():
                clients = Clients(scene=scene, bulk_per_s=bulk_per_s, lines=material.rest, first=next(first))
                for side, target in (("", server), ("echo_", bare)):
                    rounds[side + name].append(clients.run(target.address))
    _show(rounds)
    figures: dict[str, Any] = {"latency_peak_entries_per_s": peak}
    for name, found in rounds.items():
        p99 = [one["p99_ms"] for one in found]
        figures |= {f"{name}_{figure}": value for figure, value in _medians(found).items()}
        figures |= {f"{name}_p99_ms_min": min(p99), f"{name}_p99_ms_max": max(p99)}
    return figures


def _peak(server: ServerProcess, lines: Path) -> float:
    """Entries a second of a stream with nothing beside it; the first run warms the server up."""
    rates = [
        measure(server.address, lines, "--anew", str(1 + n), style="stream", batch=MESSAGE_ENTRIES)["entries_per_s"]
        for n in range(PEAK_RUNS)
    ]
    return statistics.median(rates[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The client processes of one round."""

    scene: Scene
    bulk_per_s: float
    """Messages a second of the bulk load, where there is one."""
    lines: Path
    first: int
    """Number of the first repetition of the lines that is theirs: the one of the single entries."""

    def run(self, address: str) -> Found:
        """Send to a server."""
        roles = {"single": (self.scene.per_s, self.first)}
        if self.scene.has_bulk:
            roles["bulk"] = (self.bulk_per_s, self.first + 1)
        with ExitStack() as running:
            clients = {
                role: running.enter_context(self._client(role, address, per_s, first))
                for role, (per_s, first) in roles.items()
            }
            for client in clients.values():
                _pipe(client.stdout).readline()  # its messages are ready
            start_s = time.monotonic() + READY_S
            for client in clients.values():
                print(start_s, file=_pipe(client.stdin), flush=True)
            found = {role: json.loads(_pipe(client.stdout).read()) for role, client in clients.items()}
        bulk_share = found["bulk"]["messages_per_s"] / self.bulk_per_s if self.scene.has_bulk else 1.0
        return {
            **percentiles(found["single"]["sent"]),
            "refused": found["single"]["refused"],
            "bulk_share": bulk_share,
        }

    def _client(self, role: str, address: str, per_s: float, first: int) -> "subprocess.Popen[str]":
        program = [*on_client_cores(), sys.executable, "-m", "benchmarks.latency_clients", role, address]
        program += [str(self.lines), "--per-s", str(per_s), "--seconds", str(SECONDS), "--first", str(first)]
        return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("the client's input and output are not piped")
    return pipe


def percentiles(sent: Sequence[Sequence[float]]) -> Found:
    """Percentiles of what a client sent after it had settled.

    Parameters
    ----------
    sent : sequence of (seconds after the start, latency in seconds, seconds that the client was late)
        As :func:`benchmarks.latency_clients.single` gives them.
    """
    settled = [(latency_s, late_s) for due_s, latency_s, late_s in sent if due_s >= SETTLE_S]
    latencies_s, late_s = zip(*settled, strict=True)
    found = {name: percentile_ms(latencies_s, share) for name, share in SHARES.items()}
    return {**found, "client_late_p99_ms": percentile_ms(late_s, 0.99)}


def _medians(found: Sequence[Found]) -> Found:
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def _show(rounds: Mapping[str, Sequence[Found]]) -> None:
    table = Table(
        "server and load",
        "p50 ms",
        "p99 ms",
        "p99 of each round",
        "p99.9 ms",
        "max ms",
        "client late, p99 ms",
        "refused",
        "bulk taken",
    )
    table.title = f"single entries, {REPEATS} rounds of {SECONDS:.0f} s"
    for name, found in rounds.items():
        own = _medians(found)
        table.add_row(
            name.replace("_", " "),
            *(f"{own[figure]:.2f}" for figure in ("p50_ms", "p99_ms")),
            " ".join(f"{one['p99_ms']:.2f}" for one in found),
            *(f"{own[figure]:.2f}" for figure in ("p999_ms", "max_ms", "client_late_p99_ms", "refused", "bulk_share")),
        )
    console.print(table)


if __name__ == "__main__":
    show_figures(run)
