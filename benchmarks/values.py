"""Delays injected into OpenStack VM creations: what is found, what is raised for nothing, mode beside mode.

Trained on the entries of the first 70 % of the VMs, judged on those of the others. A delay is put into the seconds that
nova reports for spawning, or for building, or into the gap before an entry (all later entries of the VM move as well);
gaps that are long already (>= ``LONG_GAP_S``) count for the aim, short ones are shown beside them. One delay a VM, all
VMs in one pass, one pass a kind and factor, each with a new detector. Sessions that are still running where the log
stops are not judged at their end: nobody knows what would have come.
"""

import argparse
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.harness import console
from benchmarks.sets import by_time
from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch, Kind, SessionConfig, Verdict
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import ELAPSED, ValueModelConfig, set_threads
from deeplog_grpc.parsing import Parser
from deeplog_grpc.training import LabelledEntries, Trainer, TrainingReport, session_names
from deeplog_grpc.training.labelled import UNKNOWN

INSTANCE = r"instance: ([0-9a-f-]{36})"
TRAIN_SHARE = 0.7
FACTORS = {"x15": 1.5, "x2": 2.0, "x4": 4.0}
LONG_GAP_S = 1.0
SHORT_GAP_S = 0.3
BATCH = 1_000
SHOWN_ALARMS = 5
AIMED = ("spawn", "build", "gap")
VALUE_KINDS = (Kind.PARAMETER_VALUE, Kind.ELAPSED_TIME, Kind.NEW_VALUE)
REPORTED = {
    "spawn": re.compile(r"Took ([\d.]+) seconds to spawn the instance"),
    "build": re.compile(r"Took ([\d.]+) seconds to build instance"),
}

MODES = {
    "": ValueModelConfig(),
    "paper_lstm_": ValueModelConfig(min_gain=None),
    "paper_99_": ValueModelConfig(min_gain=None, interval="gaussian", confidence=0.99),
    "paper_999_": ValueModelConfig(min_gain=None, interval="gaussian", confidence=0.999),
}
"""Begin of the figures' names -> configuration: the default; an LSTM for every log key that has vectors enough; the
paper's Gaussian with the confidences that it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Entries of whole VMs, in the order of time."""

    batch: EntryBatch
    vms: Mapping[str, NDArray[np.intp]]
    """Name -> rows of its entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """A log with one delay in each of some VMs."""

    batch: EntryBatch
    places: Mapping[str, int]
    """VM -> row of the entry with the delay."""
    value: Callable[[str], str]
    """Body -> the text of the number that was changed; empty if it is the elapsed time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Anomalies of one pass."""

    entries: Sequence[Verdict]
    """``index`` is the row in the whole pass."""
    ends: Sequence[Verdict]

    def sessions(self, kinds: Sequence[Kind]) -> set[str]:
        """The sessions that have one of some kinds."""
        return {verdict.session for verdict in (*self.entries, *self.ends) if verdict.kind in kinds}

    def key_alarms(self) -> Counter[tuple[str, Kind]]:
        """What is not about values, by session and kind."""
        return Counter((v.session, v.kind) for v in (*self.entries, *self.ends) if v.kind not in VALUE_KINDS)


def run(data: Path, *, seed: int = 0) -> dict[str, float]:
    """Train, inject, judge, in every mode; the flat figures of ``detect.json``."""
    early, late = read(data / "openstack_utah" / "openstack_normal1.instances.log")
    figures: dict[str, float] = {}
    for prefix, config in MODES.items():
        trainer = Trainer(sessions=SessionConfig(patterns=(INSTANCE,)), values=config)
        started = time.perf_counter()
        trainer.add(early.batch)
        model, report = trainer.fit(application="openstack", version=1, seed=seed)
        train_s = time.perf_counter() - started
        if not prefix:
            _show_intervals(report)
        found = {**_judged(model, late, _title(prefix), seed), "networks": float(report.value_networks)}
        figures |= {f"openstack_{prefix}{name}": value for name, value in {**found, "train_s": train_s}.items()}
    _show_modes(figures)
    return figures


def read(path: Path) -> tuple[Log, Log]:
    """The VMs that come first, and the others."""
    batch = LineReader(source="nova").read(path.read_text().splitlines()).batch
    names = session_names(batch, SessionConfig(patterns=(INSTANCE,)))
    order = list(dict.fromkeys(names))
    first = set(order[: int(TRAIN_SHARE * len(order))])
    is_early = np.array([name in first for name in names])
    labelled = LabelledEntries(batch=batch, labels=np.full(len(batch), UNKNOWN, np.int8))
    return _log(labelled.take(is_early).batch), _log(labelled.take(~is_early).batch)


def _log(batch: EntryBatch) -> Log:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(session_names(batch, SessionConfig(patterns=(INSTANCE,)))):
        rows.setdefault(name, []).append(row)
    return Log(batch=batch, vms={name: np.array(own) for name, own in rows.items()})


def _judged(model: ApplicationModel, log: Log, title: str, seed: int) -> dict[str, float]:
    """False alarms of the log as it is, and recall of what is put into it."""
    untouched = score(model, log.batch)
    flagged = untouched.sessions(tuple(Kind))
    for verdict in (*untouched.entries, *untouched.ends)[:SHOWN_ALARMS]:
        console.print(f"false alarm, {title}: {verdict.kind.name}: {verdict.reason}", markup=False)
    by_value = untouched.sessions(VALUE_KINDS)
    figures = {
        "vms": float(len(log.vms)),
        "false_per_100": 100.0 * len(flagged) / len(log.vms),
        "value_false_per_100": 100.0 * len(by_value) / len(log.vms),
    }
    table = Table("delay in", "factor", "VMs", "recall", "named", "key alarms", title=title, title_justify="left")
    outcomes: dict[str, list[tuple[bool, bool]]] = {}
    added = 0
    for kind in (*AIMED, "short_gap"):
        for name, factor in FACTORS.items():
            injected = inject(log, kind, factor, np.random.default_rng(seed))
            found = score(model, injected.batch)
            alarms = (found.key_alarms() - untouched.key_alarms()).total()
            pairs = _outcomes(injected, found)
            recall, named = _shares(pairs)
            table.add_row(kind, name, str(len(pairs)), f"{recall:.3f}", f"{named:.3f}", str(alarms))
            figures[f"{kind}_recall_{name}"] = recall
            if kind in AIMED:
                outcomes.setdefault(name, []).extend(pairs)
                added += alarms
    console.print(table)
    for name, pairs in outcomes.items():
        figures[f"recall_{name}"], figures[f"named_{name}"] = _shares(pairs)
    return {**figures, "key_alarms_added": float(added)}


def score(model: ApplicationModel, batch: EntryBatch) -> Found:
    """All anomalies of a log, by a new detector that knows that no session began before it."""
    fresh = replace(model, parser=Parser.from_state(model.parser.state()))
    detector = Detector(fresh, DetectorConfig(cold_start_s=0.0))
    entries: list[Verdict] = []
    ends: list[Verdict] = []
    for start in range(0, len(batch), BATCH):
        judged = detector.score(batch.slice(start, min(start + BATCH, len(batch))))
        entries += [replace(judged.verdict(row), index=start + row) for row in judged.anomalies()]
        ends += [end for end in judged.session_ends if end.is_anomaly]
    return Found(entries=entries, ends=ends)


def inject(log: Log, kind: str, factor: float, random: np.random.Generator) -> Injected:
    """Put a delay of one kind into every VM that has a place for it."""
    if kind in REPORTED:
        return _longer_numbers(log, REPORTED[kind], factor)
    return _longer_gaps(log, *((LONG_GAP_S, np.inf) if kind == "gap" else (SHORT_GAP_S, LONG_GAP_S)), factor, random)


def _longer_numbers(log: Log, pattern: re.Pattern[str], factor: float) -> Injected:
    bodies = list(log.batch.bodies)
    places = {}
    for name, rows in log.vms.items():
        for row in rows.tolist():
            if (match := pattern.search(bodies[row])) is not None:
                seconds = f"{float(match[1]) * factor:.2f}"
                bodies[row] = bodies[row][: match.start(1)] + seconds + bodies[row][match.end(1) :]
                places[name] = row
                break

    def value(body: str) -> str:
        match = pattern.search(body)
        return match[1] if match else ""

    return Injected(batch=replace(log.batch, bodies=bodies), places=places, value=value)


def _longer_gaps(log: Log, low: float, high: float, factor: float, random: np.random.Generator) -> Injected:
    times_ns = log.batch.times_ns.copy()
    delayed: dict[str, int] = {}
    for name, rows in log.vms.items():
        gaps_s = np.diff(log.batch.times_ns[rows]) / NS_PER_S
        places = np.flatnonzero((gaps_s >= low) & (gaps_s < high))
        if len(places):
            place = int(random.choice(places))
            times_ns[rows[place + 1 :]] += int((factor - 1.0) * gaps_s[place] * NS_PER_S)
            delayed[name] = int(rows[place + 1])
    new_rows = np.empty(len(times_ns), np.intp)
    new_rows[np.argsort(times_ns, kind="stable")] = np.arange(len(times_ns))
    moved = by_time([replace(log.batch, times_ns=times_ns)])
    return Injected(
        batch=moved, places={name: int(new_rows[row]) for name, row in delayed.items()}, value=lambda body: ""
    )


def _outcomes(injected: Injected, found: Found) -> list[tuple[bool, bool]]:
    """Of each VM with a delay: whether its values are called abnormal, and whether the delay itself is named."""
    flagged = found.sessions(VALUE_KINDS)
    named = {verdict.index for verdict in found.entries if _names(verdict, injected)}
    return [(vm in flagged, row in named) for vm, row in injected.places.items()]


def _names(verdict: Verdict, injected: Injected) -> bool:
    value = verdict.abnormal_value
    if verdict.kind not in VALUE_KINDS or value is None:
        return False
    text = injected.value(injected.batch.bodies[verdict.index])
    return value.slot == ELAPSED if not text else value.slot >= 0 and verdict.parameters[value.slot] == text


def _shares(outcomes: Sequence[tuple[bool, bool]]) -> tuple[float, float]:
    """Share of the delays that are found, and of those the share that is named."""
    hits = [is_named for is_found, is_named in outcomes if is_found]
    return len(hits) / max(len(outcomes), 1), sum(hits) / max(len(hits), 1)


def _show_intervals(report: TrainingReport) -> None:
    table = Table("log key", "count", "prediction", "normal", title_justify="left", title="learned from training")
    for learned in report.keys:
        normal = [
            f"{'elapsed' if number.slot == ELAPSED else number.slot} {number.low:.4g}..{number.high:.4g} {number.unit}"
            for number in learned.numbers
        ]
        table.add_row(learned.template[-40:], str(learned.count), learned.prediction[:30], ", ".join(normal))
    console.print(table)
    console.print(f"time-out {report.timeout_s:g} s")


def _show_modes(figures: Mapping[str, float]) -> None:
    table = Table("mode", title="modes", title_justify="left")
    columns = ("recall_x15", "recall_x2", "recall_x4", "named_x2", "false_per_100", "value_false_per_100", "networks")
    for column in columns:
        table.add_column(column)
    for prefix in MODES:
        table.add_row(_title(prefix), *(f"{figures[f'openstack_{prefix}{column}']:.3f}" for column in columns))
    console.print(table)


def _title(prefix: str) -> str:
    return prefix.rstrip("_") or "default"


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    set_threads(1)
    for name, value in run(given.data, seed=given.seed).items():
        console.print(f"{name:44} {value:.4f}")


if __name__ == "__main__":
    main()
