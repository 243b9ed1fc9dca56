"""The shipper under a log that is written and rotated, with a server that is killed, restarted and away.

Every line bears a number, and the shipper's annotated output is searched for them: a number that is not there was lost,
one that is there twice was counted twice.
"""

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import PROGRAM, console, run
from benchmarks.processes import Restarting

LINES = 1_000_000
ROTATED_LINES = 50_000
LINES_PER_S = 30_000
"""At which the log is written."""
OUTAGE_S = 30.0
TRAINING_LINES = 60_000
PLAIN_LINES = 300_000
"""Of the run without faults, whose lines are all there at the start."""
END_S = 600.0
_NUMBER = re.compile(rb" line=(\d+)\b")


def measure(data: Path) -> dict[str, Any]:
    """The shipper's figures."""
    with tempfile.TemporaryDirectory(prefix="deeplog-grpc-shipping-") as name:
        folder = Path(name)
        lines = rendered(data, folder, LINES)
        bundle = _train(lines[:TRAINING_LINES], folder)
        return {**_faulty(lines, bundle, folder), **_plain(lines[:PLAIN_LINES], bundle, folder)}


def rendered(data: Path, folder: Path, count: int) -> list[str]:
    """Rendered HDFS lines, each with a number at its end."""
    out = folder / "rendered.log"
    sequences = data / "hdfs_sequences"
    sources = [
        *("--source", f"normal={sequences / 'hdfs_test_normal.dev.gz'}"),
        *("--source", f"abnormal={sequences / 'hdfs_test_abnormal.dev.gz'}"),
    ]
    arguments = ["-n", str(count // 15), "--abnormal-rate", "0.01", "--seed", "7", "--max-lines", str(count)]
    command = [sys.executable, str(data / "render_hdfs.py"), "render", *sources, *arguments]
    subprocess.run([*command, "--out", str(out), "--labels", str(folder / "labels.csv")], check=True)
    texts = out.read_text().splitlines()
    out.unlink()
    return [f"{text} line={number}" for number, text in enumerate(texts)]


def _train(lines: Sequence[str], folder: Path) -> Path:
    log, bundle = folder / "training.log", folder / "model"
    log.write_text("\n".join(lines) + "\n")
    run("train", str(log), "--out", str(bundle), "--application", "hdfs", "--set", "key_model.epochs=2")
    return bundle


def _faulty(lines: Sequence[str], bundle: Path, folder: Path) -> dict[str, Any]:
    """All lines, with rotation, a kill, a restart and an outage."""
    logs, out = folder / "logs", folder / "annotated.jsonl"
    logs.mkdir()
    (logs / "app.log").touch()
    written: list[int] = [0]
    writer = threading.Thread(target=_write, args=(lines, logs / "app.log", written))
    with (
        Restarting(bundle, folder / "state") as server,
        _shipper(server.address, logs, out, folder / "spool") as shipper,
    ):
        writer.start()
        for share, fault in ((0.2, server.kill), (0.4, server.restart), (0.6, partial(server.away, OUTAGE_S))):
            _wait(partial(_has, written, share * len(lines)), "the log is not written")
            fault()
        writer.join()
        _wait(lambda: _count(out) >= len(lines) and _is_done(out, len(lines)), "lines are missing")
        peak_mb = _peak_mb(shipper)
    found = Counter(int(match) for match in _NUMBER.findall(out.read_bytes()))
    return {
        "shipper_lines": len(lines),
        "shipper_lost": len(lines) - len(found),
        "shipper_doubled": sum(found.values()) - len(found),
        "shipper_server_stops": server.stops,
        "shipper_peak_mb": peak_mb,
    }


def _plain(lines: Sequence[str], bundle: Path, folder: Path) -> dict[str, Any]:
    """How fast it is when the server is there."""
    log = folder / "plain.log"
    log.write_text("\n".join(lines) + "\n")
    with Restarting(bundle, folder / "plain.state") as server:
        command = _command(server.address, log, folder / "plain.spool", "--once")
        started = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            cpu_s = _cpu_until_end(psutil.Process(process.pid))
        elapsed_s = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"the shipper ended with code {process.returncode}")
    return {
        "shipper_lines_per_s": len(lines) / elapsed_s,
        "shipper_cpu_s_per_million": cpu_s * 1e6 / len(lines),
    }


def _has(written: list[int], count: float) -> bool:
    return written[0] >= count


def _write(lines: Sequence[str], log: Path, written: list[int]) -> None:
    """Write the log at its rate, and rotate it."""
    started, step = time.perf_counter(), 1_000
    for start in range(0, len(lines), step):
        if start and start % ROTATED_LINES == 0:
            log.rename(log.with_name(f"{log.name}.{start // ROTATED_LINES}"))
        with log.open("a") as file:
            file.write("\n".join(lines[start : start + step]) + "\n")
        written[0] = start + step
        time.sleep(max(0.0, started + written[0] / LINES_PER_S - time.perf_counter()))


def _command(address: str, files: Path, spool: Path, *options: str) -> list[str]:
    return [PROGRAM, "ship", str(files), "--server", address, "--spool", str(spool), *options]


@contextmanager
def _shipper(address: str, logs: Path, out: Path, spool: Path) -> Any:
    command = _command(address, logs / "app.log*", spool, "--annotate", str(out))
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
    if process.returncode:
        raise RuntimeError(f"the shipper ended with code {process.returncode}")


def _cpu_until_end(process: psutil.Process) -> float:
    """Processor time of a process that is about to end."""
    used = 0.0
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            times = process.cpu_times()
            used = times.user + times.system
            time.sleep(0.05)
    return float(used)


def _peak_mb(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _count(out: Path) -> int:
    """Lines of a file at least: by its size, which is cheap to ask."""
    return out.stat().st_size // 100 if out.exists() else 0


def _is_done(out: Path, count: int) -> bool:
    return len(set(_NUMBER.findall(out.read_bytes()))) >= count


def _wait(condition: Callable[[], bool], complaint: str) -> None:
    end = time.monotonic() + END_S
    while not condition():
        if time.monotonic() > end:
            console.print(complaint)
            return
        time.sleep(0.5)
