"""What the benchmarks share: a server process on a core of its own, tables, results."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from deeplog_grpc.models import set_threads

PROGRAM = str(Path(sys.executable).with_name("deeplog-grpc"))
RESULTS = Path(__file__).parent / "results"
START_TIMEOUT_S = 120

console = Console(width=120)


class ServerProcess:
    """A running server: its port and what it costs."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self._process = psutil.Process(process.pid)
        self.address = f"127.0.0.1:{port}"

    def peak_mb(self) -> float:
        """Most memory that the process held, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return peak_kb / 1024

    def cpu_s(self) -> float:
        """Processor time used so far, in seconds."""
        times = self._process.cpu_times()
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
        port = wait_for_port(process)
        # Nobody reads what it logs from here on; unread, it would fill the pipe and stop the server.
        threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
        yield ServerProcess(process, port)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def wait_for_port(process: "subprocess.Popen[str]") -> int:
    """The port that a server says it serves on, once it does."""
    if process.stderr is None:
        raise RuntimeError("the server's standard error is not piped")
    for line in process.stderr:
        if line.startswith("{") and "port" in (event := json.loads(line)):
            return int(event["port"])
        console.print(line.rstrip(), markup=False)
    raise RuntimeError(f"the server stopped with code {process.wait()} before it answered")


def cores() -> tuple[int | None, int | None]:
    """A core for the server and another for the client; None where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)


def median(measure: Callable[[], float], repeats: int) -> float:
    """Median of some runs."""
    return statistics.median(measure() for _ in range(repeats))


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


def run_parts(topic: str, parts: Mapping[str, Callable[[Path], Mapping[str, Any]]]) -> None:
    """A benchmark's command line: ``--data DIR``, and the parts that are wanted; what they find goes to the results.

    Where not all parts run, the figures of the others stay as they are.
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
    write_results(topic, figures)


def machine() -> str:
    """The machine in a few words."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
