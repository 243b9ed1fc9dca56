"""Delays injected into OpenStack VM creations: what the value models find, and what they raise for nothing.

Trained on the first 70 % of the VMs; in each of the others one delay is injected, one VM at a time, each judged with
the memory that the untouched log before it left. Kinds of delay: the seconds that nova reports for spawning and for
building, and the gap before an entry (all later entries of the VM move as well). Gaps that are already long
(>= ``LONG_GAP_S``) count for the aim; short ones are shown beside them.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.harness import console
from deeplog_grpc.detection.identifiers import identify, session_patterns
from deeplog_grpc.detection.vectors import elapsed_s, key_vectors
from deeplog_grpc.models import (
    ELAPSED,
    NO_PREVIOUS,
    KeyReport,
    KeyVectors,
    ValueMemory,
    ValueModel,
    ValueModelConfig,
    ValueVerdicts,
    fit_value_model,
    set_threads,
)
from deeplog_grpc.parsing import HeadTimestamps, KeyColumns, Parser
from deeplog_grpc.training.values import ValueCollector

TRAIN_SHARE = 0.7
FACTORS = {"x15": 1.5, "x2": 2.0, "x4": 4.0}
LONG_GAP_S = 1.0
SHORT_GAP_S = 0.3
FALSE_ALARM_RATE = 1e-4
"""Of a vector; a VM has 25 of them."""
SPEED_PASSES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """The rows of one VM's lines in the batch of all, and its name."""

    name: str
    rows: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """All lines of the log, parsed."""

    columns: tuple[KeyColumns, ...]
    keys: NDArray[np.int32]
    elapsed: NDArray[np.float64]
    previous: NDArray[np.int64]
    vms: tuple[Vm, ...]
    templates: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One number of one entry to be made larger."""

    kind: str
    row: int
    slot: int


def run(data: Path, *, seed: int = 0, config: ValueModelConfig | None = None) -> dict[str, float]:
    """Train, inject, judge; the flat figures of ``detect.json``."""
    config = config or ValueModelConfig()
    lines = (data / "openstack_utah" / "openstack_normal1.instances.log").read_text().splitlines()
    times_ns, bodies = HeadTimestamps().split(lines)
    sessions = identify(
        bodies,
        [""] * len(bodies),
        [""] * len(bodies),
        session_patterns((r"instance: ([0-9a-f-]{36})",), built_in=False),
    )
    names = list(dict.fromkeys(sessions))
    early = set(names[: int(TRAIN_SHARE * len(names))])
    started = time.perf_counter()
    parser, collector = Parser(), ValueCollector(max_vectors=config.max_vectors)
    chosen = [row for row, session in enumerate(sessions) if session in early]
    parsed = parser.parse([bodies[row] for row in chosen])
    collector.add(parsed, sessions=[sessions[row] for row in chosen], times_ns=times_ns[chosen])
    parser.seal()
    series, _ = collector.series()
    fit = fit_value_model(series, config, seed=seed)
    train_s = time.perf_counter() - started
    late = [row for row, session in enumerate(sessions) if session not in early]
    log = _read(parser, [bodies[row] for row in late], [sessions[row] for row in late], times_ns[late])
    _show_models(fit.reports, log.templates)
    figures = {**_false_alarms(fit.model, log), **_recalls(fit.model, log, seed), **_speed(fit.model, log)}
    figures["openstack_train_s"] = train_s
    figures["openstack_networks"] = float(sum(report.prediction == "LSTM" for report in fit.reports))
    return figures


def _read(parser: Parser, bodies: list[str], sessions: list[str], times_ns: NDArray[np.int64]) -> Log:
    parsed = parser.parse(bodies)
    before, previous = np.zeros(len(bodies), np.int64), np.full((len(bodies), 2), NO_PREVIOUS, np.int64)
    rows: dict[str, list[int]] = {}
    for row, session in enumerate(sessions):
        own = rows.setdefault(session, [])
        if own:
            before[row], previous[row, 2 - len(own[-2:]) :] = times_ns[own[-1]], parsed.keys[own[-2:]]
        own.append(row)
    return Log(
        columns=tuple(parsed.columns()),
        keys=parsed.keys,
        elapsed=elapsed_s(times_ns, before),
        previous=previous,
        vms=tuple(Vm(name=name, rows=np.array(own)) for name, own in rows.items()),
        templates={template.key: template.text for template in parser.templates()},
    )


def _judge(
    model: ValueModel, log: Log, memory: ValueMemory, rows: NDArray[np.intp], injected: Injection | None, factor: float
) -> dict[int, ValueVerdicts]:
    """Verdicts of some rows by key, one of their numbers made larger."""
    batch = [
        vectors
        for vectors in (_vectors(model, log, columns, rows, injected, factor) for columns in log.columns)
        if len(vectors)
    ]
    verdicts = model.judge(batch, memory, false_alarm_rate=FALSE_ALARM_RATE)
    return {vectors.key: verdict for vectors, verdict in zip(batch, verdicts, strict=True)}


def _vectors(
    model: ValueModel, log: Log, columns: KeyColumns, rows: NDArray[np.intp], injected: Injection | None, factor: float
) -> KeyVectors:
    vectors = key_vectors(columns, model.positions(columns.key, columns.pieces), log.elapsed, log.previous)
    own = np.isin(columns.rows, rows)
    values = vectors.values[own]
    if injected is not None:
        places = [place for place, position in enumerate(vectors.positions) if position.slot == injected.slot]
        values[np.ix_(columns.rows[own] == injected.row, places)] *= factor
    return replace(vectors, values=values, previous=vectors.previous[own])


def _false_alarms(model: ValueModel, log: Log) -> dict[str, float]:
    """VMs of the untouched log with at least one alarm."""
    alarmed = set()
    owner = {int(row): vm.name for vm in log.vms for row in vm.rows}
    every = np.arange(len(log.keys))
    verdicts = _judge(model, log, ValueMemory(), every, None, 1.0)
    alarms = 0
    for columns in log.columns:
        for row, finding in verdicts[columns.key].findings.items():
            alarms += 1
            alarmed.add(owner[int(columns.rows[row])])
            console.print(
                f"false alarm: {log.templates[columns.key][-50:]!r} slot {finding.position.slot}: "
                f"{finding.observed:.3f} outside {finding.low:.3f}..{finding.high:.3f}, p = {finding.p_value:.1g}",
                markup=False,
            )
    return {
        "openstack_vms": float(len(log.vms)),
        "openstack_false_per_100": 100.0 * len(alarmed) / len(log.vms),
        "openstack_false_alarms": float(alarms),
    }


def _recalls(model: ValueModel, log: Log, seed: int) -> dict[str, float]:
    """Share of injected delays found, and of those found whose blamed number is the injected one."""
    random = np.random.default_rng(seed)
    found: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    memory = ValueMemory()
    for vm in log.vms:
        for injection in _injections(log, vm, random):
            for name, factor in FACTORS.items():
                verdicts = _judge(model, log, memory.copy(), vm.rows, injection, factor)
                findings = [
                    (int(columns.rows[np.isin(columns.rows, vm.rows)][row]), finding)
                    for columns in log.columns
                    if columns.key in verdicts
                    for row, finding in verdicts[columns.key].findings.items()
                ]
                named = any(row == injection.row and f.position.slot == injection.slot for row, f in findings)
                found.setdefault((injection.kind, name), []).append((bool(findings), named))
        _judge(model, log, memory, vm.rows, None, 1.0)
    return _table(found)


def _injections(log: Log, vm: Vm, random: np.random.Generator) -> list[Injection]:
    """One of each kind that the VM has, chosen at random."""
    injections = []
    for kind, words in (("spawn", "to spawn the instance"), ("build", "to build instance")):
        for columns in log.columns:
            template = log.templates[columns.key]
            rows = np.intersect1d(columns.rows, vm.rows)
            if words in template and len(rows):
                # The seconds are the last slot of these templates.
                injections.append(Injection(kind=kind, row=int(rows[0]), slot=len(columns.slots) - 1))
    gaps = log.elapsed[vm.rows]
    for kind, low, high in (("gap", LONG_GAP_S, np.inf), ("short gap", SHORT_GAP_S, LONG_GAP_S)):
        places = np.flatnonzero((gaps >= low) & (gaps < high))
        if len(places):
            injections.append(Injection(kind=kind, row=int(vm.rows[random.choice(places)]), slot=ELAPSED))
    return injections


def _table(found: Mapping[tuple[str, str], Sequence[tuple[bool, bool]]]) -> dict[str, float]:
    table = Table("injected into", "factor", "VMs", "recall", "named", title="delays", title_justify="left")
    figures: dict[str, float] = {}
    aimed: dict[str, list[tuple[bool, bool]]] = {}
    for (kind, name), outcomes in sorted(found.items()):
        hits = [named for hit, named in outcomes if hit]
        recall, named = len(hits) / len(outcomes), sum(hits) / max(len(hits), 1)
        table.add_row(kind, name, str(len(outcomes)), f"{recall:.3f}", f"{named:.3f}")
        figures[f"openstack_{kind.replace(' ', '_')}_recall_{name}"] = recall
        if kind != "short gap":
            aimed.setdefault(name, []).extend(outcomes)
    for name, outcomes in aimed.items():
        hits = [named for hit, named in outcomes if hit]
        figures[f"openstack_recall_{name}"] = len(hits) / len(outcomes)
        figures[f"openstack_named_{name}"] = sum(hits) / max(len(hits), 1)
    console.print(table)
    return figures


def _speed(model: ValueModel, log: Log) -> dict[str, float]:
    """Microseconds a vector, in batches of a thousand entries and one VM after the other."""
    figures = {}
    starts = range(0, len(log.keys), 1000)
    parts = {
        "batch": [np.arange(start, min(start + 1000, len(log.keys))) for start in starts],
        "vm": [vm.rows for vm in log.vms],
    }
    for name, batches in parts.items():
        ready = [
            [
                vectors
                for vectors in (_vectors(model, log, columns, rows, None, 1.0) for columns in log.columns)
                if len(vectors)
            ]
            for rows in batches
        ]
        memory, best = ValueMemory(), np.inf
        for _ in range(SPEED_PASSES):
            started = time.perf_counter()
            for batch in ready:
                model.judge(batch, memory, false_alarm_rate=FALSE_ALARM_RATE)
            best = min(best, time.perf_counter() - started)
        figures[f"value_us_per_vector_{name}"] = 1e6 * float(best) / len(log.keys)
    return figures


def _show_models(reports: Sequence[KeyReport], templates: Mapping[int, str]) -> None:
    table = Table("key", "template", "vectors", "numbers", "log", "prediction", "LSTM", "plain", title_justify="left")
    for report in reports:
        numbers = ", ".join("elapsed" if p.slot == ELAPSED else f"{p.slot} ({p.unit})" for p in report.positions)
        losses = [f"{loss:.3f}" if loss is not None else "" for loss in (report.network_loss, report.plain_loss)]
        logs = ", ".join("yes" if log else "no" for log in report.logarithmic)
        table.add_row(
            str(report.key), templates[report.key][-40:], str(report.vectors), numbers, logs, report.prediction, *losses
        )
    console.print(table)


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    set_threads(1)
    for name, value in run(given.data, seed=given.seed).items():
        console.print(f"{name:36} {value:.4f}")


if __name__ == "__main__":
    main()
