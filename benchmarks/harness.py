"""What the benchmarks share: a server process on a core of its own, tables, results."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from deeplog_grpc.models import set_threads

PROGRAM = str(Path(sys.executable).with_name("deeplog-grpc"))
RESULTS = Path(__file__).parent / "results"
START_TIMEOUT_S = 120

console = Console(width=120)


class ServerProcess:
    """A running server: its ports and what it costs."""

    def __init__(self, pid: int, ports: Mapping[str, Any]) -> None:
        self._process = psutil.Process(pid)
        self.address = f"127.0.0.1:{ports['port']}"
        self.otlp_http = f"127.0.0.1:{ports.get('otlp_http_port')}"
        self._metrics = f"127.0.0.1:{ports.get('metrics_port')}"

    def family(self) -> list[int]:
        """Process ids: the server's own, then those of the processes that it started, by age."""
        return [self._process.pid, *sorted(child.pid for child in self._process.children(recursive=True))]

    def metric(self, name: str) -> float:
        """What the server says of itself under a name, all labels added up."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=60) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return float(sum(one.value for family in families for one in family.samples if one.name == name))

    def peak_mb(self) -> float:
        """Most memory that the process held, in MiB."""
        return _peak_mb(self._process.pid)

    def family_peak_mb(self) -> float:
        """The same of all its processes, added up; what they share is counted once for each."""
        return sum(map(_peak_mb, self.family()))

    def held_mb(self) -> float:
        """Memory that all its processes hold now (RSS), added up, in MiB."""
        return sum(float(psutil.Process(pid).memory_info().rss) for pid in self.family()) / 2**20

    def unique_mb(self) -> dict[int, float]:
        """Memory of each of its processes that no other process shares, in MiB, by process id."""
        return {pid: psutil.Process(pid).memory_full_info().uss / 2**20 for pid in self.family()}

    def cpu_s(self) -> float:
        """Processor time used so far, in seconds."""
        return _cpu_s(self._process.pid)

    def family_cpu_s(self) -> dict[int, float]:
        """The same of each of its processes, by process id."""
        return {pid: _cpu_s(pid) for pid in self.family()}


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return peak_kb / 1024


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def server_process(command: Sequence[str], *, core: int | None = None) -> Iterator[ServerProcess]:
    """Run a server that prints a JSON line with its ``port`` on standard error; on one core if given."""
    pin = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
    # Two servers at once must not want the same port.
    ports = {f"DEEPLOG_GRPC_RECEIVERS__{name}__LISTEN": "127.0.0.1:0" for name in ("FORWARD", "OTLP_HTTP")}
    ports["DEEPLOG_GRPC_METRICS__LISTEN"] = "127.0.0.1:0"
    environment = {**os.environ, **ports}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=pin, env=environment)
    try:
        event = start_event(process)
        # Nobody reads what it logs from here on; unread, it would fill the pipe and stop the server.
        threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
        yield ServerProcess(process.pid, event)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def start_event(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a server says once it serves: its ``port``, and those of its other listeners."""
    if process.stderr is None:
        raise RuntimeError("the server's standard error is not piped")
    for line in process.stderr:
        if line.startswith("{") and "port" in (event := json.loads(line)):
            return dict(event)
        console.print(line.rstrip(), markup=False)
    raise RuntimeError(f"the server stopped with code {process.wait()} before it answered")


def cores() -> tuple[int | None, int | None]:
    """A core for the server and another for the client; None where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)


def on_client_cores() -> list[str]:
    """What to put before a client's command, so that it keeps off the server's core."""
    available = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", ",".join(map(str, available[1:]))] if len(available) > 1 else []


def measure(
    address: str, lines: Path, *flags: str, style: str, batch: int, limit: int | None = None, pinned: bool = True
) -> dict[str, float]:
    """Run the load program (:mod:`benchmarks.load`), off the server's core unless it is not to be pinned."""
    program = [*(on_client_cores() if pinned else []), sys.executable, "-m", "benchmarks.load", address, str(lines)]
    program += ["--style", style, "--batch", str(batch), *(["--limit", str(limit)] if limit else []), *flags]
    figures: dict[str, float] = json.loads(subprocess.run(program, check=True, stdout=subprocess.PIPE).stdout)
    return figures


def median(once: Callable[[], float], repeats: int) -> float:
    """Median of some runs."""
    return statistics.median(once() for _ in range(repeats))


def run(*arguments: str) -> str:
    """Run the program; its standard output. Its errors are shown."""
    return subprocess.run([PROGRAM, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def write_results(topic: str, figures: Mapping[str, Any]) -> None:
    """Print figures as a table and write them to ``benchmarks/results/<topic>.json``."""
    table = Table("figure", "value", title=f"{topic} ({machine()})", title_justify="left")
    for name, value in figures.items():
        shown = f"{value:,.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
        table.add_row(name, shown)
    console.print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{topic}.json").write_text(json.dumps(dict(figures), indent=2) + "\n")


def run_parts(
    topic: str,
    parts: Mapping[str, Callable[[Path], Mapping[str, Any]]],
    *,
    arrange: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> None:
    """A benchmark's command line: ``--data DIR``, and the parts that are wanted; what they find goes to the results.

    Where not all parts run, the figures of the others stay as they are.

    Parameters
    ----------
    arrange : callable
        Puts all figures in order, or adds to them, before they are written.
    """
    parser = argparse.ArgumentParser(description=f"Measure: {topic}.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("parts", nargs="*", default=list(parts), help=f"{', '.join(parts)} (default: all)")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"{arguments.data}: no such folder; give DATA=folder")
    if unknown := set(arguments.parts) - set(parts):
        raise SystemExit(f"{', '.join(sorted(unknown))}: no such part; there are {', '.join(parts)}")
    set_threads(1)
    path = RESULTS / f"{topic}.json"
    figures: dict[str, Any] = (
        json.loads(path.read_text()) if path.exists() and set(arguments.parts) != set(parts) else {}
    )
    for part in arguments.parts:
        figures |= parts[part](arguments.data)
    write_results(topic, arrange(figures))


def show_figures(find: Callable[[Path], Mapping[str, Any]]) -> None:
    """The command line of one part of a benchmark, ``--data DIR``: print its figures, and write nothing."""
    parser = argparse.ArgumentParser(description=sys.modules[find.__module__].__doc__)
    parser.add_argument("--data", type=Path, required=True)
    for name, value in find(parser.parse_args().data).items():
        console.print(f"{name:32} {value:,.3f}" if isinstance(value, float) else f"{name:32} {value}")


def machine() -> str:
    """The machine in a few words."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
