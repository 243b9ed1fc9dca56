"""The parser beside Drain3 in one run, both with their defaults: ``make bench-parse`` (``DATA=folder``).

Accuracy over every system under ``loghub_2k``; speed over raw logs as they are, cold, learning included. Each
measurement is a process of its own, the two parsers take turns, processor time is what counts. Drain3 is installed
from PyPI in a throw-away environment; where that fails, the comparison is left out.

Writes benchmarks/results/parse.json.
"""

import argparse
import csv
import gzip
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import console, median, write_results
from deeplog_grpc.parsing import Parser, ParsingAccuracy, grouping_accuracy

RUNS = 3
INSTALL_TIMEOUT_S = 300
SPEED_SETS = {
    "hdfs": "hdfs_raw*/*.log*",
    "healthapp": "healthapp*/*.log*",
    "linux": "linux*/*.log*",
    "bgl": "bgl*/*.log*",
    "openstack": "openstack*/*.log*",
}
"""Where the raw lines of each set are."""

COST_RUNS = 3
"""Runs whose median is the cost of many templates: a single one moves by a third on a busy machine."""
FEW, MANY = 100, 10_000
"""Numbers of templates whose cost a line is compared."""
COST_LINES = 50_000
NEW_FORM_EVERY = 20
"""Of the lines whose cost is compared, one in so many has a form not seen before, so the look-ups take part."""


class Runner:
    """Runs one parser over one file of lines in a process of its own."""

    def __init__(self, drain3_python: Path | None) -> None:
        self._commands = {"ours": [sys.executable, "-m", "benchmarks.parse_once", "ours"]}
        if drain3_python is not None:
            script = Path(__file__).with_name("parse_once.py")
            self._commands["drain3"] = [str(drain3_python), str(script), "drain3"]

    @property
    def parsers(self) -> list[str]:
        """The parsers that can be run."""
        return list(self._commands)

    def report(self, parser: str, lines: Path, *options: str) -> dict[str, Any]:
        """Run once."""
        command = [*self._commands[parser], str(lines), *options]
        report: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        return report

    def cpu_s(self, lines: Path, *options: str) -> dict[str, float]:
        """Processor time of each parser, the median of runs taken by turns."""
        times: dict[str, list[float]] = {parser: [] for parser in self.parsers}
        for _ in range(RUNS):
            for parser, found in times.items():
                found.append(self.report(parser, lines, *options)["cpu_s"])
        return {parser: statistics.median(found) for parser, found in times.items()}


def drain3_python(folder: Path) -> Path | None:
    """An interpreter with the newest Drain3 that installs, or None."""
    python = folder / "bin" / "python"
    for command in ([sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-q", "drain3"]):
        try:
            subprocess.run(command, check=True, timeout=INSTALL_TIMEOUT_S, capture_output=True)
        except (subprocess.SubprocessError, OSError) as error:
            console.print(f"Drain3 could not be installed ({error}): no comparison", style="yellow")
            return None
    return python


def read_lines(path: Path) -> list[str]:
    """The lines of a file, gzipped or not."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    return text.decode("utf-8", "replace").rstrip("\n").split("\n")


def accuracy(folder: Path, runner: Runner, work: Path) -> dict[str, float]:
    """Accuracy on every system found, online and in one pass."""
    table = Table("system", "GA", "FGA", "PA", "FTA", "templates", "true", "Drain3 GA", title_justify="left")
    scores: dict[str, list[ParsingAccuracy]] = {parser: [] for parser in runner.parsers}
    figures = {}
    for truth in sorted(folder.glob("*/*_structured_corrected.csv")):
        with truth.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = list(csv.DictReader(file))
        lines = write_json(work, [row["Content"] for row in rows])
        for parser, found in scores.items():
            report = runner.report(parser, lines, "--groups")
            found.append(
                grouping_accuracy(report["groups"], [row["EventTemplate"] for row in rows], report["templates"])
            )
        own, name = scores["ours"][-1], truth.parent.name
        figures[f"ga_{name.lower()}"] = own.ga
        peer = f"{scores['drain3'][-1].ga:.3f}" if "drain3" in scores else "-"
        shares = (f"{share:.3f}" for share in (own.ga, own.fga, own.pa, own.fta))
        table.add_row(name, *shares, str(own.templates), str(own.true_templates), peer)
    console.print(table)
    if not scores["ours"]:
        return {}
    mean = {
        measure: statistics.mean(getattr(one, measure) for one in scores["ours"]) for measure in ("ga", "fga", "pa")
    }
    figures |= {f"{measure}_mean": value for measure, value in mean.items()}
    figures["ga_min"] = min(one.ga for one in scores["ours"])
    if "drain3" in scores:
        figures["drain3_ga_mean"] = statistics.mean(one.ga for one in scores["drain3"])
    return figures


def speed(data: Path, runner: Runner, work: Path) -> dict[str, float]:
    """Lines a second, and how many times Drain3's: keys alone, and with every line's parameters."""
    table = Table(
        "set", "lines", "lines/s", "Drain3", "ratio", "with parameters", "Drain3", "ratio", title_justify="left"
    )
    figures: dict[str, float] = {}
    for name, pattern in SPEED_SETS.items():
        content = [line for path in sorted(data.glob(pattern)) for line in read_lines(path)]
        if not content:
            console.print(f"{name}: no file like {pattern}, left out", style="yellow")
            continue
        lines = write_json(work, content)
        keys, parameters = runner.cpu_s(lines), runner.cpu_s(lines, "--extract")
        figures[f"lines_per_s_{name}"] = len(content) / keys["ours"]
        figures[f"extract_lines_per_s_{name}"] = len(content) / parameters["ours"]
        row = [name, f"{len(content):,}"]
        for prefix, seconds in (("speed", keys), ("extract", parameters)):
            rates = [f"{len(content) / seconds[parser]:,.0f}" for parser in runner.parsers]
            if "drain3" in seconds:
                figures[f"{prefix}_ratio_{name}"] = seconds["drain3"] / seconds["ours"]
                rates.append(f"{figures[f'{prefix}_ratio_{name}']:.2f}")
            row += [*rates, "-", "-"][:3]
        table.add_row(*row)
    console.print(table)
    return figures


def templates_cost_ratio() -> float:
    """How many times the cost of a line grows from 100 templates to 10,000, all of them known."""
    ratios = []
    for _ in range(RUNS):
        few, many = _seconds_with(FEW), _seconds_with(MANY)
        ratios.append(many / few)
    return statistics.median(ratios)


def _seconds_with(templates: int) -> float:
    rng = random.Random(templates)
    kinds = [f"{_sentence(rng)} user root in %d ms, code %d" for _ in range(templates)]
    parser = Parser()
    # Each kind shows itself some times in a row, as a program's messages do.
    for kind in kinds:
        parser.parse([kind.replace("root", name) % (1, 2) for name in ("root", "guest", "admin", "root", "guest")])
    assert len(parser.templates()) == templates
    lines = []
    for number in range(COST_LINES):
        kind = rng.choice(kinds)
        new = number % NEW_FORM_EVERY == 0
        lines.append((kind.replace("root", next(_words(rng))) if new else kind) % (number, number % 7))
    started = time.process_time()
    for start in range(0, len(lines), 1_000):
        parser.parse(lines[start : start + 1_000])
    seconds = time.process_time() - started
    assert len(parser.templates()) == templates
    return seconds


def _sentence(rng: random.Random) -> str:
    words = _words(rng)
    return " ".join(next(words) for _ in range(rng.randrange(4, 9)))


def _words(rng: random.Random) -> Iterator[str]:
    while True:
        yield "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aiou") for _ in range(3)) + "n"


def write_json(work: Path, lines: Sequence[str]) -> Path:
    """Lines as a file for :mod:`benchmarks.parse_once`."""
    path = work / "lines.json"
    path.write_text(json.dumps(lines))
    return path


def main() -> None:
    """Measure everything."""
    arguments = argparse.ArgumentParser(description=main.__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    data = arguments.parse_args().data
    if not data.is_dir():
        raise SystemExit(f"{data}: no such folder; give DATA=folder")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        runner = Runner(drain3_python(work / "drain3"))
        figures = accuracy(data / "loghub_2k", runner, work) | speed(data, runner, work)
    figures["templates_10k_cost_ratio"] = median(templates_cost_ratio, COST_RUNS)
    write_results("parse", figures)


if __name__ == "__main__":
    main()
