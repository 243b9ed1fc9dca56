"""Guards the speed of the hot path by counting instructions: ``make guard``, and ``make guard-record`` for new counts.

Time says little on a machine that others use too; how many instructions a fixed piece of work takes is the same on
each run to within a per cent or so. Callgrind counts them, of the work alone: it is switched on when all is prepared.

The counts in ``benchmarks/results/instructions.json`` hold for the versions that it names. With others there is nothing
to compare, and the guard says so and passes.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import RESULTS, console, run
from benchmarks.workloads import MODEL, WORKLOADS, prepare

TOLERANCE = 0.05
"""Share of instructions more than recorded that is a slow-down."""
RECORDED = RESULTS / "instructions.json"
PACKAGES = ("numpy", "protobuf", "torch")
END_TIMEOUT_S = 120


def versions() -> dict[str, str]:
    """What the counts depend on beside our code."""
    return {"python": platform.python_version(), "machine": platform.machine()} | {
        name: version(name).partition("+")[0] for name in PACKAGES
    }


def count(name: str, folder: Path) -> float:
    """Instructions an entry of one workload.

    Raises
    ------
    RuntimeError
        If the workload fails.
    """
    out = folder / f"{name}.callgrind"
    command = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "benchmarks.workloads", name, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are piped")
    with process:
        entries = process.stdout.readline()
        if not entries:
            raise RuntimeError(
                f"the workload {name} does not start: run python -m benchmarks.workloads {name} {folder}"
            )
        _instrument("on", process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        if process.stdout.readline() != "done\n":
            raise RuntimeError(f"the workload {name} fails")
        _instrument("off", process.pid)
        process.communicate(timeout=END_TIMEOUT_S)
    totals = next(line for line in out.read_text().splitlines() if line.startswith("totals:"))
    return int(totals.split()[1]) / int(entries)


def _instrument(state: str, pid: int) -> None:
    subprocess.run(["callgrind_control", "-i", state, str(pid)], check=True, stdout=subprocess.DEVNULL)


def count_all(names: Sequence[str]) -> dict[str, float]:
    """Instructions an entry of the workloads."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run("train", str(prepare(folder)), "--out", str(folder / MODEL))
        return {name: round(count(name, folder), 1) for name in names}


def slower(recorded: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """Workloads that take more instructions than recorded, by more than the tolerance.

    Examples
    --------
    >>> slower({"parse": 100.0, "ingest": 100.0}, {"parse": 104.0, "ingest": 106.0})
    ['ingest']
    """
    return [name for name, counted in found.items() if counted > (1 + TOLERANCE) * recorded.get(name, counted)]


def compare(names: Sequence[str]) -> int:
    """Count, and compare with what is recorded; the exit code."""
    recorded: dict[str, Any] = json.loads(RECORDED.read_text())
    if recorded["versions"] != versions():
        console.print(f"not compared: recorded with {recorded['versions']}, here are {versions()}: make guard-record")
        return 0
    known, found = recorded["instructions_an_entry"], count_all(names)
    table = Table("workload", "recorded", "now", "change", title="instructions an entry", title_justify="left")
    for name, counted in found.items():
        before = known.get(name, counted)
        table.add_row(name, f"{before:,.0f}", f"{counted:,.0f}", f"{counted / before - 1:+.1%}")
    console.print(table)
    if bad := slower(known, found):
        console.print(f"slower than recorded by more than {TOLERANCE:.0%}: {', '.join(bad)}")
        console.print("mend it; or, where the slow-down is worth it, say why and run: make guard-record")
        return 1
    return 0


def main() -> None:
    """Compare, or record."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--record", action="store_true", help="write what is counted, in place of comparing it")
    arguments = parser.parse_args()
    if unknown := set(arguments.workloads) - set(WORKLOADS):
        raise SystemExit(f"{', '.join(sorted(unknown))}: no such workload; there are {', '.join(WORKLOADS)}")
    if shutil.which("valgrind") is None:
        console.print("not compared: valgrind is not installed")
        return
    if not arguments.record:
        raise SystemExit(compare(arguments.workloads))
    content = {"versions": versions(), "instructions_an_entry": count_all(list(WORKLOADS))}
    RECORDED.write_text(json.dumps(content, indent=2) + "\n")
    console.print_json(data=content)


if __name__ == "__main__":
    main()
